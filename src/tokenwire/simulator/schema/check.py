"""Does a value satisfy a schema? The assertions of JSON Schema 2020-12, and older spellings.

Written here because the simulator must not need a validator at run time, and compared with the reference one
in the tests. Formats are annotations, as the standard has it (2020-12, section 7.2.1), and are not checked.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

Schema: TypeAlias = Any  # a dict, True or False; whatever else a client sends is found out in `resolve`


class SchemaError(ValueError):
    """The schema itself is wrong: a reference that leads nowhere, a keyword of the wrong type."""


class UnsatisfiableError(ValueError):
    """No value was found: the schema contradicts itself, or asks for more than we are willing to write."""


def resolve(ref: object, root: Schema) -> Schema:
    """Follow a local reference (``#``, ``#/$defs/name``); nothing remote is fetched: a ``SchemaError``."""
    if not isinstance(ref, str) or not ref.startswith("#"):
        raise SchemaError(f"only references within the schema are followed, not {ref!r}")
    node = root
    for part in unquote(ref[1:]).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")  # RFC 6901, section 4: in this order
        try:
            node = node[int(key)] if isinstance(node, list) else node[key]
        except (KeyError, ValueError, IndexError, TypeError):
            raise SchemaError(f"the reference {ref!r} leads nowhere") from None
    return node


def same(a: Any, b: Any) -> bool:
    """JSON equality: 1 equals 1.0, but True is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


@functools.lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """The ECMA 262 pattern for Python, or None where Python cannot read it (``\\p{…}`` classes)."""
    try:
        return re.compile(re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", pattern))
    except (re.error, OverflowError):
        return None


def pattern_found(pattern: str, text: str) -> bool:
    """Unanchored search, as the standard says. A pattern that we cannot read is taken as found."""
    regex = compiled(pattern)
    return regex is None or regex.search(text) is not None


def is_multiple(value: float, step: float) -> bool:
    """Whether *value* is a multiple of *step*, as the decimals that they print as (0.3 is one of 0.1)."""
    return Fraction(str(value)) % Fraction(str(step)) == 0


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: not isinstance(v, bool) and (isinstance(v, int) or (isinstance(v, float) and v.is_integer())),
}


def types_of(schema: dict[str, Any]) -> list[str] | None:
    """The ``type`` keyword as a list, None if absent."""
    given = schema.get("type")
    if given is None:
        return None
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) and name in _TYPES for name in names):
        raise SchemaError(f"{given!r} is not a type")
    return names


def matches(value: Any, schema: Schema, root: Schema) -> bool:
    """Whether *value* satisfies *schema*, whose references are looked up in *root*."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        raise SchemaError(f"a schema is an object or a boolean, not {schema!r}")
    names = types_of(schema)
    if names is not None and not any(_TYPES[name](value) for name in names):
        return False
    if "const" in schema and not same(value, schema["const"]):
        return False
    if "enum" in schema and not any(same(value, each) for each in schema["enum"]):
        return False
    return _combined(value, schema, root) and _BY_TYPE.get(type(value), _anything)(value, schema, root)


def _anything(value: Any, schema: dict[str, Any], root: Schema) -> bool:
    return True


def _combined(value: Any, schema: dict[str, Any], root: Schema) -> bool:
    if "$ref" in schema and not matches(value, resolve(schema["$ref"], root), root):
        return False
    if not all(matches(value, each, root) for each in schema.get("allOf", ())):
        return False
    if "anyOf" in schema and not any(matches(value, each, root) for each in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(matches(value, each, root) for each in schema["oneOf"]) != 1:
        return False
    if "not" in schema and matches(value, schema["not"], root):
        return False
    if "if" in schema:
        branch = "then" if matches(value, schema["if"], root) else "else"
        return matches(value, schema.get(branch, True), root)
    return True


def _string(value: str, schema: dict[str, Any], root: Schema) -> bool:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return False
    return "pattern" not in schema or pattern_found(schema["pattern"], value)


def _number(value: float, schema: dict[str, Any], root: Schema) -> bool:
    low, above, high, below = number_bounds(schema)
    if (low is not None and value < low) or (high is not None and value > high):
        return False
    if (above is not None and value <= above) or (below is not None and value >= below):
        return False
    return "multipleOf" not in schema or is_multiple(value, schema["multipleOf"])


def number_bounds(schema: dict[str, Any]) -> tuple[float | None, float | None, float | None, float | None]:
    """(minimum, exclusive minimum, maximum, exclusive maximum); draft 4 wrote booleans for the exclusive."""
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if isinstance(above, bool):
        low, above = (None, low) if above else (low, None)
    if isinstance(below, bool):
        high, below = (None, high) if below else (high, None)
    return low, above, high, below


def _array(value: list[Any], schema: dict[str, Any], root: Schema) -> bool:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    prefix, rest = item_schemas(schema)
    for i, item in enumerate(value):
        if not matches(item, prefix[i] if i < len(prefix) else rest, root):
            return False
    if schema.get("uniqueItems") and any(same(a, b) for i, a in enumerate(value) for b in value[:i]):
        return False
    if "contains" in schema:
        hits = sum(matches(item, schema["contains"], root) for item in value)
        return bool(schema.get("minContains", 1) <= hits <= schema.get("maxContains", hits))
    return True


def item_schemas(schema: dict[str, Any]) -> tuple[list[Schema], Schema]:
    """(schemas by position, schema of the rest); before 2020-12 ``items`` could be the list itself."""
    items = schema.get("items", True)
    if isinstance(items, list):
        return items, schema.get("additionalItems", True)
    return schema.get("prefixItems", []), items


def _object(value: dict[str, Any], schema: dict[str, Any], root: Schema) -> bool:
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        return False
    if not all(name in value for name in schema.get("required", ())):
        return False
    for name, item in value.items():
        if not all(matches(item, each, root) for each in schemas_of_property(schema, name)):
            return False
        if not matches(name, schema.get("propertyNames", True), root):
            return False
    for name, needed in dependencies(schema).items():
        if name in value and not (
            all(other in value for other in needed) if isinstance(needed, list) else matches(value, needed, root)
        ):
            return False
    return True


def schemas_of_property(schema: dict[str, Any], name: str) -> list[Schema]:
    """Every schema that the value of the property *name* must satisfy."""
    found = []
    if name in schema.get("properties", {}):
        found.append(schema["properties"][name])
    found += [each for pattern, each in schema.get("patternProperties", {}).items() if pattern_found(pattern, name)]
    return found or [schema.get("additionalProperties", True)]


def dependencies(schema: dict[str, Any]) -> dict[str, Any]:
    """Property name -> names it needs (a list), or a schema for the whole object; old and new spelling."""
    return {
        **schema.get("dependencies", {}),
        **schema.get("dependentRequired", {}),
        **schema.get("dependentSchemas", {}),
    }


_BY_TYPE: dict[type, Callable[[Any, dict[str, Any], Schema], bool]] = {
    str: _string,
    int: _number,
    float: _number,
    list: _array,
    dict: _object,
}
