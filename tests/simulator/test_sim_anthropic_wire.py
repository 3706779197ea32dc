"""Messages byte by byte, over a socket: order, form and time of events; and that recorded streams look the same."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenwire.simulator.texts import pick

Message = Callable[..., dict[str, Any]]
Tell = Callable[..., Any]

RECORDED = Path(__file__).parent.parent / "fixtures" / "anthropic"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {"name": "get_weather", "description": "Weather now", "input_schema": CITY},
    {"name": "get_time", "input_schema": CITY},
    {"name": "list_all", "description": "Everything", "input_schema": {"type": "object"}},
]
DOCUMENT = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "Sparrows eat seeds. Cats sleep."},
    "title": "Doc",
    "citations": {"enabled": True},
}
PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
LONG = [{"type": "text", "text": "word " * 1200, "cache_control": {"type": "ephemeral"}}]

#: Recorded stream -> fields of a request that the simulator answers in the same way.
ALIKE: dict[str, dict[str, Any]] = {
    "text": {},
    "citations": {"content": [DOCUMENT, {"type": "text", "text": "What do sparrows eat?"}]},
    "parallel-tool-calls": {
        "content": "weather and time in Oslo, and list all",
        "tools": TOOLS,
        "tool_choice": {"type": "any"},
    },
    "refusal": {"headers": {"x-sim-answer": "refusal"}},
    "structured-json": {"output_config": {"format": {"type": "json_schema", "schema": PERSON}}},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "tool-call": {"content": "weather in Oslo", "tools": TOOLS},
    "usage": {"system": LONG, "stop_sequences": ["good"], "content": "the morning is good", "model": "echo"},
    "error-mid-stream": {"headers": {"x-sim-fault": "overloaded-mid:2"}},
}


def events_of(raw: bytes) -> list[Any]:
    lines = [line for line in raw.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def kind_of(event: Any) -> str:
    """An event's type, with that of what is in it."""
    inside = event.get("content_block") or event.get("delta") or {}
    inner = inside.get("type", "")
    return f"{event['type']} {inner}".strip()


def grammar(events: list[Any]) -> list[str]:
    """The order of things: without pings, equal neighbours once, blocks of equal structure side by side once."""
    kinds = [kind_of(event) for event in events if event["type"] != "ping"]
    once = [kind for kind, _ in itertools.groupby(kinds)]
    text = "\n".join(once)
    block = r"((?:content_block_start (\w+)\n)(?:content_block_delta \w+\n)*content_block_stop\n)\1+"
    return re.sub(block, r"\1", text).split("\n")


def shape(value: Any) -> Any:
    """Names and types of everything in *value*."""
    if isinstance(value, dict):
        return {name: shape(value[name]) for name in value}
    return [shape(each) for each in value[:1]] if isinstance(value, list) else type(value).__name__


def obeys(events: list[Any]) -> bool:
    """Whether the state machine of the reference (section 5.2) takes the whole stream."""
    letters = {
        "message_start": "s", "content_block_start": "b", "content_block_delta": "d", "content_block_stop": "e",
        "message_delta": "m", "message_stop": "z", "ping": "p", "error": "x",
    }  # fmt: skip
    text = "".join(letters[event["type"]] for event in events)
    indices = [event["index"] for event in events if event["type"] == "content_block_start"]
    return (
        re.fullmatch(r"sp*(bp*([dp]*)ep*)*(m+z|((bp*[dp]*)?x))", text) is not None
        and indices == list(range(len(indices)))
        and sum(event["type"] == "message_start" for event in events) == 1
    )


@pytest.mark.parametrize("case", sorted(ALIKE))
def test_a_recorded_stream_and_ours_look_the_same(tell: Tell, message: Message, case: str) -> None:
    recorded = events_of((RECORDED / f"{case}.sse").read_bytes())
    fields = {**ALIKE[case]}
    wire = tell(message(fields.pop("content", "hi"), **{k: v for k, v in fields.items() if k != "headers"}),
                fields.get("headers"))  # fmt: skip
    ours = wire.messages
    assert obeys(recorded)
    assert obeys(ours)
    assert grammar(ours) == grammar(recorded)
    shapes = {kind_of(event): shape(event) for event in recorded}
    for event in ours:
        if kind_of(event) == "message_delta":  # which details there are depends on the answer
            recorded_usage = {*shapes["message_delta"]["usage"], "output_tokens_details"}
            assert {*event["usage"]} <= recorded_usage
            assert list(event["delta"]) == list(shapes["message_delta"]["delta"])
        elif kind_of(event) == "content_block_start tool_use":
            assert {*event["content_block"]} == {"type", "id", "name", "input", "caller"}
        elif kind_of(event) == "content_block_start text":
            assert event["content_block"] in (
                {"type": "text", "text": ""},
                {"citations": [], "type": "text", "text": ""},
            )
        elif event["type"] not in ("error", "ping"):
            assert shape(event) == shapes[kind_of(event)]
    headers = json.loads((RECORDED / f"{case}.expected.json").read_text("utf-8"))["http"]["headers"]
    assert headers.keys() <= wire.headers.keys()
    assert wire.headers["content-type"] == headers["content-type"]


def test_every_recorded_stream_has_its_like() -> None:
    assert {path.stem for path in RECORDED.glob("*.sse")} == set(ALIKE)


def test_a_refused_request_looks_as_recorded(tell: Tell, message: Message) -> None:
    recorded = json.loads((RECORDED / "error-before-stream.json").read_bytes())
    expected = json.loads((RECORDED / "error-before-stream.expected.json").read_text("utf-8"))
    wire = tell(message(model="fault-overloaded"))
    assert wire.status == expected["http"]["status"] == 529
    assert wire.head.startswith(b"HTTP/1.1 529 Overloaded\r\n")
    body = json.loads(wire.body)
    assert shape(body) == shape(recorded)
    assert body["error"] == recorded["error"]
    assert body["request_id"] == wire.headers["request-id"]


def test_an_event_is_an_http_chunk_and_masks_its_length(tell: Tell, message: Message) -> None:
    wire = tell(message("explain tides"))
    assert wire.complete
    blanks = set()
    for chunk in wire.chunks:
        name, data, *rest = chunk.split(b"\n")
        assert rest == [b"", b""]
        if name == b"event: ping":
            assert data == b'data: {"type": "ping"}'
            continue
        text = data.removeprefix(b"data: ").decode()
        packed = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
        padding = text[len(packed) - 1 : -1]
        assert text == packed[:-1] + padding + "}"
        assert padding.strip(" ") == ""
        blanks.add(len(padding))
    assert len(blanks) > 5


def test_ids_and_headers_are_anthropics(tell: Tell, message: Message) -> None:
    wire = tell(message("weather in Oslo", tools=TOOLS))
    base58 = "[1-9A-HJ-NP-Za-km-z]"
    assert re.fullmatch(rf"req_011C{base58}{{20}}", wire.headers["request-id"])
    assert "x-request-id" not in wire.headers
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", wire.headers["anthropic-ratelimit-input-tokens-reset"])
    start = wire.messages[0]["message"]
    assert re.fullmatch(rf"msg_01{base58}{{22}}", start["id"])
    blocks = [event["content_block"] for event in wire.messages if event["type"] == "content_block_start"]
    assert re.fullmatch(rf"toolu_01{base58}{{22}}", blocks[1]["id"])


def test_events_hold_groups_of_tokens(tell: Tell, message: Message) -> None:
    wire = tell(message("explain tides"))
    texts = [event["delta"]["text"] for event in wire.messages if event["type"] == "content_block_delta"]
    text = pick("explain tides")
    assert "".join(texts) == text.body
    assert texts[0] == text.pieces[0]
    assert len(text.pieces) / 5 < len(texts) < len(text.pieces) / 2
    single = tell(message("explain tides"), {"x-sim-group": "1"}).messages
    assert [event["delta"]["text"] for event in single if event["type"] == "content_block_delta"] == list(text.pieces)


def test_usage_is_cumulative_and_counts_every_token(tell: Tell, message: Message) -> None:
    wire = tell(message("explain tides"), {"x-sim-tokens": "77"})
    first, last = wire.messages[0]["message"]["usage"], wire.messages[-2]["usage"]
    assert first["output_tokens"] == 1
    assert last["output_tokens"] == 77
    assert first["input_tokens"] == last["input_tokens"] > 0


def test_the_same_seed_gives_the_same_bytes(tell: Tell, message: Message) -> None:
    body = message("search the news in Oslo", tools=[{"type": "web_search_20250305", "name": "web_search"}],
                   thinking={"type": "adaptive"})  # fmt: skip
    seeded = {"x-sim-seed": "11"}
    one = tell(body, seeded)
    assert tell(body, {**seeded, "x-sim-ttft-ms": "5"}).body == one.body
    assert tell(body, {"x-sim-seed": "12"}).body != one.body
    assert tell({**body, "stream": False}, seeded).body == tell({**body, "stream": False}, seeded).body


def test_long_waits_are_filled_with_pings(monkeypatch: pytest.MonkeyPatch, tell: Tell, message: Message) -> None:
    monkeypatch.setattr("tokenwire.simulator.vendors.anthropic.stream.PING_SECONDS", 0.01)
    wire = tell(message("hi", model="echo"), {"x-sim-interval-ms": "35", "x-sim-tokens": "3", "x-sim-group": "1"})
    kinds = [event["type"] for event in wire.messages]
    assert kinds.count("ping") == 1 + 2 * 3
    assert obeys(wire.messages)


@pytest.mark.parametrize("stream", [True, False])
def test_old_clients_get_what_they_can_read(tell: Tell, message: Message, stream: bool) -> None:
    wire = tell(message("old", model="echo", stream=stream), version="1.0", close=False)
    assert "transfer-encoding" not in wire.headers
    assert b'"old"' in wire.body


def test_the_whole_message_says_what_the_stream_does(tell: Tell, message: Message) -> None:
    seeded = {"x-sim-seed": "3"}
    body = message("weather in Oslo", tools=TOOLS, thinking={"type": "enabled", "budget_tokens": 2000})
    events = tell(body, seeded).messages
    whole = json.loads(tell({**body, "stream": False}, seeded).body)
    content: list[Any] = []
    for event in events:
        if event["type"] == "content_block_start":
            content.append({**event["content_block"]})
        elif event["type"] == "content_block_delta":
            for name in ("text", "thinking", "signature"):
                if name in event["delta"]:
                    content[-1][name] += event["delta"][name]
            if "partial_json" in event["delta"]:
                content[-1].setdefault("json", []).append(event["delta"]["partial_json"])
    for block in content:
        if "json" in block:
            block["input"] = json.loads("".join(block.pop("json")))
    assert whole["content"] == content
    last = events[-2]
    assert whole["stop_reason"] == last["delta"]["stop_reason"]
    assert {name: whole["usage"][name] for name in last["usage"]} == last["usage"]
    start = events[0]["message"]
    assert (whole["model"], whole["role"], whole["type"]) == (start["model"], start["role"], start["type"])
