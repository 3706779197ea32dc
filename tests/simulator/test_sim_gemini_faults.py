"""Every fault in Gemini's shape, over a socket: does it do what its row of the table says?"""

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

Generate = Callable[..., dict[str, Any]]
Gemini = Callable[..., Any]
Check = Callable[[Any], Any]

PROMPT = "zero one two three 🚀 five six seven"
TOKENS = len(pieces(PROMPT))
TOOLS = [{"functionDeclarations": [{"name": "find", "parameters": {"properties": {"query": {"type": "STRING"}},
                                                                  "required": ["query"]}}]}]  # fmt: skip
KEY = {"x-goog-api-key": "any"}


@pytest.fixture
def fault(gemini: Gemini, generate: Generate) -> Callable[..., Any]:
    """fault(name, **as gemini): the echo of PROMPT with that fault, everything up to the end of the connection."""
    return lambda name, **more: gemini(generate(PROMPT), {"x-sim-fault": name}, model="echo", **more)


def texts(events: list[Any]) -> list[str]:
    found = [candidate for event in events for candidate in event.get("candidates", ())]
    return [part["text"] for candidate in found for part in candidate["content"]["parts"]]


def finishes(events: list[Any]) -> list[Any]:
    found = [candidate for event in events for candidate in event.get("candidates", ())]
    return [candidate.get("finishReason") for candidate in found]


def said(body: bytes) -> str:
    """All text of a body, whatever the framing; for bodies whose events are whole."""
    datas = re.findall(r"^data: ?(\{.*\})\s*$", re.sub("\r\n?", "\n", body.decode()), re.MULTILINE)
    return "".join(texts([json.loads(data) for data in datas]))


def failed(wire: Any, code: int, word: str, after: int) -> None:
    """An error is the last thing, after so many tokens."""
    assert wire.complete
    *before, last = wire.elements
    assert (last["error"]["code"], last["error"]["status"]) == (code, word)
    assert len(texts(before)) == after


def refused(wire: Any, status: int, word: str, code: int = 0) -> None:
    body = json.loads(wire.body)
    assert (wire.status, body["error"]["code"], body["error"]["status"]) == (status, code or status, word)


def check_cut(wire: Any) -> None:
    assert not wire.complete
    assert len(texts([json.loads(chunk[6:]) for chunk in wire.chunks])) == 5


def check_ended(after: int) -> Check:
    def check(wire: Any) -> None:
        assert wire.complete
        assert (len(texts(wire.elements)), finishes(wire.elements)) == (after, [None] * after)

    return check


def check_malformed(wire: Any) -> None:
    assert wire.complete
    [broken] = [chunk for chunk in wire.chunks if not chunk.endswith(b"}\r\n\r\n")]
    assert broken.startswith(b"data: {")
    assert broken.endswith(b"\n\n")
    assert finishes([json.loads(wire.chunks[-1][6:])]) == ["STOP"]


def check_bare_error(wire: Any) -> None:
    assert wire.complete
    last = wire.chunks[-1]
    assert last.startswith(b'{\n  "error": {\n')
    assert json.loads(last)["error"]["status"] == "INTERNAL"
    assert len(wire.chunks) == 6


def check_done_bare(wire: Any) -> None:
    assert wire.body.endswith(b"}\r\n")
    assert not wire.body.endswith(b"\r\n\r\n")
    assert said(wire.body) == PROMPT


def check_done_twice(wire: Any) -> None:
    assert finishes(wire.elements)[-2:] == ["STOP", None]
    assert "".join(texts(wire.elements)) == PROMPT + " six"


def check_error_last(wire: Any) -> None:
    *events, last = wire.elements
    assert finishes(events)[-1] == "STOP"
    assert last["error"]["status"] == "INTERNAL"


def check_pings(wire: Any) -> None:
    events = wire.elements
    assert events[::2] == [{"usageMetadata": {"trafficType": "ON_DEMAND"}}] * (len(events) // 2) + events[-1:] * (
        len(events) % 2
    )
    assert said(wire.body) == PROMPT


def check_packed(decode: Callable[[bytes], bytes], label: str) -> Check:
    def check(wire: Any) -> None:
        assert wire.headers["content-encoding"] == label
        assert said(decode(wire.body)) == PROMPT

    return check


def check_surrogates(wire: Any) -> None:
    assert rb"\ud83d" in wire.body
    assert rb'"text":"\ude80' in wire.body
    halves = "".join(texts(wire.elements))
    assert halves.encode("utf-16", "surrogatepass").decode("utf-16") == PROMPT


def has(**expected: Any) -> Check:
    """The wire's attributes are these."""

    def check(wire: Any) -> None:
        assert {name: getattr(wire, name) for name in expected} == expected

    return check


def whole(wire: Any) -> bool:
    return said(wire.body) == PROMPT


CHECKS: dict[str, Check] = {
    "early-leave": has(raw=b""),
    "reset-head": has(raw=b"<reset>"),
    "garbage": lambda wire: re.match(rb"SSH-2\.0", wire.raw),
    "close-after": has(complete=True),
    "stale": has(complete=True),
    "error-before": lambda wire: refused(wire, 500, "INTERNAL"),
    "error-before:400": lambda wire: refused(wire, 400, "INVALID_ARGUMENT"),
    "error-before:401": lambda wire: refused(wire, 401, "UNAUTHENTICATED"),
    "error-before:403": lambda wire: refused(wire, 403, "PERMISSION_DENIED"),
    "error-before:418": lambda wire: refused(wire, 418, "FAILED_PRECONDITION"),
    "error-before:502": lambda wire: refused(wire, 502, "INTERNAL"),
    "error-before:504": lambda wire: refused(wire, 504, "DEADLINE_EXCEEDED"),
    "error-before:299": lambda wire: refused(wire, 500, "INTERNAL"),
    "flaky": lambda wire: refused(wire, 503, "UNAVAILABLE"),
    "429": lambda wire: refused(wire, 429, "RESOURCE_EXHAUSTED"),
    "overloaded": lambda wire: refused(wire, 503, "UNAVAILABLE"),
    "edge": has(status=502),
    "html": lambda wire: wire.headers["content-type"].startswith("text/html"),
    "json-200": lambda wire: refused(wire, 200, "INTERNAL", 500),
    "json-stream": lambda wire: texts([json.loads(wire.body)]) == [PROMPT],
    "wrong-type": lambda wire: (wire.headers["content-type"], said(wire.body)) == ("text/html", PROMPT),
    "slow-head:20": whole,
    "slow-headers": whole,
    "slow-first:20": whole,
    "cut-head": lambda wire: b"\r\n\r\n" not in wire.raw,
    "error-first": lambda wire: failed(wire, 500, "INTERNAL", 0),
    "overloaded-first": lambda wire: failed(wire, 503, "UNAVAILABLE", 0),
    "cut": check_cut,
    "reset": lambda wire: wire.raw.endswith(b"<reset>"),
    "eof": check_ended(5),
    "error-mid": lambda wire: failed(wire, 500, "INTERNAL", 5),
    "error-mid:2": lambda wire: failed(wire, 500, "INTERNAL", 2),
    "error-mid:0": lambda wire: failed(wire, 500, "INTERNAL", 0),
    "error-event": check_bare_error,
    "overloaded-mid": lambda wire: failed(wire, 503, "UNAVAILABLE", 5),
    "limited-mid": lambda wire: failed(wire, 429, "RESOURCE_EXHAUSTED", 5),
    "malformed": check_malformed,
    "bad-chunk": has(complete=False),
    "error-last": check_error_last,
    "no-done": whole,  # there is none anyway
    "done-only": check_ended(5),  # nor here, so this is the end
    "done-bare": check_done_bare,
    "done-twice": check_done_twice,
    "close-delimited": lambda wire: "transfer-encoding" not in wire.headers,
    "split": lambda wire: (max(map(len, wire.chunks)) <= 7, said(wire.body)) == (True, PROMPT),
    "pings": check_pings,
    "crlf": whole,
    "cr": lambda wire: (said(wire.body), wire.body.count(b"\n")) == (PROMPT, 0),
    "bom": lambda wire: wire.body.startswith(b"\xef\xbb\xbfdata: {"),
    "no-space": lambda wire: wire.body.startswith(b"data:{"),
    "no-event": whole,
    "id-lines": lambda wire: wire.body.startswith(b"id: 1\ndata: {") and b"\n\n: ping\n\n" not in wire.body[:60],
    "start-twice": lambda wire: refused(wire, 400, "INVALID_ARGUMENT"),
    "surrogates": check_surrogates,
    "gzip": check_packed(lambda body: zlib.decompress(body, wbits=31), "gzip"),
    "deflate": check_packed(zlib.decompress, "deflate"),
    "deflate-raw": check_packed(lambda body: zlib.decompress(body, wbits=-15), "deflate"),
    "brotli": lambda wire: wire.headers["content-encoding"] == "br",
    "deaf": whole,
}
#: Those that never end, or need something else than text; tested below.
OTHERS = {"stall-head", "stall-first", "stall", "endless-header", "endless-line", "cut-tool"}


def test_no_fault_was_forgotten() -> None:
    assert {name.partition(":")[0] for name in CHECKS} | OTHERS == set(FAULTS)


@pytest.mark.parametrize("name", CHECKS)
def test_a_fault_is_what_its_row_says(fault: Gemini, name: str) -> None:
    found = CHECKS[name](fault(name))
    assert found is None or found  # a check asserts by itself, or says what it saw


ARRAY_CHECKS: dict[str, Check] = {
    "error-first": CHECKS["error-first"],
    "error-mid": CHECKS["error-mid"],
    "error-mid:0": CHECKS["error-mid:0"],
    "overloaded-mid": CHECKS["overloaded-mid"],
    "limited-mid": CHECKS["limited-mid"],
    "error-last": check_error_last,
    "error-event": check_bare_error,
    "no-done": lambda wire: (wire.complete, len(texts(json.loads(wire.body + b"]")))) == (True, TOKENS),
    "done-only": check_ended(5),
    "done-twice": lambda wire: re.search(rb'"STOP".*\}\n\],\r\n\{\n.*\}\n\]$', wire.body, re.DOTALL),
    "done-bare": lambda wire: len(texts(wire.elements)) == TOKENS,
    "eof": lambda wire: len(texts(json.loads(wire.body + b"]"))) == 5,
    "pings": lambda wire: (wire.body.startswith(b"\r\n["), "".join(texts(json.loads(wire.body)))) == (True, PROMPT),
    "crlf": lambda wire: re.search(rb"[^\r]\n", wire.body) is None and texts(wire.elements),
    "cr": lambda wire: b"\n" not in wire.body and texts(wire.elements),
    "split": lambda wire: "".join(texts(wire.elements)) == PROMPT,
    "malformed": lambda wire: wire.complete and wire.chunks[-1] == b"]",
    "gzip": lambda wire: "".join(texts(json.loads(zlib.decompress(wire.body, wbits=31)))) == PROMPT,
    "surrogates": lambda wire: rb"\ud83d" in wire.body,
    "json-stream": lambda wire: isinstance(json.loads(wire.body), dict),
    "no-space": lambda wire: json.loads(wire.body)[0]["error"]["code"] == 400,
    "no-event": lambda wire: json.loads(wire.body)[0]["error"]["code"] == 400,
    "id-lines": lambda wire: json.loads(wire.body)[0]["error"]["code"] == 400,
    "start-twice": lambda wire: json.loads(wire.body)[0]["error"]["code"] == 400,
}


@pytest.mark.parametrize("name", ARRAY_CHECKS)
def test_a_fault_of_the_array_is_what_its_row_says(fault: Gemini, name: str) -> None:
    found = ARRAY_CHECKS[name](fault(name, query=""))
    assert found is None or found


def test_advice_when_to_come_back_is_in_the_body(fault: Gemini) -> None:
    wire = fault("429:2300")
    assert json.loads(wire.body)["error"]["details"][1]["retryDelay"] == "2.300s"
    assert "retry-after" not in wire.headers
    assert "details" not in json.loads(fault("overloaded").body)["error"]


def test_a_call_is_cut_within_its_arguments(gemini: Gemini, generate: Generate) -> None:
    body = generate(PROMPT, tools=TOOLS, toolConfig={"functionCallingConfig": {"mode": "ANY"}})
    wire = gemini(body, model="fault-cut-tool-2")
    assert not wire.complete
    assert wire.chunks == []  # the call is one event, and that is cut
    assert b'"functionCall"' in wire.rest


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stall-head", b""),
        ("stall-first", b"\r\n\r\n"),
        ("stall-3", b'" two"'),
        ("endless-header", b"x-filler-9: "),
        ("endless-line-3", b'"candidates"'),
    ],
)
def test_what_never_ends(play: Any, encode: Any, generate: Generate, name: str, expected: bytes) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        path = "/v1beta/models/echo:streamGenerateContent?alt=sse"
        writer.write(encode(generate(PROMPT), {**KEY, "x-sim-fault": name}, path=path))
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
def test_without_a_stream_faults_of_events_do_nothing_and_errors_become_500(fault: Gemini, name: str) -> None:
    wire = fault(name, call="generateContent", query="")
    if name.startswith(("error-", "overloaded-", "limited-")):
        refused(wire, 500, "INTERNAL")
    else:
        assert texts([json.loads(wire.body)]) == [PROMPT]


def test_a_model_name_asks_for_a_fault_as_the_header_does(gemini: Gemini, generate: Generate) -> None:
    assert len(texts(gemini(generate(), model="fault-eof-2").elements)) == 2
    assert len(texts(gemini(generate(), {"x-sim-fault": "eof:4"}, model="fault-eof-2").elements)) == 4


def test_the_first_tries_of_a_request_fail_and_another_model_is_another_request(
    play: Any, fetch: Any, generate: Generate
) -> None:
    async def scenario(simulator: Any) -> None:
        async def status(model: str, key: str = "any") -> int:
            path = f"/v1beta/models/{model}:generateContent"
            found = await fetch(simulator, generate(), {"x-goog-api-key": key}, path=path)
            return int(found.status)

        assert await status("fault-429-1-x2") == 429
        assert await status("fault-edge-502-x2") == 502
        assert await status("fault-429-1-x2", "other") == 429
        assert [await status("fault-429-1-x2") for _ in range(2)] == [429, 200]
        assert [await status("fault-flaky-1") for _ in range(2)] == [503, 200]

    play(scenario)
