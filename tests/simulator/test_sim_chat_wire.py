"""Chat Completions byte by byte, over a socket."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tokenwire.simulator.latency import PROFILES
from tokenwire.simulator.texts import pick
from tokenwire.simulator.tokens import pieces

Chat = Callable[..., dict[str, Any]]
Get = Callable[..., Any]

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Weather now", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "get_time"}}


def test_a_stream_is_the_documented_sequence_of_chunks(get: Get, chat: Chat) -> None:
    wire = get(chat("rust code"))
    assert (wire.status, wire.complete) == (200, True)
    opening, *texts, finish, done = wire.events
    assert done == "[DONE]"
    assert re.fullmatch(r"chatcmpl-[0-9A-Za-z]{29}", opening["id"])
    shared = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
    assert {tuple(event[key] for key in shared) for event in (opening, *texts, finish)} == {
        (
            opening["id"],
            "chat.completion.chunk",
            opening["created"],
            "instant",
            "default",
            opening["system_fingerprint"],
        )
    }
    assert list(opening) == [*shared, "choices", "obfuscation"]
    assert opening["choices"] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": "", "refusal": None},
            "logprobs": None,
            "finish_reason": None,
        }
    ]
    assert [event["choices"][0]["delta"] for event in texts] == [
        {"content": piece} for piece in pick("rust code").pieces
    ]
    assert finish["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]


def test_every_event_is_an_http_chunk_of_compact_json(get: Get, chat: Chat) -> None:
    wire = get(chat())
    for chunk in wire.chunks:
        assert chunk.startswith(b"data: ")
        assert chunk.endswith(b"\n\n")
        assert chunk.count(b"\n") == 2
    data = json.loads(wire.chunks[1][6:])
    assert wire.chunks[1][6:-2] == json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def test_the_head_has_openais_headers(get: Get, chat: Chat) -> None:
    headers = get(chat()).headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["transfer-encoding"] == "chunked"
    assert re.fullmatch(r"req_[0-9a-f]{32}", headers["x-request-id"])
    assert headers["openai-version"] == "2020-10-01"
    assert headers["openai-processing-ms"] == "0"
    assert {"openai-organization", "openai-project", "date"} <= headers.keys()
    for kind in ("requests", "tokens"):
        assert {f"x-ratelimit-{word}-{kind}" for word in ("limit", "remaining", "reset")} <= headers.keys()


def test_scripts_and_odd_characters_arrive_as_they_are(get: Get, chat: Chat) -> None:
    wire = get(chat("odd unicode characters for a parser"))
    assert wire.text == pick("odd unicode characters for a parser").body
    assert "\u2028".encode() in wire.body  # raw, as the vendors send it


def test_usage_comes_when_asked_for(get: Get, chat: Chat) -> None:
    wire = get(chat("count these words", model="echo", stream_options={"include_usage": True}))
    *chunks, usage, _ = wire.events
    assert all(chunk["usage"] is None for chunk in chunks)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == len(pieces("count these words")) == 3
    assert usage["usage"]["prompt_tokens"] == 3 + 4 + 3
    assert usage["usage"]["total_tokens"] == 13
    assert usage["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


def test_obfuscation_can_be_switched_off(get: Get, chat: Chat) -> None:
    padded = get(chat()).events[:-1]
    assert all(1 <= len(event["obfuscation"]) <= 16 for event in padded)
    assert len({event["obfuscation"] for event in padded}) > 20
    plain = get(chat(stream_options={"include_obfuscation": False})).events[:-1]
    assert all("obfuscation" not in event for event in plain)


def test_one_tool_call_is_opened_with_the_role(get: Get, chat: Chat) -> None:
    wire = get(chat("weather in Oslo", tools=[WEATHER, CLOCK], stream_options={"include_usage": True}))
    opening, *fragments, finish, usage, _ = wire.events
    delta = opening["choices"][0]["delta"]
    assert list(delta) == ["role", "content", "tool_calls", "refusal"]
    assert delta["content"] is None
    [call] = delta["tool_calls"]
    assert re.fullmatch(r"call_[0-9A-Za-z]{24}", call.pop("id"))
    assert call == {"index": 0, "type": "function", "function": {"name": "get_weather", "arguments": ""}}
    calls = [event["choices"][0]["delta"]["tool_calls"][0] for event in fragments]
    assert all(call.keys() == {"index", "function"} and list(call["function"]) == ["arguments"] for call in calls)
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Oslo"}
    assert finish["choices"][0]["finish_reason"] == "tool_calls"
    assert usage["usage"]["completion_tokens"] == 1 + len(fragments)


def test_parallel_calls_are_opened_one_by_one(get: Get, chat: Chat) -> None:
    wire = get(chat("weather in Oslo and Lima", tools=[WEATHER]))
    opening, *deltas, finish, _ = wire.events
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": None, "refusal": None}
    joined: dict[int, str] = {}
    ids = []
    for event in deltas:
        [call] = event["choices"][0]["delta"]["tool_calls"]
        if "id" in call:
            ids.append(call["id"])
        joined[call["index"]] = joined.get(call["index"], "") + call["function"]["arguments"]
    assert [json.loads(text) for text in joined.values()] == [{"city": "Oslo"}, {"city": "Lima"}]
    assert len(set(ids)) == 2
    assert finish["choices"][0]["finish_reason"] == "tool_calls"


def test_a_tool_without_parameters_gets_an_empty_object(get: Get, chat: Chat) -> None:
    message = get(chat("time", tools=[CLOCK], stream=False)).body
    assert json.loads(message)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("choice", "called", "finish"),
    [
        ("none", None, "stop"),
        ("auto", None, "stop"),
        ("required", "get_weather", "tool_calls"),
        ({"type": "function", "function": {"name": "get_time"}}, "get_time", "stop"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "get_time"}}],
                },
            },
            "get_time",
            "tool_calls",
        ),
    ],
)
def test_tool_choice_is_obeyed(get: Get, chat: Chat, choice: Any, called: str | None, finish: str) -> None:
    custom = {"type": "custom", "custom": {"name": "ignored"}}
    body = json.loads(get(chat("hello", tools=[custom, WEATHER, CLOCK], tool_choice=choice, stream=False)).body)
    [answer] = body["choices"]
    calls = answer["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == ([called] if called else [])
    assert answer["finish_reason"] == finish


def test_one_call_at_a_time_when_parallel_calls_are_off(get: Get, chat: Chat) -> None:
    body = chat("weather in Oslo and Lima", tools=[WEATHER], parallel_tool_calls=False, stream=False)
    assert len(json.loads(get(body).body)["choices"][0]["message"]["tool_calls"]) == 1


def test_tool_results_are_answered_in_words(get: Get, chat: Chat) -> None:
    body = chat("weather in Oslo and Lima", tools=[WEATHER])
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}} for n in (1, 2)
    ]
    body["messages"] += [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "7 degrees, rain"},
        {"role": "tool", "tool_call_id": "nobody", "content": [{"type": "text", "text": "19 degrees"}]},
    ]
    text = get(body).text
    assert "`get_weather`: 7 degrees, rain" in text
    assert "`the tool`: 19 degrees" in text


def test_an_older_turns_results_are_not_answered_again(get: Get, chat: Chat) -> None:
    body = chat("old")
    body["messages"] += [
        {"role": "tool", "tool_call_id": "c0", "content": "stale"},
        {"role": "user", "content": "new"},
        {"role": "tool", "tool_call_id": "c1", "name": "clock", "content": "noon"},
    ]
    text = get(body).text
    assert "`clock` says: noon" in text
    assert "stale" not in text
    body["messages"] = [{"role": "tool", "tool_call_id": "c1", "name": "clock", "content": "noon"}]
    assert "noon" in get(body).text


def test_structured_output_fits_its_schema(get: Get, chat: Chat) -> None:
    schema = {
        "type": "object",
        "properties": {"city": CITY, "days": {"type": "array", "items": {"type": "integer"}, "minItems": 2}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "trip", "strict": True, "schema": schema}}
    wire = get(chat("plan a trip", response_format=form))
    jsonschema.Draft202012Validator(schema).validate(json.loads(wire.text))
    assert len(wire.events) > 8
    assert isinstance(json.loads(get(chat("x", response_format={"type": "json_object"})).text), dict)
    assert get(chat("rust code", response_format={"type": "text"})).text == pick("rust code").body


def test_alternatives_are_interleaved(get: Get, chat: Chat) -> None:
    wire = get(chat("a list", n=3, stream_options={"include_usage": True}), {"x-sim-tokens": "40"})
    choices = [event["choices"][0] for event in wire.events[:-1] if event["choices"]]
    order = [choice["index"] for choice in choices]
    assert order[:3] == [0, 1, 2]
    assert Counter(order) == {0: 42, 1: 42, 2: 42}
    assert order != sorted(order)
    assert len({wire.text_of(index) for index in range(3)}) == 3
    ended = [choice["index"] for choice in choices if choice["finish_reason"]]
    assert sorted(ended) == [0, 1, 2]
    assert wire.events[-2]["usage"]["completion_tokens"] == 120


def test_logprobs_cover_each_chunks_token(get: Get, chat: Chat) -> None:
    wire = get(chat("Zażółć 🚀 gęślą", model="echo", logprobs=True, top_logprobs=20))
    opening, *texts, finish, _ = wire.events
    assert opening["choices"][0]["logprobs"] == {"content": [], "refusal": None}
    assert finish["choices"][0]["logprobs"] is None
    for event in texts:
        choice = event["choices"][0]
        [entry] = choice["logprobs"]["content"]
        assert entry["token"] == choice["delta"]["content"]
        assert bytes(entry["bytes"]).decode() == entry["token"]
        assert len(entry["top_logprobs"]) == 20
        values = [top["logprob"] for top in entry["top_logprobs"]]
        assert values == sorted(values, reverse=True)
        assert entry["logprob"] == values[0] <= 0
        assert len({top["token"] for top in entry["top_logprobs"]}) == 20


def test_logprobs_without_alternatives_and_without_stream(get: Get, chat: Chat) -> None:
    body = json.loads(get(chat("a b", model="echo", logprobs=True, stream=False)).body)
    entries = body["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in entries] == ["a", " b"]
    assert all(entry["top_logprobs"] == [] for entry in entries)


def test_a_whole_answer_is_one_json_object(get: Get, chat: Chat) -> None:
    wire = get(chat("rust code", stream=False, n=2))
    assert wire.headers["content-type"] == "application/json"
    assert int(wire.headers["content-length"]) == len(wire.rest)
    body = json.loads(wire.body)
    assert body["object"] == "chat.completion"
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert body["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": pick("rust code").body, "refusal": None, "annotations": []},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert body["usage"]["completion_tokens"] == sum(len(pick("rust code", variant=n).pieces) for n in (0, 1))


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_limit_ends_with_length(get: Get, chat: Chat, field: str) -> None:
    wire = get(chat("a b c d e", model="echo", **{field: 3}))
    assert wire.text == "a b c"
    assert wire.events[-2]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stop", ["c", ["x", "c"], ["", "c"]])
def test_a_stop_sequence_ends_before_itself(get: Get, chat: Chat, stop: Any) -> None:
    assert get(chat("a b c d e", model="echo", stop=stop)).text == "a b "


def test_the_last_user_message_is_the_prompt(get: Get, chat: Chat) -> None:
    body = chat(model="echo")
    body["messages"] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "so?"},
        {"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "image_url", "image_url": {}}]},
        {"role": "developer", "content": "be kind"},
    ]
    assert get(body).text == "second"
    body["messages"] = [{"role": "system", "content": "nobody speaks"}]
    assert get(body).text == ""


def test_the_same_seed_gives_the_same_body(get: Get, chat: Chat) -> None:
    body = chat("weather in Oslo and Lima", tools=[WEATHER], n=2, logprobs=True)
    first, again, other = (get(body, {"X-Sim-Seed": seed}).body for seed in ("7", "7", "8"))
    assert first == again
    assert first != other


def test_requests_without_a_seed_have_ids_of_their_own(play: Any, fetch: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        wires = [await fetch(simulator, chat()) for _ in range(3)]
        assert len({wire.events[0]["id"] for wire in wires}) == 3
        assert len({wire.headers["x-request-id"] for wire in wires}) == 3
        assert len({wire.text for wire in wires}) == 1

    play(scenario)


def test_metadata_works_where_headers_do_not_get_through(get: Get, chat: Chat) -> None:
    wire = get(chat("hi", metadata={"X-Sim-Tokens": "9", "x-sim-seed": "1", "other": "ignored"}))
    assert len(wire.events) == 9 + 3


def test_the_models_answer_by_their_snapshot_names(get: Get, chat: Chat) -> None:
    exact = {"x-sim-ttft-ms": "0", "x-sim-interval-ms": "0"}
    for model in ("gpt-4o", "gpt-4o-2024-08-06"):
        assert get(chat(model=model), exact).events[0]["model"] == "gpt-4o-2024-08-06"
    for model in ("claude-sonnet-4-6", "llama-4-scout"):
        assert get(chat(model=model), exact).events[0]["model"] == model


def test_the_list_of_models(get: Get) -> None:
    body = json.loads(get(None, method="GET", path="/v1/models").body)
    ids = [entry["id"] for entry in body["data"]]
    assert body["object"] == "list"
    assert {*PROFILES, "fault-cut", "fault-429"} <= set(ids)
    assert json.loads(get(None, method="GET", path="/v1/models/gpt-4o?x=1").body) == {
        "id": "gpt-4o", "object": "model", "created": body["data"][0]["created"], "owned_by": "simulator",
    }  # fmt: skip


MISSING = "missing_required_parameter"


def assert_refused(wire: Any, param: str | None, code: str | None) -> None:
    assert wire.status == 400
    assert wire.headers["content-type"] == "application/json"
    assert "x-request-id" in wire.headers
    error = json.loads(wire.body)["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["message"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"", None, None),
        (b"{", None, None),
        (b"\xff", None, None),
        (b'{"model":"\\ud800"}', None, None),
        (b"[" * 100_000, None, None),
        (b'"text"', None, "invalid_value"),
        ({}, "model", MISSING),
        ({"model": "instant"}, "messages", MISSING),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_wrong_body_is_refused_in_openais_words(get: Get, body: Any, param: str | None, code: str | None) -> None:
    assert_refused(get(body), param, code)


@pytest.mark.parametrize(
    ("field", "param", "code"),
    [
        ({"model": 5}, "model", "invalid_value"),
        ({"model": "fault-nonsense"}, "model", None),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", MISSING),
        ({"messages": [{"role": "bot"}]}, "messages[0].role", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": "two"}, "n", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", None),
        ({"stream": False, "stream_options": {"include_usage": True}}, "stream_options", None),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "invalid_value"),
        ({"tool_choice": "maybe"}, "tool_choice", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", None),
        ({"tool_choice": {"type": "function"}, "tools": [WEATHER]}, "tool_choice", None),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema", MISSING),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}},
            "response_format",
            None,
        ),
        ({"metadata": {"x-sim-fault": "nonsense"}}, "model", None),
        ({"metadata": {"x-sim-tokens": "many"}}, None, None),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_wrong_field_is_refused_in_openais_words(
    get: Get, chat: Chat, field: dict[str, Any], param: str | None, code: str | None
) -> None:
    assert_refused(get(chat() | field), param, code)


@pytest.mark.parametrize("parameters", [7, {"not": {}}])
def test_arguments_that_cannot_exist_are_refused(get: Get, chat: Chat, parameters: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    wire = get(chat(tools=[tool], tool_choice="required"))
    assert_refused(wire, "tools", "invalid_function_parameters")


@pytest.mark.parametrize(
    ("method", "path", "model", "status", "code"),
    [
        ("POST", "/v1/chat/completions", "gpt-9", 404, "model_not_found"),
        ("GET", "/v1/models/gpt-9", "", 404, "model_not_found"),
        ("POST", "/v1/nothing", "instant", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", "instant", 405, "method_not_supported"),
        ("DELETE", "/v1/models", "", 405, "method_not_supported"),
    ],
)
def test_what_does_not_exist_is_said_to_be_so(
    get: Get, chat: Chat, method: str, path: str, model: str, status: int, code: str
) -> None:
    wire = get(chat(model=model), method=method, path=path)
    error = json.loads(wire.body)["error"]
    assert (wire.status, error["code"], error["type"]) == (status, code, "invalid_request_error")
