"""Every fault in Anthropic's shape, over a socket: does it do what its row of the table says?"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.simulator.faults import FAULTS, UNARY
from tokenwire.simulator.tokens import pieces

Message = Callable[..., dict[str, Any]]
Tell = Callable[..., Any]
Check = Callable[[Any], Any]

PROMPT = "zero one two three 🚀 five six seven"
TOKENS = len(pieces(PROMPT))
TOOL = {"name": "find", "input_schema": {"properties": {"query": {"type": "string"}}, "required": ["query"]}}
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture
def fault(tell: Tell, message: Message) -> Tell:
    """fault(name, **fields): the echo of PROMPT with that fault, everything up to the end of the connection."""
    return lambda name, **fields: tell(message(PROMPT, model="echo", **fields), {"x-sim-fault": name})


def kinds(wire: Any) -> list[str]:
    return [event["type"] for event in wire.messages]


def texts(events: list[Any]) -> list[str]:
    return [event["delta"]["text"] for event in events if "text" in event.get("delta", {})]


def said(body: bytes) -> str:
    """All text of a body, whatever the framing; for bodies whose events are whole."""
    datas = re.findall(r"^data: ?(\{.*\})\s*$", re.sub("\r\n?", "\n", body.decode()), re.MULTILINE)
    return "".join(texts([json.loads(data) for data in datas]))


def failed(wire: Any, kind: str, after: int) -> None:
    """An error event of that *kind* is the last thing, after so many tokens; nothing closes what was open."""
    assert wire.complete
    *before, error = wire.messages
    assert (error["type"], error["error"]["type"]) == ("error", kind)
    assert error["request_id"] == wire.headers["request-id"]
    assert len(texts(before)) == after
    assert "message_stop" not in [event["type"] for event in before]


def refused(wire: Any, status: int, kind: str) -> None:
    body = json.loads(wire.body)
    assert (wire.status, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body["request_id"].startswith("req_011C")


def check_cut(wire: Any) -> None:
    assert not wire.complete
    assert len(texts([json.loads(chunk.split(b"data: ")[1]) for chunk in wire.chunks])) == 5


def check_eof(wire: Any) -> None:
    assert wire.complete
    assert len(texts(wire.messages)) == 5
    assert kinds(wire)[-1] == "content_block_delta"


def check_malformed(wire: Any) -> None:
    assert wire.complete
    broken = [chunk for chunk in wire.chunks if not chunk.endswith(b"}\n\n")]
    assert len(broken) == 1
    assert wire.chunks[-1].startswith(b"event: message_stop")


def check_error_event(wire: Any) -> None:
    last = wire.chunks[-1]
    assert last.startswith(b'data: {"type":"error","error":{"type":"api_error"')


def check_done_twice(wire: Any) -> None:
    found = kinds(wire)
    assert found.count("message_stop") == 2
    assert found[-3:] == ["message_stop", "content_block_delta", "message_stop"]


def check_packed(decode: Callable[[bytes], bytes], label: str) -> Check:
    def check(wire: Any) -> None:
        assert wire.headers["content-encoding"] == label
        assert said(decode(wire.body)) == PROMPT

    return check


def check_bom(wire: Any) -> None:
    assert wire.body.startswith(b"\xef\xbb\xbfevent: message_start")


def check_id_lines(wire: Any) -> None:
    assert wire.body.startswith(b"id: 1\nevent: message_start\n")
    assert b"\n\n: ping\n\nid: 2\n" in wire.body


def check_pings(wire: Any) -> None:
    assert kinds(wire)[::2][:-1] == ["ping"] * (len(kinds(wire)[::2]) - 1)
    assert said(wire.body) == PROMPT


def check_split(wire: Any) -> None:
    assert max(map(len, wire.chunks)) <= 7
    assert said(wire.body) == PROMPT


def check_surrogates(wire: Any) -> None:
    assert re.search(rb'\\ud83d"\}', wire.body)
    assert rb'"text":"\ude80' in wire.body
    halves = "".join(texts(wire.messages))
    assert halves.encode("utf-16", "surrogatepass").decode("utf-16") == PROMPT


def has(**expected: Any) -> Check:
    """The wire's attributes are these."""

    def check(wire: Any) -> None:
        assert {name: getattr(wire, name) for name in expected} == expected

    return check


CHECKS: dict[str, Check] = {
    "early-leave": has(raw=b""),
    "reset-head": has(raw=b"<reset>"),
    "garbage": lambda wire: re.match(rb"SSH-2\.0", wire.raw),
    "close-after": has(complete=True),
    "stale": has(complete=True),
    "error-before": lambda wire: refused(wire, 500, "api_error"),
    "error-before:400": lambda wire: refused(wire, 400, "invalid_request_error"),
    "error-before:504": lambda wire: refused(wire, 504, "timeout_error"),
    "error-before:402": lambda wire: refused(wire, 402, "billing_error"),
    "error-before:418": lambda wire: refused(wire, 418, "invalid_request_error"),
    "error-before:299": lambda wire: refused(wire, 500, "api_error"),
    "flaky": lambda wire: refused(wire, 529, "overloaded_error"),
    "429": lambda wire: refused(wire, 429, "rate_limit_error"),
    "overloaded": lambda wire: refused(wire, 529, "overloaded_error"),
    "edge": has(status=502),
    "edge:503": has(status=503),
    "edge:7": has(status=502),
    "html": lambda wire: wire.headers["content-type"].startswith("text/html"),
    "json-200": lambda wire: refused(wire, 200, "api_error"),
    "json-stream": lambda wire: json.loads(wire.body)["content"][0]["text"] == PROMPT,
    "wrong-type": lambda wire: (wire.headers["content-type"], said(wire.body)) == ("text/html", PROMPT),
    "slow-head:20": lambda wire: said(wire.body) == PROMPT,
    "slow-headers": lambda wire: said(wire.body) == PROMPT,
    "slow-first:20": lambda wire: said(wire.body) == PROMPT,
    "cut-head": lambda wire: b"\r\n\r\n" not in wire.raw,
    "error-first": lambda wire: failed(wire, "api_error", 0),
    "overloaded-first": lambda wire: failed(wire, "overloaded_error", 0),
    "cut": check_cut,
    "reset": lambda wire: wire.raw.endswith(b"<reset>"),
    "eof": check_eof,
    "error-mid": lambda wire: failed(wire, "api_error", 5),
    "error-mid:2": lambda wire: failed(wire, "api_error", 2),
    "error-event": check_error_event,
    "overloaded-mid": lambda wire: failed(wire, "overloaded_error", 5),
    "limited-mid": lambda wire: failed(wire, "rate_limit_error", 5),
    "malformed": check_malformed,
    "bad-chunk": has(complete=False),
    "error-last": lambda wire: failed(wire, "api_error", TOKENS),
    "no-done": lambda wire: kinds(wire)[-1] == "message_delta",
    "done-only": lambda wire: kinds(wire)[-2:] == ["content_block_delta", "message_stop"],
    "done-bare": lambda wire: re.search(rb'message_stop" *\}\n$', wire.body),
    "done-twice": check_done_twice,
    "close-delimited": lambda wire: "transfer-encoding" not in wire.headers,
    "split": check_split,
    "pings": check_pings,
    "crlf": lambda wire: (said(wire.body), re.findall(rb"[^\r]\n", wire.body)) == (PROMPT, []),
    "cr": lambda wire: (said(wire.body), wire.body.count(b"\n")) == (PROMPT, 0),
    "bom": check_bom,
    "no-space": lambda wire: b"event:message_start\ndata:{" in wire.body,
    "no-event": lambda wire: (said(wire.body), wire.body.count(b"event:")) == (PROMPT, 0),
    "id-lines": check_id_lines,
    "start-twice": lambda wire: kinds(wire)[:2] == ["message_start"] * 2,
    "surrogates": check_surrogates,
    "gzip": check_packed(lambda body: zlib.decompress(body, wbits=31), "gzip"),
    "deflate": check_packed(zlib.decompress, "deflate"),
    "deflate-raw": check_packed(lambda body: zlib.decompress(body, wbits=-15), "deflate"),
    "brotli": lambda wire: wire.headers["content-encoding"] == "br",
    "deaf": lambda wire: said(wire.body) == PROMPT,
}
#: Those that never end, or need something else than text; tested below.
OTHERS = {"stall-head", "stall-first", "stall", "endless-header", "endless-line", "cut-tool"}


def test_no_fault_was_forgotten() -> None:
    assert {name.partition(":")[0] for name in CHECKS} | OTHERS == set(FAULTS)


@pytest.mark.parametrize("name", CHECKS)
def test_a_fault_is_what_its_row_says(fault: Tell, name: str) -> None:
    found = CHECKS[name](fault(name))
    assert found is None or found  # a check asserts by itself, or says what it saw


def test_advice_when_to_come_back(fault: Tell) -> None:
    headers = fault("429:2300").headers
    assert (headers["retry-after"], headers["retry-after-ms"], headers["x-should-retry"]) == ("3", "2300", "true")
    assert headers["anthropic-ratelimit-input-tokens-remaining"] == "0"
    assert "retry-after" not in fault("overloaded").headers
    assert not {"retry-after", "x-should-retry"} & fault("flaky").headers.keys()


def test_a_call_is_cut_within_its_arguments(tell: Tell, message: Message) -> None:
    wire = tell(message(PROMPT, model="fault-cut-tool-2", tools=[TOOL], tool_choice={"type": "any"}))
    assert not wire.complete
    deltas = [json.loads(chunk.split(b"data: ")[1]).get("delta", {}) for chunk in wire.chunks]
    assert len([delta for delta in deltas if delta.get("partial_json")]) == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stall-head", b""),
        ("stall-first", b"\r\n\r\n"),
        ("stall-0", b'{"type": "ping"}'),
        ("stall-3", b'" two"'),
        ("endless-header", b"x-filler-9: "),
        ("endless-line-3", b'"delta"'),
    ],
)
def test_what_never_ends(play: Any, encode: Any, message: Message, name: str, expected: bytes) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        body = message(PROMPT, model="echo", metadata={"x-sim-fault": name})
        writer.write(encode(body, VERSION, path="/v1/messages"))
        raw = b""
        while expected not in raw or simulator.stats.active == 0:
            raw += await reader.read(65536) if expected else b""
            await asyncio.sleep(0)
        if name.startswith("stall"):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.02)
        else:
            await reader.readexactly(1_000_000)
        assert simulator.stats.active == 1
        writer.transport.abort()

    play(scenario)


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - UNARY - {"deaf"}))
def test_without_a_stream_faults_of_events_do_nothing_and_errors_become_500(fault: Tell, name: str) -> None:
    wire = fault(name, stream=False)
    if name.startswith(("error-", "overloaded-", "limited-")):
        refused(wire, 500, "api_error")
    else:
        assert json.loads(wire.body)["content"][0]["text"] == PROMPT


def test_without_a_stream_the_others_strike_the_body(fault: Tell) -> None:
    cut = fault("cut", stream=False)
    assert 0 < len(cut.rest) < int(cut.headers["content-length"])
    for name, wbits in (("gzip", 31), ("deflate", 15), ("deflate-raw", -15)):
        wire = fault(name, stream=False)
        assert len(wire.rest) == int(wire.headers["content-length"])
        assert json.loads(zlib.decompress(wire.body, wbits=wbits))["content"][0]["text"] == PROMPT
    assert fault("wrong-type", stream=False).headers["content-type"] == "text/html"
    assert json.loads(fault("close-after", stream=False).body)["type"] == "message"


def test_a_model_name_and_metadata_ask_for_a_fault_as_the_header_does(tell: Tell, message: Message) -> None:
    assert tell(message(model="fault-429-50")).headers["retry-after-ms"] == "50"
    assert len(texts(tell(message(model="fault-eof-2")).messages)) == 2
    assert len(texts(tell(message(model="fault-eof-2"), {"x-sim-fault": "eof:4"}).messages)) == 4
    body = message(PROMPT, model="echo", metadata={"user_id": "me", "X-Sim-Fault": "eof-3"})
    assert len(texts(tell(body).messages)) == 3
