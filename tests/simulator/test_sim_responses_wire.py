"""Responses byte by byte, over a socket: order, form and time of events; and that recorded streams look the same."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenwire.simulator.texts import pick

Response = Callable[..., dict[str, Any]]
Respond = Callable[..., Any]

RECORDED = Path(__file__).parent.parent / "fixtures" / "openai-responses"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "name": "get_weather", "description": "Weather now", "parameters": CITY}
TOOLS = [
    WEATHER,
    {"type": "function", "name": "get_time", "parameters": CITY},
    {"type": "function", "name": "list_all"},
]
SUMMARY = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}
PERSON = {"type": "json_schema", "name": "p", "schema": {"properties": {"name": {"type": "string"}}}, "strict": True}
LONG = [
    {"role": "user", "content": "word " * 1200},
    {"role": "assistant", "content": "well"},
    {"role": "user", "content": "go on"},
]

#: Recorded stream -> (input, fields, headers) of a request that the simulator answers in the same way.
ALIKE: dict[str, tuple[Any, dict[str, Any], dict[str, str]]] = {
    "text": ("hi", {}, {}),
    "usage": (LONG, {}, {}),
    "structured-json": ("hi", {"text": {"format": PERSON}}, {}),
    "tool-call": ("weather in Oslo", {"tools": TOOLS, "reasoning": {"effort": "low"}}, {}),
    "parallel-tool-calls": ("weather and time in Oslo, and list all", {"tools": TOOLS}, {}),
    "reasoning-summary": ("hi", SUMMARY, {}),
    "refusal": ("hi", {}, {"x-sim-answer": "refusal"}),
    "content-filter": ("hi", {"stream_options": {"include_obfuscation": False}}, {"x-sim-answer": "blocked"}),
    "web-search-citation": ("search the news", {"tools": [{"type": "web_search"}]}, {}),
    "error-mid-stream": ("hi", {"stream_options": {"include_obfuscation": False}}, {"x-sim-fault": "error-event:2"}),
}
#: Those that OpenAI's own models do not send, or not for a fault of ours.
UNLIKE = {"reasoning-text", "failed"}


def recorded(case: str) -> list[Any]:
    lines = (RECORDED / f"{case}.sse").read_bytes().decode().split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def events_of(body: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]


def kind_of(event: Any) -> str:
    """An event's type, with that of what is in it."""
    inside = event.get("item") or event.get("part") or event.get("annotation") or {}
    return f"{event['type']} {inside.get('type', '')}".strip()


def grammar(events: list[Any]) -> list[str]:
    """The order of things: equal neighbours once, items and parts of equal structure side by side once."""
    once = [kind for kind, _ in itertools.groupby(kind_of(event) for event in events)]
    text = "".join(f"{kind}\n" for kind in once)
    for kind in ("output_item", "reasoning_summary_part"):
        one = rf"response\.{kind}\.added.*\n(?:(?!response\.{kind}).*\n)*response\.{kind}\.done.*\n"
        text = re.sub(rf"({one})\1+", r"\1", text)
    return text.split("\n")


def shape(value: Any) -> Any:
    """Names and types of everything in *value*."""
    if isinstance(value, dict):
        return {name: shape(value[name]) for name in value}
    return [shape(each) for each in value[:1]] if isinstance(value, list) else type(value).__name__


def numbers(events: list[Any]) -> list[int]:
    return [event["sequence_number"] for event in events]


def text(events: list[Any]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


@pytest.mark.parametrize("case", sorted(ALIKE))
def test_a_recorded_stream_and_ours_look_the_same(respond: Respond, response: Response, case: str) -> None:
    given, fields, headers = ALIKE[case]
    wire = respond(response(given, **fields), headers)
    ours, theirs = events_of(wire.body), recorded(case)
    assert grammar(ours) == grammar(theirs)
    assert numbers(ours) == list(range(len(ours)))
    shapes = {kind_of(event): shape(event) for event in theirs}
    for event in ours:
        found, expected = shape(event), shapes[kind_of(event)]
        if "response" in event:
            assert list(found["response"]) == list(expected["response"])
            assert shape(event["response"]["usage"]) == expected["response"]["usage"]
            found, expected = {**found, "response": None}, {**expected, "response": None}
        if case in ("refusal", "content-filter"):  # recorded without padding
            found.pop("obfuscation", None)
        assert found == expected
        assert list(found) == list(expected) or "web_search_call." in event["type"]
    headers = json.loads((RECORDED / f"{case}.expected.json").read_text("utf-8"))["http"]["headers"]
    assert headers.keys() <= wire.headers.keys()
    assert wire.headers["content-type"] == headers["content-type"]


def test_every_recorded_stream_has_its_like() -> None:
    assert {path.stem for path in RECORDED.glob("*.sse")} == set(ALIKE) | UNLIKE


def test_a_refused_request_looks_as_recorded(respond: Respond, response: Response) -> None:
    wire = respond(response(messages=[]))
    theirs = json.loads((RECORDED / "error-before-stream.json").read_bytes())
    ours = json.loads(wire.body)
    assert wire.status == 400
    assert shape(ours) == shape(theirs)
    assert ours["error"]["code"] == theirs["error"]["code"] == "unsupported_parameter"


def test_a_failure_in_the_stream_looks_as_recorded(respond: Respond, response: Response) -> None:
    *_, error, failed = respond(response(), {"x-sim-fault": "limited-mid:3"}).messages
    theirs = recorded("failed")[-1]
    assert list(failed["response"]) == list(theirs["response"])
    assert failed["response"]["status"] == theirs["response"]["status"]
    assert failed["response"]["error"]["code"] == theirs["response"]["error"]["code"] == "rate_limit_exceeded"
    assert failed["response"]["output"] == []
    assert error["error"]["message"] == failed["response"]["error"]["message"]


def test_an_event_is_an_http_chunk_of_compact_json(respond: Respond, response: Response) -> None:
    wire = respond(response("odd unicode characters for a parser", **SUMMARY))
    assert wire.complete
    for chunk, event in zip(wire.chunks, events_of(wire.body), strict=True):
        packed = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        assert chunk == f"event: {event['type']}\ndata: {packed}\n\n".encode()


def test_text_comes_token_by_token(respond: Respond, response: Response) -> None:
    events = respond(response("explain tides")).messages
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert deltas == list(pick("explain tides").pieces)
    whole = "".join(deltas)
    done = {event["type"]: event for event in events[-4:]}
    assert done["response.output_text.done"]["text"] == whole
    assert done["response.content_part.done"]["part"]["text"] == whole
    assert done["response.output_item.done"]["item"]["content"][0]["text"] == whole
    assert done["response.completed"]["response"]["output"] == [done["response.output_item.done"]["item"]]
    assert done["response.completed"]["response"]["usage"]["output_tokens"] == len(deltas)


def test_ids_and_headers_are_openais(respond: Respond, response: Response) -> None:
    fields = {**SUMMARY, "tools": TOOLS}
    wire = respond(response("weather in Oslo and Rome", **fields))
    assert re.fullmatch(r"req_[0-9a-f]{32}", wire.headers["x-request-id"])
    assert wire.headers["openai-version"] == "2020-10-01"
    whole = wire.messages[-1]["response"]
    assert re.fullmatch(r"resp_[0-9a-f]{50}", whole["id"])
    reasoning, *calls = whole["output"]
    assert re.fullmatch(r"rs_[0-9a-f]{50}", reasoning["id"])
    assert reasoning["encrypted_content"].startswith("gAAAAA")
    assert all(re.fullmatch(r"fc_[0-9a-f]{50}", call["id"]) for call in calls)
    assert all(re.fullmatch(r"call_[0-9A-Za-z]{24}", call["call_id"]) for call in calls)
    assert len({call["call_id"] for call in calls}) == 2
    assert [event["output_index"] for event in wire.messages if event["type"] == "response.output_item.added"] == [
        0, 1, 2,
    ]  # fmt: skip


def test_the_sealed_reasoning_at_first_is_not_the_one_to_keep(respond: Respond, response: Response) -> None:
    events = respond(response("hi", **SUMMARY)).messages
    first, last = (
        event["item"]["encrypted_content"] for event in events if "encrypted_content" in event.get("item", {})
    )
    assert first != last
    kept = {"type": "reasoning", "id": "rs_1", "summary": []}
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}
    for sealed, status in ((first, 400), (last, 200), (last[:-8] + "AAAAAAA=", 400), ("é", 400)):
        items = [{"role": "user", "content": "hi"}, {**kept, "encrypted_content": sealed}, message]
        wire = respond(response([*items, {"role": "user", "content": "on"}]))
        assert wire.status == status
        if status == 400:
            assert json.loads(wire.body)["error"]["code"] == "invalid_encrypted_content"


def test_padding_can_be_switched_off(respond: Respond, response: Response) -> None:
    fields = {**SUMMARY, "tools": TOOLS}
    for prompt in ("weather in Oslo", "hi"):
        deltas = [each for each in respond(response(prompt, **fields)).messages if each["type"].endswith(".delta")]
        assert all(1 <= len(each["obfuscation"]) <= 16 for each in deltas)
        plain = respond(response(prompt, stream_options={"include_obfuscation": False}, **fields))
        assert b"obfuscation" not in plain.body


def test_logprobs_come_when_included(respond: Respond, response: Response) -> None:
    fields = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    events = respond(response("one two", model="echo", **fields)).messages
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    for delta in deltas:
        [entry] = delta["logprobs"]
        assert list(entry) == ["token", "logprob", "top_logprobs"]
        assert entry["token"] == entry["top_logprobs"][0]["token"] == delta["delta"]
        assert list(entry["top_logprobs"][1]) == ["token", "logprob"]
    [done] = [event for event in events if event["type"] == "response.output_text.done"]
    assert done["logprobs"] == [delta["logprobs"][0] for delta in deltas]
    whole = events[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert [bytes(entry["bytes"]).decode() for entry in whole] == [entry["token"] for entry in done["logprobs"]]


@pytest.mark.parametrize(
    "fields",
    [{}, {"tools": TOOLS, **SUMMARY}, {"tools": [{"type": "web_search_preview"}]}, {"max_output_tokens": 16}],
)
def test_the_whole_response_is_what_ends_the_stream(respond: Respond, response: Response, fields: Any) -> None:
    seeded, prompt = {"x-sim-seed": "3"}, "the latest weather in Oslo and Rome"
    events = respond(response(prompt, **fields), seeded).messages
    whole = json.loads(respond(response(prompt, stream=False, **fields), seeded).body)
    assert events[-1]["response"] == whole
    assert {event["response"]["id"] for event in events if "response" in event} == {whole["id"]}


def test_the_same_seed_gives_the_same_bytes(respond: Respond, response: Response) -> None:
    body = response("search the news in Oslo", tools=[{"type": "web_search"}], **SUMMARY)
    one = respond(body, {"x-sim-seed": "11"})
    assert respond(body, {"x-sim-seed": "11", "x-sim-group": "5"}).body == one.body
    assert respond(body, {"x-sim-seed": "12"}).body != one.body
    assert respond({**body, "metadata": {"X-Sim-Seed": "12"}}).body != one.body


def test_long_waits_are_filled_with_keepalives(
    monkeypatch: pytest.MonkeyPatch, respond: Respond, response: Response
) -> None:
    monkeypatch.setattr("tokenwire.simulator.vendors.openai_responses.stream.KEEPALIVE_SECONDS", 0.01)
    wire = respond(response("hi", model="echo"), {"x-sim-interval-ms": "35", "x-sim-tokens": "3"})
    events = wire.messages
    assert [event["type"] for event in events].count("keepalive") == 2 * 3
    assert numbers(events) == list(range(len(events)))
    assert wire.chunks[events.index(next(each for each in events if each["type"] == "keepalive"))].startswith(
        b'event: keepalive\ndata: {"type":"keepalive","sequence_number":'
    )


def test_reasoning_in_secret_is_a_silence(respond: Respond, response: Response) -> None:
    body = response("hi", model="gpt-4o", reasoning={"effort": "high"})
    events = respond(body, {"x-sim-ttft-ms": "0", "x-sim-interval-ms": "0"}).messages
    assert [kind_of(event) for event in events[2:4]] == [
        "response.output_item.added reasoning",
        "response.output_item.done reasoning",
    ]
    whole = events[-1]["response"]
    assert whole["usage"]["output_tokens_details"]["reasoning_tokens"] > 20
    assert whole["model"] == "gpt-4o-2024-08-06"
    assert whole["reasoning"]["effort"] == "high"


@pytest.mark.parametrize("stream", [True, False])
def test_old_clients_get_what_they_can_read(respond: Respond, response: Response, stream: bool) -> None:
    wire = respond(response("old", model="echo", stream=stream), version="1.0", close=False)
    assert "transfer-encoding" not in wire.headers
    assert b'"old"' in wire.body
