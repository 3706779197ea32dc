"""A JSON Schema, read: what `json_schema` makes of the text and `json_judge` goes by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

Kind: TypeAlias = str
"""``object``, ``array``, ``string``, ``number``, ``boolean`` or ``null``: what the first character of a value says."""

KINDS: Final = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
    list: "array",
    dict: "object",
}
_SHOWN: Final = 60  # longest piece of a value in a sentence


class Broken(NamedTuple):
    """Which keyword forbids a value, what it would have allowed and what came."""

    keyword: str
    expected: str
    found: str


class Node:
    """One schema. A member that is None, or empty, says nothing; names are those of JSON Schema 2020-12."""

    __slots__ = (
        "additional", "all_of", "any_of", "bounds", "contains", "dependent_required", "dependent_schemas", "else_",
        "format", "if_", "in_place", "integer", "items", "kinds", "max_contains", "max_items", "max_length",
        "max_properties", "member_kinds", "members", "members_keyword", "min_contains", "min_items", "min_length",
        "min_properties", "multiple_of", "never", "not_", "one_of", "pattern", "patterns", "prefix", "properties",
        "property_names", "required", "shown_members", "strings", "then_", "type", "unevaluated_items",
        "unevaluated_properties", "unique",
    )  # fmt: skip

    def __init__(self, *, never: bool = False) -> None:
        self.never = never  # the schema `false`
        self.type: tuple[str, ...] = ()
        self.kinds: frozenset[Kind] | None = None
        self.integer = False  # of numbers, whole ones only
        self.members: frozenset[Any] | None = None  # enum and const, as `canonical`
        self.members_keyword = "enum"
        self.member_kinds: frozenset[Kind] = frozenset()
        self.strings: tuple[str, ...] = ()
        self.shown_members = ""
        self.min_length: float | None = None
        self.max_length: float | None = None
        self.pattern: re.Pattern[str] | None = None
        self.format: tuple[str, Callable[[str], bool]] | None = None
        self.bounds: tuple[tuple[str, float, Callable[[float, float], bool], str], ...] = ()
        self.multiple_of: float | None = None
        self.prefix: tuple[Node, ...] = ()
        self.items: Node | None = None
        self.min_items: float | None = None
        self.max_items: float | None = None
        self.unique = False
        self.contains: Node | None = None
        self.min_contains: float = 1
        self.max_contains: float | None = None
        self.unevaluated_items: Node | None = None
        self.properties: dict[str, Node] = {}
        self.patterns: tuple[tuple[re.Pattern[str], Node], ...] = ()
        self.additional: Node | None = None
        self.property_names: Node | None = None
        self.required: tuple[str, ...] = ()
        self.min_properties: float | None = None
        self.max_properties: float | None = None
        self.dependent_required: dict[str, tuple[str, ...]] = {}
        self.dependent_schemas: dict[str, Node] = {}
        self.unevaluated_properties: Node | None = None
        self.all_of: tuple[Node, ...] = ()  # `$ref` among them
        self.any_of: tuple[Node, ...] = ()
        self.one_of: tuple[Node, ...] = ()
        self.not_: Node | None = None
        self.if_: Node | None = None
        self.then_: Node | None = None
        self.else_: Node | None = None
        self.in_place: tuple[Node, ...] = ()  # every schema that judges the same value

    @property
    def unevaluated(self) -> bool:
        return self.unevaluated_items is not None or self.unevaluated_properties is not None

    def of_name(self, name: str) -> list[Node]:
        """The schemas that ``properties``, ``patternProperties`` and ``additionalProperties`` have for a name."""
        found = [self.properties[name]] if name in self.properties else []
        found += [node for pattern, node in self.patterns if pattern.search(name)]
        return found or ([] if self.additional is None else [self.additional])


ALWAYS: Final = Node()
NEVER: Final = Node(never=True)


def canonical(value: Any) -> Any:
    """Something hashable that is equal for equal JSON values: 1 and 1.0 are, 1 and true are not."""
    kind = type(value)
    if kind is bool:
        return (kind, value)
    if kind is list:
        return (kind, tuple(map(canonical, value)))
    if kind is dict:
        return (kind, frozenset((name, canonical(item)) for name, item in value.items()))
    return value


def shown(value: Any) -> str:
    """A value for a sentence, cut if it is long."""
    if isinstance(value, list | dict) and value:
        return f"{'an array' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = json.dumps(value[: _SHOWN + 1] if isinstance(value, str) else value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
