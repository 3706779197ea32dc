"""Instances that grow with their JSON, of every kind of model."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NewType, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from typing_extensions import TypeAliasType

from tokenwire.library.partial import TypedPartial
from tokenwire.wire.partial_json import PartialJson

Q = TypeVar("Q")
Price = NewType("Price", float)


class Colour(enum.Enum):
    RED = "red"
    REDDISH = "reddish"
    BLUE = "blue"


class Tag(msgspec.Struct, frozen=True):
    name: str
    weight: float = 1.0


class Item(msgspec.Struct, rename="camel"):
    item_name: str
    tags: list[Tag] = []
    colour: Colour | None = None
    parent: Item | None = None


class PTag(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    name: str
    weight: float = 1.0


class PItem(pydantic.BaseModel):
    item_name: str = pydantic.Field(alias="itemName")
    tags: list[PTag] = pydantic.Field(default_factory=list)
    colour: Colour | None = None
    parent: PItem | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class DTag:
    name: str
    weight: float = 1.0


@dataclasses.dataclass
class DItem:
    itemName: str  # noqa: N815  # as JSON has it
    tags: list[DTag] = dataclasses.field(default_factory=list)
    colour: Colour | None = None
    parent: DItem | None = None

    def __post_init__(self) -> None:
        if not self.itemName:
            raise ValueError("no name")


STEPS: list[tuple[str, Any]] = [
    ("{", (None, [], None, False)),
    ('"itemName": "bo', ("bo", [], None, False)),
    ('x", "tags": [{', ("box", [(None, 1.0)], None, False)),
    ('"name": "o', ("box", [("o", 1.0)], None, False)),
    ('ld", "weight": 2}, {', ("box", [("old", 2.0), (None, 1.0)], None, False)),
    ('"name": "we"}', ("box", [("old", 2.0), ("we", 1.0)], None, False)),
    ('], "colour": "red', ("box", [("old", 2.0), ("we", 1.0)], None, False)),  # perhaps "reddish"
    ('", "parent": {', ("box", [("old", 2.0), ("we", 1.0)], Colour.RED, True)),
    ('"itemName": "x"}}', ("box", [("old", 2.0), ("we", 1.0)], Colour.RED, True)),
]


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, pydantic.BaseModel) else str(value)


def shown(type_: Any, text: str) -> list[Any]:
    """What is shown after each character of *text*, without repetitions."""
    parser, typed = PartialJson(), TypedPartial(type_)
    found: list[Any] = []
    for char in text:
        parser.feed(char)
        now = typed.growing(parser.value(), open_string=parser.open_string)
        plain = msgspec.json.decode(msgspec.json.encode(now, enc_hook=_plain))
        if not found or found[-1] != plain:
            found.append(plain)
    return found


@pytest.mark.parametrize("type_", [Item, PItem, DItem])
def test_models_grow_field_by_field(type_: Any) -> None:
    parser, typed = PartialJson(), TypedPartial(type_)
    for piece, expected in STEPS:
        parser.feed(piece)
        now: Any = typed.growing(parser.value(), open_string=parser.open_string)
        assert type(now) is type_
        name = getattr(now, "item_name", getattr(now, "itemName", None))
        tags = [(tag.name, tag.weight) for tag in now.tags]
        assert (name, tags, now.colour, now.parent is not None) == expected
    assert isinstance(typed.final("".join(piece for piece, _ in STEPS)), type_)


def test_what_is_finished_is_built_once() -> None:
    parser, typed = PartialJson(), TypedPartial(list[Tag])
    parser.feed('[{"name": "a"}, {"name": "b"')
    first = typed.growing(parser.value())
    assert first is not None
    kept, growing = first
    parser.feed(', "weight": 3}, {')
    second = typed.growing(parser.value())
    assert second is first  # a list is filled in place
    assert second[0] is kept
    assert growing == Tag("b")  # nobody's instance changes
    assert second[1:] == [Tag("b", 3.0), Tag(name=None)]  # type: ignore[arg-type]


def test_a_long_list_costs_its_new_items_only() -> None:
    made = []

    class Counted(msgspec.Struct):
        n: int

        def __post_init__(self) -> None:
            made.append(self.n)

    parser, typed = PartialJson(), TypedPartial(dict[str, list[Counted]])
    text = json.dumps({"a": [{"n": n} for n in range(300)]})
    for char in text:
        parser.feed(char)
        typed.growing(parser.value())
    assert len(made) < 4 * len(text) / 3  # about one for each call, of which most see an open one
    built = typed.growing(parser.value())
    assert built is not None
    assert [each.n for each in built["a"]] == list(range(300))


class Circle(msgspec.Struct, tag="circle"):
    r: float


class Square(msgspec.Struct, tag="square"):
    a: float


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog", "catdog"]
    name: str


class Book(TypedDict):
    title: str
    year: NotRequired[int]


@dataclasses.dataclass
class Film:
    title: str
    length: int


@dataclasses.dataclass
class Play:
    title: str
    acts: int


class Box(msgspec.Struct, Generic[Q]):
    inner: Q


class Both(pydantic.BaseModel):
    """Types that are reached through others."""

    it: Annotated[list[Annotated[int, "x"] | dict[str, Price | str]], ["not hashable"]] = []
    or_: Price | Literal["x"] | Colour | None = pydantic.Field(None, alias="or")
    url: pydantic.AnyUrl | None = None


BOTH: list[Any] = [
    None,
    {"it": [], "or_": None, "url": None},
    {"it": [1], "or_": None, "url": None},
    {"it": [1, {}], "or_": None, "url": None},
    {"it": [1, {"a": ""}], "or_": None, "url": None},
    {"it": [1, {"a": "1"}], "or_": None, "url": None},
    {"it": [1, {"a": "1"}], "or_": None, "url": "a://b"},
]


Alias = TypeAliasType("Alias", Price | list[str])


class Root(pydantic.RootModel[list[int]]):
    pass


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        (
            Circle | Square,
            '{"type": "square", "a": 2}',
            [None, {"type": "square", "a": None}, {"type": "square", "a": 2.0}],
        ),
        (
            list[Cat | Dog],
            '[{"kind": "cat", "lives": 9}]',
            [None, [], [None], [{"kind": "cat", "lives": None}], [{"kind": "cat", "lives": 9}]],
        ),
        (Play | Film, '{"length": 3}', [None, {"title": None, "length": 3}]),
        (Book, '{"title": "T"}', [None, {"title": None}, {"title": ""}, {"title": "T"}]),
        (int | float | None, "[12", [None]),
        (list[int | str], '[12, "a"]', [None, [], [12], [12, ""], [12, "a"]]),
        (list[float | None], "[12, null, true]", [None, [], [12.0], [12.0, None], [12.0, None, None]]),
        (tuple[int, str], '[1, "a", 2]', [None, [None, None], [1, None], [1, ""], [1, "a"]]),
        (tuple[int, ...], "[1, 2]", [None, [], [1], [1, 2]]),
        (set[int], "[1, 1, {}]", [None, [], [1]]),
        (frozenset[Any], "[1, {}]", [None, [], [1], None]),
        (
            dict[str, datetime.date],
            '{"a": "2024-01-31", "b": 1}',
            [None, {}, {"a": None}, {"a": "2024-01-31"}, {"a": "2024-01-31", "b": None}],
        ),
        (list[Decimal], '["1.5", 2.5]', [None, [], [None], ["1.5"], ["1.5", "2.5"]]),
        (
            list[Literal["a", "ab", 1]],
            '["a", "ab", 1, 2]',
            [None, [], [None], ["a"], ["a", None], ["a", "ab"], ["a", "ab", 1], ["a", "ab", 1, None]],
        ),
        (Annotated[list[Price], msgspec.Meta(max_length=9)], "[1]", [None, [], [1.0]]),
        (Box[int], '{"inner": 1}', [None, {"inner": None}, {"inner": 1}]),
        (Root, "[1]", [None, [], [1]]),
        (dict, '{"a": [1]}', [None, {}, {"a": []}, {"a": [1]}]),
        (list, "[1, {}]", [None, [], [1], [1, {}]]),
        (Both, '{"it": [1, {"a": "1"}], "or": "x", "url": "a://b"}', BOTH),
        (
            list[Annotated[Cat, pydantic.Tag("c")] | Dog | Alias],
            '[{"name": "x"}, 1.5, ["a"]]',
            [None, [], [None], [{"kind": None, "name": ""}], [{"kind": None, "name": "x"}]]
            + [[{"kind": None, "name": "x"}, *more] for more in ([1.5], [1.5, []], [1.5, [""]], [1.5, ["a"]])],
        ),
        (list[dict[str, Any] | Literal["on"] | None], '["on", {}]', [None, [], [None], ["on"], ["on", {}]]),
        (Item, "[1]", [None]),
        (dict[str, int], "[1]", [None]),
        (list[bool], '{"a": 1}', [None]),
        (tuple[int, str], "{}", [None]),
    ],
)  # fmt: skip
def test_every_type_shows_what_is_certain(type_: Any, text: str, expected: list[Any]) -> None:
    found = shown(type_, text)
    if found[0] is not None:
        expected = expected[1:]
    assert found == expected


def test_a_struct_that_refuses_to_be_incomplete_is_not_shown() -> None:
    class Strict(msgspec.Struct):
        n: int

        def __post_init__(self) -> None:
            if self.n < 1:
                raise ValueError("too small")

    typed = TypedPartial(Strict)
    assert typed.growing({}) is None
    assert typed.growing({"n": 1}) == Strict(1)
