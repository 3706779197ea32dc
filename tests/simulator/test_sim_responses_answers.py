"""What the look-alike of OpenAI's Responses answers, and how a conversation goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tokenwire.simulator.texts import pick
from tokenwire.simulator.tokens import pieces

Response = Callable[..., dict[str, Any]]

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "name": "get_weather", "description": "Weather now", "parameters": CITY}
CLOCK = {"type": "function", "name": "get_time"}
TOOLS = [WEATHER, CLOCK, {"type": "code_interpreter", "container": {"type": "auto"}}]
SEARCH = {"type": "web_search"}


@pytest.fixture
def whole(respond: Any, response: Response) -> Callable[..., Any]:
    """whole(input, headers=None, **fields) -> the response at once."""

    def ask(given: Any = "hi", headers: Any = None, **fields: Any) -> Any:
        wire = respond(response(given, stream=False, **fields), headers)
        assert wire.status == 200, wire.body
        return json.loads(wire.body)

    return ask


def items(answer: Any, kind: str) -> list[Any]:
    return [item for item in answer["output"] if item["type"] == kind]


def text(answer: Any) -> str:
    return "".join(part["text"] for item in items(answer, "message") for part in item["content"])


def called(answer: Any) -> list[tuple[str, Any]]:
    return [(item["name"], json.loads(item["arguments"])) for item in items(answer, "function_call")]


def test_a_fitting_function_is_called(whole: Any) -> None:
    oslo = ("get_weather", {"city": "Oslo"})
    assert called(whole("weather in Oslo", tools=TOOLS)) == [oslo]
    assert called(whole("weather in Oslo and Rome", tools=TOOLS)) == [oslo, ("get_weather", {"city": "Rome"})]
    assert called(whole("weather in Oslo and Rome", tools=TOOLS, parallel_tool_calls=False)) == [oslo]
    assert called(whole("tell me a joke", tools=TOOLS)) == []
    assert called(whole("weather in Oslo", tools=TOOLS, tool_choice="none")) == []
    assert called(whole("hi", tools=TOOLS, tool_choice="required"))[0][0] == "get_weather"
    assert called(whole("weather", tools=TOOLS, tool_choice={"type": "function", "name": "get_time"})) == [
        ("get_time", {})
    ]
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_time"}]}
    assert called(whole("weather", tools=TOOLS, tool_choice=allowed)) == []
    must = {**allowed, "mode": "required"}
    assert called(whole("weather", tools=TOOLS, tool_choice=must)) == [("get_time", {})]
    assert called(whole("weather", tools=TOOLS, tool_choice={"type": "code_interpreter"})) == []


def test_what_functions_said_is_in_the_answer(whole: Any) -> None:
    first = whole("weather in Oslo and Rome", tools=TOOLS, reasoning={"effort": "low"})
    calls = items(first, "function_call")
    conversation = [
        {"role": "user", "content": [{"type": "input_text", "text": "weather in Oslo and Rome"}]},
        *first["output"],
        {"type": "function_call_output", "call_id": calls[0]["call_id"], "output": "rain"},
        {
            "type": "function_call_output",
            "call_id": calls[1]["call_id"],
            "output": [{"type": "input_text", "text": "sun"}],
        },
    ]
    said = text(whole(conversation, tools=TOOLS))
    assert "`get_weather`: rain" in said
    assert "`get_weather`: sun" in said
    assert called(whole(conversation, tools=TOOLS, tool_choice="required"))
    again = [*conversation, {"role": "user", "content": "in Japanese"}]
    assert text(whole(again, tools=TOOLS)) == pick("in Japanese").body


def test_structured_output_is_json_for_the_schema(whole: Any) -> None:
    form = {"type": "json_schema", "name": "city", "schema": CITY, "strict": True, "description": "x"}
    answer = whole("a city", text={"format": form, "verbosity": "low"})
    jsonschema.validate(json.loads(text(answer)), CITY)
    assert answer["text"] == {"format": form, "verbosity": "low"}
    assert "title" in json.loads(text(whole("hi", text={"format": {"type": "json_object"}})))


def test_a_limit_cuts_text_calls_and_reasoning(whole: Any) -> None:
    answer = whole(" ".join(["one"] * 30), model="echo", max_output_tokens=16)
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (len(pieces(text(answer))), answer["output"][0]["status"]) == (16, "incomplete")
    assert answer["completed_at"] is None
    name = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch" * 2
    cut = whole(f"weather in {name}", tools=TOOLS, max_output_tokens=16)
    assert (cut["status"], cut["output"][0]["status"]) == ("incomplete", "incomplete")
    with pytest.raises(ValueError, match="Unterminated"):
        called(cut)
    thought = whole("hi", reasoning={"summary": "auto"}, max_output_tokens=16)
    assert [item["type"] for item in thought["output"]] == ["reasoning"]
    assert thought["usage"]["output_tokens_details"]["reasoning_tokens"] == 16


def test_reasoning_is_summed_up_if_asked_for_and_always_counted(whole: Any) -> None:
    for summary in (None, "detailed"):
        answer = whole("why is the sky blue", reasoning={"effort": "low", "summary": summary})
        [reasoning] = items(answer, "reasoning")
        assert answer["output"][0] is reasoning
        assert bool(reasoning["summary"]) == (summary is not None)
        assert "encrypted_content" not in reasoning
        assert answer["usage"]["output_tokens_details"]["reasoning_tokens"] > 20
        assert text(answer) == pick("why is the sky blue").body
    assert "The user wrote: “why is the sky blue”." in reasoning["summary"][0]["text"]
    assert all(part["text"].startswith("**") for part in reasoning["summary"])
    assert items(whole(reasoning={"effort": "none"}), "reasoning") == []


def test_a_search_is_cited_by_characters(whole: Any) -> None:
    include = ["web_search_call.action.sources"]
    answer = whole(
        "search for emoji", tools=[{**SEARCH, "filters": {"allowed_domains": ["news.test"]}}], include=include
    )
    [search] = items(answer, "web_search_call")
    assert search["action"]["type"] == "search"
    [part] = items(answer, "message")[0]["content"]
    assert [each["url"] for each in part["annotations"]] == [each["url"] for each in search["action"]["sources"]]
    assert all(each["url"].startswith("https://news.test/") for each in part["annotations"])
    for each in part["annotations"]:
        before = part["text"][: each["start_index"]]
        assert before.endswith(("this: ", "also, "))
        assert part["text"][each["end_index"]] in ";."
    assert answer["usage"]["input_tokens"] > whole("search for emoji", tools=[])["usage"]["input_tokens"]
    plain = whole("search for emoji", tools=[SEARCH])
    assert "sources" not in items(plain, "web_search_call")[0]["action"]
    cut = whole("search for emoji", tools=[SEARCH], max_output_tokens=30)
    assert len(items(cut, "message")[0]["content"][0]["annotations"]) < 3


@pytest.mark.parametrize(
    ("fields", "searched"),
    [
        ({"tool_choice": {"type": "web_search"}}, True),
        ({"tool_choice": "required"}, True),
        ({"tool_choice": "none"}, False),
        ({}, False),
    ],
)
def test_a_search_can_be_demanded(whole: Any, fields: Any, searched: bool) -> None:
    assert bool(items(whole("hi", tools=[SEARCH], **fields), "web_search_call")) == searched


def test_a_refusal_is_a_part_of_its_own(whole: Any) -> None:
    answer = whole("hi", {"x-sim-answer": "refusal"})
    [part] = answer["output"][0]["content"]
    assert part == {"type": "refusal", "refusal": "I can't assist with that request (simulated)."}
    assert answer["status"] == "completed"


def test_a_filter_stops_the_text(whole: Any) -> None:
    answer = whole("one two three four", {"x-sim-answer": "blocked"}, model="echo")
    assert text(answer) == "one two three"
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})


def test_the_length_can_be_set(whole: Any) -> None:
    for tokens in (0, 3):
        answer = whole("hi", {"x-sim-tokens": str(tokens)})
        assert len(pieces(text(answer))) == tokens == answer["usage"]["output_tokens"]


def test_earlier_turns_are_cached_in_steps_if_they_are_long(whole: Any) -> None:
    long = [
        {"role": "user", "content": "word " * 1200},
        {"role": "assistant", "content": [{"type": "output_text", "text": "well"}]},
        {"role": "user", "content": "go on"},
    ]
    usage = whole(long, instructions="be brief")["usage"]
    assert usage["input_tokens_details"]["cached_tokens"] == 1152
    assert usage["input_tokens"] > 1200
    assert whole("hi")["usage"]["input_tokens_details"]["cached_tokens"] == 0


def test_a_response_repeats_what_was_asked(whole: Any) -> None:
    fields = {
        "instructions": "be brief", "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 99, "truncation": "auto",
        "metadata": {"a": "b"}, "user": "me", "tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": False,
        "store": False, "max_tool_calls": 3, "prompt_cache_key": "k", "safety_identifier": "s", "top_logprobs": 2,
    }  # fmt: skip
    answer = whole("hi", **fields)
    assert {name: answer[name] for name in fields} == fields
    assert answer["object"] == "response"
    assert answer["completed_at"] == answer["created_at"]


def test_a_seeded_response_does_not_depend_on_the_clock(whole: Any) -> None:
    assert whole("hi", {"x-sim-seed": "7"})["created_at"] == 1_790_000_007
