"""Whole values as the types that were asked for, and the schemas to ask with."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Annotated, Any, Literal

import jsonschema
import msgspec
import pydantic
import pytest

from tokenwire.errors import IncompleteJson, InvalidJson, InvalidSchema, SchemaViolation
from tokenwire.library.partial import TypedPartial


class Line(msgspec.Struct):
    sku: str
    count: Annotated[int, msgspec.Meta(ge=1, description="how many")] = 1


class Order(msgspec.Struct, rename="camel"):
    lines: list[Line]
    due_on: datetime.date | None = None

    def __post_init__(self) -> None:
        if not self.lines:
            raise ValueError("no lines")


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2, description="in full")
    born: datetime.date
    friends: list[Person] = []

    @pydantic.field_validator("name")
    @classmethod
    def _capital(cls, name: str) -> str:
        if not name[0].isupper():
            raise ValueError("a name has a capital")
        return name


@dataclasses.dataclass
class Point:
    x: float
    y: float


PERSON = '{"name": "Ada", "born": "1815-12-10", "friends": [{"name": "Mary", "born": "1780-12-26"}]}'


def test_a_whole_value_becomes_an_instance_from_text_and_from_the_value() -> None:
    order = TypedPartial(Order).final('{"lines": [{"sku": "a"}], "dueOn": "2024-02-29"}')
    assert order == Order([Line("a")], datetime.date(2024, 2, 29))
    person = TypedPartial(Person).final(PERSON.encode())
    assert person.friends[0].born == datetime.date(1780, 12, 26)
    assert TypedPartial(Point).final({"x": 1, "y": 2.5}) == Point(1.0, 2.5)
    assert TypedPartial(dict[str, list[Line]]).final({"a": [{"sku": "b"}]}) == {"a": [Line("b")]}
    assert TypedPartial(str).final('"\\ud83d!"') == "\ufffd!"
    assert TypedPartial(int).final("12") == 12


@pytest.mark.parametrize(
    ("type_", "text", "pointer", "keyword", "said"),
    [
        (
            Order,
            '{"lines": [{"sku": "a"}, {"sku": "b", "count": 0}]}',
            "/lines/1/count",
            "minimum",
            "at least 1, found 0",
        ),
        (Order, '{"lines": []}', "", "value", "no lines"),
        (Order, '{"lines": [{"sku": "a"}], "dueOn": "2024-02-30"}', "/dueOn", "value", "invalid RFC3339"),
        (Person, PERSON.replace('"Mary"', "7"), "/friends/0/name", "type", "expected string, found number"),
        (Person, PERSON.replace("Mary", "mary"), "/friends/0/name", "value", "a name has a capital"),
        (Person, PERSON.replace("1780-12-26", "1780"), "/friends/0/born", "value", "valid date"),
        (Point, '{"x": "1", "y": 2}', "/x", "type", "expected number, found string"),
        (Point, '{"x": 1}', "", "required", 'the names "y"'),
        (list[int], "[1, 2.5]", "/1", "type", "expected integer, found 2.5"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(type_: Any, text: str, pointer: str, keyword: str, said: str) -> None:
    with pytest.raises(SchemaViolation) as caught:
        TypedPartial(type_).final(text)
    assert (caught.value.pointer, caught.value.keyword) == (pointer, keyword)
    assert said in str(caught.value)


def test_a_text_that_is_no_json_is_told_as_such() -> None:
    with pytest.raises(InvalidJson, match="line 1, column 2"):
        TypedPartial(Point).final("{x")
    with pytest.raises(IncompleteJson):
        TypedPartial(Point).final('{"x": 1')
    with pytest.raises(IncompleteJson):
        TypedPartial(Point).final("")


def test_a_pattern_that_we_cannot_read_does_not_hide_the_error() -> None:
    class Word(pydantic.BaseModel):
        text: Annotated[str, pydantic.Field(pattern=r"^\p{L}+$")]

    assert TypedPartial(Word).final('{"text": "é"}').text == "é"
    with pytest.raises(SchemaViolation, match=r"^/text breaks 'value': .*pattern"):
        TypedPartial(Word).final('{"text": "1"}')


def test_types_that_cannot_be_hashed_are_known_all_the_same() -> None:
    typed: TypedPartial[Any] = TypedPartial(Annotated[list[Annotated[int, ["a"]]], ["b"]])  # type: ignore[arg-type]
    assert typed.final("[1]") == typed.growing([1]) == [1]


def test_names_that_only_the_validator_knows_are_not_in_the_path() -> None:
    class Even(pydantic.BaseModel):
        n: Annotated[int, pydantic.AfterValidator(_even)] | str

    with pytest.raises(SchemaViolation, match=r"^/n breaks 'value': expected Value error, odd, found 3$"):
        TypedPartial(Even).final('{"n": 3}')


def _even(n: int) -> int:
    if n % 2:
        raise ValueError("odd")
    return n


def test_a_type_that_nobody_knows_is_refused() -> None:
    class Opaque:
        pass

    with pytest.raises(InvalidSchema, match="Opaque"):
        TypedPartial(Opaque)
    with pytest.raises(InvalidSchema, match="Person"):
        TypedPartial(dict[str, Line | Person])


def test_schemas_come_from_the_library_that_the_type_is_of() -> None:
    assert TypedPartial(Order).schema == msgspec.json.schema(Order)
    assert TypedPartial(Person).schema == pydantic.TypeAdapter(Person).json_schema()
    assert TypedPartial(list[int]).schema == {"type": "array", "items": {"type": "integer"}}


class Shape(msgspec.Struct):
    kind: Literal["circle", "square"]
    size: Annotated[str, msgspec.Meta(max_length=3, title="how big")] | None = None
    inner: list[Shape] = []
    line: Annotated[Line, msgspec.Meta(description="beside it")] = msgspec.field(default_factory=lambda: Line("x"))


def test_a_strict_schema_closes_every_object_and_asks_for_every_name() -> None:
    typed = TypedPartial(Shape)
    schema = typed.strict_schema()
    assert schema is not None
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["required"] == ["kind", "size", "inner", "line"] == list(schema["properties"])
    assert schema["additionalProperties"] is False
    assert schema["properties"]["size"] == {"anyOf": [{"type": "string", "title": "how big"}, {"type": "null"}]}
    assert schema["properties"]["inner"]["items"] == {"$ref": "#/$defs/Shape"}
    line = schema["properties"]["line"]  # a reference may have nothing beside it, so the target stands there itself
    assert (line["description"], line["required"]) == ("beside it", ["sku", "count"])
    assert line["properties"]["count"] == {"type": "integer", "minimum": 1, "description": "how many"}
    assert schema["$defs"]["Shape"]["required"] == schema["required"]
    whole: dict[str, Any] = {"kind": "circle", "size": None, "inner": [], "line": {"sku": "a", "count": 1}}
    jsonschema.validate(whole, schema)
    assert typed.final(whole) == Shape("circle", line=Line("a"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"kind": "circle"}, schema)


def test_a_strict_schema_of_a_pydantic_model_says_only_what_openai_takes() -> None:
    schema = TypedPartial(Person).strict_schema()
    assert schema is not None
    assert schema["properties"]["name"] == {"title": "Name", "type": "string", "description": "in full"}
    assert schema["properties"]["born"]["format"] == "date"
    assert schema["required"] == ["name", "born", "friends"]


def test_a_description_beside_a_reference_does_not_unfold_for_ever() -> None:
    class Tree(pydantic.BaseModel):
        left: Tree | None = pydantic.Field(None, description="smaller")
        leaf: Annotated[Leaf, pydantic.Field(description="at the end")]
        kind: A | B = pydantic.Field(discriminator="t")
        mail: Annotated[str, pydantic.Field(json_schema_extra={"format": "idn-email"})]

    schema = TypedPartial(Tree).strict_schema()
    assert schema is not None
    kind = schema["properties"]["kind"]
    assert kind == {"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}], "title": "Kind"}
    leaf = schema["properties"]["leaf"]
    assert leaf["description"] == "at the end"
    assert leaf["properties"]["next"]["anyOf"][0] == {"$ref": "#/$defs/Leaf"}
    assert schema["properties"]["mail"] == {"title": "Mail", "type": "string"}


class Leaf(pydantic.BaseModel):
    next: Leaf | None = pydantic.Field(description="after it")
    again: Annotated[Leaf, pydantic.Field(description="once more")]


class A(pydantic.BaseModel):
    t: Literal["a"]


class B(pydantic.BaseModel):
    t: Literal["b"]


@dataclasses.dataclass
class Loose:
    anything: Any


@dataclasses.dataclass
class Pair:
    both: tuple[int, str]


@dataclasses.dataclass
class Table:
    cells: dict[str, int]


@dataclasses.dataclass
class Nest:
    table: Table | None
    next: Nest | None


@pytest.mark.parametrize("type_", [Loose, Pair, Table, Nest, list[int], int, Line | None, dict[str, int]])
def test_a_type_that_strict_cannot_say_has_no_strict_schema(type_: Any) -> None:
    assert TypedPartial(type_).strict_schema() is None
