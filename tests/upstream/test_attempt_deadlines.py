"""Deadlines, on a clock that only the test moves: each in its phase, none early, and standing still while we pause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import Asked, Rig, settle, until
from tokenwire.testing.upstream import LAST_CHUNK, REQUEST, Peer, ScriptedUpstream, answer, head, http_chunk
from tokenwire.upstream.deadlines import Deadlines

Run = Callable[..., Any]

FRAMES = chat.answer("Hel", "lo")
STREAM = head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
LIMITS = Deadlines(headers=10.0, first_token=20.0, between_tokens=5.0, total=60.0)
#: The timer wheel's granule, and a little.
LATE = 0.03


class Play:
    """One stream, its upstream, and the clock that both live on."""

    def __init__(self, rig: Rig, clock: ManualClock, peer: Peer, asked: Asked) -> None:
        self.rig = rig
        self.clock = clock
        self.peer = peer
        self.asked = asked

    async def sends(self, *frames: bytes) -> None:
        """The upstream sends these events, and they arrive."""
        entries = self.asked.stream.log.last + len(frames)
        self.peer.write(b"".join(map(http_chunk, frames)))
        await self.asked.entries(entries)

    async def head(self) -> None:
        self.peer.write(STREAM)
        await until(lambda: self.asked.heads)

    async def is_alive(self) -> None:
        await settle(10)
        assert self.asked.stream.terminal is None

    async def expires_in(self, seconds: float, phase: str, limit: float) -> None:
        """Nothing happens just before, and the deadline passes then; the upstream sees us leave."""
        self.clock.advance(seconds - LATE)
        await self.is_alive()
        self.clock.advance(2 * LATE)
        assert self.asked.failure == ("failed", "upstream_timeout")
        error = self.asked.error
        assert error.message == f"nothing from the upstream within {limit:g} s ({phase})"
        assert error.retryable
        assert await self.peer.gone() in ("fin", "reset")


@pytest.fixture
def play(run: Run) -> Callable[..., None]:
    """``play(story, **options)``: *story* is told to a ``Play`` whose request has just arrived."""

    def player(story: Callable[[Play], Any], deadlines: Deadlines = LIMITS, **options: Any) -> None:
        clock = ManualClock()

        async def main(rig: Rig) -> None:
            async with ScriptedUpstream() as upstream:
                asked = rig.ask(upstream.base_url, deadlines=deadlines, **options)
                peer = await upstream.peer()
                await until(lambda: peer.requests)
                await story(Play(rig, clock, peer, asked))

        run(main, clock=clock)

    return player


def test_headers(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        await it.expires_in(10, "headers", 10)

    play(story)


def test_an_informational_answer_is_no_head(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        it.clock.advance(5)
        it.peer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await settle()
        await it.expires_in(5, "headers", 10)

    play(story)


def test_first_token_after_the_head(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        it.clock.advance(9)
        await it.head()
        await it.expires_in(11, "first token", 20)

    play(story)


def test_first_token_is_not_the_role_chunk_or_a_comment(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        await it.head()
        for _ in range(4):
            it.clock.advance(4)
            await it.sends(chat.role())
            it.peer.write(http_chunk(b": still thinking\n\n"))
            await it.is_alive()
        await it.expires_in(4, "first token", 20)

    play(story)


def test_between_tokens(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        await it.head()
        it.clock.advance(19)
        for _ in range(5):
            await it.sends(chat.text("x"))
            it.clock.advance(4.9)
            await it.is_alive()
        await it.sends(chat.text("x"))
        await it.expires_in(5, "between tokens", 5)

    play(story)


def test_comments_do_not_count_as_tokens(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        await it.head()
        await it.sends(chat.text("x"))
        for _ in range(4):
            it.clock.advance(1)
            it.peer.write(http_chunk(b": OPENROUTER PROCESSING\n\n"))
            await it.is_alive()
        await it.expires_in(1, "between tokens", 5)

    play(story)


def test_pings_do_not_count_either(play: Callable[..., None]) -> None:
    """A dialect's own, which are events (``event: ping``), and counted as such."""
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'

    async def story(it: Play) -> None:
        await it.head()
        await it.sends(chat.text("x"))
        for _ in range(4):
            it.clock.advance(1)
            await it.sends(ping)
            await it.is_alive()
        await it.expires_in(1, "between tokens", 5)

    play(story, dialect=replace(dialects.get("openai.chat"), heartbeat=ping))


def test_half_an_event_is_no_token(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        await it.head()
        await it.sends(chat.text("x"))
        it.clock.advance(4)
        it.peer.write(http_chunk(chat.text("y")[:-1]))
        await it.is_alive()
        await it.expires_in(1, "between tokens", 5)

    play(story)


def test_total(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        await it.head()
        for _ in range(14):
            await it.sends(chat.text("x"))
            it.clock.advance(4)
            await it.is_alive()
        await it.sends(chat.text("x"))
        await it.expires_in(4, "total", 60)

    play(story)


def test_a_total_below_the_others_ends_them(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        await it.expires_in(3, "total", 3)

    play(story, deadlines=Deadlines(headers=10, total=3))


@pytest.mark.parametrize("begun", [False, True])
def test_a_whole_answer_has_no_deadline_but_the_total(play: Callable[..., None], begun: bool) -> None:
    """Not even its head need come before its last token."""

    async def story(it: Play) -> None:
        if begun:
            it.peer.write(head(200, ("Content-Length", "100")))
            await until(lambda: it.asked.heads)
        it.clock.advance(30)
        await it.is_alive()
        if begun:
            it.peer.write(b"{")
            await settle()
        await it.expires_in(30, "total", 60)

    play(story, streaming=False)


def test_a_whole_answer_in_time_leaves_no_timer(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        it.clock.advance(59)
        it.peer.write(answer(b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'))
        assert (await it.asked.ended()).state == "completed"
        assert len(it.rig.hub.wheel) == 1

    play(story, streaming=False)


@pytest.mark.parametrize("wire", [head(500), head(200, ("Content-Type", "application/json"))])
def test_a_body_that_drips_is_bound_by_the_first_token(play: Callable[..., None], wire: bytes) -> None:
    async def story(it: Play) -> None:
        it.peer.write(wire)
        for _ in range(4):
            it.peer.write(b"{")
            it.clock.advance(4)
            await it.is_alive()
        await it.expires_in(4, "first token", 20)

    play(story)


def test_a_stream_in_time_leaves_no_timer(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        await it.head()
        for frame in FRAMES:
            it.clock.advance(4)
            await it.sends(frame)
        it.peer.write(LAST_CHUNK)
        assert (await it.asked.ended()).state == "completed"
        assert len(it.rig.hub.wheel) == 1
        assert it.rig.connections == (1, 0)

    play(story)


# ---------------------------------------------------------------------- standing still


def test_no_deadline_passes_while_we_pause(play: Callable[..., None]) -> None:
    """Paused from the start, and longer than every limit."""

    async def story(it: Play) -> None:
        it.asked.attempt.pause()
        it.clock.advance(1000)
        await it.is_alive()
        it.asked.attempt.resume()
        await it.expires_in(10, "headers", 10)

    play(story)


@pytest.mark.parametrize("pauses", [1, 3])
def test_first_token_counts_only_what_was_not_paused(play: Callable[..., None], pauses: int) -> None:
    async def story(it: Play) -> None:
        await it.head()
        for _ in range(pauses):
            it.clock.advance(3)
            it.asked.attempt.pause()
            it.clock.advance(100)
            it.asked.attempt.resume()
        await it.expires_in(20 - 3 * pauses, "first token", 20)

    play(story)


@pytest.mark.parametrize("sent", [0, 1])
def test_between_tokens_begins_anew_when_reading_goes_on(play: Callable[..., None], sent: int) -> None:
    async def story(it: Play) -> None:
        await it.head()
        await it.sends(chat.text("x"))
        it.clock.advance(4)
        it.asked.attempt.pause()
        it.peer.write(sent * http_chunk(chat.text("y")))
        it.clock.advance(100)
        await it.is_alive()
        assert it.asked.text == "x"
        it.asked.attempt.resume()
        await it.asked.entries(1 + sent)
        await it.expires_in(5, "between tokens", 5)

    play(story)


def test_the_total_stands_still_too(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        await it.head()
        it.asked.attempt.pause()
        it.clock.advance(1000)
        it.asked.attempt.resume()
        for _ in range(14):
            await it.sends(chat.text("x"))
            it.clock.advance(4)
            await it.is_alive()
        await it.sends(chat.text("x"))
        await it.expires_in(4, "total", 60)

    play(story)


def test_resuming_what_was_not_paused_changes_nothing(play: Callable[..., None]) -> None:
    async def story(it: Play) -> None:
        it.clock.advance(4)
        it.asked.attempt.resume()
        await it.expires_in(6, "headers", 10)

    play(story)


# ---------------------------------------------------------------------- the connection


@pytest.mark.parametrize("resumed_before", [True, False])
def test_time_spent_connecting_is_not_the_answers(run: Run, resumed_before: bool) -> None:
    """The deadlines of the answer begin when the request is sent."""
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream() as upstream:
            asked = rig.ask(upstream.base_url, deadlines=LIMITS)
            clock.advance(300)
            asked.attempt.pause()  # even paused meanwhile: what is not sent cannot be late
            clock.advance(300)
            if resumed_before:
                asked.attempt.resume()
            peer = await upstream.peer()
            await until(lambda: peer.requests)
            asked.attempt.resume()
            await Play(rig, clock, peer, asked).expires_in(10, "headers", 10)

    run(main, clock=clock)


def test_connecting_has_its_own(run: Run, silent_port: int) -> None:
    async def main(rig: Rig) -> None:
        asked = rig.ask(f"http://127.0.0.1:{silent_port}/v1", deadlines=Deadlines(connect=0.05))
        await asked.ended()
        assert asked.failure == ("failed", "connect_failed")
        assert asked.error.message.endswith("connect failed: no answer within 0.05 s")

    run(main)


def test_real_time_does_the_same(run: Run) -> None:
    """Once on the loop's own clock: nothing above depends on the manual one."""

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST], [REQUEST, STREAM + http_chunk(chat.text("x"))]) as upstream:
            short = Deadlines(headers=0.03, between_tokens=0.03, first_token=30, total=60)
            for phase in ("headers", "between tokens"):
                asked = rig.ask(upstream.base_url, deadlines=short)
                await asked.ended()
                assert asked.error.message == f"nothing from the upstream within 0.03 s ({phase})"
            await asyncio.gather(*(peer.gone() for peer in upstream.peers))

    run(main)
