"""Google's schemas, a dialect of OpenAPI's, as JSON Schema."""

from __future__ import annotations

from typing import Any

# Written as strings, as every 64-bit number in Google's JSON.
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_SAME = ("description", "title", "format", "enum", "pattern", "minimum", "maximum", "default", "required", *_COUNTS)


def json_schema(schema: Any) -> Any:
    """*schema* in the words of JSON Schema; what is no object is returned as it is, for others to complain about."""
    if not isinstance(schema, dict):
        return schema
    names = {_camel(name): value for name, value in schema.items()}
    found = {name: _number(names[name]) if name in _COUNTS else names[name] for name in _SAME if name in names}
    kind = names.get("type")
    if isinstance(kind, str):
        found["type"] = kind.lower()
    elif isinstance(kind, list):
        found["type"] = [str(each).lower() for each in kind]
    if isinstance(names.get("properties"), dict):
        properties = names["properties"]
        first = names.get("propertyOrdering")
        order = (
            [name for name in first if isinstance(name, str) and name in properties] if isinstance(first, list) else []
        )
        order += [name for name in properties if name not in order]
        found["properties"] = {name: json_schema(properties[name]) for name in order}
        found["additionalProperties"] = False
    if "items" in names:
        found["items"] = json_schema(names["items"])
    if isinstance(names.get("anyOf"), list):
        found["anyOf"] = [json_schema(each) for each in names["anyOf"]]
    if names.get("nullable") is True:
        return {"anyOf": [found, {"type": "null"}]}
    return found


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
