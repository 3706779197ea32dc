"""Schemas judged while the text comes: the verdict of `jsonschema`, and never a verdict too early."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tokenwire.errors import InvalidSchema, SchemaViolation
from tokenwire.wire.json_schema import JsonSchema
from tokenwire.wire.partial_json import PartialJson

NAMES = st.sampled_from(["a", "b", "cc"])
SCALARS: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, 2, -1, 1.0, 1.5, "", "a", "b", "ab", "cc", "😀"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
SMALL = st.integers(0, 3)
TYPES = st.sampled_from(["null", "boolean", "string", "array", "object", "number", "integer"])


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(NAMES, inner, max_size=3)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=4), "const": VALUES,
        "minLength": SMALL, "maxLength": SMALL, "pattern": st.sampled_from(["^a", "b$", "c+"]),
        "minimum": SMALL, "exclusiveMinimum": SMALL, "maximum": SMALL, "exclusiveMaximum": SMALL,
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "prefixItems": several, "items": inner, "contains": inner, "minContains": SMALL, "maxContains": SMALL,
        "minItems": SMALL, "maxItems": SMALL, "uniqueItems": st.booleans(), "unevaluatedItems": inner,
        "properties": named, "patternProperties": st.dictionaries(st.sampled_from(["a|b", "^c"]), inner, max_size=2),
        "additionalProperties": inner, "propertyNames": inner, "required": st.lists(NAMES, max_size=2, unique=True),
        "minProperties": SMALL, "maxProperties": SMALL, "unevaluatedProperties": inner,
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "dependentSchemas": named,
        "allOf": several, "anyOf": several, "oneOf": several, "not": inner, "if": inner, "then": inner, "else": inner,
        "$ref": st.sampled_from(["#/$defs/tree", "#/$defs/leaf", "#it"]),
    }  # fmt: skip
    return st.lists(st.sampled_from(sorted(keywords)), max_size=4, unique=True).flatmap(
        lambda words: st.fixed_dictionaries({word: keywords[word] for word in words})
    )


SCHEMAS: st.SearchStrategy[Any] = st.recursive(st.booleans() | _schemas(st.booleans()), _schemas, max_leaves=8)
DEFS = {
    "tree": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/tree"}}, {"type": ["string", "number"]}]},
    "leaf": {"$anchor": "it", "enum": ["a", "ab", 1, None]},
}


def valid(schema: Any, value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def streamed(schema: JsonSchema, text: str) -> SchemaViolation | None:
    parser = PartialJson(schema=schema)
    try:
        for char in text:
            parser.feed(char)
        parser.close()
    except SchemaViolation as violation:
        return violation
    return None


@pytest.mark.untraced
@settings(max_examples=200, deadline=None, derandomize=True)
@given(schema=SCHEMAS, values=st.lists(VALUES, min_size=1, max_size=4))
@example(schema={"if": {"type": "object"}, "then": False, "else": {"not": {"const": 1}}}, values=[{}, 1, 2])
@example(schema={"dependentSchemas": {"a": {"const": None}}}, values=["", "a"])
@example(schema={"oneOf": [{"$ref": "#/$defs/leaf"}, {"$ref": "#it"}]}, values=["a"])
@example(
    schema={"allOf": [{"prefixItems": [True]}], "contains": {"const": 1}, "unevaluatedItems": False},
    values=[[0, 1], [0, 2]],
)
@example(
    schema={
        "properties": {"a": True},
        "dependentSchemas": {"a": {"properties": {"b": True}}},
        "unevaluatedProperties": False,
    },
    values=[{"a": 1, "b": 2}, {"b": 2}],
)
def test_the_verdict_is_that_of_jsonschema(schema: Any, values: list[Any]) -> None:
    if isinstance(schema, dict):
        schema = {**schema, "$defs": DEFS}
    ours = JsonSchema(schema)
    for value in values:
        violation = streamed(ours, json.dumps(value))
        assert (violation is None) is valid(schema, value), violation
        # Nothing is taken back, so a violation on the beginning of a valid text would be a wrong verdict here, too.
        assert at_once(ours, value) is (violation is None)


def at_once(schema: JsonSchema, value: Any) -> bool:
    try:
        schema.check(value)
    except SchemaViolation:
        return False
    return True


SHOP = {
    "type": "object",
    "required": ["kind", "items"],
    "additionalProperties": False,
    "properties": {
        "kind": {"enum": ["order", "offer", "return"]},
        "items": {
            "type": "array", "maxItems": 2, "uniqueItems": True,
            "items": {
                "anyOf": [
                    {"type": "null"},
                    {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}, "to": {"maxLength": 3}}},
                ]
            },
        },
        "note": {"type": ["string", "null"], "pattern": "^[a-z]*$"},
        "size": {"oneOf": [{"const": "S"}, {"const": "L"}]},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seen", "path", "keyword", "said"),
    [
        ("[", "[", "", "type", "expected object, found array"),
        ('{"kind": 12', '{"kind": 1', "/kind", "enum", 'expected one of "order", "offer", "return", found number'),
        ('{"kind": "ox"', '{"kind": "ox', "/kind", "enum", 'found a string that begins with "ox"'),
        ('{"kind": "or"', '{"kind": "or"', "/kind", "enum", 'found "or"'),
        ('{"kinds": 1', '{"kinds"', "", "additionalProperties", 'expected no names but "kind", "items"'),
        ('{"items": [null, {}, 1', '{"items": [null, {}, 1', "/items", "maxItems", "expected at most 2 items"),
        ('{"items": [{}, {}]', '{"items": [{}, {}', "/items", "uniqueItems", "found {} twice"),
        ('{"items": ["a', '{"items": ["', "/items/0", "anyOf", "expected null or object, found string"),
        ('{"items": [{"n": 10}', '{"items": [{"n": 10}', "/items/0/n", "maximum", "expected at most 9, found 10"),
        ('{"items": [{"n": 1.5,', '{"items": [{"n": 1.5,', "/items/0/n", "type", "expected integer, found 1.5"),
        ('{"items": [{"to": "abcdef"', '{"items": [{"to": "abcd', "/items/0/to", "maxLength", "at most 3 characters"),
        ('{"note": "A"}', '{"note": "A"', "/note", "pattern", "expected a match of ^[a-z]*$, found \"A\""),
        ('{"size": "M"', '{"size": "M', "/size", "oneOf", 'expected "S" or "L", found a string that begins with "M"'),
        ('{"kind": "order"} ', '{"kind": "order"}', "", "required", 'expected the names "items", found none of them'),
    ],
)  # fmt: skip
def test_a_violation_is_told_at_the_first_token_that_proves_it(
    text: str, seen: str, path: str, keyword: str, said: str
) -> None:
    parser = PartialJson(schema=JsonSchema(SHOP))
    for char in seen[:-1]:
        parser.feed(char)
    with pytest.raises(SchemaViolation) as caught:
        parser.feed(text[len(seen) - 1 :])
    violation = caught.value
    assert text.startswith(seen)
    assert (violation.pointer, violation.keyword) == (path, keyword)
    assert said in str(violation)
    assert violation.offset is not None
    assert violation.offset == len(seen) - 1
    assert violation.line == 1
    assert violation.column == violation.offset + 1
    with pytest.raises(SchemaViolation) as again:
        parser.feed(" ")
    assert again.value is violation


@pytest.mark.parametrize(
    ("schema", "text", "offset"),
    [
        ({"maxLength": 3}, '"a\\u00e4\\nbc"', 10),
        ({"maxLength": 1}, '"\\ud83d\\ude00x"', 13),
        ({"enum": ["a\nb", "a\nc"]}, '"a\\nd"', 4),
        ({"enum": [1]}, "[]", 0),
        ({"items": {"type": "null"}}, "[null,\n tru", 8),
        ({"maximum": 1}, "12e1 ", 4),
        ({"maximum": 1}, "12", 2),
        ({"const": True}, "false", 4),
        ({"anyOf": [{"maxLength": 1}, {"const": "abc"}]}, '"abdefg"', 3),
    ],
)
def test_a_violation_is_at_one_place_however_the_text_is_cut(schema: Any, text: str, offset: int) -> None:
    found = []
    for size in (1, 3, len(text)):
        parser = PartialJson(schema=JsonSchema(schema))
        with pytest.raises(SchemaViolation) as caught:
            _feed_and_close(parser, [text[i : i + size] for i in range(0, len(text), size)])
        found.append(str(caught.value))
        assert caught.value.offset == offset
    assert len(set(found)) == 1


def _feed_and_close(parser: PartialJson, pieces: list[str]) -> None:
    for piece in pieces:
        parser.feed(piece)
    parser.close()


def test_the_value_up_to_a_violation_can_still_be_seen() -> None:
    parser = PartialJson(schema=JsonSchema(SHOP))
    with pytest.raises(SchemaViolation):
        parser.feed('{"kind": "order", "note": "ab", "size": 4')
    assert parser.value() == {"kind": "order", "note": "ab"}


def test_a_number_at_the_top_is_judged_when_the_text_ends() -> None:
    parser = PartialJson(schema=JsonSchema({"minimum": 100}))
    parser.feed("12")
    with pytest.raises(SchemaViolation, match=r"at least 100, found 12$"):
        parser.close()


def test_branches_of_branches_do_not_multiply() -> None:
    schema: Any = {"$ref": "#/$defs/n", "$defs": {"n": {"anyOf": [
        {"type": "array", "items": {"$ref": "#/$defs/n"}, "maxItems": 1},
        {"type": "array", "items": {"$ref": "#/$defs/n"}, "minItems": 0},
    ]}}}  # fmt: skip
    depth = 200  # each level has two branches that live: 2 ** 200 for a judge that goes through them one by one
    judge = JsonSchema(schema).judge()
    for _ in range(depth):
        judge.start("array")
    assert sum(len(place.checks) for place in judge._places) <= 3 * depth + 1


def test_decimals_are_compared_as_they_are_written() -> None:
    tenths = JsonSchema({"multipleOf": 0.1})
    tenths.check(0.3)
    for value in (0.25, float("inf")):
        with pytest.raises(SchemaViolation, match=r"multiple of 0\.1"):
            tenths.check(value)


def test_formats_are_judged_by_those_who_bring_a_judge() -> None:
    schema = {"type": "string", "format": "even"}
    JsonSchema(schema).check("abc")
    even = JsonSchema(schema, formats={"even": lambda text: len(text) % 2 == 0})
    even.check("ab")
    with pytest.raises(SchemaViolation, match="the format even"):
        even.check("abc")


def test_a_name_given_twice_is_judged_each_time() -> None:
    parser = PartialJson(schema=JsonSchema({"properties": {"a": {"type": "string"}}, "maxProperties": 1}))
    parser.feed('{"a": "x", "a": "y"')
    with pytest.raises(SchemaViolation):
        parser.feed(', "a": 1')


@pytest.mark.parametrize(
    ("schema", "pointer", "said"),
    [
        (7, "", "a schema is an object, true or false, not 7"),
        ({"properties": {"a/b": "x"}}, "/properties/a~1b", 'not "x"'),
        ({"type": "text"}, "/type", "'text' is not a type"),
        ({"type": [1]}, "/type", "list of names"),
        ({"required": "a"}, "/required", "list of names"),
        ({"maxItems": -1}, "/maxItems", "whole number"),
        ({"minLength": True}, "/minLength", "a number, not true"),
        ({"minimum": None}, "/minimum", "not null"),
        ({"exclusiveMinimum": True}, "/exclusiveMinimum", "a number"),
        ({"multipleOf": 0}, "/multipleOf", "above 0"),
        ({"pattern": "("}, "/pattern", "cannot read the pattern '('"),
        ({"items": [True]}, "/items", "prefixItems"),
        ({"dependencies": {}}, "/dependencies", "dependentRequired"),
        ({"$ref": "other.json"}, "", "only references within the schema"),
        ({"$ref": "#/$defs/x"}, "", "leads nowhere"),
        ({"$ref": "#x"}, "", "the anchor 'x' does not exist"),
        ({"$ref": "#"}, "", "lead to each other"),
        ({"allOf": [{"anyOf": [{"$ref": "#"}]}]}, "", "refers to itself"),
        ({"items": {"$id": "x"}}, "/items", "$id below the root"),
        ({"$dynamicRef": "#x"}, "/$dynamicRef", "not supported"),
    ],
)
def test_a_schema_that_cannot_be_judged_is_refused(schema: Any, pointer: str, said: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        JsonSchema(schema)
    assert caught.value.pointer == pointer
    assert said in str(caught.value)


def test_annotations_and_unknown_words_are_ignored() -> None:
    schema = {
        "$schema": "x",
        "$id": "y",
        "title": "t",
        "format": "email",
        "nullable": True,
        "default": 1,
        "then": False,
    }
    JsonSchema(schema).check("abc")


def test_a_schema_nested_without_end_is_refused() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"not": deep}
    with pytest.raises(InvalidSchema, match="nested too deeply"):
        JsonSchema(deep)
