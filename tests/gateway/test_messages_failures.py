"""Failures and refusals on ``/v1/messages``: Anthropic's body and status before the stream, ``event: error`` in it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tokenwire.gateway.settings import DeadlineSettings, Settings, UpstreamSettings
from tokenwire.testing import message_frames as m
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head
from tokenwire.testing.relay import STREAM_HEAD, Relay, chunks, message, serving
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import CLOSE, REQUEST, RESET, ScriptedUpstream, Step

MESSAGES = "/v1/messages"
HASTY = DeadlineSettings(headers=0.1, first_token=0.15, between_tokens=0.15, total=0.3)
UP: dict[str, Any] = {"dialect": "anthropic"}
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}'
BEGUN = [m.start(), m.block(), m.text("so "), m.text("far")]
BODY = STREAM_HEAD + chunks(*BEGUN)

#: What an upstream does before the first token -> status, type, word of ours, something of the message.
BEFORE: dict[str, tuple[list[Step], int, str, str | None, str]] = {
    "error first": ([STREAM_HEAD + chunks(m.error())], 529, "overloaded_error", None, "Overloaded"),
    "error after the start": (
        [STREAM_HEAD + chunks(m.start(), m.PING, m.error("x", "api_error"))], 500, "api_error", None, "x"
    ),
    "200 with an error": ([answer(OVERLOADED)], 529, "overloaded_error", None, "Overloaded"),
    "200 with a page": (
        [answer(b"<html><title>Hi</title>", content_type="text/html")], 502, "api_error", "upstream_error", "text/html"
    ),
    "200 with another's JSON": ([answer(b'{"choices":[]}')], 502, "api_error", "upstream_error", "choices"),
    "200 with nothing": ([answer(b"")], 502, "api_error", "upstream_error", "no reason"),
    "no answer": ([CLOSE], 502, "api_error", "upstream_closed", "before it answered"),
    "reset": ([RESET], 502, "api_error", "upstream_closed", "before it answered"),
    "an empty stream": ([STREAM_HEAD + LAST_CHUNK], 502, "api_error", "truncated", "incomplete"),
    "cut at the start": ([STREAM_HEAD + chunks(m.start()), CLOSE], 502, "api_error", "upstream_closed", "mid-answer"),
    "late head": ([], 504, "timeout_error", "upstream_timeout", "0.1 s (headers)"),
    "late token": ([STREAM_HEAD + chunks(m.start(), m.PING)], 504, "timeout_error", "upstream_timeout", "first token"),
    "redirect": (
        [head(307, ("location", "http://elsewhere/"), ("content-length", "0"))], 502, "api_error", "redirected", "else"
    ),
    "brotli": (
        [head(200, ("content-type", "text/event-stream"), ("content-encoding", "br")) + b"x", CLOSE],
        502, "api_error", "bad_answer", "br",
    ),
}  # fmt: skip

#: The same after some text: type, word of ours, something of the message.
WITHIN: dict[str, tuple[list[Step], str, str | None, str]] = {
    "error": ([BODY + chunks(m.error(), m.STOP) + LAST_CHUNK], "overloaded_error", None, "Overloaded"),
    "unnamed error": (
        [BODY + chunks(b'data: {"type":"error","error":{"type":"api_error","message":"x"}}\n\n')],
        "api_error",
        None,
        "x",
    ),
    "flat error": (
        [BODY + chunks(b'event: error\ndata: {"message":"flat"}\n\n')],
        "api_error",
        "upstream_error",
        "flat",
    ),
    "bare JSON": ([BODY + chunks(b'{"error":{"message":"bare"}}\n\n')], "api_error", "upstream_error", "bare"),
    "a page": ([BODY + chunks(b"data: <html><title>Oh</title>\n\n")], "api_error", "upstream_error", "Oh"),
    "malformed": ([BODY + chunks(b'event: x\ndata: {"type":\n\n')], "api_error", "upstream_error", "malformed JSON"),
    "end without the marker": (
        [BODY + chunks(m.end(), m.finish()) + LAST_CHUNK],
        "api_error",
        "truncated",
        "incomplete",
    ),
    "cut": ([BODY, CLOSE], "api_error", "upstream_closed", "mid-answer"),
    "reset": ([BODY, RESET], "api_error", "upstream_closed", "mid-answer"),
    "bad chunk": ([BODY + b"zz\r\n"], "api_error", "upstream_closed", "HTTP"),
    "an endless event": (
        [BODY + chunks(b"event: x\ndata: " + b"x" * 40_000) + LAST_CHUNK],
        "api_error",
        "event_too_large",
        "30000",
    ),
    "stall": ([BODY], "timeout_error", "upstream_timeout", "between tokens"),
}


def check(error: Any, kind: str, code: str | None, words: str) -> None:
    assert error["type"] == "error"
    assert error["error"]["type"] == kind
    assert error["error"].get("details", {}).get("error_code") == code
    assert words in error["error"]["message"]


def settings_of(case: str) -> dict[str, Any]:
    """Short deadlines for an upstream that stalls; the usual ones for any other, since this machine may be busy."""
    return {**UP, "deadlines": HASTY} if case.startswith(("late", "stall")) else UP


@pytest.mark.parametrize("edge", ["tokenwire", "httptools"])
@pytest.mark.parametrize("case", BEFORE)
def test_before_the_first_token_a_failure_is_an_http_error(relayed: Any, case: str, edge: str) -> None:
    steps, status, kind, code, words = BEFORE[case]

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(MESSAGES, message()).whole()
        assert (refused.status, refused.fields["content-type"]) == (status, "application/json")
        check(refused.json, kind, code, words)

    relayed(main, [REQUEST, *steps], edge=edge, settings=settings_of(case))


@pytest.mark.parametrize("case", WITHIN)
def test_in_mid_stream_a_failure_is_an_error_event_and_no_end(relayed: Any, case: str) -> None:
    steps, kind, code, words = WITHIN[case]

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(MESSAGES, message()).whole()
        assert (stream.status, stream.complete) == (200, True)
        assert bytes(stream.body).startswith(b"".join(BEGUN))
        assert stream.events[-1] == "error"
        assert stream.events.count("error") == 1
        assert "message_stop" not in stream.events
        check(stream.data[-1], kind, code, words)

    relayed(main, [REQUEST, *steps], settings=settings_of(case), upstream_event=30_000)


def test_after_the_held_time_a_failure_is_an_event(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        stream = await client.post(MESSAGES, message()).head()
        gate.set()
        await stream.whole()
        assert stream.status == 200
        check(stream.data[-1], "overloaded_error", None, "Overloaded")

    gate = asyncio.Event()
    relayed(main, [REQUEST, gate, answer(OVERLOADED, status=529)], settings=UP, hold=0.02)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_refusal_comes_back_in_the_providers_own_words(relayed: Any, stream: bool) -> None:
    fields = [("request-id", "req_1"), ("retry-after", "2"), ("x-should-retry", "true")]

    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(MESSAGES, message(stream=stream)).whole()
        assert (refused.status, bytes(refused.body)) == (529, OVERLOADED)
        assert {name: refused.fields[name] for name, _ in fields} == dict(fields)

    relayed(main, [REQUEST, answer(OVERLOADED, status=529, fields=fields)], settings=UP)


@pytest.mark.parametrize(
    ("sent", "status", "kind", "words"),
    [
        (answer(b"<html><title>Bad Gateway</title>", status=502, content_type="text/html"), 502, "api_error", "Bad"),
        (answer(b"", status=401), 401, "authentication_error", "no reason"),
        (answer(b'{"detail":"slow down"}', status=429), 429, "rate_limit_error", "slow down"),
    ],
)  # fmt: skip
def test_a_whole_answer_that_fails(relayed: Any, sent: bytes, status: int, kind: str, words: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(MESSAGES, message(stream=False)).whole()
        assert refused.status == status
        if refused.json.get("type") == "error":
            check(refused.json, kind, refused.json["error"].get("details", {}).get("error_code"), words)
        else:  # an object of its own, as it came
            assert refused.json == {"detail": "slow down"}

    relayed(main, [REQUEST, sent], settings=UP)


# ---------------------------------------------------------------------- what we refuse ourselves


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"model":"up/m","messages":[]}', "'max_tokens'"),
        (b'{"model":"up/m","max_tokens":1,"messages":{}}', "'messages' must be an array"),
        (message(stream=3), "'stream' must be a boolean"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("edge", ["tokenwire", "h11"])
def test_bad_requests(relayed: Any, body: Any, words: str, edge: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.post(MESSAGES, body).whole()
        assert refused.status == 400
        assert (refused.json["type"], refused.json["error"]["type"]) == ("error", "invalid_request_error")
        assert words in refused.json["error"]["message"]
        assert upstream.peers == []

    relayed(main, edge=edge, settings=UP)


@pytest.mark.parametrize(
    ("fields", "status", "kind", "code"),
    [
        ({"host": "evil.example"}, 403, "permission_error", "foreign_host"),
        ({"origin": "https://evil.example"}, 403, "permission_error", "foreign_origin"),
        ({"content-type": "text/plain"}, 415, "invalid_request_error", "not_json"),
        ({"x-tokenwire-on-disconnect": "never"}, 400, "invalid_request_error", "bad_on_disconnect"),
    ],
)
@pytest.mark.parametrize("path", [MESSAGES, MESSAGES + "/count_tokens"])
def test_who_is_not_let_in(relayed: Any, path: str, fields: dict[str, str], status: int, kind: str, code: str) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        if "on-disconnect" in str(fields) and path != MESSAGES:
            return  # nothing to disconnect from
        client = await relay.connect()
        refused = await client.post(path, message(), fields).whole()
        assert refused.status == status
        assert (refused.json["error"]["type"], refused.json["error"]["details"]) == (kind, {"error_code": code})
        assert upstream.peers == []

    relayed(main, settings=UP)


@pytest.mark.parametrize(
    ("model", "path", "status", "words"),
    [
        ("nobody", MESSAGES, 404, ["claude/claude-4"]),
        ("shared", MESSAGES, 400, ["chat/shared", "claude/shared"]),
        ("claude-9", "/v1/chat/completions", 404, ["claude"]),
    ],
)
def test_models_that_cannot_be_asked_here(model: str, path: str, status: int, words: list[str]) -> None:
    async def main() -> None:
        async with ScriptedUpstream() as upstream:
            settings = Settings(
                upstreams={
                    "chat": UpstreamSettings(base_url=upstream.base_url, models=["gpt", "shared"]),
                    "claude": UpstreamSettings(
                        base_url=upstream.base_url, dialect="anthropic", models=["claude-4", "shared"]
                    ),
                },
            )
            async with serving(settings) as relay:
                client = await relay.connect()
                refused = await client.post(path, message(model=model)).whole()
                assert refused.status == status
                for word in words:
                    assert word in refused.json["error"]["message"]
                assert ("type" in refused.json) == (path == MESSAGES)
                native = "anthropic" if path == MESSAGES else "openai.chat"
                order = {"dialect": native, "request": message(model=model)}
                started = await client.post("/v1/streams", order).whole()
                assert (started.status, relay.streams) == (status, [])

    run_in("uvloop", main)


def test_requests_that_cannot_be_started_in_the_native_dialect(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        for dialect, code in (("native", "unsupported_dialect"), ("smoke", "unknown_dialect")):
            refused = await client.post("/v1/streams", {"dialect": dialect, "request": message()}).whole()
            assert (refused.status, refused.json["error"]["code"]) == (400, code)

    relayed(main, settings=UP)


def test_other_methods_and_routes_are_refused_in_this_dialect(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client = await relay.connect()
        refused = await client.get(MESSAGES).whole()
        assert (refused.status, refused.fields["allow"]) == (405, "POST")
        assert refused.json["error"]["type"] == "invalid_request_error"
        refused = await client.post(MESSAGES + "/batches", message()).whole()
        assert (refused.status, refused.json["error"]["type"]) == (404, "not_found_error")
        refused = await client.get("/v1/files", {"anthropic-version": "2023-06-01"}).whole()
        assert (refused.status, refused.json["error"]["type"]) == (404, "not_found_error")

    relayed(main, settings=UP)


def test_a_relay_that_drains_refuses_and_ends_in_this_dialect(relayed: Any) -> None:
    async def main(relay: Relay, upstream: ScriptedUpstream) -> None:
        client, other = await relay.connect(), await relay.connect()
        stream = await client.post(MESSAGES, message()).blocks_of(4)
        relay.gateway.drain()
        refused = await other.post(MESSAGES, message()).whole()
        assert (refused.status, refused.fields["retry-after"]) == (503, "1")
        check(refused.json, "overloaded_error", "shutting_down", "shutting down")
        relay.gateway.cut()
        await stream.whole()
        check(stream.data[-1], "overloaded_error", "shutting_down", "shutting down")

    relayed(main, [REQUEST, BODY], settings=UP)
