"""Every fault in the shape of OpenAI's Responses, over a socket: does it do what its row of the table says?"""

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

Response = Callable[..., dict[str, Any]]
Respond = Callable[..., Any]
Check = Callable[[Any], Any]

PROMPT = "zero one two three 🚀 five six seven"
TOKENS = len(pieces(PROMPT))
TOOL = {"type": "function", "name": "find", "parameters": {"properties": {"query": {"type": "string"}}}}


@pytest.fixture
def fault(respond: Respond, response: Response) -> Callable[..., Any]:
    """fault(name, **fields): the echo of PROMPT with that fault, everything up to the end of the connection."""
    return lambda name, **fields: respond(response(PROMPT, model="echo", **fields), {"x-sim-fault": name})


def kinds(wire: Any) -> list[str]:
    return [event["type"] for event in wire.messages]


def texts(events: list[Any]) -> list[str]:
    return [event["delta"] for event in events if event["type"] == "response.output_text.delta"]


def said(body: bytes) -> str:
    """All text of a body, whatever the framing; for bodies whose events are whole."""
    datas = re.findall(r"^data: ?(\{.*\})\s*$", re.sub("\r\n?", "\n", body.decode()), re.MULTILINE)
    return "".join(texts([json.loads(data) for data in datas]))


def failed(wire: Any, code: str, after: int) -> None:
    """An error and the end of the response are the last things, after so many tokens, without a gap."""
    assert wire.complete
    events = wire.messages
    *before, error, end = events
    assert (error["type"], error["error"]["code"]) == ("error", code)
    assert (end["type"], end["response"]["status"]) == ("response.failed", "failed")
    assert end["response"]["error"] == {"code": code, "message": error["error"]["message"]}
    assert len(texts(before)) == after
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def refused(wire: Any, status: int, kind: str) -> None:
    body = json.loads(wire.body)
    assert (wire.status, body["error"]["type"]) == (status, kind)
    assert set(body["error"]) == {"message", "type", "param", "code"}


def check_cut(wire: Any) -> None:
    assert not wire.complete
    assert len(texts([json.loads(chunk.split(b"data: ")[1]) for chunk in wire.chunks])) == 5


def check_eof(wire: Any) -> None:
    assert wire.complete
    assert len(texts(wire.messages)) == 5
    assert kinds(wire)[-1] == "response.output_text.delta"


def check_malformed(wire: Any) -> None:
    assert wire.complete
    assert len([chunk for chunk in wire.chunks if not chunk.endswith(b"}\n\n")]) == 1
    assert wire.chunks[-1].startswith(b"event: response.completed")


def check_error_event(wire: Any) -> None:
    assert wire.chunks[-1].startswith(b'data: {"type":"error","code":"server_error","message":"The server')
    last = json.loads(wire.chunks[-1][6:])
    assert last["param"] is None
    assert last["sequence_number"] == len(wire.chunks) - 1


def check_done_only(wire: Any) -> None:
    *before, end = wire.messages
    assert len(texts(before)) == 5
    assert end["type"] == "response.completed"
    assert end["response"]["output"][0]["content"][0]["text"] == PROMPT  # what the deltas did not bring


def check_packed(decode: Callable[[bytes], bytes], label: str) -> Check:
    def check(wire: Any) -> None:
        assert wire.headers["content-encoding"] == label
        assert said(decode(wire.body)) == PROMPT

    return check


def check_pings(wire: Any) -> None:
    events = wire.messages
    assert kinds(wire)[1::2] == ["keepalive"] * (len(events) // 2)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert said(wire.body) == PROMPT


def check_id_lines(wire: Any) -> None:
    assert wire.body.startswith(b"id: 1\nevent: response.created\n")
    assert b"\n\n: ping\n\nid: 2\n" in wire.body


def check_surrogates(wire: Any) -> None:
    assert rb'"delta":"\ude80' in wire.body
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
    "error-before": lambda wire: refused(wire, 500, "server_error"),
    "error-before:400": lambda wire: refused(wire, 400, "invalid_request_error"),
    "error-before:299": lambda wire: refused(wire, 500, "server_error"),
    "flaky": lambda wire: refused(wire, 503, "server_error"),
    "429": lambda wire: refused(wire, 429, "tokens"),
    "overloaded": lambda wire: refused(wire, 503, "server_error"),
    "edge": has(status=502),
    "html": lambda wire: wire.headers["content-type"].startswith("text/html"),
    "json-200": lambda wire: refused(wire, 200, "server_error"),
    "json-stream": lambda wire: json.loads(wire.body)["output"][0]["content"][0]["text"] == PROMPT,
    "wrong-type": lambda wire: (wire.headers["content-type"], said(wire.body)) == ("text/html", PROMPT),
    "slow-head:20": lambda wire: said(wire.body) == PROMPT,
    "slow-headers": lambda wire: said(wire.body) == PROMPT,
    "slow-first:20": lambda wire: said(wire.body) == PROMPT,
    "cut-head": lambda wire: b"\r\n\r\n" not in wire.raw,
    "error-first": lambda wire: failed(wire, "server_error", 0),
    "overloaded-first": lambda wire: failed(wire, "server_is_overloaded", 0),
    "cut": check_cut,
    "reset": lambda wire: wire.raw.endswith(b"<reset>"),
    "eof": check_eof,
    "error-mid": lambda wire: failed(wire, "server_error", 5),
    "error-mid:2": lambda wire: failed(wire, "server_error", 2),
    "error-event": check_error_event,
    "overloaded-mid": lambda wire: failed(wire, "server_is_overloaded", 5),
    "limited-mid": lambda wire: failed(wire, "rate_limit_exceeded", 5),
    "malformed": check_malformed,
    "bad-chunk": has(complete=False),
    "error-last": lambda wire: failed(wire, "server_error", TOKENS),
    "no-done": lambda wire: kinds(wire)[-1] == "response.output_item.done",
    "done-only": check_done_only,
    "done-bare": lambda wire: re.search(rb'"sequence_number":\d+\}\n$', wire.body),
    "done-twice": lambda wire: kinds(wire)[-3:] == [
        "response.completed", "response.output_text.delta", "response.completed"
    ],
    "close-delimited": lambda wire: "transfer-encoding" not in wire.headers,
    "split": lambda wire: (max(map(len, wire.chunks)) <= 7, said(wire.body)) == (True, PROMPT),
    "pings": check_pings,
    "crlf": lambda wire: (said(wire.body), re.findall(rb"[^\r]\n", wire.body)) == (PROMPT, []),
    "cr": lambda wire: (said(wire.body), wire.body.count(b"\n")) == (PROMPT, 0),
    "bom": lambda wire: wire.body.startswith(b"\xef\xbb\xbfevent: response.created"),
    "no-space": lambda wire: b"event:response.created\ndata:{" in wire.body,
    "no-event": lambda wire: (said(wire.body), wire.body.count(b"event:")) == (PROMPT, 0),
    "id-lines": check_id_lines,
    "start-twice": lambda wire: kinds(wire)[:3] == ["response.created"] * 2 + ["response.in_progress"],
    "surrogates": check_surrogates,
    "gzip": check_packed(lambda body: zlib.decompress(body, wbits=31), "gzip"),
    "deflate": check_packed(zlib.decompress, "deflate"),
    "deflate-raw": check_packed(lambda body: zlib.decompress(body, wbits=-15), "deflate"),
    "brotli": lambda wire: wire.headers["content-encoding"] == "br",
    "deaf": lambda wire: said(wire.body) == PROMPT,
}  # fmt: skip
#: Those that never end, or need something else than text; tested below.
OTHERS = {"stall-head", "stall-first", "stall", "endless-header", "endless-line", "cut-tool"}


def test_no_fault_was_forgotten() -> None:
    assert {name.partition(":")[0] for name in CHECKS} | OTHERS == set(FAULTS)


@pytest.mark.parametrize("name", CHECKS)
def test_a_fault_is_what_its_row_says(fault: Respond, name: str) -> None:
    found = CHECKS[name](fault(name))
    assert found is None or found  # a check asserts by itself, or says what it saw


def test_advice_when_to_come_back(fault: Respond) -> None:
    headers = fault("429:2300").headers
    assert (headers["retry-after"], headers["retry-after-ms"], headers["x-should-retry"]) == ("3", "2300", "true")


def test_a_call_is_cut_within_its_arguments(respond: Respond, response: Response) -> None:
    wire = respond(response(PROMPT, model="fault-cut-tool-2", tools=[TOOL], tool_choice="required"))
    assert not wire.complete
    events = [json.loads(chunk.split(b"data: ")[1]) for chunk in wire.chunks]
    assert [event["type"] for event in events][-2:] == ["response.function_call_arguments.delta"] * 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stall-head", b""),
        ("stall-first", b"\r\n\r\n"),
        ("stall-0", b'"sequence_number":3}'),
        ("stall-3", b'" two"'),
        ("endless-header", b"x-filler-9: "),
        ("endless-line-3", b'"delta"'),
    ],
)
def test_what_never_ends(play: Any, encode: Any, response: Response, name: str, expected: bytes) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        body = response(PROMPT, model="echo", metadata={"x-sim-fault": name})
        writer.write(encode(body, path="/v1/responses"))
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
def test_without_a_stream_faults_of_events_do_nothing_and_errors_become_500(fault: Respond, name: str) -> None:
    wire = fault(name, stream=False)
    if name.startswith(("error-", "overloaded-", "limited-")):
        refused(wire, 500, "server_error")
    else:
        assert json.loads(wire.body)["output"][0]["content"][0]["text"] == PROMPT


def test_a_model_name_and_metadata_ask_for_a_fault_as_the_header_does(respond: Respond, response: Response) -> None:
    assert respond(response(model="fault-429-50")).headers["retry-after-ms"] == "50"
    assert len(texts(respond(response(model="fault-eof-2")).messages)) == 2
    assert len(texts(respond(response(model="fault-eof-2"), {"x-sim-fault": "eof:4"}).messages)) == 4
    body = response(PROMPT, model="echo", metadata={"who": "me", "X-Sim-Fault": "eof-3"})
    assert len(texts(respond(body).messages)) == 3


def test_keepalives_can_be_rarer(fault: Respond) -> None:
    events = fault("pings:3").messages
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events][3::4] == ["keepalive"] * len(events[3::4])
