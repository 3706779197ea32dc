"""Every fault over a socket: does it do what its row of the table says?"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.simulator.faults import FAULTS, UNARY
from tokenwire.simulator.tokens import pieces

Chat = Callable[..., dict[str, Any]]
Get = Callable[..., Any]

PROMPT = "zero one two three 🚀 five six seven"
TOKENS = len(pieces(PROMPT))
TOOL = {
    "type": "function",
    "function": {"name": "find", "parameters": {"properties": {"query": {"type": "string"}}, "required": ["query"]}},
}


@pytest.fixture
def fault(get: Get, chat: Chat) -> Get:
    """fault(name, **fields): the echo of PROMPT with that fault, everything up to the end of the connection."""
    return lambda name, **fields: get(chat(PROMPT, model="echo", **fields), {"x-sim-fault": name})


def texts(wire: Any) -> list[str]:
    deltas = [event["choices"][0]["delta"] for event in wire.events if event != "[DONE]" and event.get("choices")]
    return [delta["content"] for delta in deltas if delta.get("content")]


# Instead of an answer


def test_error_before(fault: Get) -> None:
    wire = fault("error-before")
    assert (wire.status, json.loads(wire.body)["error"]["type"]) == (500, "server_error")
    assert fault("error-before:502").status == 502
    assert fault("error-before:200").status == 500
    wire = fault("error-before:403")
    assert (wire.status, json.loads(wire.body)["error"]["type"]) == (403, "invalid_request_error")
    assert fault("error-before:520").head.startswith(b"HTTP/1.1 520 Unknown\r\n")


def test_429(fault: Get) -> None:
    wire = fault("429")
    assert wire.status == 429
    assert (wire.headers["retry-after"], wire.headers["retry-after-ms"]) == ("1", "1000")
    assert wire.head.count(b"x-ratelimit-remaining-tokens") == 1
    error = json.loads(wire.body)["error"]
    assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
    wire = fault("429:2300")
    assert (wire.headers["retry-after"], wire.headers["retry-after-ms"]) == ("3", "2300")


def test_overloaded(fault: Get) -> None:
    wire = fault("overloaded")
    assert (wire.status, wire.headers["retry-after"]) == (503, "1")


def test_html(fault: Get) -> None:
    wire = fault("html")
    assert (wire.status, wire.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert wire.body.startswith(b"<!doctype html>")


def test_json_200(fault: Get) -> None:
    wire = fault("json-200")
    assert (wire.status, wire.headers["content-type"]) == (200, "application/json")
    assert "error" in json.loads(wire.body)


def test_json_stream(fault: Get) -> None:
    wire = fault("json-stream")
    assert (wire.status, wire.headers["content-type"]) == (200, "application/json")
    assert json.loads(wire.body)["choices"][0]["message"]["content"] == PROMPT


@pytest.mark.parametrize(("name", "status"), [("edge", 502), ("edge:503", 503), ("edge:1", 502)])
def test_edge(fault: Get, name: str, status: int) -> None:
    wire = fault(name)
    assert (wire.status, wire.headers["content-type"], wire.headers["server"]) == (status, "text/html", "edge")
    assert b"<title>%d " % status in wire.body


def test_wrong_type(fault: Get) -> None:
    wire = fault("wrong-type")
    assert (wire.headers["content-type"], wire.text) == ("text/html", PROMPT)


@pytest.mark.parametrize("name", ["slow-head:30", "slow-first:30", "close-after", "stale", "start-twice", "no-event"])
def test_faults_that_lose_nothing(fault: Get, name: str) -> None:
    wire = fault(name)
    assert wire.complete
    assert wire.text == PROMPT
    assert wire.events[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("name", "tokens", "kind"),
    [
        ("error-first", 0, "server_error"),
        ("overloaded-first", 0, "server_error"),
        ("overloaded-mid:2", 2, "server_error"),
        ("limited-mid", 5, "tokens"),
        ("error-last", TOKENS, "server_error"),
    ],
)
def test_errors_of_every_kind_in_the_stream(fault: Get, name: str, tokens: int, kind: str) -> None:
    wire = fault(name)
    assert wire.complete
    *before, error = wire.events
    assert error["error"]["type"] == kind
    assert len([event for event in before if event["choices"][0]["delta"].get("content")]) == tokens


# Connections that end or stall


def test_connections_that_bring_no_answer(fault: Get) -> None:
    assert fault("reset-head").raw == b"<reset>"
    assert fault("garbage").raw.startswith(b"SSH-2.0-")
    cut = fault("cut-head").raw
    assert cut.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in cut


def test_early_leave(fault: Get) -> None:
    assert fault("early-leave").raw == b""


def test_cut(fault: Get) -> None:
    wire = fault("cut:3")
    assert not wire.complete
    assert [json.loads(chunk[6:])["choices"][0]["delta"]["content"] for chunk in wire.chunks[1:]] == [
        "zero", " one", " two",
    ]  # fmt: skip
    promised, _, partial = wire.rest[sum(len(b"%x\r\n%b\r\n" % (len(c), c)) for c in wire.chunks) :].partition(b"\r\n")
    assert 0 < len(partial) < int(promised, 16)


def test_cut_tool(get: Get, chat: Chat) -> None:
    wire = get(chat(PROMPT, model="fault-cut-tool-2", tools=[TOOL], tool_choice="required"))
    assert not wire.complete
    fragments = [json.loads(chunk[6:])["choices"][0]["delta"]["tool_calls"] for chunk in wire.chunks[1:]]
    assert len(fragments) == 2


def test_reset(fault: Get) -> None:
    wire = fault("reset:3")
    assert wire.raw.endswith(b"<reset>")


def test_eof(fault: Get) -> None:
    wire = fault("eof:3")
    assert wire.complete
    assert len(wire.events) == 4
    assert all(event["choices"][0]["finish_reason"] is None for event in wire.events)


@pytest.mark.parametrize(
    ("name", "tokens"), [("stall-head", None), ("stall-first", 0), ("stall:0", 0), ("stall:3", 3), ("stall", 5)]
)
def test_stalls(play: Any, encode: Any, chat: Chat, name: str, tokens: int | None) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(chat(PROMPT, model="echo"), {"x-sim-fault": name}))
        if tokens is None:
            assert simulator.stats.requests == 0
        else:
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(tokens + (name != "stall-first")):
                await reader.readuntil(b"\n\n\r\n")
        while simulator.stats.active == 0:
            await asyncio.sleep(0)
        for _ in range(50):  # whatever was on its way is here now
            await asyncio.sleep(0)
        assert simulator.stats.active == 1
        assert simulator.stats.tokens == (tokens or 0)
        assert not reader.at_eof()
        writer.close()
        while simulator.stats.active:
            await asyncio.sleep(0)
        assert (simulator.stats.aborted, simulator.stats.done) == (1, 0)

    play(scenario)


# Heads


def test_slow_headers(fault: Get) -> None:
    wire = fault("slow-headers:0")
    assert wire.text == PROMPT


@pytest.mark.parametrize(("name", "piece"), [("endless-header", b"x-filler-9: xxx"), ("endless-line", b"x" * 9000)])
def test_endless(play: Any, encode: Any, chat: Chat, name: str, piece: bytes) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(chat(PROMPT, model="echo"), {"x-sim-fault": name}))
        raw = b""
        while len(raw) < 100_000:
            raw += await reader.read(65536)
        if name == "endless-header":
            assert piece in raw
            assert b"\r\n\r\n" not in raw
        else:
            assert piece[:4096] in raw.replace(b"\r\n1000\r\n", b"")
            assert b"\n\n" not in raw[-60_000:]
        writer.close()

    play(scenario)


def test_close_delimited(fault: Get) -> None:
    wire = fault("close-delimited")
    assert "transfer-encoding" not in wire.headers
    assert "content-length" not in wire.headers
    assert wire.text == PROMPT


# Errors and damage in mid-stream


def test_errors_in_the_stream(fault: Get) -> None:
    assert "error" in fault("error-first").events[0]
    *before, last = fault("error-mid:3").events
    assert len(before) == 4
    assert list(last["error"]) == ["message", "type", "param", "code"]
    assert fault("error-event:3").body.count(b'\n\nevent: error\ndata: {"error":') == 1


def test_malformed(fault: Get) -> None:
    blocks = fault("malformed:3").body.decode().split("\n\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(blocks[4][6:])
    assert json.loads(blocks[5][6:])["choices"][0]["delta"]["content"] == " "


def test_bad_chunk(fault: Get) -> None:
    wire = fault("bad-chunk:3")
    assert not wire.complete
    assert len(wire.chunks) == 4
    assert b"\r\nzz\r\n" in wire.rest


def test_ends(fault: Get) -> None:
    assert fault("no-done").events[-1]["choices"][0]["finish_reason"] == "stop"
    assert fault("done-only:2").events[-1] == "[DONE]"
    assert all(event["choices"][0]["finish_reason"] is None for event in fault("done-only:2").events[:-1])
    assert fault("done-bare").body.endswith(b"\n\ndata: [DONE]\n")
    assert [str(event)[:6] for event in fault("done-twice").events[-3:]] == ["[DONE]", "{'id':", "[DONE]"]


# Framing


def test_line_endings(fault: Get) -> None:
    assert fault("crlf").body.count(b"\r\n\r\n") == TOKENS + 3
    assert b"\n" not in fault("cr").body


def test_prefixes(fault: Get) -> None:
    assert fault("bom").body.startswith(b"\xef\xbb\xbfdata: ")
    assert b"data: {" not in fault("no-space").body
    assert fault("pings:2").body.count(b": ping\n\n") == (TOKENS + 3 + 1) // 2
    assert fault("id-lines").body.startswith(b"id: 1\ndata: ")


def test_split(fault: Get) -> None:
    wire = fault("split:3")
    assert wire.text == PROMPT
    assert max(map(len, wire.chunks)) <= 3
    assert any(chunk.endswith((b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x9a")) for chunk in fault("split:1").chunks)


def test_surrogates(fault: Get) -> None:
    wire = fault("surrogates")
    assert b'"\\ud83d"' in wire.body
    assert b'"\\ude80"' in wire.body
    assert wire.text.encode("utf-16-be", "surrogatepass").decode("utf-16-be") == PROMPT
    assert b'"token":"\\ude80"' in fault("surrogates", logprobs=True).body


def test_gzip(fault: Get) -> None:
    wire = fault("gzip")
    assert wire.headers["content-encoding"] == "gzip"
    assert zlib.decompress(wire.body, wbits=31).endswith(b"data: [DONE]\n\n")


def test_brotli(fault: Get) -> None:
    wire = fault("brotli")
    assert wire.headers["content-encoding"] == "br"
    assert b"data: [DONE]" in wire.body  # stored, not compressed; whether it is Brotli is seen in test_sim_codings


def test_deaf_otherwise_is_honest(fault: Get) -> None:
    assert fault("deaf").text == PROMPT


# How to ask


def test_a_model_name_asks_for_a_fault_as_the_header_does(get: Get, chat: Chat) -> None:
    assert get(chat(model="fault-429-50")).headers["retry-after-ms"] == "50"
    assert len(texts(get(chat(model="fault-eof-2")))) == 2
    assert len(texts(get(chat(model="fault-eof-2"), {"x-sim-fault": "eof:4"}))) == 4
    assert len(texts(get(chat(model="instant", metadata={"x-sim-fault": "eof-3"})))) == 3


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - UNARY - {"deaf"}))
def test_without_a_stream_faults_of_events_do_nothing_and_errors_become_500(get: Get, chat: Chat, name: str) -> None:
    wire = get(chat(PROMPT, model="echo", stream=False), {"x-sim-fault": name})
    if name.startswith(("error-", "overloaded-", "limited-")):
        assert wire.status == 500
    else:
        assert json.loads(wire.body)["choices"][0]["message"]["content"] == PROMPT


def test_without_a_stream_a_cut_breaks_the_body(get: Get, chat: Chat) -> None:
    wire = get(chat(PROMPT, model="echo", stream=False), {"x-sim-fault": "cut"})
    assert 0 < len(wire.rest) < int(wire.headers["content-length"])
    assert get(chat(PROMPT, model="echo", stream=False), {"x-sim-fault": "reset"}).raw.endswith(b"<reset>")
