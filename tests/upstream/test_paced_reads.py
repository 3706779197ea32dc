"""Fast upstreams are read by hand, once a frame. The clock is the test's: a frame passes when it says so."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tokenwire.engine.pacing import FRAME_SECONDS
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import Asked, Rig, settle, until
from tokenwire.testing.upstream import LAST_CHUNK, REQUEST, Peer, ScriptedUpstream, answer, head, http_chunk

Run = Callable[..., Any]

EVENTS = ("Content-Type", "text/event-stream")
STREAM = head(200, EVENTS, ("Transfer-Encoding", "chunked"))
#: More than the reads that it takes to find out how fast an upstream is.
ENOUGH = 60


class Story:
    """An upstream and its stream, on a clock that stands still unless told to move."""

    def __init__(self, rig: Rig, clock: ManualClock, peer: Peer, asked: Asked, frame: Callable[[bytes], bytes]) -> None:
        self.rig = rig
        self.clock = clock
        self.peer = peer
        self.asked = asked
        self._frame = frame
        self.sent: list[bytes] = []

    @property
    def paced(self) -> bool:
        return len(self.rig.pacing) == 1

    @property
    def arrived(self) -> int:
        return self.asked.stream.log.last_frame

    def send(self, data: bytes) -> None:
        """The upstream sends one event."""
        self.sent.append(data)
        self.peer.write(self._frame(data))

    async def send_one_by_one(self, count: int, seconds: float = 0.0) -> None:
        """Each in a read of its own, that many seconds apart."""
        for _ in range(count):
            self.send(chat.text(f"{len(self.sent)} "))
            await self.arrives()
            self.clock.advance(seconds)

    async def arrives(self) -> None:
        """What was sent is there, ticking as often as that takes."""

        def is_there() -> bool:
            if self.paced:
                self.clock.advance(FRAME_SECONDS)
            return self.arrived == len(self.sent)

        await until(is_there)

    async def becomes_paced(self) -> None:
        while not self.paced:
            assert len(self.sent) < ENOUGH, "never paced"
            self.send(chat.text(f"{len(self.sent)} "))
            await until(lambda: self.paced or self.arrived == len(self.sent))
        # The read that began it is still delivered at once.
        await settle()

    def tick(self) -> None:
        self.clock.advance(FRAME_SECONDS)


Teller = Callable[[Story], Awaitable[None]]


@pytest.fixture
def play(run: Run) -> Callable[..., None]:
    """``play(teller, **options)``: a story that begins with the answer's head."""

    def player(
        teller: Teller, *, begin: bytes = STREAM, frame: Callable[[bytes], bytes] = http_chunk, **options: Any
    ) -> None:
        clock = ManualClock()

        async def main(rig: Rig) -> None:
            async with ScriptedUpstream([REQUEST, begin]) as upstream:
                asked = rig.ask(upstream.base_url, **options)
                peer = await upstream.peer()
                await until(lambda: asked.heads)
                await teller(Story(rig, clock, peer, asked, frame))

        run(main, clock=clock)

    return player


async def ends(it: Story) -> None:
    """The stream ends well, with everything in it."""
    it.send(chat.finish())
    it.send(chat.DONE)
    it.peer.write(LAST_CHUNK)

    def is_over() -> bool:
        if it.paced:
            it.tick()
        return it.asked.stream.terminal is not None

    await until(is_over)
    assert it.asked.failure == ("completed", "")
    assert it.asked.frames == it.sent


def test_a_fast_upstream_is_read_at_ticks_only_and_nothing_is_lost(play: Callable[..., None]) -> None:
    async def story(it: Story) -> None:
        await it.becomes_paced()
        before = it.arrived
        for _ in range(10):
            it.send(chat.text("x"))
            await settle()
        assert it.arrived == before, "read outside of a tick"
        it.tick()
        assert it.arrived == len(it.sent) == before + 10
        await ends(it)
        assert it.rig.connections == (1, 0)

    play(story)


def test_the_first_tokens_are_never_delayed(play: Callable[..., None]) -> None:
    async def story(it: Story) -> None:
        await it.send_one_by_one(15)
        assert not it.paced
        await it.becomes_paced()
        await ends(it)

    play(story)


@pytest.mark.parametrize("seed", range(3))
def test_events_of_every_size_cut_anywhere_arrive_whole_and_in_order(play: Callable[..., None], seed: int) -> None:
    async def story(it: Story) -> None:
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
        await ends(it)

    play(story)


def test_a_tick_reads_all_that_there_is(play: Callable[..., None]) -> None:
    async def story(it: Story) -> None:
        await it.becomes_paced()
        for _ in range(3):
            it.send(chat.text("y" * 16_000))
        await it.peer.flushed()
        it.tick()
        assert it.arrived == len(it.sent)
        await ends(it)

    play(story)


@pytest.mark.parametrize(("apart", "fast"), [(0.0035, True), (0.0045, False)])
def test_the_pace_is_what_decides(play: Callable[..., None], apart: float, fast: bool) -> None:
    """286 reads a second are above the bound of 250, and 222 are not."""

    async def story(it: Story) -> None:
        for _ in range(ENOUGH):
            if it.paced:
                break
            await it.send_one_by_one(1, apart)
        assert it.paced is fast
        await ends(it)

    play(story)


@pytest.mark.parametrize("crlf", [False, True])
def test_it_stays_paced_while_fast_and_is_read_by_the_loop_again_when_slow(
    play: Callable[..., None], crlf: bool
) -> None:
    def framed(event: bytes) -> bytes:
        return event.replace(b"\n", b"\r\n") if crlf else event

    async def story(it: Story) -> None:
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
        await ends(it)

    play(story)


def test_a_silent_upstream_is_read_by_the_loop_again(play: Callable[..., None]) -> None:
    async def story(it: Story) -> None:
        await it.becomes_paced()
        it.clock.advance(0.12)
        assert not it.paced
        it.send(chat.text("x"))
        await until(lambda: it.arrived == len(it.sent))
        await ends(it)

    play(story)


def test_pacing_can_be_switched_off(play: Callable[..., None]) -> None:
    """``X-Tokenwire-Pacing: off``."""

    async def story(it: Story) -> None:
        await it.send_one_by_one(4 * ENOUGH)
        assert not it.paced
        await ends(it)

    play(story, pacing=False)


def test_a_body_that_is_slow_to_begin_is_not_paced_for_its_fast_end(play: Callable[..., None]) -> None:
    async def story(it: Story) -> None:
        await it.send_one_by_one(40, 0.02)
        assert not it.paced
        await ends(it)

    play(story)


# ---------------------------------------------------------------------- the end, while paced


def test_the_last_chunk_gives_the_connection_back_to_the_loop_and_the_pool(run: Run) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, STREAM]) as upstream:
            asked = rig.ask(upstream.base_url)
            peer = await upstream.peer()
            await until(lambda: asked.heads)
            it = Story(rig, clock, peer, asked, http_chunk)
            await it.becomes_paced()
            await ends(it)
            assert (len(rig.pacing), rig.connections) == (0, (1, 0))
            again = rig.ask(upstream.base_url)
            await until(lambda: len(peer.requests) == 2)
            peer.write(answer([chat.text("x"), chat.DONE], framing="chunked", content_type="text/event-stream"))
            assert (await again.ended()).state == "completed"
            assert rig.pool.statistics().reused == 1

    run(main, clock=clock)


CUT: dict[str, tuple[bytes, bytes, Callable[[Peer], None], str, str]] = {
    "FIN in a chunked body": (STREAM, b"", Peer.close, "upstream_closed", "closed the connection in mid-answer"),
    "FIN within a chunk": (STREAM, b"ff\r\ndata", Peer.close, "upstream_closed", "in mid-answer"),
    "RST in a chunked body": (STREAM, b"", Peer.reset, "upstream_closed", "in mid-answer: [Errno 104]"),
    "RST in a body without a length": (
        head(200, EVENTS),
        b"",
        Peer.reset,
        "upstream_closed",
        "in mid-answer: [Errno 104]",
    ),
    "nonsense": (STREAM, b"zz\r\n", lambda peer: None, "upstream_closed", "does not speak HTTP/1.1 here"),
}


@pytest.mark.parametrize(("begin", "last", "end", "code", "message"), CUT.values(), ids=CUT)
def test_an_early_end_is_told_from_a_clean_one(
    play: Callable[..., None], begin: bytes, last: bytes, end: Callable[[Peer], None], code: str, message: str
) -> None:
    async def story(it: Story) -> None:
        await it.becomes_paced()
        it.send(chat.text("the last"))
        it.peer.write(last)
        await it.peer.flushed()
        it.tick()
        assert it.arrived == len(it.sent)
        end(it.peer)
        await settle()
        it.tick()
        await it.asked.ended()
        assert it.asked.failure == ("failed", code)
        assert message in it.asked.error.message
        assert it.asked.frames == it.sent

    play(story, begin=begin, frame=http_chunk if begin is STREAM else bytes)


@pytest.mark.parametrize("done", [True, False])
def test_the_end_of_a_body_without_a_length_is_one_while_paced(play: Callable[..., None], done: bool) -> None:
    async def story(it: Story) -> None:
        await it.becomes_paced()
        if done:
            it.send(chat.DONE)
        it.peer.close()
        await settle()
        it.tick()  # reads what is left …
        it.tick()  # … and finds the end
        await it.asked.ended()
        assert it.asked.failure == (("completed", "") if done else ("failed", "truncated"))
        assert it.asked.frames == it.sent

    play(story, begin=head(200, EVENTS), frame=bytes)


def test_a_deadline_passes_while_paced(play: Callable[..., None]) -> None:
    async def story(it: Story) -> None:
        await it.becomes_paced()
        it.clock.advance(61)
        assert it.asked.failure == ("failed", "upstream_timeout")
        assert await it.peer.gone() in ("fin", "reset")

    play(story)


def test_an_abort_while_paced_ends_both(play: Callable[..., None]) -> None:
    async def story(it: Story) -> None:
        await it.becomes_paced()
        it.asked.stream.cancel()
        assert not it.paced
        assert await it.peer.gone() in ("fin", "reset")
        it.tick()

    play(story)


def test_a_stream_that_ends_within_a_tick_is_not_read_further(play: Callable[..., None]) -> None:
    async def story(it: Story) -> None:
        await it.becomes_paced()
        it.send(chat.error())
        for _ in range(3):
            it.peer.write(http_chunk(chat.text("z" * 16_000)))
        await it.peer.flushed()
        it.tick()
        assert it.asked.failure == ("failed", "server_error")
        assert it.asked.frames == it.sent
        assert not it.paced
        assert await it.peer.gone() in ("fin", "reset")

    play(story)


# ---------------------------------------------------------------------- paused, while paced


@pytest.mark.parametrize("pauses", [1, 3])
def test_a_paused_connection_is_not_read_at_ticks(play: Callable[..., None], pauses: int) -> None:
    async def story(it: Story) -> None:
        await it.becomes_paced()
        for _ in range(pauses):
            before = it.arrived
            it.asked.attempt.pause()
            it.send(chat.text("held"))
            await settle()
            it.clock.advance(1.0)
            await settle()
            assert it.arrived == before
            it.asked.attempt.resume()
            await it.arrives()
        await ends(it)

    play(story)


def test_a_connection_that_is_given_back_to_the_loop_while_paused_stays_unread(run: Run) -> None:
    """Its pace fell below the bound in the very tick whose reads made us pause."""
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, STREAM]) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            connection = exchange.connection
            peer = await upstream.peer()
            await until(lambda: exchange.status)
            for _ in range(ENOUGH):
                if not len(rig.pacing):
                    peer.write(http_chunk(b"x"))
                    await settle(5)
            clock.advance(12 * FRAME_SECONDS)
            assert len(rig.pacing) == 1

            def pausing(data: bytes, chunk: bytes | None) -> None:
                exchange.on_body(data, chunk)
                connection.pause()

            connection.body_to(pausing)
            for _ in range(2):
                peer.write(http_chunk(b"y"))
                await peer.flushed()
                clock.advance(FRAME_SECONDS)
                await settle()
                assert exchange.body.count(b"y") == 1
            connection.body_to(exchange.on_body)
            connection.resume()
            peer.write(LAST_CHUNK)
            await exchange.over()
            assert exchange.body.endswith(b"yy")

    run(main, clock=clock)


def test_a_pause_within_a_tick_stops_the_reading(run: Run) -> None:
    """A bound of memory is reached in the middle of a tick: what the kernel still has stays there."""
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, STREAM]) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            connection = exchange.connection
            peer = await upstream.peer()
            await until(lambda: exchange.status)
            for _ in range(ENOUGH):
                if not len(rig.pacing):
                    peer.write(http_chunk(b"x"))
                    await settle(5)
            before = len(exchange.body)

            def pausing(data: bytes, chunk: bytes | None) -> None:
                exchange.on_body(data, chunk)
                connection.pause()

            connection.body_to(pausing)
            for _ in range(3):
                peer.write(http_chunk(b"y" * 16_000))
            await peer.flushed()
            clock.advance(FRAME_SECONDS)
            assert 0 < len(exchange.body) - before <= 16 * 1024
            connection.body_to(exchange.on_body)
            connection.resume()
            peer.write(LAST_CHUNK)
            await peer.flushed()
            clock.advance(FRAME_SECONDS)
            await exchange.over()
            assert len(exchange.body) == before + 48_000

    run(main, clock=clock)


def test_one_connections_bug_does_not_stop_the_reading_of_the_others(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, STREAM]) as upstream:
            broken = await rig.exchange(upstream.base_url)
            asked = rig.ask(upstream.base_url)
            peers = [await upstream.peer(0), await upstream.peer(1)]
            await until(lambda: broken.status and asked.heads)
            sent = 0
            while len(rig.pacing) < 2:
                assert sent < ENOUGH
                for peer in peers:
                    peer.write(http_chunk(chat.text("x")))
                sent += 1
                await settle(5)

            def bug(data: bytes, chunk: bytes | None) -> None:
                raise KeyError("a bug")

            broken.connection.body_to(bug)
            clock.advance(FRAME_SECONDS)  # delivers what came while they became paced
            for peer in peers:
                peer.write(http_chunk(chat.text("y")))
            await peers[1].flushed()
            with caplog.at_level(logging.ERROR):
                clock.advance(FRAME_SECONDS)
            assert "a bug" in caplog.text
            assert broken.error is not None
            assert await peers[0].gone() in ("fin", "reset")
            assert asked.stream.log.last == sent + 1
            assert len(rig.pacing) == 1
            asked.stream.cancel()

    run(main, clock=clock)
