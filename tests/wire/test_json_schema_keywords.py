"""Each keyword by itself: what it lets pass, and how it says no. The verdicts are those of `jsonschema`, too."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tokenwire.errors import SchemaViolation
from tokenwire.wire.json_schema import JsonSchema
from tokenwire.wire.partial_json import PartialJson

AB = {"properties": {"a": True}, "patternProperties": {"^b": {"type": "integer"}}}

#: (schema, values that pass, one that does not, how much of it is read until then, keyword, words)
CASES: list[tuple[Any, list[Any], Any, str, str, str]] = [
    (False, [], 1, "1", "false schema", "nothing at this place, found number"),
    ({"properties": {"a": False}}, [{}, {"b": 1}], {"a": 1}, '{"a": 1', "false schema", "nothing"),
    ({"type": ["string", "integer"]}, ["a", 1, 1.0], 1.5, "1.5", "type", "expected integer, found 1.5"),
    ({"const": {"a": [1]}}, [{"a": [1.0]}], {"a": [True]}, '{"a": [true]}', "const", "expected an object of 1, found"),
    ({"const": 1, "enum": [2]}, [], 1, "1", "const", "nothing at all"),
    ({"enum": ["x" * 70, 1]}, [1], "y", '"y', "enum", "…"),
    ({"minLength": 2}, ["ab", 1], "😀", '"😀"', "minLength", 'at least 2 characters, found "😀"'),
    ({"exclusiveMinimum": 1, "exclusiveMaximum": 3}, [2, "a"], 3, "3", "exclusiveMaximum", "less than 3, found 3"),
    ({"multipleOf": 2.5}, [5, 0, 7.5], 6, "6", "multipleOf", "a multiple of 2.5, found 6"),
    (
        {"prefixItems": [{"type": "string"}], "items": {"type": "null"}},
        [["a", None], []],
        [None],
        "[n",
        "type",
        "string",
    ),
    ({"minItems": 2}, [[1, 2], {}], [1], "[1]", "minItems", "at least 2 items, found 1"),
    (
        {"uniqueItems": True},
        [[1, True, [1], [True], {"a": 1}]],
        [{"a": 1}, {"a": 1.0}],
        '[{"a": 1}, {"a": 1.0}',
        "uniqueItems",
        "twice",
    ),
    (
        {"contains": {"type": "null"}},
        [[1, None], 1],
        [1, 2],
        "[1, 2]",
        "contains",
        "at least 1 items of its kind, found 0",
    ),
    (
        {"contains": {"const": 1}, "minContains": 0, "maxContains": 1},
        [[], [1]],
        [1, 2, 1, 3],
        "[1, 2, 1,",
        "maxContains",
        "one more",
    ),
    (
        {"prefixItems": [True], "unevaluatedItems": {"type": "string"}},
        [[1, "a"]],
        [1, "a", 2],
        '[1, "a", 2]',
        "unevaluatedItems",
        "item 2",
    ),
    (
        {"anyOf": [{"items": {"type": "integer"}}, {"prefixItems": [True]}], "unevaluatedItems": False},
        [[1], ["a"], [1, 2]],
        ["a", 1],
        '["a", 1]',
        "unevaluatedItems",
        "item 1",
    ),
    (
        {"$ref": "#/$defs/x", "unevaluatedItems": False, "$defs": {"x": {"unevaluatedItems": True}}},
        [[1]],
        None,
        "",
        "",
        "",
    ),
    (
        {**AB, "additionalProperties": False},
        [{"a": 1, "b1": 2}],
        {"c": 1},
        '{"c"',
        "additionalProperties",
        'no names but "a", found "c"',
    ),
    ({"additionalProperties": False}, [{}], {"c": 1}, '{"c"', "additionalProperties", "expected no names, found"),
    (
        {**AB, "additionalProperties": {"type": "null"}},
        [{"c": None}],
        {"bb": None},
        '{"bb": n',
        "type",
        "expected integer",
    ),
    (
        {**AB, "unevaluatedProperties": False},
        [{"a": 1, "b": 1}],
        {"c": 1},
        '{"c": 1}',
        "unevaluatedProperties",
        'found "c"',
    ),
    (
        {"unevaluatedProperties": {"type": "null"}, "allOf": [AB]},
        [{"a": 1, "c": None}],
        {"c": 1},
        '{"c": 1}',
        "unevaluatedProperties",
        "no further names",
    ),
    ({"allOf": [{"additionalProperties": True}], "unevaluatedProperties": False}, [{"c": 1}], None, "", "", ""),
    ({"allOf": [{"unevaluatedProperties": True}], "unevaluatedProperties": False}, [{"c": 1}], None, "", "", ""),
    (
        {"propertyNames": {"maxLength": 2}},
        [{"ab": 1}],
        {"abc": 1},
        '{"abc"',
        "propertyNames",
        "names that are at most 2 characters",
    ),
    ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}], {}, "{}", "minProperties", "at least 1 names, found 0"),
    ({"maxProperties": 1}, [{"a": 1}], {"a": 1, "b": 2, "c": 3}, '{"a": 1, "b"', "maxProperties", "at most 1 names"),
    (
        {"dependentRequired": {"a": ["b", "c"]}},
        [{"b": 1}, {"a": 1, "b": 1, "c": 1}],
        {"a": 1, "b": 2},
        '{"a": 1, "b": 2}',
        "dependentRequired",
        'with "a" also "c"',
    ),
    (
        {"dependentSchemas": {"a": {"required": ["b"]}}},
        [{"c": 1}, {"a": 1, "b": 1}],
        {"a": 1},
        '{"a": 1}',
        "required",
        'the names "b"',
    ),
    (
        {"dependentSchemas": {"a": {"properties": {"b": {"const": 1}}}}},
        [{"b": 2}],
        {"b": 2, "a": 1},
        '{"b": 2, "a"',
        "const",
        "expected 1, found 2",
    ),
    (
        {"oneOf": [{"minimum": 1}, {"maximum": 5}]},
        [0, 6],
        3,
        "3",
        "oneOf",
        "exactly one of the alternatives to fit, found a value that fits 2",
    ),
    ({"oneOf": [{"type": "null"}, {"type": "null"}]}, [], 1, "1", "type", "expected null, found number"),
    ({"not": {"required": ["a"]}}, [{"b": 1}], {"a": 1}, '{"a": 1}', "not", "something else, found an object of 1"),
    (
        {"if": {"type": "string"}, "then": {"maxLength": 1}, "else": {"const": 1}},
        ["a", 1],
        2,
        "2",
        "const",
        "expected 1",
    ),
    ({"if": {"type": "string"}, "then": {"maxLength": 1}}, ["a", 2], "ab", '"ab"', "maxLength", "at most 1"),
    (
        {"if": {"minLength": 3}, "then": {"pattern": "^a"}, "else": {"enum": ["x", "y"]}},
        ["abc", "x"],
        "zz",
        '"zz"',
        "enum",
        '"x", "y"',
    ),
    ({"then": False}, [1], None, "", "", ""),
]


@pytest.mark.parametrize(("schema", "good", "bad", "seen", "keyword", "words"), CASES)
def test_a_keyword_passes_and_refuses(
    schema: Any, good: list[Any], bad: Any, seen: str, keyword: str, words: str
) -> None:
    theirs = jsonschema.Draft202012Validator(schema)
    ours = JsonSchema(schema)
    for value in good:
        assert theirs.is_valid(value)
        parser = PartialJson(schema=ours)
        parser.feed(json.dumps(value))
        parser.close()
    if not keyword:
        return
    assert not theirs.is_valid(bad)
    parser = PartialJson(schema=ours)
    text = json.dumps(bad, ensure_ascii=False)
    with pytest.raises(SchemaViolation) as caught:
        feed_and_close(parser, text)
    assert caught.value.keyword == keyword
    assert words in str(caught.value)
    assert text.startswith(seen.rstrip(","))
    early = PartialJson(schema=ours)
    early.feed(seen[:-1])
    with pytest.raises(SchemaViolation):
        feed_and_close(early, seen[-1])


def feed_and_close(parser: PartialJson, text: str) -> None:
    parser.feed(text)
    parser.close()
