"""Which tools are called, and what is said otherwise: without a server."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tokenwire.simulator.answer import ANY_OBJECT, Ask, answer
from tokenwire.simulator.schema import SchemaError, UnsatisfiableError
from tokenwire.simulator.texts import pick
from tokenwire.simulator.tokens import pieces
from tokenwire.simulator.tools import MOST_CALLS, Tool, plan_calls, report_results, subjects

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
WEATHER = Tool("get_weather", "Get the current weather in a city", CITY)
TIME = Tool("getLocalTime", "What the clock says in a place", CITY)
MAIL = Tool("send_mail", "Deliver a message to somebody", CITY)
TOOLS = (WEATHER, TIME, MAIL)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("What is the weather in Oslo?", [("get_weather", "Oslo")]),
        ("What is the weather in Oslo and Kraków?", [("get_weather", "Oslo"), ("get_weather", "Kraków")]),
        ("Compare the weather in New York, San Francisco and Lima", [
            ("get_weather", "New York"), ("get_weather", "San Francisco"), ("get_weather", "Lima"),
        ]),
        ("weather in Oslo and time in Tokyo", [("get_weather", "Oslo"), ("getLocalTime", "Tokyo")]),
        ("time and weather in Oslo", [("getLocalTime", "Oslo"), ("get_weather", "Oslo")]),
        ("time and weather", [("getLocalTime", ""), ("get_weather", "")]),
        ("weathers, please", [("get_weather", "")]),
        ("weather for lima", [("get_weather", "lima")]),
        ("weather in lima and bogota", [("get_weather", "lima"), ("get_weather", "bogota")]),
        ("Oslo weather", [("get_weather", "Oslo")]),
        ("What is the time in Oslo. Weather too", [("getLocalTime", "Oslo")]),
        ("Is there a message for me?", [("send_mail", "")]),
        ("Tell me a joke", []),
        ("", []),
    ],
)  # fmt: skip
def test_the_prompt_decides_which_tools_are_called(prompt: str, expected: list[tuple[str, str]]) -> None:
    plan = plan_calls(prompt, TOOLS, must=False, parallel=True)
    assert [(tool.name, subject) for tool, subject in plan] == expected


def test_without_parallel_calls_there_is_one() -> None:
    plan = plan_calls("weather and time in Oslo and Lima", TOOLS, must=False, parallel=False)
    assert [(tool.name, subject) for tool, subject in plan] == [("get_weather", "Oslo")]


def test_one_after_another_each_call_has_a_turn_of_its_own() -> None:
    prompt = "the weather in Oslo, Lima and Tokyo, one after another"
    for results, called in [((), "Oslo"), ((("get_weather", "5"),), "Lima"), ((("get_weather", "5"),) * 2, "Tokyo")]:
        for parallel in (True, False):
            (choice,) = answer(Ask(prompt=prompt, tools=TOOLS, results=results, parallel=parallel))
            (call,) = choice.calls
            assert json.loads("".join(call.sent))["city"] == called
    (choice,) = answer(Ask(prompt=prompt, tools=TOOLS, results=(("get_weather", "5"),) * 3))
    assert (choice.calls, choice.finish) == ([], "stop")


def test_garbled_arguments_are_no_json_until_somebody_has_said_so() -> None:
    prompt = "the weather in Oslo, with garbled arguments"
    (choice,) = answer(Ask(prompt=prompt, tools=TOOLS))
    (call,) = choice.calls
    with pytest.raises(json.JSONDecodeError):
        json.loads("".join(call.sent))
    assert json.loads("".join(call.pieces))["city"] == "Oslo"
    assert not answer(Ask(prompt=prompt, tools=TOOLS, results=(("get_weather", "Error"),)))[0].calls


def test_calls_are_bounded() -> None:
    many = "weather in " + " and ".join(f"City{n} x" for n in range(20))
    assert len(plan_calls(many, TOOLS, must=False, parallel=True)) == MOST_CALLS


def test_a_call_that_must_be_made_is_made() -> None:
    assert plan_calls("Tell me a joke about Rome", TOOLS, must=True, parallel=True) == [(WEATHER, "Rome")]
    assert plan_calls("Tell me a joke", (), must=True, parallel=True) == []


def test_a_huge_prompt_is_looked_at_in_part() -> None:
    assert plan_calls("x " * 100_000 + "weather", TOOLS, must=False, parallel=True) == []


def test_subjects_are_names_not_first_words() -> None:
    assert subjects('Please ask Ada. Then I fly to "Rio de Janeiro", and Ada too') == ["Ada", "Rio", "Janeiro"]


def test_results_are_quoted() -> None:
    one = report_results((("get_weather", '{"celsius": 7}'),))
    assert "get_weather" in one
    assert '{"celsius": 7}' in one
    two = report_results((("a", "first"), ("b", "y" * 5000)))
    assert "1. `a`: first" in two
    assert len(two) < 1000


def test_calls_have_valid_arguments_about_their_subject() -> None:
    [choice] = answer(Ask(prompt="weather in Oslo and Lima in fahrenheit?", tools=TOOLS))
    assert choice.finish == "tool_calls"
    assert choice.pieces == []
    arguments = [json.loads("".join(call.pieces)) for call in choice.calls]
    assert arguments[:2] == [{"city": "Oslo", "unit": "fahrenheit"}, {"city": "Lima", "unit": "fahrenheit"}]


def test_a_named_tool_is_called_and_ends_with_stop() -> None:
    [choice] = answer(Ask(prompt="hello", tools=(TIME,), must="one"))
    assert [call.name for call in choice.calls] == ["getLocalTime"]
    assert choice.finish == "stop"


def test_after_results_comes_text_unless_a_call_is_required() -> None:
    ask = Ask(prompt="weather in Oslo", tools=TOOLS, results=(("get_weather", "rain"),))
    [choice] = answer(ask)
    assert "rain" in "".join(choice.pieces)
    [choice] = answer(Ask(prompt="weather", tools=TOOLS, results=(("get_weather", "rain"),), must="any"))
    assert choice.calls


def test_json_fits_its_schema_and_alternatives_differ() -> None:
    choices = answer(Ask(prompt="x", schema=ANY_OBJECT, n=3))
    values = [json.loads("".join(choice.pieces)) for choice in choices]
    for value in values:
        jsonschema.Draft202012Validator(ANY_OBJECT).validate(value)
    assert values[0] != values[1]


@pytest.mark.parametrize(("schema", "error"), [(False, UnsatisfiableError), ({"type": "x"}, SchemaError)])
def test_a_schema_that_cannot_be_satisfied_is_an_error(schema: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        answer(Ask(prompt="x", schema=schema))


def test_text_is_picked_by_the_prompt_or_echoed_or_of_exact_length() -> None:
    assert "".join(answer(Ask(prompt="rust code"))[0].pieces) == pick("rust code").body
    assert "".join(answer(Ask(prompt="say this", echo=True))[0].pieces) == "say this"
    assert answer(Ask(prompt="", echo=True))[0].pieces == []
    for length in (0, 3, 5000):
        assert len(answer(Ask(prompt="hi", tokens=length))[0].pieces) == length
    assert "".join(answer(Ask(prompt="ab ", echo=True, tokens=4))[0].pieces) == "ab ab "


@pytest.mark.parametrize(
    ("stop", "limit", "text", "finish"),
    [
        ((), None, "one two three four", "stop"),
        ((), 4, "one two three four", "stop"),
        ((), 2, "one two", "length"),
        (("three",), None, "one two ", "stop"),
        (("four", " tw"), None, "one", "stop"),
        (("nothing",), None, "one two three four", "stop"),
        (("three",), 3, "one two ", "stop"),
        (("three",), 2, "one two", "length"),
        (("one",), 5, "", "stop"),
    ],
)
def test_stop_and_limit(stop: tuple[str, ...], limit: int | None, text: str, finish: str) -> None:
    [choice] = answer(Ask(prompt="one two three four", echo=True, stop=stop, max_tokens=limit))
    assert ("".join(choice.pieces), choice.finish) == (text, finish)


def test_the_limit_cuts_calls_in_their_arguments() -> None:
    [whole] = answer(Ask(prompt="weather in Oslo and Lima", tools=TOOLS))
    first = whole.calls[0]
    for limit in range(1, whole.tokens):
        [cut] = answer(Ask(prompt="weather in Oslo and Lima", tools=TOOLS, max_tokens=limit))
        assert cut.finish == "length"
        assert cut.tokens == limit
        assert cut.calls[0].pieces == first.pieces[: limit - 1]
    [enough] = answer(Ask(prompt="weather in Oslo and Lima", tools=TOOLS, max_tokens=whole.tokens))
    assert enough == whole


def test_tokens_count_text_and_calls() -> None:
    [text] = answer(Ask(prompt="a b c", echo=True))
    assert text.tokens == len(pieces("a b c"))
