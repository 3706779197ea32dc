"""What of a schema shows only when a value is whole."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tokenwire.wire.json_check import ELSE, IF, NEEDED, NOT, ONE, THEN, Check
from tokenwire.wire.json_node import Broken, Node, canonical, shown


def verdict(check: Check, value: Any) -> Broken | None:
    """What *value* breaks of the check's schema, the checks of the same value being done; None if nothing."""
    node = check.node
    broken = None
    kind = type(value)
    if kind is int or kind is float:
        broken = _number(node, value)
    elif kind is str:
        broken = _string(node, value)
    elif kind is list:
        broken = _array(check, value)
    elif kind is dict:
        broken = _object(check, value)
    if broken is not None:
        return broken
    if node.members is not None and canonical(value) not in node.members:
        return Broken(node.members_keyword, node.shown_members, shown(value))
    if check.left[ONE] > 1:
        return Broken("oneOf", "exactly one of the alternatives to fit", f"a value that fits {check.left[ONE]}")
    if node.not_ is not None and _lives(check, NOT):
        return Broken("not", "something else", shown(value))
    return None


def _lives(check: Check, role: int) -> bool:
    sub = check.sub(role)
    return sub is not None and sub.death is None


def _number(node: Node, value: float) -> Broken | None:
    if node.integer and isinstance(value, float) and not value.is_integer():
        return Broken("type", "integer", shown(value))
    for keyword, limit, holds, words in node.bounds:
        if not holds(value, limit):
            return Broken(keyword, f"{words} {limit}", shown(value))
    if node.multiple_of is not None and not is_multiple(value, node.multiple_of):
        return Broken("multipleOf", f"a multiple of {node.multiple_of}", shown(value))
    return None


def is_multiple(value: float, step: float) -> bool:
    """Whether *value* is a multiple of *step*, as the decimals that they are written as: 0.3 is one of 0.1."""
    try:
        return Fraction(str(value)) % Fraction(str(step)) == 0
    except ValueError:  # 1e999 is no float, and no fraction
        return False


def _string(node: Node, value: str) -> Broken | None:
    if node.min_length is not None and len(value) < node.min_length:
        return Broken("minLength", f"at least {node.min_length} characters", shown(value))
    if node.pattern is not None and not node.pattern.search(value):
        return Broken("pattern", f"a match of {node.pattern.pattern}", shown(value))
    if node.format is not None and not node.format[1](value):
        return Broken("format", f"the format {node.format[0]}", shown(value))
    return None


def _array(check: Check, value: list[Any]) -> Broken | None:
    node = check.node
    if node.min_items is not None and len(value) < node.min_items:
        return Broken("minItems", f"at least {node.min_items} items", str(len(value)))
    if node.contains is not None and len(check.matched) < node.min_contains:
        return Broken("contains", f"at least {node.min_contains} items of its kind", str(len(check.matched)))
    if node.unevaluated_items is not None:
        judged = _judged_items(check, value)
        for index, sub in check.loose.items():
            if sub.death is not None and index not in judged:
                return Broken("unevaluatedItems", "no further items of this kind", f"item {index}")
    return None


def _object(check: Check, value: dict[str, Any]) -> Broken | None:
    node = check.node
    missing = [name for name in node.required if name not in value]
    if missing:
        return Broken("required", f"the names {', '.join(map(shown, missing))}", "none of them")
    if node.min_properties is not None and len(value) < node.min_properties:
        return Broken("minProperties", f"at least {node.min_properties} names", str(len(value)))
    for name, needed in node.dependent_required.items():
        lacking = [other for other in needed if other not in value] if name in value else []
        if lacking:
            return Broken("dependentRequired", f"with {shown(name)} also {', '.join(map(shown, lacking))}", "none")
    if node.unevaluated_properties is not None:
        judged = _judged_names(check, value)
        for member, sub in check.loose.items():
            if sub.death is not None and member not in judged:
                return Broken("unevaluatedProperties", "no further names of this kind", shown(member))
    return None


def _applied(check: Check, value: Any) -> list[Check]:
    """The checks of the same value that hold, and whose judgement of members counts (Core, section 11)."""
    holds = _lives(check, IF)
    taken = {NEEDED: True, NOT: False, THEN: holds, ELSE: not holds}
    return [
        sub
        for role, sub, name in check.subs
        if sub.death is None and taken.get(role, True) and (role != NEEDED or name in value)
    ]


def _judged_names(check: Check, value: dict[str, Any]) -> set[str]:
    """The names of which something but the node's own unevaluatedProperties has judged the value."""
    node = check.node
    if node.additional is not None:
        return set(value)
    judged = {name for name in value if node.of_name(name)}
    for sub in _applied(check, value):
        judged |= set(value) if sub.node.unevaluated_properties is not None else _judged_names(sub, value)
    return judged


def _judged_items(check: Check, value: list[Any]) -> set[int]:
    node = check.node
    if node.items is not None:
        return set(range(len(value)))
    judged = set(range(min(len(node.prefix), len(value)))) | check.matched
    for sub in _applied(check, value):
        judged |= set(range(len(value))) if sub.node.unevaluated_items is not None else _judged_items(sub, value)
    return judged
