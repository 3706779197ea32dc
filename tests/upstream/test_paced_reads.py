"""Fast upstreams are read by hand, once a frame. The clock is the test's: a frame passes when it says so."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.engine.pacing import FRAME_SECONDS
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.rig import settle, until
from tokenwire.testing.upstream import http_chunk

#: More than the reads that it takes to find out how fast an upstream is.
ENOUGH = 60


def test_a_fast_upstream_is_read_at_ticks_only_and_nothing_is_lost(tell: Callable[..., None]) -> None:
    async def story(it: Any) -> None:
        await it.becomes_paced()
        before = it.arrived
        for _ in range(10):
            it.send(chat.text("x"))
            await settle()
        assert it.arrived == before, "read outside of a tick"
        it.tick()
        assert it.arrived == len(it.sent) == before + 10
        await it.ends()
        assert it.rig.connections == (1, 0)

    tell(story)


def test_the_first_tokens_are_never_delayed(tell: Callable[..., None]) -> None:
    async def story(it: Any) -> None:
        await it.send_one_by_one(15)
        assert not it.paced
        await it.becomes_paced()
        await it.ends()

    tell(story)


@pytest.mark.parametrize("seed", range(3))
def test_events_of_every_size_cut_anywhere_arrive_whole_and_in_order(tell: Callable[..., None], seed: int) -> None:
    async def story(it: Any) -> None:
        rng = random.Random(seed)
        await it.becomes_paced()
        wire = b""
        for _ in range(300):
            event = chat.text("z" * rng.choice((1, 5, 60, 700, 20_000)))
            it.sent.append(event)
            wire += http_chunk(event)
        while wire:
            size = rng.choice((1, 30, 3000, 16 * 1024, 16 * 1024 + 1, 100_000))
            it.peer.write(wire[:size])
            wire = wire[size:]
            if rng.random() < 0.5:
                await settle(3)
                it.tick()
        await it.arrives()
        await it.ends()

    tell(story)


def test_a_tick_reads_all_that_there_is(tell: Callable[..., None]) -> None:
    async def story(it: Any) -> None:
        await it.becomes_paced()
        for _ in range(3):
            it.send(chat.text("y" * 16_000))
        await it.peer.flushed()
        it.tick()
        assert it.arrived == len(it.sent)
        await it.ends()

    tell(story)


@pytest.mark.parametrize(("apart", "fast"), [(0.0035, True), (0.0045, False)])
def test_the_pace_is_what_decides(tell: Callable[..., None], apart: float, fast: bool) -> None:
    """286 reads a second are above the bound of 250, and 222 are not."""

    async def story(it: Any) -> None:
        for _ in range(ENOUGH):
            if it.paced:
                break
            await it.send_one_by_one(1, apart)
        assert it.paced is fast
        await it.ends()

    tell(story)


@pytest.mark.parametrize("crlf", [False, True])
def test_it_stays_paced_while_fast_and_is_read_by_the_loop_again_when_slow(
    tell: Callable[..., None], crlf: bool
) -> None:
    def framed(event: bytes) -> bytes:
        return event.replace(b"\n", b"\r\n") if crlf else event

    async def story(it: Any) -> None:
        await it.becomes_paced()
        for _ in range(50):  # 250 events a second, for 400 ms
            it.send(framed(chat.text("a")))
            it.send(framed(chat.text("b")))
            await it.peer.flushed()
            it.clock.advance(FRAME_SECONDS)
            assert it.paced
        for _ in range(30):  # 125 a second
            it.send(framed(chat.text("c")))
            await it.peer.flushed()
            it.clock.advance(FRAME_SECONDS)
        assert not it.paced
        it.send(framed(chat.text("d")))
        await until(lambda: it.arrived == len(it.sent))  # the clock stands still: the loop reads
        await it.ends()

    tell(story)


def test_a_silent_upstream_is_read_by_the_loop_again(tell: Callable[..., None]) -> None:
    async def story(it: Any) -> None:
        await it.becomes_paced()
        it.clock.advance(0.12)
        assert not it.paced
        it.send(chat.text("x"))
        await until(lambda: it.arrived == len(it.sent))
        await it.ends()

    tell(story)


def test_pacing_can_be_switched_off(tell: Callable[..., None]) -> None:
    """``X-Tokenwire-Pacing: off``."""

    async def story(it: Any) -> None:
        await it.send_one_by_one(4 * ENOUGH)
        assert not it.paced
        await it.ends()

    tell(story, pacing=False)


def test_a_body_that_is_slow_to_begin_is_not_paced_for_its_fast_end(tell: Callable[..., None]) -> None:
    async def story(it: Any) -> None:
        await it.send_one_by_one(40, 0.02)
        assert not it.paced
        await it.ends()

    tell(story)
