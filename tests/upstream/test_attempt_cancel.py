"""A cancelled stream closes its upstream at once, whatever it was doing.

The clock stands still, so that no timer can help, and the upstream has nothing more to say: what it sees is the cancel,
and it sees it within a few turns of the loop that it shares with us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from tokenwire.engine.states import Policy
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import Asked, Rig, settle, until
from tokenwire.testing.upstream import (
    LAST_CHUNK,
    REQUEST,
    Peer,
    ScriptedUpstream,
    Step,
    head,
    http_chunk,
)
from tokenwire.upstream.connection import Connection
from tokenwire.upstream.pool import Origin, Pool

Run = Callable[..., Any]

#: Turns of the loop from a close to the other side's notice of it; more would be a wait for something.
FEW_TURNS = 10

FRAMES = chat.answer("Hel", "lo")
STREAM = head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))


async def cancel(asked: Asked) -> None:
    """Cancel, and see that it is final: nothing is appended any more, and a second one does nothing."""
    before = asked.frames
    whole = chat.DONE in before  # then there is nothing left to cancel but the rest of the body
    assert asked.stream.cancel() is not whole
    assert asked.failure == (("completed", "") if whole else ("cancelled", "cancelled"))
    assert not asked.stream.cancel()
    await settle()
    assert asked.frames == before


def assert_(truth: bool) -> None:
    assert truth


async def leaves(peer: Peer) -> None:
    """The client is seen to leave within a few turns."""
    for _ in range(FEW_TURNS):
        if peer.over:
            break
        await asyncio.sleep(0)
    assert peer.left in ("fin", "reset")


async def fast(peer: Peer) -> None:
    """So fast, on a clock that stands still, that it becomes paced."""
    for number in range(40):
        peer.write(http_chunk(chat.text(f"{number} ")))
        await settle(5)


PHASES: dict[str, tuple[list[Step], Callable[[Asked], Awaitable[object]], bool]] = {
    "head awaited": ([], lambda asked: settle(), True),
    "in the head": ([STREAM[:30]], lambda asked: settle(), True),
    "after 103": ([b"HTTP/1.1 103 Early Hints\r\n\r\n"], lambda asked: settle(), True),
    "before the first event": ([STREAM], lambda asked: until(lambda: asked.heads), True),
    "before the first token": ([STREAM + http_chunk(FRAMES[0])], lambda asked: asked.entries(1), True),
    "in mid-stream": ([STREAM + b"".join(map(http_chunk, FRAMES[:2]))], lambda asked: asked.entries(2), True),
    "within an event": ([STREAM + http_chunk(FRAMES[0] + FRAMES[1][:9])], lambda asked: asked.entries(1), True),
    "within a chunk": ([STREAM + b"fff\r\n" + FRAMES[0] + FRAMES[1][:9]], lambda asked: asked.entries(1), True),
    "after [DONE]": (
        [STREAM + b"".join(map(http_chunk, FRAMES))],
        lambda asked: asked.entries(len(FRAMES)),
        True,
    ),
    "paced": ([STREAM, fast], lambda asked: asked.entries(20), True),
    "in an unlabelled body": ([head(200) + b" {"], lambda asked: settle(), True),
    "in an error's body": ([head(500, ("Content-Length", "99")) + b"{"], lambda asked: settle(), True),
    "a whole answer awaited": ([], lambda asked: settle(), False),
    "in a whole answer": (
        [head(200, ("Content-Length", "99")) + b"{"],
        lambda asked: until(lambda: asked.heads),
        False,
    ),
}


@pytest.mark.parametrize("paused", [False, True], ids=["", "paused"])
@pytest.mark.parametrize(("script", "reached", "streaming"), PHASES.values(), ids=PHASES)
def test_cancelled(
    run: Run, script: list[Step], reached: Callable[[Asked], Awaitable[object]], streaming: bool, paused: bool
) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, *script]) as upstream:
            asked = rig.ask(upstream.base_url, streaming=streaming)
            peer = await upstream.peer()
            await until(lambda: peer.requests)
            await reached(asked)
            if fast in script:
                await until(lambda: len(rig.pacing))
            if paused:
                asked.attempt.pause()
            asked.stream.cancel()
            await leaves(peer)
            whole = chat.DONE in asked.frames
            assert asked.failure == (("completed", "") if whole else ("cancelled", "cancelled"))
            assert (rig.hub.statistics().cancelled, rig.hub.statistics().completed) == (not whole, whole)

    run(main, clock=ManualClock())


def test_cancelled_before_the_connection_stands(run: Run, silent_port: int) -> None:
    async def main(rig: Rig) -> None:
        asked = rig.ask(f"http://127.0.0.1:{silent_port}/v1")
        await settle()
        await cancel(asked)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nobody goes on connecting"

    run(main, clock=ManualClock())


def test_a_connection_that_stands_in_spite_of_the_cancel_is_closed_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Pool.connect

    async def stubborn(pool: Pool, origin: Origin, timeout: float) -> Connection:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return await connect(pool, origin, timeout)

    monkeypatch.setattr(Pool, "connect", stubborn)

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST]) as upstream:
            asked = rig.ask(upstream.base_url)
            await settle()
            await cancel(asked)
            peer = await upstream.peer()
            assert await peer.gone() in ("fin", "reset")
            assert peer.received == b""

    run(main, clock=ManualClock())


def test_cancelled_at_any_turn_of_the_loop_from_the_start(run: Run) -> None:
    async def main(rig: Rig) -> None:
        wire = STREAM + b"".join(map(http_chunk, FRAMES))
        async with ScriptedUpstream([REQUEST, wire]) as upstream:
            for turns in range(25):
                asked = rig.ask(upstream.base_url)
                await settle(turns)
                await cancel(asked)
            for peer in upstream.peers:
                assert await peer.gone() in ("fin", "reset")
            assert rig.pool.statistics().idle == 0

    run(main, clock=ManualClock())


def test_cancelled_while_a_large_request_is_on_its_way(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream() as upstream:
            asked = rig.ask(upstream.base_url, body=b"x" * 16_000_000)
            peer = await upstream.peer()
            peer.transport.pause_reading()
            await settle()
            await cancel(asked)
            await until(lambda: rig.connections == (0, 0))
            peer.transport.resume_reading()
            assert await peer.gone() in ("fin", "reset")
            assert peer.requests == []

    run(main, clock=ManualClock())


def test_the_last_reader_leaving_is_such_a_cancel(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, STREAM + http_chunk(FRAMES[0])]) as upstream:
            asked = rig.ask(upstream.base_url, policy=Policy(linger=0))
            await asked.entries(1)
            asked.stream.leaving.left(asked.stream)
            await leaves(upstream.peers[0])
            assert asked.failure == ("cancelled", "client_left")

    run(main, clock=ManualClock())


def test_a_stream_that_ended_gives_its_connection_back_and_cancelling_does_not_touch_it(run: Run) -> None:
    async def main(rig: Rig) -> None:
        wire = STREAM + b"".join(map(http_chunk, FRAMES)) + LAST_CHUNK
        async with ScriptedUpstream([REQUEST, wire]) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert not asked.stream.cancel()
            asked.attempt.abort()
            await settle()
            assert not upstream.peers[0].over
            assert rig.connections == (1, 0)

    run(main, clock=ManualClock())


def test_a_stream_cancelled_within_its_own_first_event_hears_nothing_more(run: Run) -> None:
    """All of the answer but its end marker came in one read: cancelling within its delivery drops the rest."""

    async def main(rig: Rig) -> None:
        wire = STREAM + b"".join(map(http_chunk, FRAMES[:-1])) + LAST_CHUNK
        async with ScriptedUpstream([REQUEST, wire]) as upstream:
            asked = rig.ask(upstream.base_url)
            asked.stream.on_open.append(lambda: assert_(asked.stream.cancel()))
            await asked.ended()
            assert asked.failure == ("cancelled", "cancelled")
            await leaves(upstream.peers[0])

    run(main, clock=ManualClock())


def test_the_hub_closing_cancels_whatever_runs(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST], [REQUEST, STREAM]) as upstream:
            asked = [rig.ask(upstream.base_url) for _ in range(2)]
            await until(lambda: sum(len(peer.requests) for peer in upstream.peers) == 2)
            rig.hub.close()
            assert [each.failure for each in asked] == [("cancelled", "cancelled")] * 2
            for peer in upstream.peers:
                await leaves(peer)

    run(main, clock=ManualClock())
