"""Values for schemas, judged by the reference validator."""

from __future__ import annotations

import itertools
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.simulator.schema import Hints, SchemaError, UnsatisfiableError, matches, value_for

TREE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "left": {"$ref": "#"}, "right": {"$ref": "#"}},
    "required": ["value"],
    "additionalProperties": False,
}
# A value ends only through the last alternative, which is the simplest.
NESTED = {
    "$defs": {
        "expression": {
            "anyOf": [
                {"type": "object", "properties": {"not": {"$ref": "#/$defs/expression"}}, "required": ["not"]},
                {"type": "array", "items": {"$ref": "#/$defs/expression"}, "minItems": 2},
                {"allOf": [{"type": "array"}], "items": {"$ref": "#/$defs/expression"}, "minItems": 1},
                {"const": "x"},
            ]
        }
    },
    "$ref": "#/$defs/expression",
}
LIST = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "anyOf": [
                {"type": "null"},
                {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]},
            ]
        }
    },
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "email": {"type": "string", "format": "email"},
        "born": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        "home": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["city", "zip"],
            "additionalProperties": False,
        },
        "kind": {"enum": ["private", "business"]},
        "nick": {"type": ["string", "null"]},
    },
    "required": ["name", "email", "born", "tags", "home", "kind", "nick"],
    "additionalProperties": False,
}
SHAPES = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"kind": {"const": "circle"}, "radius": {"type": "number", "exclusiveMinimum": 0}},
            "required": ["kind", "radius"],
        },
        {
            "type": "object",
            "properties": {"kind": {"const": "box"}, "sides": {"type": "array", "minItems": 2, "maxItems": 2}},
            "required": ["kind", "sides"],
        },
    ]
}

SCHEMAS: list[Any] = [
    True,
    {},
    {"type": "object"},
    {"type": "array"},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["integer", "null"]},
    {"const": {"a": [1, None, "x"]}},
    {"enum": [1, "a", None], "type": "string"},
    {"title": "only words", "description": "and no rules", "examples": [1], "$comment": "x"},
    # numbers
    {"type": "integer", "minimum": 5, "maximum": 5},
    {"type": "integer", "minimum": -3},
    {"type": "integer", "maximum": -7},
    {"type": "integer", "maximum": 7},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    {"type": "integer", "multipleOf": 7, "minimum": 100},
    {"type": "integer", "multipleOf": 0.5, "minimum": 3, "maximum": 3},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    {"type": "number", "multipleOf": 0.25, "minimum": 0.1, "maximum": 0.6},
    {"type": "number", "minimum": 1.5, "maximum": 1.5},
    {"minimum": 3},
    {"multipleOf": 3, "type": "number"},
    # strings
    {"type": "string", "minLength": 300, "maxLength": 301},
    {"type": "string", "maxLength": 2},
    {"type": "string", "maxLength": 0},
    {"type": "string", "pattern": "^[A-Z]{2}-\\d{4,6}$"},
    {"type": "string", "pattern": "^(foo|bar)+$", "minLength": 20, "maxLength": 30},
    {"type": "string", "pattern": "x$", "minLength": 40},
    {"type": "string", "pattern": "^[^a-z]\\S\\s\\W\\D\\w?.?$"},
    {"type": "string", "pattern": "^(\\d{4})-(\\d{2})\\2$"},
    {"type": "string", "pattern": "^(?>ab|a)x(?:c){2,}?[^b]q[^ -~]$"},
    {"type": "string", "pattern": "^[^\\n\\t]{3}a.b$"},
    {"type": "string", "pattern": "^\\d{3}$", "format": "uuid"},
    {"type": "string", "format": "uuid", "maxLength": 5},
    {"type": "string", "format": "nobody-knows"},
    # arrays
    {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 5}, "uniqueItems": True, "minItems": 5},
    {"type": "array", "prefixItems": [{"type": "string"}, {"const": 3}], "items": False, "minItems": 2},
    {"type": "array", "items": {"type": "string"}, "contains": {"const": "x"}, "minContains": 2, "minItems": 4},
    {"type": "array", "contains": {"type": "integer"}, "maxContains": 1, "maxItems": 3},
    {"type": "array", "items": False},
    {"items": {"type": "null"}, "minItems": 1},
    # objects
    PERSON,
    {"type": "object", "minProperties": 3, "additionalProperties": {"type": "integer"}},
    {"type": "object", "additionalProperties": {"type": "integer"}},
    {"type": "object", "patternProperties": {"^x-[a-z]+$": {"type": "integer"}}, "additionalProperties": False},
    {"type": "object", "patternProperties": {"^x-[a-z]+$": {}}, "additionalProperties": False, "minProperties": 2},
    {"type": "object", "propertyNames": {"pattern": "^[a-c]{2}$"}, "minProperties": 4},
    {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "maxProperties": 1, "required": ["c"]},
    {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 3, "additionalProperties": False},
    {"type": "object", "properties": {"a": False, "b": {"type": "string"}}},
    {"type": "object", "required": ["not-declared"]},
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "dependentRequired": {"a": ["b"]}},
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "dependentSchemas": {"a": {"properties": {"b": {"type": "null"}}, "required": ["b"]}},
    },
    {
        "type": "object",
        "dependentRequired": {"a": ["b"]},
        "allOf": [{"dependentRequired": {"a": ["c"], "c": ["d"]}, "required": ["a"]}],
    },
    {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": 2},
        "uniqueItems": True,
        "allOf": [{"uniqueItems": False}],
    },
    # several at once
    SHAPES,
    {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    {"oneOf": [{"type": "string"}]},
    {"type": "integer", "oneOf": [{"multipleOf": 3}, {"multipleOf": 5}]},
    {"type": "integer", "allOf": [{"multipleOf": 4}, {"multipleOf": 6}, {"minimum": 30}, {"maximum": 40}]},
    {"allOf": [{"type": "number", "multipleOf": 0.5}, {"multipleOf": 0.75}]},
    {"allOf": [{"type": "number"}, {"type": "integer"}]},
    {"allOf": [{"type": ["string", "null"]}, {"type": ["null", "boolean"]}]},
    {"allOf": [{"const": 3}, {"const": 3.0}]},
    {"allOf": [{"enum": [1, 2, 3]}, {"enum": [3, 4]}]},
    {"allOf": [{"pattern": "^a"}, {"pattern": "^[ab]{3}$"}], "type": "string"},
    {"anyOf": [{"type": "string"}, {"type": "integer"}], "not": {"type": "string"}},
    {"type": ["string", "integer"], "not": {"type": "string"}},
    {"anyOf": [False, {"type": "null"}]},
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "number"}, "a": {"minLength": 20}}, "required": ["b"]},
        ]
    },
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "additionalProperties": {"type": "integer"},
        "allOf": [{"properties": {"b": {"minimum": 7}}, "required": ["b"], "additionalProperties": True}],
    },
    {
        "type": "object",
        "patternProperties": {"^a": {"type": "integer"}},
        "allOf": [{"patternProperties": {"^a": {"minimum": 50}, "b$": {"maximum": 60}}, "required": ["ab"]}],
    },
    {"type": "array", "items": {"type": "integer"}, "allOf": [{"items": {"minimum": 3}, "minItems": 2}]},
    {
        "type": "array",
        "items": {"type": "integer"},
        "allOf": [{"prefixItems": [{"minimum": 3}, {"maximum": 0}], "minItems": 2, "uniqueItems": True}],
    },
    {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}, "x": {"type": "integer"}, "y": {"type": "string"}},
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"required": ["x"]},
        "else": {"required": ["y"]},
    },
    {"if": {"type": "string"}, "then": {"minLength": 30}, "type": "string"},
    # references
    TREE,
    LIST,
    NESTED,
    {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "integer"}}, "minimum": 4},
    {"allOf": [{"type": "null"}, {"$ref": "#/allOf/0"}]},
    {"type": "object", "properties": {f"p{n}": {"$ref": "#"} for n in range(12)}},
]


@pytest.mark.untraced
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: str(schema)[:60])
def test_a_value_satisfies_its_schema(schema: Any) -> None:
    for seed in range(12):
        value = value_for(schema, seed)
        jsonschema.Draft202012Validator(schema).validate(value)
        assert value_for(schema, seed) == value


OLD_SCHEMAS: list[dict[str, Any]] = [
    {"type": "array", "items": [{"type": "string"}, {"type": "integer"}], "additionalItems": False, "minItems": 2},
    {"type": "number", "minimum": 3, "exclusiveMinimum": True, "maximum": 4, "exclusiveMaximum": True},
    {"type": "number", "minimum": 3, "exclusiveMinimum": False, "maximum": 3, "exclusiveMaximum": False},
    {"type": "object", "required": ["a"], "dependencies": {"a": ["b"], "b": {"required": ["c"]}}},
    {"definitions": {"a": {"type": "integer"}}, "$ref": "#/definitions/a"},
]


@pytest.mark.parametrize("schema", OLD_SCHEMAS, ids=lambda schema: str(schema)[:60])
def test_older_drafts_are_understood(schema: dict[str, Any]) -> None:
    for seed in range(12):
        jsonschema.Draft4Validator(schema).validate(value_for(schema, seed))


def test_a_multiple_that_floats_cannot_divide_is_still_found() -> None:
    assert value_for({"type": "number", "multipleOf": 0.1, "minimum": 0.25, "maximum": 0.35}, 0) == 0.3


@pytest.mark.parametrize(
    ("fmt", "pattern"),
    [
        ("date-time", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ("date", r"\d{4}-\d\d-\d\d"),
        ("time", r"\d\d:\d\d:\d\dZ"),
        ("duration", r"P\dDT\d+H"),
        ("email", r"\w+@example\.com"),
        ("ipv4", r"192\.0\.2\.\d+"),
        ("ipv6", r"2001:db8::[0-9a-f]+"),
        ("uuid", r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
        ("uri", r"https://example\.com/.+"),
        ("hostname", r"\w+\.example\.com"),
    ],
)
def test_formats_are_honoured(fmt: str, pattern: str) -> None:
    for seed in range(10):
        assert re.fullmatch(pattern, value_for({"type": "string", "format": fmt}, seed))


def test_groups_named_as_in_ecma_script_are_understood() -> None:
    value = value_for({"type": "string", "pattern": "^(?<year>[0-9]{4})-\\1$"}, 3)
    assert re.fullmatch(r"(\d{4})-\1", value)


def test_every_format_gives_a_string() -> None:
    from tokenwire.simulator.schema import strings

    for fmt in strings._FORMATS:
        assert isinstance(value_for({"type": "string", "format": fmt}, 1), str)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "number", "minimum": 3, "maximum": 1},
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 4},
        {"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.10000000000000002},
        {"type": "string", "minLength": 5, "maxLength": 2},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "minItems": 10**9},
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3},
        {"type": "array", "items": False, "minItems": 1},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "object", "properties": {"abc": {}}, "required": ["abc"], "propertyNames": {"maxLength": 2}},
        {"type": "object", "required": ["a", "b"], "maxProperties": 1},
        {"type": "object", "minProperties": 2, "additionalProperties": False},
        {"type": "string", "pattern": "(?=b)a"},
        {"type": "string", "pattern": "^a{9}$", "maxLength": 3},
        {"type": "string", "pattern": "(a{60000}){60000}"},
        {"type": "string", "pattern": "\\p{L}+"},
        {"type": "string", "pattern": "a{99999999999}"},
        {"enum": [1, 2], "type": "string"},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"allOf": [{"const": 1}, {"const": 2}]},
        {"type": "string", "not": {"type": "string"}},
        {"anyOf": [{"type": "null"}, {"type": "string"}], "type": "integer"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}}},
    ],
    ids=lambda schema: str(schema)[:60],
)
def test_what_nothing_satisfies_is_refused(schema: Any) -> None:
    with pytest.raises(UnsatisfiableError):
        value_for(schema, 0)


@pytest.mark.parametrize(
    "schema",
    [
        5,
        "string",
        {"type": "text"},
        {"type": 5},
        {"minLength": "x"},
        {"type": "integer", "multipleOf": 0},
        {"type": "integer", "minimum": True},
        {"properties": 5},
        {"anyOf": []},
        {"allOf": {}},
        {"$ref": "#"},
        {"$ref": 5},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/nowhere"},
        {"$ref": "#/allOf/9", "allOf": [{}]},
        {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        {"not": 5},
    ],
    ids=str,
)
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError):
        value_for(schema, 0)


def test_hints_fill_the_properties_that_ask_for_them() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "search_query": {"type": "string"},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "cities": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "code": {"type": "string", "pattern": "^[0-9]+$"},
        },
        "required": ["city", "search_query", "unit", "cities", "code"],
    }
    hints = Hints("weather in Oslo in Fahrenheit", "Oslo")
    for seed in range(8):
        value = value_for(schema, seed, hints)
        assert value["city"] == "Oslo"
        assert value["cities"][0] == "Oslo"
        assert value["search_query"] == hints.prompt
        assert value["unit"] == "fahrenheit"
        assert value["code"].isdigit()


def test_plain_strings_suit_the_name_of_their_property() -> None:
    value = value_for(
        {"properties": {"email": {"type": "string"}, "x": {"type": "string"}}, "required": ["email", "x"]}, 4
    )
    assert "@" in value["email"]
    assert value["x"]


# A sane subset of schemas: everything in it is satisfiable by construction.


def _ranges(low: str, high: str, values: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, Any]]:
    return st.lists(values, max_size=2).map(lambda found: dict(zip((low, high), sorted(found), strict=False)))


_LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(lambda bounds: {"type": "integer", **bounds}, _ranges("minimum", "maximum", st.integers(-99, 99))),
    st.builds(lambda bounds: {"type": "number", **bounds}, _ranges("minimum", "maximum", st.integers(-99, 99))),
    st.builds(lambda bounds: {"type": "string", **bounds}, _ranges("minLength", "maxLength", st.integers(0, 40))),
    st.lists(st.one_of(st.integers(), st.text(max_size=5), st.none(), st.booleans()), min_size=1).map(
        lambda values: {"enum": values}
    ),
    st.sampled_from(["^[a-z]{2,5}$", "^\\d+(\\.\\d+)?$", "^(GET|PUT) /[a-z]*$", "x|y"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.text("abcxyz", min_size=1, max_size=3), inner, max_size=4)
    return st.one_of(
        st.builds(
            lambda items, bounds: {"type": "array", "items": items, **bounds},
            inner,
            _ranges("minItems", "maxItems", st.integers(0, 6)),
        ),
        st.builds(
            lambda members, needed, closed: {
                "type": "object",
                "properties": members,
                "required": list(members)[:needed],
                **({"additionalProperties": False} if closed else {}),
            },
            properties,
            st.integers(0, 4),
            st.booleans(),
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        inner.map(lambda schema: {"allOf": [schema, {"title": "said twice"}, schema]}),
        inner.map(lambda schema: {"$defs": {"x": True}, "allOf": [schema]}),
    )


@pytest.mark.untraced
@settings(max_examples=150, deadline=None)
@given(st.recursive(_LEAVES, _containers, max_leaves=12), st.integers(0, 3))
def test_a_value_satisfies_any_sane_schema(schema: Any, seed: int) -> None:
    value = value_for(schema, seed)
    assert jsonschema.Draft202012Validator(schema).is_valid(value)


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.floats(-99, 99), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", max_size=3), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.untraced
@settings(max_examples=200, deadline=None)
@given(_VALUES, st.one_of(st.sampled_from(SCHEMAS), st.recursive(_LEAVES, _containers, max_leaves=8)))
def test_the_checker_agrees_with_the_reference_validator(value: Any, schema: Any) -> None:
    if "multipleOf" in str(schema):
        value = int(value) if isinstance(value, float) else value  # they differ about float remainders, by design
    assert matches(value, schema, schema) == jsonschema.Draft202012Validator(schema).is_valid(value)


def test_the_checker_agrees_on_values_made_for_other_schemas() -> None:
    values = [value_for(schema, 1) for schema in SCHEMAS]
    for value, schema in itertools.product(values, SCHEMAS):
        if "multipleOf" not in str(schema) and "p11" not in str(schema):
            assert matches(value, schema, schema) == jsonschema.Draft202012Validator(schema).is_valid(value), schema
