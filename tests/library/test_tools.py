"""Functions as tools: what the model is told of them, and what its arguments become."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import inspect
from typing import Annotated, Any, Literal

import jsonschema
import msgspec
import pytest
from pydantic import BaseModel, Field

from tokenwire.errors import BadArguments, BadTool, LocalProtocolError
from tokenwire.library.tool_schema import can_be_strict
from tokenwire.library.tools import Tool, ToolContext, tool, tools_of


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


@dataclasses.dataclass
class Place:
    city: str
    country: str = "NO"


class Trip(BaseModel):
    days: int = Field(ge=1)
    via: list[str] = []


class Person(msgspec.Struct):
    name: str
    friends: list[Person] = []


@tool
def weather(
    city: str, unit: Literal["C", "F"] = "C", days: Annotated[int, Field(ge=1, description="How far ahead.")] = 3
) -> dict[str, float]:
    """The weather in a city.

    Asks the office.

    Args:
        city: Its name, in English.
        unit: Of temperatures.
        days: Nobody reads this.
    """
    return {city: days / 2}


def everything(
    at: datetime.date, unit: Unit, place: Place, trip: Trip, who: Person, more: list[Person] | None = None,
    fixed: tuple[int, str] = (1, "a"), opaque: Annotated[object, "Anything."] = object(),
) -> None:  # fmt: skip
    """All kinds."""


def test_a_tool_is_what_its_signature_and_docstring_say() -> None:
    assert weather.definition() == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.\n\nAsks the office.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Its name, in English."},
                    "unit": {"type": "string", "enum": ["C", "F"], "default": "C", "description": "Of temperatures."},
                    "days": {"type": "integer", "minimum": 1, "default": 3, "description": "How far ahead."},
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    assert weather("Oslo", days=4) == {"Oslo": 2.0}
    assert inspect.signature(weather).parameters.keys() == {"city", "unit", "days"}


@pytest.mark.parametrize(
    "text",
    [
        "Says it.\n\n:param word: What to say.",
        "Says it.\n\nParameters\n----------\nword : str\n    What to say.",
        "Says it.\n\nArgs:\n    word (str): What to say.",
        "Says it.\n\n@param word: What to say.",
    ],
    ids=["sphinx", "numpy", "google", "epydoc"],
)
def test_every_style_of_docstring_is_read(text: str) -> None:
    def say(word: str) -> str:
        return word

    say.__doc__ = text
    made = Tool(say)
    assert made.description == "Says it."
    assert made.parameters["properties"]["word"] == {"type": "string", "description": "What to say."}
    assert Tool(say, name="tell", description="Else.").definition()["function"]["description"] == "Else."


def test_types_of_all_kinds_have_a_schema_and_become_values() -> None:
    made = Tool(everything)
    jsonschema.Draft202012Validator.check_schema(made.parameters)
    given = (
        '{"at":"2026-01-02","unit":"F","place":{"city":"Oslo"},"trip":{"days":2},'
        '"who":{"name":"A","friends":[{"name":"B"}]},"more":[{"name":"C"}]}'
    )
    jsonschema.validate(msgspec.json.decode(given), made.parameters)
    assert made.read(given) == {
        "at": datetime.date(2026, 1, 2), "unit": Unit.FAHRENHEIT, "place": Place("Oslo"), "trip": Trip(days=2),
        "who": Person("A", [Person("B")]), "more": [Person("C")],
    }  # fmt: skip
    assert made.parameters["properties"]["who"] == {"$ref": "#/$defs/Person"}
    assert made.parameters["properties"]["opaque"] == {"description": "Anything."}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ('{"city":"Os', "not valid JSON"),
        ('{"city":NaN}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"city":"a","days":1.5}', "days: Input should be a valid integer"),
        ('"Oslo"', "one JSON object"),
        ("", "city: Field required"),
        ('{"city":5}', "city: Input should be a valid string"),
        ('{"city":"a","days":"3"}', "days: Input should be a valid integer"),
        ('{"city":"a","days":0}', "days: Input should be greater than or equal to 1"),
        ('{"city":"a","unit":"K"}', "unit: Input should be 'C' or 'F'"),
        ('{"city":"a","country":"NO"}', "country: Extra inputs are not permitted"),
    ],
)
def test_arguments_that_do_not_fit_are_told_in_words(arguments: str, why: str) -> None:
    with pytest.raises(BadArguments, match=why):
        weather.read(arguments)


def test_a_struct_that_does_not_fit_is_told_and_many_faults_are_cut_short() -> None:
    def many(who: Person, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> None: ...

    with pytest.raises(BadArguments, match=r": who: Object missing required field `name`; .*; and 1 more$"):
        Tool(many).read('{"who":{}}')


def test_a_whole_number_is_an_integer_however_it_is_written() -> None:
    def f(n: int, more: dict[str, list[int]], x: float) -> None: ...

    given = '{"n":5.0,"more":{"a":[1.0,2]},"x":1.5}'
    assert Tool(f).read(given) == {"n": 5, "more": {"a": [1, 2]}, "x": 1.5}


def test_only_what_the_model_named_is_given_so_that_defaults_are_the_functions_own() -> None:
    sentinel = object()

    def f(json: str, copy: object = sentinel, _private: int = 1, model_config: int = 2) -> Any:
        return copy

    made = Tool(f)
    assert made.read('{"json":"x"}') == {"json": "x"}
    assert made.start(made.read('{"json":"x"}'), ToolContext("i", "f")) is sentinel
    assert made.parameters["properties"].keys() == {"json", "copy", "_private", "model_config"}


def test_context_partials_methods_and_positional_parameters() -> None:
    class Shop:
        def __init__(self, price: int) -> None:
            self.price = price

        @tool(name="buy", timeout=5, strict=False)
        def order(self, count: int, context: ToolContext) -> str:
            """Buys."""
            return f"{count * self.price} {context.id} {context.name}"

        def look(self, first: int = 0, zeroth: int = 1, /, second: int = 5, *, third: int = 7) -> tuple[int, int, int]:
            """Looks."""
            return first + zeroth, second, third

        async def __call__(self, n: int) -> int:
            """Calls."""
            return n

    shop, context = Shop(3), ToolContext("id", "buy")
    bought = shop.order
    assert (bought.name, bought.timeout, bought.strict, bought.description) == ("buy", 5, False, "Buys.")
    assert bought.start(bought.read('{"count":2}'), context) == "6 id buy"
    assert bought.parameters["properties"].keys() == {"count"}
    assert Shop.order.unbound
    assert Shop(4).order.start({"count": 2}, context) == "8 id buy"
    assert bought.parameters is Shop.order.parameters
    with pytest.raises(BadTool, match=r"give object\.method"):
        tools_of([Shop.order])

    look = Tool(functools.partial(shop.look, third=9), name="peek")
    assert look.description == "Looks."
    assert look.parameters["properties"].keys() == {"first", "zeroth", "second"}
    assert look.start(look.read('{"second":2,"first":1}'), context) == (2, 2, 9)
    assert look.start(look.read('{"zeroth":5}'), context) == (5, 5, 9)
    assert Tool(functools.partial(shop.look, 1)).parameters["properties"].keys() == {"zeroth", "second", "third"}

    called = Tool(shop)
    assert (called.name, called.description, called.is_async) == ("Shop", "Calls.", True)
    assert not look.is_async
    assert weather.__get__(shop) is weather


def _no_hint(x): ...  # type: ignore[no-untyped-def]
def _star(*x: int) -> None: ...
def _stars(**x: int) -> None: ...
def _unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def _no_schema(x: int, y: threading_lock) -> None: ...
def _field(x: int = Field(5)) -> None: ...
def _generator(x: int) -> Any:
    yield x


async def _generates(x: int) -> Any:
    yield x


class threading_lock:  # noqa: N801
    pass


@pytest.mark.parametrize(
    ("function", "options", "why"),
    [
        (_no_hint, {}, "'x' has no annotation"), (_star, {}, "name them all"), (_stars, {}, "name them all"),
        (_unknown, {}, "Nowhere"), (_no_schema, {}, "'y' has no JSON Schema"), (_field, {}, "into Annotated"),
        (_generator, {}, "return a list"), (_generates, {}, "return a list"), (Place, {}, "a class is no tool"),
        (lambda: 5, {}, "give it one"), (weather, {}, "a tool already"), (5, {}, "cannot be called"),
        (weather.function, {"name": "a b"}, "letters, digits"), (weather.function, {"name": "x" * 65}, "64"),
        (weather.function, {"timeout": 0}, "more than 0 s"), (print, {}, "name them all"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_tool_is_told_when_it_is_made(function: Any, options: dict[str, Any], why: str) -> None:
    with pytest.raises(BadTool, match=why) as caught:
        Tool(function, **options)
    assert isinstance(caught.value, TypeError | LocalProtocolError)


def test_two_tools_of_one_name_are_an_error_and_plain_functions_are_taken() -> None:
    def clock() -> str:
        return "12:00"

    assert list(tools_of([weather, clock])) == ["weather", "clock"]
    assert repr(tools_of([clock])["clock"]) == "Tool('clock')"
    assert tools_of([clock])["clock"] is tools_of([clock])["clock"]  # made once
    assert list(tools_of([functools.partial(clock)])) == ["clock"]

    @functools.wraps(clock)
    def wrapped() -> str:
        return clock() + "!"

    assert tools_of([wrapped])["clock"]() == "12:00!"
    assert tools_of([clock])["clock"].definition()["function"] == {
        "name": "clock",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    with pytest.raises(BadTool, match="two tools have this name"):
        tools_of([weather, clock, Tool(clock)])


def test_a_docstring_of_no_style_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import docstring_parser

    def parse(text: str) -> Any:
        raise docstring_parser.ParseError("no")

    monkeypatch.setattr(docstring_parser, "parse", parse)
    assert Tool(everything).description == "All kinds."


def test_a_model_is_held_to_schemas_that_every_vendor_bears() -> None:
    class Whole(BaseModel, extra="forbid"):
        kind: Literal["a", "b"]
        note: str | None

    class Loop(BaseModel, extra="forbid"):
        inner: Loop | None

    def plain(a: int, b: list[str], c: Whole, d: datetime.date) -> None: ...

    assert Tool(plain).strict
    assert Tool(plain).definition()["function"]["strict"] is True
    assert not Tool(plain, strict=False).strict
    for annotation in (Trip, Loop, dict[str, int], object, Annotated[str, Field(min_length=2)], tuple[int, str]):

        def odd(a: annotation) -> None: ...  # type: ignore[valid-type]

        odd.__annotations__["a"] = annotation
        assert not Tool(odd).strict, annotation
    assert not weather.strict  # a parameter that may be missing
    assert not can_be_strict({"type": "object", "properties": {"a": {"type": "string", "format": "uri"}},
                              "required": ["a"], "additionalProperties": False})  # fmt: skip
