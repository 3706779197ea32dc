"""Answers that are no event stream: refusals, pages, whole answers, streams under another label."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.errors import UpstreamStatus
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.rig import Asked, Rig, settle
from tokenwire.testing.upstream import (
    CLOSE,
    FLUSHED,
    REQUEST,
    RESET,
    Peer,
    ScriptedUpstream,
    Step,
    answer,
    head,
)
from tokenwire.upstream.attempt import MAX_ERROR_BODY

Run = Callable[..., Any]

QUOTA = b'{"error":{"message":"too many tokens","type":"tokens","param":null,"code":"rate_limit_exceeded"}}'
PAGE = b"<html><head><title>503 Service Unavailable</title></head><body>nginx</body></html>"
COMPLETION = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }
).encode()
STREAM = b"".join(chat.answer("Hel", "lo"))


async def ended(rig: Rig, script: list[Step], **options: Any) -> Asked:
    """Ask an upstream that plays *script* after the request, to the end of the stream."""
    async with ScriptedUpstream([REQUEST, *script]) as upstream:
        asked = rig.ask(upstream.base_url, **options)
        await asked.ended()
        return asked


def refusal(asked: Asked) -> UpstreamStatus:
    refused = asked.stream.meta["refused"]
    assert isinstance(refused, UpstreamStatus)
    return refused


# ---------------------------------------------------------------------- error statuses

REFUSALS: dict[str, tuple[int, bytes, str, str, bool]] = {
    "JSON": (429, QUOTA, "rate_limit_exceeded", "too many tokens", True),
    "a page": (503, PAGE, "overloaded", "503 Service Unavailable", True),
    "text": (400, b"no such parameter", "invalid_request_error", "no such parameter", False),
    "nothing": (500, b"", "server_error", "gave no reason", True),
    "an event": (401, b'data: {"error":{"message":"who are you"}}\n\n', "invalid_api_key", "who are you", False),
}


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize(("status", "body", "code", "message", "retryable"), REFUSALS.values(), ids=REFUSALS)
def test_an_http_error_is_told_in_the_providers_words(
    run: Run, status: int, body: bytes, code: str, message: str, retryable: bool, framing: Any, streaming: bool
) -> None:
    async def main(rig: Rig) -> None:
        wire = answer([body] if body else [], status=status, framing=framing, fields=[("Retry-After", "7")])
        asked = await ended(rig, [wire, CLOSE] if framing == "close" else [wire], streaming=streaming)
        assert asked.failure == ("failed", code)
        error = asked.error
        assert message in error.message
        assert (error.upstream_status, error.retryable) == (status, retryable)
        refused = refusal(asked)
        assert (refused.status, refused.body) == (status, body)
        assert (b"retry-after", b"7") in refused.headers
        assert (asked.frames, asked.heads) == ([], []), "no answer began"

    run(main)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_an_error_body_that_is_cut_is_still_that_error(run: Run, end: Step) -> None:
    async def main(rig: Rig) -> None:
        wire = head(429, ("Content-Length", "1000")) + QUOTA
        asked = await ended(rig, [wire, FLUSHED, end])
        assert asked.failure == ("failed", "rate_limit_exceeded")
        assert refusal(asked).body == QUOTA

    run(main)


def test_an_error_body_without_an_end_is_cut_off(run: Run) -> None:
    async def main(rig: Rig) -> None:
        page = b"<title>Bad Gateway</title>" + b"x" * (2 * MAX_ERROR_BODY)
        async with ScriptedUpstream([REQUEST, head(502) + page]) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert (asked.error.message, asked.error.upstream_status) == ("Bad Gateway", 502)
            assert refusal(asked).body == page[:MAX_ERROR_BODY]
            assert await upstream.peers[0].gone() in ("fin", "reset")

    run(main)


def test_a_refusal_leaves_its_connection_for_the_next_request(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(
            [REQUEST, answer(QUOTA, status=429), REQUEST, answer(QUOTA, status=429)]
        ) as upstream:
            for _ in range(2):
                await rig.ask(upstream.base_url).ended()
            assert rig.pool.statistics() == (1, 0, 1, 1)

    run(main)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_but_explained(run: Run, status: int) -> None:
    async def main(rig: Rig) -> None:
        wire = answer(b"", status=status, fields=[("Location", "https://new.example/v1")])
        asked = await ended(rig, [wire])
        assert asked.failure == ("failed", "redirected")
        error = asked.error
        assert f"({status}) to https://new.example/v1: set base_url" in error.message
        assert not error.retryable

    run(main)


# ---------------------------------------------------------------------- 200, and no event stream


@pytest.mark.parametrize(
    "label", ["text/plain", "application/json", "application/octet-stream", "TEXT/EVENT-STREAM;x=y"]
)
@pytest.mark.parametrize(
    "begin", [b"", b"\n\n", b"\r\n \n", b"\xef\xbb\xbf", b": hello\n\n", b"event: message\n", b"id: 1\n"]
)
def test_an_event_stream_under_another_label_is_found_by_its_first_bytes(
    run_once: Run, label: str, begin: bytes
) -> None:
    async def main(rig: Rig) -> None:
        body = begin + STREAM

        async def byte_by_byte(peer: Peer) -> None:
            for byte in body[:24]:
                peer.write(bytes([byte]))
                await settle(3)

        whole = await ended(rig, [answer(body, content_type=label)])
        opening = head(200, ("Content-Type", label))
        in_bytes = await ended(rig, [opening, byte_by_byte, body[24:], CLOSE])
        for asked in (whole, in_bytes):
            assert asked.failure == ("completed", "")
            assert asked.text == "Hello"
            assert len(asked.heads) == 1

    run_once(main)


def test_an_event_stream_under_another_label_is_delivered_at_once(run: Run) -> None:
    frames = chat.answer("Hel", "lo")

    async def main(rig: Rig) -> None:
        async def one_by_one(peer: Any) -> None:
            for count, frame in enumerate(frames, 1):
                peer.write(frame)
                await asked.entries(count)

        async with ScriptedUpstream([REQUEST, head(200), one_by_one, CLOSE]) as upstream:
            asked = rig.ask(upstream.base_url)
            assert (await asked.ended()).state == "completed"
            assert asked.frames == frames

    run(main)


@pytest.mark.parametrize("begin", [b"", b"\n  "])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_whole_answer_where_a_stream_was_asked_for_is_taken(run: Run, framing: Any, begin: bytes) -> None:
    async def main(rig: Rig) -> None:
        pieces = [(begin + COMPLETION)[i : i + 3] for i in range(0, len(begin + COMPLETION), 3)]
        asked = await ended(rig, [answer(pieces, framing=framing)])
        assert asked.failure == ("completed", "")
        assert asked.text == "Hello"
        assert asked.frames == [COMPLETION]
        assert asked.stream.unary
        terminal = asked.stream.terminal
        assert terminal is not None
        assert (terminal.reason, terminal.usage and terminal.usage.input) == ("stop", 3)
        assert len(asked.heads) == 1

    run(main)


INSTEAD = "the upstream sent {} instead of an event stream: {}"
EMPTY = "the upstream answered 200 with {} bytes that hold no answer"
DISGUISED: dict[str, tuple[bytes, str, str, str]] = {
    "a JSON error": (QUOTA, "application/json", "rate_limit_exceeded", "too many tokens"),
    "a JSON error under another label": (QUOTA, "text/plain", "rate_limit_exceeded", "too many tokens"),
    "broken JSON": (QUOTA[:9], "application/json", "upstream_error", 'malformed JSON from the upstream: {"error":'),
    "a page": (PAGE, "text/html", "upstream_error", INSTEAD.format("text/html", "503 Service Unavailable")),
    "text": (b"upstream timeout", "text/plain", "upstream_error", INSTEAD.format("text/plain", "upstream timeout")),
    "the beginning of an event": (b"dat", "text/plain", "upstream_error", INSTEAD.format("text/plain", "dat")),
    "nothing": (b"", "application/json", "bad_answer", EMPTY.format(0)),
    "blanks": (b" \r\n\n", "text/plain", "bad_answer", EMPTY.format(0)),
    "JSON of another kind": (b'{"choices":[]}', "application/json", "bad_answer", EMPTY.format(14)),
}


@pytest.mark.parametrize(("body", "label", "code", "message"), DISGUISED.values(), ids=DISGUISED)
def test_what_calls_itself_200_and_is_no_answer_fails(
    run: Run, body: bytes, label: str, code: str, message: str
) -> None:
    async def main(rig: Rig) -> None:
        asked = await ended(rig, [answer(body, content_type=label)])
        assert asked.failure == ("failed", code)
        assert asked.error.message == message
        assert (asked.frames, asked.heads) == ([], [])

    run(main)


def test_204_is_no_answer_either(run: Run) -> None:
    async def main(rig: Rig) -> None:
        asked = await ended(rig, [head(204)])
        assert asked.failure == ("failed", "bad_answer")

    run(main)


def test_a_page_without_an_end_is_bounded(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, head(200) + b"<html>" + b"x" * (2 * MAX_ERROR_BODY)]) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert asked.failure == ("failed", "bad_answer")
            assert f"larger than {MAX_ERROR_BODY} bytes and is no event stream" in asked.error.message
            assert await upstream.peers[0].gone() in ("fin", "reset")

    run(main)


def test_a_page_that_is_cut_fails(run: Run) -> None:
    async def main(rig: Rig) -> None:
        asked = await ended(rig, [head(200, ("Content-Length", "900")) + PAGE, CLOSE])
        assert asked.failure == ("failed", "bad_answer")

    run(main)


# ---------------------------------------------------------------------- no stream was asked for


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_an_answer_that_is_not_streamed_comes_back_verbatim(run: Run, framing: Any) -> None:
    body = b"\n" + COMPLETION + b"\n"

    async def main(rig: Rig) -> None:
        asked = await ended(rig, [answer([body[:50], body[50:]], framing=framing), CLOSE], streaming=False)
        assert asked.failure == ("completed", "")
        assert asked.frames == [body]
        assert asked.text == "Hello"
        assert [status for status, _ in asked.heads] == [200]

    run(main)


def test_an_error_with_200_fails_an_answer_that_is_not_streamed(run: Run) -> None:
    async def main(rig: Rig) -> None:
        asked = await ended(rig, [answer(QUOTA)], streaming=False)
        assert asked.failure == ("failed", "rate_limit_exceeded")

    run(main)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_an_answer_that_is_cut_fails(run: Run, end: Step) -> None:
    async def main(rig: Rig) -> None:
        wire = head(200, ("Content-Type", "application/json"), ("Content-Length", "9999")) + COMPLETION
        asked = await ended(rig, [wire, FLUSHED, end], streaming=False)
        assert asked.failure == ("failed", "bad_answer")
        error = asked.error
        assert "closed the connection in mid-answer" in error.message
        assert error.retryable
        assert asked.frames == []

    run(main)


def test_an_answer_above_the_bound_fails(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer(b"x" * 100_001)]) as upstream:
            asked = rig.ask(upstream.base_url, streaming=False, max_event=100_000)
            await asked.ended()
            assert asked.failure == ("failed", "bad_answer")
            assert await upstream.peers[0].gone() in ("fin", "reset")

    run(main)
