"""One stream, several attempts: who is asked again, after how long, and that nothing of a failed one is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.errors import UpstreamStatus
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import Rig, settle, until
from tokenwire.testing.upstream import (
    CLOSE,
    FLUSHED,
    LAST_CHUNK,
    REQUEST,
    RESET,
    ScriptedUpstream,
    Step,
    answer,
    head,
    http_chunk,
)
from tokenwire.upstream.deadlines import Deadlines
from tokenwire.upstream.retry import Retry

Run = Callable[..., Any]

FRAMES = chat.answer("Hel", "lo")
STREAM = head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
GOOD = STREAM + b"".join(map(http_chunk, FRAMES)) + LAST_CHUNK
WHOLE = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
OVERLOADED = b'data: {"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}\n\n'
INVALID = b'data: {"error":{"message":"no","type":"invalid_request_error","code":null}}\n\n'
QUOTA = b'{"error":{"message":"pay","type":"insufficient_quota","code":"insufficient_quota"}}'
LIMITS = Deadlines(headers=10.0, first_token=20.0, between_tokens=5.0, total=60.0)
#: The timer wheel's granule, and a little.
LATE = 0.03


async def asks(upstream: ScriptedUpstream, count: int) -> None:
    """Until so many requests have come."""
    await until(lambda: len(upstream.requests) == count)


#: An attempt that fails before a token, and may be repeated: what the upstream does, and the code of the failure.
REPEATED: dict[str, tuple[list[Step], str]] = {
    "closed": ([CLOSE], "upstream_closed"),
    "reset": ([RESET], "upstream_closed"),
    "closed in the head": ([STREAM[:20], FLUSHED, CLOSE], "upstream_closed"),
    "no HTTP": ([b"SSH-2.0-OpenSSH_9\r\n"], "upstream_closed"),
    "408": ([answer(b"{}", status=408)], "timeout"),
    "409": ([answer(b"{}", status=409)], "upstream_error"),
    "429": ([answer(b"{}", status=429)], "rate_limit_exceeded"),
    "500": ([answer(b"<html>oops", status=500)], "server_error"),
    "503 cut": ([head(503, ("Content-Length", "99")) + b"{", FLUSHED, CLOSE], "overloaded"),
    "529": ([answer(b"{}", status=529)], "overloaded"),
    "400 that asks for it": (
        [answer(b"{}", fields=[("x-should-retry", "true")], status=400)],
        "invalid_request_error",
    ),
    "error first": ([STREAM + http_chunk(OVERLOADED)], "overloaded"),
    "error after the role": ([STREAM + http_chunk(FRAMES[0]) + http_chunk(OVERLOADED)], "overloaded"),
    "error before the end": ([STREAM + http_chunk(OVERLOADED[:-1]) + LAST_CHUNK], "overloaded"),
    "empty": ([STREAM + LAST_CHUNK], "truncated"),
    "nothing but the role": ([STREAM + http_chunk(FRAMES[0]) + LAST_CHUNK], "truncated"),
    "cut after the head": ([STREAM, FLUSHED, CLOSE], "upstream_closed"),
    "cut after the role": ([STREAM + http_chunk(FRAMES[0]), FLUSHED, CLOSE], "upstream_closed"),
    "an error in disguise": ([answer(b'{"error":{"message":"x","type":"server_error"}}')], "server_error"),
    "cut in disguise": ([head(200, ("Content-Length", "99")) + b"{", FLUSHED, CLOSE], "bad_answer"),
}


@pytest.mark.parametrize(("script", "code"), REPEATED.values(), ids=REPEATED)
def test_repeated(routed: Any, script: list[Step], code: str) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url, retry=Retry(base_delay=1.0), noise=1.0)
        await asked.backs_off(1)
        clock.advance(1.0 - LATE)
        await settle()
        assert len(upstream.requests) == 1
        clock.advance(2 * LATE)
        await asked.ended()
        assert asked.failure == ("completed", "")
        assert asked.frames == FRAMES, "nothing of the first attempt, and nothing twice"
        assert [request.body for request in upstream.requests] == [b"1", b"1"]
        first, second = asked.stream.attempts
        assert first.error is not None
        assert (first.error.code, second.error, second.status) == (code, None, 200)
        assert asked.stream.log.attempt_at(1).number == 2

    routed(story, script, [GOOD])


#: A failure that is not repeated.
FINAL: dict[str, tuple[list[Step], str]] = {
    "400": ([answer(b"{}", status=400)], "invalid_request_error"),
    "401": ([answer(b"{}", status=401)], "invalid_api_key"),
    "404": ([answer(b"{}", status=404)], "not_found"),
    "quota": ([answer(QUOTA, status=429)], "insufficient_quota"),
    "redirect": ([head(302, ("Location", "/x"), ("Content-Length", "0"))], "redirected"),
    "500 that refuses it": ([answer(b"{}", fields=[("x-should-retry", "false")], status=500)], "server_error"),
    "retry-after too long": (
        [answer(b"{}", fields=[("retry-after", "11")], status=429)],
        "rate_limit_exceeded",
    ),
    "invalid": ([STREAM + http_chunk(INVALID)], "invalid_request_error"),
    "an event too large": ([STREAM + http_chunk(b"data: " + b"x" * 200)], "event_too_large"),
    "error after a token": (
        [STREAM + b"".join(map(http_chunk, FRAMES[:2])) + http_chunk(OVERLOADED)],
        "overloaded",
    ),
    "error with a token": ([STREAM + http_chunk(b"".join(FRAMES[:2]) + OVERLOADED)], "overloaded"),
    "cut after a token": ([STREAM + http_chunk(FRAMES[1]), FLUSHED, CLOSE], "upstream_closed"),
    "ended after a token": ([STREAM + http_chunk(FRAMES[1]) + LAST_CHUNK], "truncated"),
}


@pytest.mark.parametrize(("script", "code"), FINAL.values(), ids=FINAL)
def test_not_repeated(routed: Any, script: list[Step], code: str) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url, retry=Retry(attempts=5), max_event=100)
        await asked.ended()
        assert asked.failure == ("failed", code)
        (record,) = asked.stream.attempts
        assert record.error is asked.error
        assert record.ended_ns == asked.stream.ended_ns
        clock.advance(60)
        await settle()
        assert len(upstream.requests) == 1

    routed(story, script, [GOOD])


def test_the_last_failure_is_the_streams(routed: Any) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url, retry=Retry(attempts=3))
        for made in (1, 2):
            await asked.backs_off(made)
            assert "refused" not in asked.stream.meta
            clock.advance(1.0)
        await asked.ended()
        assert asked.failure == ("failed", "overloaded")
        assert asked.frames == [FRAMES[0], OVERLOADED]
        statuses = [(each.status, each.error.code) for each in asked.stream.attempts if each.error is not None]
        assert statuses == [(None, "upstream_closed"), (500, "server_error"), (200, "overloaded")]
        assert "refused" not in asked.stream.meta, "that was another attempt's"
        times = [(each.started_ns, each.ended_ns) for each in asked.stream.attempts]
        assert times == sorted(times)

    last = STREAM + http_chunk(FRAMES[0]) + http_chunk(OVERLOADED)
    routed(story, [CLOSE], [answer(b"{}", status=500)], [last])


def test_attempts_1_switches_it_off(routed: Any) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url, retry=Retry(attempts=1))
        await asked.ended()
        assert asked.failure == ("failed", "server_error")
        refused = asked.stream.meta["refused"]
        assert isinstance(refused, UpstreamStatus)
        assert refused.status == 500

    routed(story, [answer(b"{}", status=500)])


def test_without_another_attempt_nothing_is_held_back(routed: Any) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url, retry=Retry(attempts=1))
        await asked.entries(1)
        asked.stream.cancel()

    routed(story, [STREAM + http_chunk(FRAMES[0])])


@pytest.mark.parametrize(
    ("field", "seconds"), [(("retry-after", "2"), 2.0), (("retry-after-ms", "700"), 0.7), (("x", "y"), 0.25)]
)
def test_the_wait(routed: Any, field: tuple[str, str], seconds: float) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url)
        await asked.backs_off(1)
        clock.advance(seconds - LATE)
        await settle()
        assert len(upstream.peers[0].requests) == 1
        clock.advance(2 * LATE)
        assert (await asked.ended()).state == "completed"
        assert rig.pool.statistics().opened == 1, "over the same connection, which is as good as before"

    routed(story, [answer(b"{}", fields=[field], status=429)], [GOOD])


def test_connecting_is_repeated(run_once: Run, closed_port: int) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        asked = rig.route(f"http://127.0.0.1:{closed_port}/v1")
        await asked.backs_off(1)
        async with ScriptedUpstream([REQUEST, GOOD], port=closed_port):
            clock.advance(1)
            assert (await asked.ended()).state == "completed"
        assert [each.status for each in asked.stream.attempts] == [None, 200]

    run_once(main, clock=clock)


# ---------------------------------------------------------------------- deadlines


@pytest.mark.parametrize(("begun", "seconds"), [(b"", 10), (STREAM, 20), (STREAM + http_chunk(FRAMES[0]), 20)])
def test_headers_and_first_token_are_each_attempts_own(routed: Any, begun: bytes, seconds: float) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url, deadlines=LIMITS)
        for number in (1, 2):
            peer = await upstream.peer(number - 1)
            await asks(upstream, number)
            await settle()
            clock.advance(seconds - LATE)
            await settle()
            assert len(asked.stream.attempts) == number
            assert asked.stream.terminal is None
            clock.advance(2 * LATE)
            assert await peer.gone() in ("fin", "reset")
            if number == 1:
                await asked.backs_off(1)
                clock.advance(1)
        assert asked.failure == ("failed", "upstream_timeout")
        assert "total" not in asked.error.message

    routed(story, [begun])


def test_the_total_is_counted_over_all_attempts(routed: Any) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        began_ns = clock.now_ns()
        asked = rig.route(upstream.base_url, deadlines=LIMITS, retry=Retry(attempts=9))
        for number in range(6):
            await asks(upstream, number + 1)
            if number < 5:
                clock.advance(10.1)
                await asked.backs_off(number + 1)
                clock.advance(0.1 + min(4.0, 0.25 * 2**number))
        clock.advance(60 - (clock.now_ns() - began_ns) / 1e9 - LATE)
        await settle()
        assert asked.stream.terminal is None
        clock.advance(2 * LATE)
        assert asked.error.message == "nothing from the upstream within 60 s (total)"
        assert len(asked.stream.attempts) == 6

    routed(story, [])


def test_no_attempt_is_waited_for_that_would_come_too_late(routed: Any) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url, deadlines=Deadlines(total=3))
        await asked.ended()
        assert asked.failure == ("failed", "rate_limit_exceeded")

    routed(story, [answer(b"{}", fields=[("retry-after", "3")], status=429)])


@pytest.mark.parametrize("resumed", [False, True])
def test_paused_between_two_attempts(routed: Any, resumed: bool) -> None:
    """The next one begins paused, and its deadlines stand still."""

    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url, deadlines=LIMITS)
        await asked.backs_off(1)
        asked.route.pause()
        if resumed:
            asked.route.resume()
        clock.advance(1)
        peer = await upstream.peer(1)
        await until(lambda: peer.requests)
        if not resumed:
            clock.advance(1000)
            await settle()
            assert asked.stream.terminal is None
            asked.route.resume()
        peer.write(GOOD)
        assert (await asked.ended()).state == "completed"

    routed(story, [CLOSE], [])


# ---------------------------------------------------------------------- whole answers


WHOLE_FAILURES: dict[str, list[Step]] = {
    "503": [answer(b"{}", status=503)],
    "closed": [CLOSE],
    "cut": [head(200, ("Content-Length", "99")) + WHOLE[:9], FLUSHED, CLOSE],
    "an error": [answer(b'{"error":{"message":"x","type":"server_error"}}')],
}


@pytest.mark.parametrize("script", WHOLE_FAILURES.values(), ids=WHOLE_FAILURES)
def test_a_whole_answer_is_repeated_until_it_is_there(routed: Any, script: list[Step]) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url, streaming=False)
        await asked.backs_off(1)
        assert not asked.stream.log.notable
        clock.advance(1)
        assert (await asked.ended()).state == "completed"
        assert asked.frames == [WHOLE]
        assert asked.stream.unary

    routed(story, script, [answer(WHOLE)])


def test_the_last_whole_answer_is_given_though_it_is_an_error(routed: Any) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url, streaming=False)
        await asked.backs_off(1)
        clock.advance(1)
        await asked.ended()
        assert asked.failure == ("failed", "server_error")
        assert len(asked.frames) == 1

    routed(story, [answer(b'{"error":{"message":"x","type":"server_error"}}')])
