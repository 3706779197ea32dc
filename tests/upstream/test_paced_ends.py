"""What may happen to an upstream while it is read by hand: ends of every kind, cancels, deadlines, pauses, bugs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.engine.pacing import FRAME_SECONDS
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import Rig, settle, until
from tokenwire.testing.upstream import LAST_CHUNK, REQUEST, Peer, ScriptedUpstream, answer, head, http_chunk

Run = Callable[..., Any]

EVENTS = ("Content-Type", "text/event-stream")
STREAM = head(200, EVENTS, ("Transfer-Encoding", "chunked"))
#: More than the reads that it takes to find out how fast an upstream is.
ENOUGH = 60


# ---------------------------------------------------------------------- the end, while paced


def test_the_last_chunk_gives_the_connection_back_to_the_loop_and_the_pool(tell: Callable[..., None]) -> None:
    async def story(it: Any) -> None:
        await it.becomes_paced()
        await it.ends()
        assert (len(it.rig.pacing), it.rig.connections) == (0, (1, 0))
        again = it.rig.ask(it.url)
        await until(lambda: len(it.peer.requests) == 2)
        it.peer.write(answer([chat.text("x"), chat.DONE], framing="chunked", content_type="text/event-stream"))
        assert (await again.ended()).state == "completed"
        assert it.rig.pool.statistics().reused == 1

    tell(story)


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
    tell: Callable[..., None], begin: bytes, last: bytes, end: Callable[[Peer], None], code: str, message: str
) -> None:
    async def story(it: Any) -> None:
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

    tell(story, begin=begin, frame=http_chunk if begin is STREAM else bytes)


@pytest.mark.parametrize("done", [True, False])
def test_the_end_of_a_body_without_a_length_is_one_while_paced(tell: Callable[..., None], done: bool) -> None:
    async def story(it: Any) -> None:
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

    tell(story, begin=head(200, EVENTS), frame=bytes)


def test_a_deadline_passes_while_paced(tell: Callable[..., None]) -> None:
    async def story(it: Any) -> None:
        await it.becomes_paced()
        it.clock.advance(61)
        assert it.asked.failure == ("failed", "upstream_timeout")
        assert await it.peer.gone() in ("fin", "reset")

    tell(story)


def test_an_abort_while_paced_ends_both(tell: Callable[..., None]) -> None:
    async def story(it: Any) -> None:
        await it.becomes_paced()
        it.asked.stream.cancel()
        assert not it.paced
        assert await it.peer.gone() in ("fin", "reset")
        it.tick()

    tell(story)


def test_a_stream_that_ends_within_a_tick_is_not_read_further(tell: Callable[..., None]) -> None:
    async def story(it: Any) -> None:
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

    tell(story)


# ---------------------------------------------------------------------- paused, while paced


@pytest.mark.parametrize("pauses", [1, 3])
def test_a_paused_connection_is_not_read_at_ticks(tell: Callable[..., None], pauses: int) -> None:
    async def story(it: Any) -> None:
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
        await it.ends()

    tell(story)


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
