"""Requests over kept connections: the one case in which a request may be sent twice, and all others in which not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

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
    head,
    http_chunk,
)
from tokenwire.upstream.deadlines import Deadlines

Run = Callable[..., Any]

FRAMES = chat.answer("Hello")
STREAM = head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
ANSWER = STREAM + b"".join(map(http_chunk, FRAMES)) + LAST_CHUNK


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_stale_connection_is_replaced_unseen(run: Run, end: Step) -> None:
    """The server had given it up when our request was on its way: nothing of an answer came."""

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, ANSWER, REQUEST, end], [REQUEST, ANSWER]) as upstream:
            await rig.ask(upstream.base_url).ended()
            asked = rig.ask(upstream.base_url, body=b"again")
            await asked.ended()
            assert asked.failure == ("completed", "")
            assert asked.frames == FRAMES
            assert [len(peer.requests) for peer in upstream.peers] == [2, 1]
            assert upstream.peers[1].requests == [upstream.peers[0].requests[1]]
            assert rig.pool.statistics() == (1, 0, 2, 1)

    run(main)


def test_it_is_replaced_once(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, ANSWER, REQUEST, CLOSE], [REQUEST, CLOSE], [REQUEST, ANSWER]) as upstream:
            await rig.ask(upstream.base_url).ended()
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert asked.failure == ("failed", "upstream_closed")
            assert len(upstream.peers) == 2

    run(main)


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", STREAM, STREAM + http_chunk(FRAMES[0])])
@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_once_a_byte_came_back_it_is_not(run: Run, begun: bytes, end: Step) -> None:
    async def main(rig: Rig) -> None:
        script: list[Step] = [REQUEST, ANSWER, REQUEST, begun, FLUSHED, end]
        async with ScriptedUpstream(script, [REQUEST, ANSWER]) as upstream:
            await rig.ask(upstream.base_url).ended()
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert asked.failure == ("failed", "upstream_closed")
            assert len(upstream.peers) == 1

    run(main)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_fresh_connection_is_never_replaced(run: Run, end: Step) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, end], [REQUEST, ANSWER]) as upstream:
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert asked.failure == ("failed", "upstream_closed")
            assert len(upstream.peers) == 1

    run(main)


def test_a_connection_that_was_closed_while_idle_is_not_even_tried(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, ANSWER, CLOSE], [REQUEST, ANSWER]) as upstream:
            await rig.ask(upstream.base_url).ended()
            await until(lambda: rig.connections == (0, 0))
            assert (await rig.ask(upstream.base_url).ended()).state == "completed"
            assert rig.pool.statistics().reused == 0

    run(main)


def test_the_second_sending_has_its_own_deadlines_and_the_first_ones_are_forgotten(run: Run) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        gate = asyncio.Event()
        script: list[Step] = [REQUEST, ANSWER, REQUEST, gate, CLOSE]
        async with ScriptedUpstream(script, [REQUEST], [REQUEST, ANSWER]) as upstream:
            await rig.ask(upstream.base_url).ended()
            asked = rig.ask(upstream.base_url, deadlines=Deadlines(headers=10.0))
            await until(lambda: len(upstream.peers[0].requests) == 2)
            clock.advance(9.0)
            gate.set()
            second = await upstream.peer(1)
            await until(lambda: second.requests)
            timers = len(rig.hub.wheel)
            clock.advance(9.9)
            assert asked.stream.terminal is None
            assert len(rig.hub.wheel) == timers == 2, "the attempt's and the hub's own"
            clock.advance(0.2)
            assert asked.failure == ("failed", "upstream_timeout")
            assert await second.gone() in ("fin", "reset")

    run(main, clock=clock)


def test_an_attempt_that_is_over_leaves_its_connection_alone(run: Run) -> None:
    """By then it carries another stream: no timer, pause or abort of the first may reach it."""
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, ANSWER, REQUEST, CLOSE], [REQUEST, ANSWER, REQUEST]) as upstream:
            await rig.ask(upstream.base_url).ended()
            first = rig.ask(upstream.base_url, deadlines=Deadlines(headers=1, first_token=1, between_tokens=1, total=1))
            await first.ended()
            second = rig.ask(upstream.base_url)
            await until(lambda: len(upstream.peers[1].requests) == 2)
            clock.advance(30.0)
            first.attempt.pause()
            first.attempt.resume()
            first.attempt.abort()
            await settle()
            assert second.stream.terminal is None
            upstream.peers[1].write(ANSWER)
            assert (await second.ended()).state == "completed"

    run(main, clock=clock)


def test_cancelled_while_the_stale_connection_is_being_replaced(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, ANSWER, REQUEST, CLOSE]) as upstream:
            await rig.ask(upstream.base_url).ended()
            asked = rig.ask(upstream.base_url)
            await until(lambda: rig.connections == (0, 0))  # lost, and the next one not yet there
            asked.stream.cancel()
            assert asked.failure == ("cancelled", "cancelled")
            await settle()
            for peer in upstream.peers:
                await peer.gone()

    run(main)


def test_a_server_that_is_gone_by_then_is_a_failed_connection(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, ANSWER, REQUEST, CLOSE]) as upstream:
            await rig.ask(upstream.base_url).ended()
            upstream.stop_listening()
            asked = rig.ask(upstream.base_url)
            await asked.ended()
            assert asked.failure == ("failed", "connect_failed")

    run(main)
