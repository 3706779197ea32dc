"""Several schemas into one: references followed, ``allOf`` folded in, alternatives listed.

``flatten`` gives one plain dict of assertions (``core``), the decisions still to be made (``choices``: of
each list one schema has to be merged in), and whether the finished value must be checked, because something
can't be merged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tokenwire.simulator.schema.check import (
    Schema,
    SchemaError,
    UnsatisfiableError,
    dependencies,
    item_schemas,
    number_bounds,
    resolve,
    same,
    schemas_of_property,
    types_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Flat:
    """A schema taken apart: see the module."""

    core: dict[str, Any] = field(default_factory=dict)
    choices: list[list[Schema]] = field(default_factory=list)
    check: bool = False


# Keywords that are taken apart here, or say nothing about the value.
_STRUCTURE = {
    "$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$defs", "definitions",
    "dependencies",
    "dependentSchemas",
}  # fmt: skip
_NOTES = {
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
}
_PROPERTY_KEYS = {"properties", "patternProperties", "additionalProperties"}
_ITEM_KEYS = {"prefixItems", "items"}


def flatten(schema: Schema, root: Schema) -> Flat:
    """Take *schema* apart, references and all.

    Raises:
        UnsatisfiableError: it is False, or contradicts itself plainly.
        SchemaError: it isn't a schema, or refers to nothing, or only to itself.
    """
    flat = Flat()
    _collect(schema, root, flat, frozenset())
    return flat


def _collect(schema: Schema, root: Schema, flat: Flat, followed: frozenset[str]) -> None:
    if schema is True:
        return
    if schema is False:
        raise UnsatisfiableError("the schema `false` allows nothing")
    if not isinstance(schema, dict):
        raise SchemaError(f"a schema is an object or a boolean, not {schema!r}")
    if "$ref" in schema:
        ref = schema["$ref"]
        target = resolve(ref, root)
        if ref in followed:
            raise SchemaError(f"the reference {ref!r} leads back to itself")
        _collect(target, root, flat, followed | {ref})
    for each in _list(schema, "allOf"):
        _collect(each, root, flat, followed)
    if "anyOf" in schema:
        flat.choices.append(_list(schema, "anyOf"))
    if "oneOf" in schema:
        flat.choices.append(_exclusive(_list(schema, "oneOf")))
    if "if" in schema:
        yes = {"allOf": [schema["if"], schema.get("then", True)]}
        no = {"allOf": [{"not": schema["if"]}, schema.get("else", True)]}
        flat.choices.append([yes, no])
    for name, needed in dependencies(schema).items():
        if not isinstance(needed, list):
            flat.choices.append([{"required": [name], "allOf": [needed]}, {"not": {"required": [name]}}])
    if not {"not", "contains", "dependentRequired", "dependencies"}.isdisjoint(schema):
        flat.check = True
    own = {key: value for key, value in schema.items() if key not in _STRUCTURE}
    needs = {name: needed for name, needed in dependencies(schema).items() if isinstance(needed, list)}
    merge(flat, _modern({**own, "dependentRequired": needs} if needs else own))


def _modern(schema: dict[str, Any]) -> dict[str, Any]:
    """Older spellings in today's: lists in ``items``, boolean exclusive bounds (draft 4)."""
    if isinstance(schema.get("items"), list):
        prefix, rest = item_schemas(schema)
        schema = {**schema, "prefixItems": prefix, "items": rest}
    if isinstance(schema.get("exclusiveMinimum"), bool) or isinstance(schema.get("exclusiveMaximum"), bool):
        names = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
        bounds = dict(zip(names, number_bounds(schema), strict=True))
        schema = {key: value for key, value in schema.items() if key not in names}
        schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    return schema


def _exclusive(options: list[Schema]) -> list[Schema]:
    """``oneOf`` as alternatives that rule each other out."""
    if len(options) == 1:
        return options
    return [{"allOf": [each], "not": {"anyOf": options[:i] + options[i + 1 :]}} for i, each in enumerate(options)]


def _list(schema: dict[str, Any], key: str) -> list[Schema]:
    value = schema.get(key, [])
    if not isinstance(value, list) or (key in schema and not value):
        raise SchemaError(f"{key} must be a list with at least one schema")
    return value


def merge(flat: Flat, new: dict[str, Any]) -> None:
    """Tighten ``flat.core`` by the assertions of *new*."""
    old = flat.core
    merged = {**old, **new}
    for key in old.keys() & new.keys() - _PROPERTY_KEYS - _ITEM_KEYS - _NOTES:
        if key in _MERGE:
            merged[key] = _MERGE[key](old[key], new[key])
        elif old[key] != new[key]:
            # Two patterns, two `contains`: build by the newer one, and check the older one afterwards.
            flat.check = True
    if "prefixItems" in merged and old.keys() & _ITEM_KEYS and new.keys() & _ITEM_KEYS:
        merged.update(_merge_items(old, new))
    elif "items" in old and "items" in new:
        merged["items"] = _both(old["items"], new["items"])
    if old.keys() & _PROPERTY_KEYS and new.keys() & _PROPERTY_KEYS:
        merged.update(_merge_properties(old, new))
    flat.core = merged


def _merge_properties(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Each side rules over every property, by ``additionalProperties`` where it doesn't name it."""
    names = [
        *old.get("properties", {}),
        *(n for n in new.get("properties", {}) if n not in old.get("properties", {})),
    ]
    patterns = old.get("patternProperties", {}).keys() | new.get("patternProperties", {}).keys()
    return {
        "properties": {
            name: {"allOf": [*schemas_of_property(old, name), *schemas_of_property(new, name)]} for name in names
        },
        "patternProperties": {
            pattern: _both(*(side.get("patternProperties", {}).get(pattern, True) for side in (old, new)))
            for pattern in sorted(patterns)
        },
        "additionalProperties": _both(old.get("additionalProperties", True), new.get("additionalProperties", True)),
    }


def _merge_items(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Position by position; beyond its own prefix each side rules by ``items``."""
    (mine, my_rest), (theirs, their_rest) = item_schemas(old), item_schemas(new)
    longest = max(len(mine), len(theirs))
    mine = [*mine, *[my_rest] * (longest - len(mine))]
    theirs = [*theirs, *[their_rest] * (longest - len(theirs))]
    return {"prefixItems": list(map(_both, mine, theirs)), "items": _both(my_rest, their_rest)}


def _common_types(old: Any, new: Any) -> list[str]:
    mine, theirs = types_of({"type": old}) or [], types_of({"type": new}) or []
    common = [name for name in mine if name in theirs]
    if "integer" not in common and "integer" in {*mine, *theirs} and "number" in {*mine, *theirs}:
        common.append("integer")  # every integer is a number
    if not common:
        raise UnsatisfiableError(f"nothing is both {' or '.join(mine)} and {' or '.join(theirs)}")
    return common


def _both(a: Schema, b: Schema) -> Schema:
    if a is True or a == b:
        return b
    return a if b is True else {"allOf": [a, b]}


def _const(a: Any, b: Any) -> Any:
    if not same(a, b):
        raise UnsatisfiableError(f"nothing equals both {a!r} and {b!r}")
    return a


def _enum(a: list[Any], b: list[Any]) -> list[Any]:
    return [each for each in a if any(same(each, other) for other in b)]


def _union(a: list[str], b: list[str]) -> list[str]:
    return [*a, *(name for name in b if name not in a)]


def _all_needs(a: dict[str, list[str]], b: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: _union(a.get(name, []), b.get(name, [])) for name in [*a, *(n for n in b if n not in a)]}


def _either(a: bool, b: bool) -> bool:
    return a or b


def _multiple(a: float, b: float) -> float:
    """The least common multiple of two decimals: lcm(p/q, r/s) = lcm(p, r) / gcd(q, s), in lowest terms."""
    x, y = Fraction(str(a)), Fraction(str(b))
    common = Fraction(math.lcm(x.numerator, y.numerator), math.gcd(x.denominator, y.denominator))
    return int(common) if common.denominator == 1 else float(common)


_MERGE: dict[str, Callable[[Any, Any], Any]] = {
    "type": _common_types,
    "const": _const,
    "enum": _enum,
    "required": _union,
    "dependentRequired": _all_needs,
    "uniqueItems": _either,
    "propertyNames": _both,
    "multipleOf": _multiple,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"), min),
}
