"""A JSON Schema as OpenAI's structured outputs want it with ``strict``."""

from __future__ import annotations

from typing import Any, Final

#: What is left in. Of the rest, what describes is dropped, and so is what only narrows: the value is validated in the
#: end anyway (OpenAI's guide to structured outputs, "Supported schemas").
_KEPT: Final = frozenset(
    {
        "$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum", "exclusiveMaximum",
        "exclusiveMinimum", "format", "items", "maxItems", "maximum", "minItems", "minimum", "multipleOf", "pattern",
        "properties", "required", "title", "type",
    }
)  # fmt: skip
_FORMATS: Final = frozenset({"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"})
#: What cannot be said, and cannot be left out either without asking for something else.
_UNSAYABLE: Final = (
    "allOf",
    "not",
    "if",
    "patternProperties",
    "prefixItems",
    "dependentSchemas",
    "unevaluatedProperties",
)


class _UnsayableError(Exception):
    pass


def strict_schema(schema: dict[str, Any]) -> dict[str, Any] | None:
    """*schema* with every object closed and all its names required; None if that would not be the same type any more.

    That is so where an object may have any names, where a value may be anything, for tuples, and if the root is no
    object. Fields with a default are asked for, too: a value that has them all is one of the type.
    """
    try:
        made = _adjusted(schema, schema)
    except _UnsayableError:
        return None
    if "$defs" in schema and "$ref" in str(made):
        try:
            made["$defs"] = {name: _adjusted(each, schema) for name, each in schema["$defs"].items()}
        except _UnsayableError:
            return None
    return made if made.get("type") == "object" else None


def _adjusted(given: Any, root: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(given, dict) or any(word in given for word in _UNSAYABLE):
        raise _UnsayableError
    schema: dict[str, Any] = {name: value for name, value in given.items() if name in _KEPT and name != "$defs"} | (
        {"anyOf": given["oneOf"]} if "oneOf" in given else {}  # alternatives of a union; at most one of them fits
    )
    if "$ref" in schema:
        if len(schema) == 1 and schema["$ref"] != root.get("$ref"):
            return schema
        schema = {**_target(schema.pop("$ref"), root), **schema}  # a reference may have nothing beside it
        return _adjusted(schema, root)
    if schema.get("format", "date") not in _FORMATS:
        del schema["format"]
    if "anyOf" in schema:
        schema["anyOf"] = [_adjusted(each, root) for each in schema["anyOf"]]
    elif "type" not in schema and "enum" not in schema and "const" not in schema:
        raise _UnsayableError
    if schema.get("type") == "array":
        schema["items"] = _adjusted(schema.get("items"), root)
    if schema.get("type") == "object":
        if schema.get("additionalProperties", False) is not False or "properties" not in schema:
            raise _UnsayableError
        schema["properties"] = {name: _adjusted(each, root) for name, each in schema["properties"].items()}
        schema["required"] = list(schema["properties"])
        schema["additionalProperties"] = False
    return schema


def _target(ref: str, root: dict[str, Any]) -> dict[str, Any]:
    found: Any = root
    for name in ref.removeprefix("#/").split("/"):
        found = found[name.replace("~1", "/").replace("~0", "~")]
    return dict(found)
