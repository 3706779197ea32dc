"""A JSON Schema as OpenAI's structured outputs want it with ``strict``."""

from __future__ import annotations

from typing import Any, Final

#: What is left in. Of the rest, what describes is dropped, and so is what only narrows: the value is validated in the
#: end anyway (OpenAI's guide to structured outputs, "Supported schemas").
_KEPT: Final = frozenset(
    {
        "$ref", "additionalProperties", "anyOf", "const", "description", "enum", "exclusiveMaximum",
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
    definitions = schema.get("$defs", {})
    root = {name: value for name, value in schema.items() if name != "$defs"}
    try:
        if "$ref" in root:
            root = _inlined(root, definitions)  # the root has to be an object itself
        made = _adjusted(root, definitions, ())
        if definitions:
            made["$defs"] = {name: _adjusted(each, definitions, ()) for name, each in definitions.items()}
    except _UnsayableError:
        return None
    return made if made.get("type") == "object" else None


def _adjusted(given: Any, definitions: dict[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
    """*given* for strict; *within* names what it was put in place of a reference to."""
    if not isinstance(given, dict) or any(word in given for word in _UNSAYABLE):
        raise _UnsayableError
    schema: dict[str, Any] = {name: value for name, value in given.items() if name in _KEPT}
    if "oneOf" in given:  # alternatives of a union, of which at most one fits
        schema["anyOf"] = given["oneOf"]
    if "$ref" in schema:
        ref = schema["$ref"]
        if len(schema) == 1 or ref in within:
            return {"$ref": ref}
        return _adjusted(_inlined(schema, definitions), definitions, (*within, ref))  # it may have nothing beside it
    if schema.get("format", "date") not in _FORMATS:
        del schema["format"]
    if "anyOf" in schema:
        schema["anyOf"] = [_adjusted(each, definitions, within) for each in schema["anyOf"]]
    elif "type" not in schema and "enum" not in schema and "const" not in schema:
        raise _UnsayableError
    if schema.get("type") == "array":
        schema["items"] = _adjusted(schema.get("items"), definitions, within)
    if schema.get("type") == "object":
        if schema.get("additionalProperties", False) is not False or "properties" not in schema:
            raise _UnsayableError
        members = schema["properties"].items()
        schema["properties"] = {name: _adjusted(each, definitions, within) for name, each in members}
        schema["required"] = list(schema["properties"])
        schema["additionalProperties"] = False
    return schema


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """*schema* with what it refers to in place of the reference. pydantic and msgspec refer to ``$defs`` only."""
    name = schema["$ref"].removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")
    return {**definitions[name], **{word: value for word, value in schema.items() if word != "$ref"}}
