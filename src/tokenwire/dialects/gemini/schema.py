"""Gemini's first schemas (a piece of OpenAPI 3.0, types in capitals) as the JSON Schema that everybody else takes."""

from __future__ import annotations

from typing import Any, Final

_NUMBERS: Final = ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength")
_NAMED: Final = ("properties", "defs", "$defs")
_LISTS: Final = ("anyOf", "prefixItems")
_INNER: Final = ("items", "additionalProperties")
#: Says nothing of what is valid.
_LEFT_OUT: Final = ("nullable", "propertyOrdering", "property_ordering", "example")


def to_json_schema(schema: Any) -> Any:
    """*schema* as JSON Schema. What is no object stays as it is (``additionalProperties`` may be true)."""
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for name, value in schema.items():
        name = _camel(name)
        if name == "type" and isinstance(value, str):
            if value != "TYPE_UNSPECIFIED":
                out["type"] = value.lower()
        elif name in _NUMBERS and isinstance(value, str) and value.isdecimal():
            out[name] = int(value)  # 64 bits are strings in protobuf's JSON
        elif name in _NAMED and isinstance(value, dict):
            name = "$defs" if name == "defs" else name
            out[name] = {inner: to_json_schema(each) for inner, each in value.items()}
        elif name in _LISTS and isinstance(value, list):
            out[name] = [to_json_schema(each) for each in value]
        elif name in _INNER:
            out[name] = to_json_schema(value)
        elif name not in _LEFT_OUT:
            out["$ref" if name == "ref" else name] = value
    if schema.get("nullable") is True:
        _allow_null(out)
    return out


def _allow_null(schema: dict[str, Any]) -> None:
    if isinstance(kind := schema.get("type"), str):
        schema["type"] = [kind, "null"]
    elif isinstance(choices := schema.get("anyOf"), list):
        choices.append({"type": "null"})
    if isinstance(values := schema.get("enum"), list) and None not in values:
        schema["enum"] = [*values, None]


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return name if not head else head + "".join(word.capitalize() for word in rest)
