"""The official Python SDK, unmodified, in both its kinds: what a relay must bear to be a drop-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from pydantic import BaseModel

TEXT = 'Ünïcode → 你好, 👩‍👩‍👧 and \u2028 separators,\r\nlines; "quotes" \\ and a tab\t.'
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}


class Trip(BaseModel):
    city: str
    days: int
    tags: list[str]


def text_of(chunks: list[Any], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def calls_of(chunks: list[Any]) -> list[tuple[str, str, Any]]:
    """(id, name, arguments) of the tool calls of choice 0, put together as the SDK's users do it."""
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                entry = calls.setdefault(call.index, ["", "", ""])
                entry[0] += call.id or ""
                entry[1] += call.function.name or ""
                entry[2] += call.function.arguments or ""
    return [(entry[0], entry[1], json.loads(entry[2])) for _, entry in sorted(calls.items())]


def reasons_of(chunks: list[Any]) -> list[str]:
    return [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]


@pytest.mark.parametrize("model", ["sim/echo", "echo", "parrot"], ids=["full name", "bare name", "alias"])
def test_text(sdk: Any, model: str) -> None:
    chunks = sdk.stream(model, TEXT)
    assert text_of(chunks) == TEXT
    assert len(chunks) > 10  # one a token, not one in all
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunks[0].choices[0].delta.role, reasons_of(chunks)] == ["assistant", ["stop"]]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)  # nobody asked


@pytest.mark.untraced
@pytest.mark.parametrize(
    "fault",
    ["split", "split-1", "pings", "crlf", "cr", "bom", "no-space", "id-lines", "close-delimited",
     "no-done", "done-bare", "done-twice", "slow-headers-1", "json-stream", "gzip"],
)  # fmt: skip
def test_an_odd_upstream_reads_like_any_other(sdk: Any, fault: str) -> None:
    prompt = "a week in emoji"  # answered in characters beyond U+FFFF
    expected = text_of(sdk.stream("sim/instant", prompt))
    assert max(expected) > "\uffff"
    chunks = sdk.stream(f"sim/fault-{fault}", prompt)
    assert text_of(chunks) == expected
    assert reasons_of(chunks) == ["stop"]


@pytest.mark.untraced
def test_characters_cut_in_two_come_as_the_provider_cut_them(sdk: Any) -> None:
    text = text_of(sdk.stream("sim/fault-surrogates", "a week in emoji"))
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16")
    assert joined != text
    assert joined == text_of(sdk.stream("sim/instant", "a week in emoji"))


def test_one_tool_call(sdk: Any) -> None:
    chunks = sdk.stream("sim/instant", "What is the weather in Oslo?", tools=[WEATHER])
    [(identity, name, arguments)] = calls_of(chunks)
    assert identity.startswith("call_")
    assert (name, arguments["city"]) == ("get_weather", "Oslo")
    assert (text_of(chunks), reasons_of(chunks)) == ("", ["tool_calls"])


def test_parallel_tool_calls_and_their_results(sdk: Any) -> None:
    prompt = "What is the weather in Oslo and Kyoto?"
    calls = calls_of(sdk.stream("sim/instant", prompt, tools=[WEATHER]))
    assert [(name, arguments["city"]) for _, name, arguments in calls] == [
        ("get_weather", "Oslo"),
        ("get_weather", "Kyoto"),
    ]
    turns: list[Any] = [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": identity, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for identity, name, arguments in calls
        ]},
        *({"role": "tool", "tool_call_id": calls[i][0], "content": text} for i, text in enumerate(("rain", "sun"))),
    ]  # fmt: skip
    answer = sdk.call("chat.completions.create", model="sim/instant", messages=turns, tools=[WEATHER])
    assert "rain" in answer.choices[0].message.content
    assert "sun" in answer.choices[0].message.content


@pytest.mark.parametrize("prompt", ["Weather in Oslo?", "What is the weather in Oslo and Kyoto?"], ids=["one", "two"])
def test_tool_calls_through_the_helper(sdk: Any, prompt: str) -> None:
    strict: Any = {"type": "function", "function": {**WEATHER["function"], "strict": True}}  # type: ignore[dict-item]
    events, completion = sdk.helper("sim/instant", prompt, tools=[strict])
    calls = completion.choices[0].message.tool_calls
    assert [call.function.parsed_arguments["city"] for call in calls] == ["Oslo", "Kyoto"][: len(calls)]
    ended = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [event.arguments for event in ended] == [call.function.arguments for call in calls]


def test_structured_output_as_text(sdk: Any) -> None:
    schema = {"name": "trip", "schema": Trip.model_json_schema(), "strict": True}
    wanted = {"type": "json_schema", "json_schema": schema}
    chunks = sdk.stream("sim/instant", "Three days in Oslo", response_format=wanted)
    assert len(chunks) > 4
    Trip.model_validate_json(text_of(chunks))


def test_structured_output_parsed(sdk: Any) -> None:
    messages = [{"role": "user", "content": "Three days in Oslo"}]
    completion = sdk.call("chat.completions.parse", model="sim/instant", messages=messages, response_format=Trip)
    assert isinstance(completion.choices[0].message.parsed, Trip)
    events, streamed = sdk.helper("sim/instant", "Three days in Oslo", response_format=Trip)
    assert isinstance(streamed.choices[0].message.parsed, Trip)
    assert [event.type for event in events].count("content.done") == 1
    deltas = [event for event in events if event.type == "content.delta"]
    assert "".join(event.delta for event in deltas) == streamed.choices[0].message.content
    assert len(deltas) > 4


def test_the_helper_finds_a_cut_answer_too_short_to_parse(sdk: Any) -> None:
    with pytest.raises(openai.LengthFinishReasonError) as caught:
        sdk.helper("sim/instant", "Three days in Oslo", response_format=Trip, max_completion_tokens=3)
    assert caught.value.completion.choices[0].finish_reason == "length"


def test_usage_when_asked_for(sdk: Any) -> None:
    chunks = sdk.stream("sim/echo", TEXT, stream_options={"include_usage": True})
    *content, last = chunks
    assert last.choices == []
    assert (last.usage.completion_tokens, last.usage.prompt_tokens > 0) == (len(content) - 2, True)
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens
    assert all(chunk.usage is None for chunk in content)
    _, completion = sdk.helper("sim/echo", TEXT, stream_options={"include_usage": True})
    assert completion.usage.completion_tokens == last.usage.completion_tokens


def test_usage_when_not_asked_for(sdk: Any, look: Callable[[str], dict[str, Any]]) -> None:
    messages = [{"role": "user", "content": TEXT}]
    raw = sdk.call("chat.completions.with_raw_response.create", model="sim/echo", messages=messages, stream=True)
    chunks = sdk.rest(raw)
    assert all(chunk.usage is None for chunk in chunks)
    assert look(raw.headers["x-tokenwire-stream"])["usage"]["output"] == len(chunks) - 2  # the relay knows all the same
    _, completion = sdk.helper("sim/echo", TEXT, stream_options={"include_usage": False})
    assert (completion.usage, completion.choices[0].message.content) == (None, TEXT)


@pytest.mark.untraced
def test_two_alternatives(sdk: Any) -> None:
    chunks = sdk.stream("sim/instant", "Tell me of the sea", n=2, stream_options={"include_usage": True})
    first, second = text_of(chunks, 0), text_of(chunks, 1)
    assert first
    assert second
    assert first != second
    assert reasons_of(chunks) == ["stop", "stop"]
    _, completion = sdk.helper("sim/instant", "Tell me of the sea", n=2)
    assert [choice.message.content for choice in completion.choices] == [first, second]


def test_logprobs(sdk: Any) -> None:
    chunks = sdk.stream("sim/echo", "one two", logprobs=True, top_logprobs=2)
    tokens = [
        token for chunk in chunks for choice in chunk.choices if choice.logprobs for token in choice.logprobs.content
    ]
    assert "".join(token.token for token in tokens) == "one two"
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)
    _, completion = sdk.helper("sim/echo", "one two", logprobs=True, top_logprobs=2)
    assert "".join(token.token for token in completion.choices[0].logprobs.content) == "one two"


@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"logprobs": True}], ids=["plain", "n=2", "logprobs"])
def test_a_whole_answer(sdk: Any, fields: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": TEXT}]
    completion = sdk.call("chat.completions.create", model="sim/echo", messages=messages, **fields)
    assert [choice.message.content for choice in completion.choices] == [TEXT] * fields.get("n", 1)
    assert completion.object == "chat.completion"
    assert completion.usage.completion_tokens > 10


def test_models(sdk: Any) -> None:
    names = [model.id for model in sdk.call("models.list").data]
    assert {"parrot", "sim/echo", "sim/gpt-4o"} <= set(names)
    for name in ("parrot", "sim/echo"):
        assert sdk.call("models.retrieve", name).id == name
    with pytest.raises(openai.NotFoundError, match="sim/echo"):
        sdk.call("models.retrieve", "sim-echo")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_the_providers_headers_come_through(sdk: Any, stream: bool) -> None:
    messages = [{"role": "user", "content": "hi"}]
    raw = sdk.call("chat.completions.with_raw_response.create", model="sim/echo", messages=messages, stream=stream)
    try:
        assert raw.headers["x-request-id"].startswith("req_")
        assert raw.headers["x-ratelimit-limit-tokens"] == "2000000"
        assert raw.headers["x-tokenwire-stream"].startswith("st_")
    finally:
        sdk.close(raw)
