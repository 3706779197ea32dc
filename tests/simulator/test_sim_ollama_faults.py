"""Every fault in Ollama's shape, over a socket: does it do what its row of the table says?"""

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
from tokenwire.simulator.vendors.ollama.models import EVENTS

Get = Callable[..., Any]
Check = Callable[[Any], Any]

PROMPT = "zero one two three 🚀 five six seven"
TOKENS = len(pieces(PROMPT))
TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}
GONE = "llama runner process has terminated: signal: killed (simulated)"
BUSY = "server busy, please try again.  maximum pending requests exceeded"


def asked(prompt: str = PROMPT, *, model: str = "echo", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}


@pytest.fixture
def fault(get: Get) -> Get:
    """fault(name, **fields): the echo of PROMPT with that fault, everything up to the end of the connection."""
    return lambda name, **fields: get(asked(**fields), {"x-sim-fault": name}, path="/api/chat")


def lines_of(wire: Any) -> list[Any]:
    return [json.loads(line) for line in wire.body.split(b"\n") if line.strip()]


def texts(lines: list[Any]) -> list[str]:
    return [line["message"]["content"] for line in lines if "message" in line and not line["done"]]


def said(body: bytes) -> str:
    return "".join(texts([json.loads(line) for line in body.split(b"\n") if line.strip()]))


def failed(wire: Any, message: str, after: int) -> None:
    """An error line is the last thing, after so many tokens; nothing says that the answer is done."""
    assert wire.complete
    *before, error = lines_of(wire)
    assert error == {"error": message}
    assert len(texts(before)) == len(before) == after


def refused(wire: Any, status: int, message: str) -> None:
    assert (wire.status, json.loads(wire.body)) == (status, {"error": message})


def check_cut(wire: Any) -> None:
    assert not wire.complete
    assert len(texts([json.loads(chunk) for chunk in wire.chunks])) == 5


def check_eof(wire: Any) -> None:
    assert wire.complete
    assert len(texts(lines_of(wire))) == len(lines_of(wire)) == 5


def check_malformed(wire: Any) -> None:
    broken = [chunk for chunk in wire.chunks if not chunk.endswith(b"}\n")]
    assert len(broken) == 1
    assert json.loads(wire.chunks[-1])["done"]


def check_error_event(wire: Any) -> None:
    assert json.loads(wire.chunks[-1])["error"] == {"message": GONE, "type": "server_error"}


def check_done_only(wire: Any) -> None:
    *before, last = lines_of(wire)
    assert (len(before), last["done"]) == (5, True)
    assert not {"done_reason", "eval_count"} & last.keys()


def check_done_twice(wire: Any) -> None:
    assert [line["done"] for line in lines_of(wire)[-3:]] == [True, False, True]


def check_packed(decode: Callable[[bytes], bytes], label: str) -> Check:
    def check(wire: Any) -> None:
        assert wire.headers["content-encoding"] == label
        assert said(decode(wire.body)) == PROMPT

    return check


def check_split(wire: Any) -> None:
    assert max(map(len, wire.chunks)) <= 7
    assert said(wire.body) == PROMPT


def check_surrogates(wire: Any) -> None:
    assert re.search(rb'\\ud83d"', wire.body)
    assert said(wire.body).encode("utf-16", "surrogatepass").decode("utf-16") == PROMPT


def has(**expected: Any) -> Check:
    """The wire's attributes are these."""

    def check(wire: Any) -> None:
        assert {name: getattr(wire, name) for name in expected} == expected

    return check


def honest(wire: Any) -> None:
    assert said(wire.body) == PROMPT
    assert lines_of(wire)[-1]["done"]


CHECKS: dict[str, Check] = {
    "early-leave": has(raw=b""),
    "reset-head": has(raw=b"<reset>"),
    "garbage": lambda wire: re.match(rb"SSH-2\.0", wire.raw),
    "close-after": has(complete=True),
    "stale": has(complete=True),
    "error-before": lambda wire: refused(wire, 500, GONE),
    "error-before:418": lambda wire: refused(wire, 418, GONE),
    "flaky": lambda wire: refused(wire, 503, BUSY),
    "429": lambda wire: refused(wire, 429, "too many requests: you have reached your hourly usage limit"),
    "overloaded": lambda wire: refused(wire, 503, BUSY),
    "edge": has(status=502),
    "html": lambda wire: wire.headers["content-type"].startswith("text/html"),
    "json-200": lambda wire: refused(wire, 200, GONE),
    "json-stream": lambda wire: json.loads(wire.body)["message"]["content"] == PROMPT,
    "wrong-type": lambda wire: (wire.headers["content-type"], said(wire.body)) == ("text/html", PROMPT),
    "slow-head:20": honest,
    "slow-headers": honest,
    "slow-first:20": honest,
    "cut-head": lambda wire: b"\r\n\r\n" not in wire.raw,
    "error-first": lambda wire: failed(wire, GONE, 0),
    "overloaded-first": lambda wire: failed(wire, BUSY, 0),
    "cut": check_cut,
    "reset": lambda wire: wire.raw.endswith(b"<reset>"),
    "eof": check_eof,
    "error-mid": lambda wire: failed(wire, GONE, 5),
    "error-mid:2": lambda wire: failed(wire, GONE, 2),
    "error-event": check_error_event,
    "overloaded-mid": lambda wire: failed(wire, BUSY, 5),
    "limited-mid": lambda wire: failed(wire, "too many requests: you have reached your hourly usage limit", 5),
    "malformed": check_malformed,
    "bad-chunk": has(complete=False),
    "error-last": lambda wire: failed(wire, GONE, TOKENS),
    "no-done": lambda wire: not lines_of(wire)[-1]["done"],
    "done-only": check_done_only,
    "done-bare": lambda wire: wire.body.endswith(b"}"),
    "done-twice": check_done_twice,
    "close-delimited": lambda wire: "transfer-encoding" not in wire.headers,
    "split": check_split,
    "crlf": lambda wire: (said(wire.body), re.findall(rb"[^\r]\n", wire.body)) == (PROMPT, []),
    "bom": lambda wire: wire.body.startswith(b'\xef\xbb\xbf{"model"'),
    "surrogates": check_surrogates,
    "gzip": check_packed(lambda body: zlib.decompress(body, wbits=31), "gzip"),
    "deflate": check_packed(zlib.decompress, "deflate"),
    "deflate-raw": check_packed(lambda body: zlib.decompress(body, wbits=-15), "deflate"),
    "brotli": lambda wire: wire.headers["content-encoding"] == "br",
    "deaf": honest,
}
#: Those that never end, or need something else than text; tested below.
OTHERS = {"stall-head", "stall-first", "stall", "endless-header", "endless-line", "cut-tool"}


def test_no_fault_was_forgotten() -> None:
    assert {name.partition(":")[0] for name in CHECKS} | OTHERS | EVENTS == set(FAULTS)


@pytest.mark.parametrize("name", CHECKS)
def test_a_fault_is_what_its_row_says(fault: Get, name: str) -> None:
    found = CHECKS[name](fault(name))
    assert found is None or found  # a check asserts by itself, or says what it saw


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_faults_of_events_are_refused_where_there_are_none(fault: Get, name: str) -> None:
    refused(fault(name), 400, f"the fault {name} is one of events, and /api/chat sends lines")
    assert json.loads(fault(name, stream=False).body)["message"]["content"] == PROMPT


def test_advice_when_to_come_back(fault: Get) -> None:
    headers = fault("429:2300").headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("3", "2300")
    assert "retry-after" not in fault("overloaded").headers


def test_a_call_is_cut_in_its_line(get: Get) -> None:
    wire = get(asked("find a and b", model="fault-cut-tool-2", tools=[TOOL]), path="/api/chat")
    assert not wire.complete
    assert not any(b"tool_calls" in chunk for chunk in wire.chunks)
    assert b'"tool' in wire.rest


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stall-head", b""),
        ("stall-first", b"\r\n\r\n"),
        ("stall-3", b'" two"'),
        ("endless-header", b"x-filler-9: "),
        ("endless-line-3", b" two"),
    ],
)
def test_what_never_ends(play: Any, encode: Any, name: str, expected: bytes) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(asked(), {"x-sim-fault": name}, path="/api/chat"))
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
def test_without_a_stream_faults_of_events_do_nothing_and_errors_become_500(fault: Get, name: str) -> None:
    wire = fault(name, stream=False)
    if name.startswith(("error-", "overloaded-", "limited-")):
        refused(wire, 500, GONE)
    else:
        assert json.loads(wire.body)["message"]["content"] == PROMPT


def test_generate_fails_in_the_same_ways(get: Get) -> None:
    body = {"model": "fault-error-mid-2", "prompt": PROMPT}
    *before, error = lines_of(get(body, path="/api/generate"))
    assert (len(before), error) == (2, {"error": GONE})
    refused(get(body, {"x-sim-fault": "overloaded"}, path="/api/generate"), 503, BUSY)


def test_a_fault_that_nobody_knows_is_refused(fault: Get) -> None:
    wire = fault("nope")
    assert wire.status == 400
    assert "there is no fault 'nope'" in json.loads(wire.body)["error"]
