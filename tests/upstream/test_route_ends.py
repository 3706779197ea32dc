"""Where a route ends: a stream that is left between two attempts, and the upstream whose turn is the last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import Asked, Rig, settle, until
from tokenwire.testing.upstream import (
    CLOSE,
    LAST_CHUNK,
    REQUEST,
    ScriptedUpstream,
    Step,
    answer,
    head,
    http_chunk,
)
from tokenwire.upstream.retry import Retry

Run = Callable[..., Any]

FRAMES = chat.answer("Hel", "lo")
STREAM = head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
GOOD = STREAM + b"".join(map(http_chunk, FRAMES)) + LAST_CHUNK
QUOTA = b'{"error":{"message":"pay","type":"insufficient_quota","code":"insufficient_quota"}}'


async def _nobody(asked: Asked, clock: ManualClock, upstream: ScriptedUpstream) -> None:
    """The stream is over, and nothing comes after it."""
    await asked.ended()
    before = len(upstream.requests)
    clock.advance(100)
    await settle()
    assert len(upstream.requests) == before


def test_cancelled_in_the_backoff(routed: Any) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url)
        await asked.backs_off(1)
        timers = len(rig.hub.wheel)
        assert asked.stream.cancel()
        assert len(rig.hub.wheel) == timers - 1
        assert asked.failure == ("cancelled", "cancelled")
        await _nobody(asked, clock, upstream)
        assert len(asked.stream.attempts) == 1

    routed(story, [CLOSE], [GOOD])


def test_cancelled_at_any_turn_of_the_loop(routed: Any) -> None:
    """Through the first attempt, the backoff, and the second attempt."""

    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        seen = set()
        for turns in range(40):
            asked = rig.route(upstream.base_url)
            for _ in range(turns):
                if asked.stream.attempts[-1].ended_ns is not None:
                    clock.advance(0.1)
                await asyncio.sleep(0)
            seen.add((len(asked.stream.attempts), asked.stream.terminal is not None))
            asked.stream.cancel()
            assert asked.stream.terminal is not None
            made = len(asked.stream.attempts)
            clock.advance(100)
            await settle()
            assert len(asked.stream.attempts) == made
        assert {(1, False), (2, False)} <= seen, "some in each"

    refused, begun = [answer(b"{}", status=503)], [STREAM + http_chunk(FRAMES[0])]
    routed(story, *[script for turns in range(40) for script in (refused, begun)])


@pytest.mark.parametrize("script", [[STREAM + http_chunk(FRAMES[0])], []])
def test_cancelled_while_an_attempt_is_held_back(routed: Any, script: list[Step]) -> None:
    async def story(rig: Rig, clock: ManualClock, upstream: ScriptedUpstream) -> None:
        asked = rig.route(upstream.base_url)
        peer = await upstream.peer()
        await until(lambda: peer.requests)
        await settle()
        asked.stream.cancel()
        assert asked.frames == [FRAMES[0]][: len(script)], "it was the last attempt after all: what came is known"
        assert await peer.gone() in ("fin", "reset")
        await _nobody(asked, clock, upstream)

    routed(story, script)


# ---------------------------------------------------------------------- routes


def test_the_next_upstream_is_asked_at_once(run_once: Run, closed_port: int) -> None:
    """After the first has been asked as often as it may; its model then is the one that answers."""
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with (
            ScriptedUpstream([REQUEST, answer(b"{}", status=503)]) as bad,
            ScriptedUpstream([REQUEST, GOOD]) as good,
        ):
            urls = (bad.base_url, f"http://127.0.0.1:{closed_port}/v1", good.base_url)
            asked = rig.route(*urls, retry=Retry(attempts=1))
            await asked.ended()
            assert asked.failure == ("completed", "")
            assert asked.frames == FRAMES
            assert asked.stream.model == "up3/m"
            assert asked.stream.meta["upstream"] == "up3"
            made = [
                (each.upstream, each.status, each.error.code if each.error else "") for each in asked.stream.attempts
            ]
            assert made == [("up1", 503, "overloaded"), ("up2", None, "connect_failed"), ("up3", 200, "")]
            assert good.peers[0].requests[0].body == b"3"

    run_once(main, clock=clock)


def test_each_upstream_is_asked_as_often_as_it_may_be(run_once: Run) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with (
            ScriptedUpstream([REQUEST, CLOSE]) as bad,
            ScriptedUpstream([REQUEST, CLOSE], [REQUEST, GOOD]) as good,
        ):
            asked = rig.route(bad.base_url, good.base_url)
            await asked.backs_off(1)
            clock.advance(0.3)
            await asked.backs_off(3)
            clock.advance(0.3)
            assert (await asked.ended()).state == "completed"
            assert [each.upstream for each in asked.stream.attempts] == ["up1", "up1", "up2", "up2"]

    run_once(main, clock=clock)


@pytest.mark.parametrize("status", [401, 404, 429, 400])
def test_a_refusal_of_the_request_itself_ends_the_route(run_once: Run, status: int) -> None:
    """Any other sends it on, even one that this upstream would give again."""

    async def main(rig: Rig) -> None:
        async with (
            ScriptedUpstream([REQUEST, answer(QUOTA, status=status)]) as one,
            ScriptedUpstream([REQUEST, GOOD]) as two,
        ):
            asked = rig.route(one.base_url, two.base_url)
            await asked.ended()
            assert len(asked.stream.attempts) == (1 if status == 400 else 2)
            assert (asked.stream.terminal.error is None) is (status != 400)  # type: ignore[union-attr]

    run_once(main)


def test_a_request_that_cannot_be_made_ends_the_stream(run_once: Run) -> None:
    """A path that no HTTP head can hold: known only when its turn comes."""

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer(b"{}", status=404)]) as one:
            asked = rig.route(one.base_url, "ftp://nowhere")
            await asked.ended()
            assert asked.failure == ("failed", "bad_request")
            assert "up2 cannot be asked this" in asked.error.message

    run_once(main)
