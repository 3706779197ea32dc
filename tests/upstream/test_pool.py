"""Keep-alive: which connections are used again, for how long, and that nothing is kept for ever."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

from tokenwire.testing.clock import ManualClock
from tokenwire.testing.exchange import RecordedExchange
from tokenwire.testing.rig import Rig, settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, RESET, Peer, ScriptedUpstream, answer
from tokenwire.upstream.connection import Connection

Run = Callable[..., Any]
ANSWER = answer(b"{}")


async def serve(peer: Peer) -> None:
    """Answer every request of a connection."""
    while True:
        await peer.request()
        peer.write(ANSWER)


async def ask(rig: Rig, upstream: ScriptedUpstream) -> RecordedExchange:
    exchange = await rig.exchange(upstream.base_url)
    await exchange.over()
    assert exchange.ended
    return exchange


def test_a_connection_is_used_again(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([serve]) as upstream:
            assert rig.pool.take(rig.origin(upstream.base_url)) is None
            first = await ask(rig, upstream)
            assert rig.pool.statistics() == (1, 0, 1, 0)
            second = await ask(rig, upstream)
            assert second.connection is first.connection
            assert rig.pool.statistics()._asdict() == {"idle": 1, "busy": 0, "opened": 1, "reused": 1}
            assert len(upstream.peers[0].requests) == 2

    run(main)


def test_the_newest_idle_connection_goes_first_and_origins_are_kept_apart(run_once: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([serve]) as upstream, ScriptedUpstream([serve]) as other:
            origin = rig.origin(upstream.base_url)
            connections = [await rig.connect(upstream.base_url) for _ in range(3)]
            for each in connections:
                exchange = RecordedExchange()
                each.send(exchange, b"GET / HTTP/1.1\r\n\r\n")
                await exchange.over()
            await ask(rig, other)
            assert rig.connections == (4, 0)
            for each in reversed(connections):
                taken = rig.pool.take(origin)
                assert taken is each
            assert rig.pool.take(origin) is None
            assert rig.connections == (1, 3)
            for each in connections:
                each.abort()

    run_once(main)


def test_an_answer_that_forbids_it_is_not_kept(run: Run) -> None:
    closing = answer(b"{}", fields=[("Connection", "close")])

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, closing], [REQUEST, answer(b"x", framing="close"), CLOSE]) as upstream:
            for _ in range(2):
                exchange = await ask(rig, upstream)
                assert not exchange.connection.usable
            # The first server left it open: closing it was our part.
            assert await upstream.peers[0].gone() in ("fin", "reset")
            await until(lambda: rig.connections == (0, 0))

    run(main)


def test_a_connection_that_its_server_closes_while_idle_is_forgotten(run: Run) -> None:
    async def main(rig: Rig) -> None:
        for last in (CLOSE, RESET):
            gate = asyncio.Event()
            async with ScriptedUpstream([REQUEST, ANSWER, gate, last]) as upstream:
                connection = (await ask(rig, upstream)).connection
                assert rig.connections == (1, 0)
                gate.set()
                await until(lambda: rig.connections == (0, 0))
                assert not connection.usable
                assert rig.pool.take(rig.origin(upstream.base_url)) is None

    run(main)


def test_bytes_that_come_while_idle_make_a_connection_unusable(run: Run) -> None:
    async def main(rig: Rig) -> None:
        gate = asyncio.Event()
        late = answer(b"408: you were idle for too long", status=408)
        async with ScriptedUpstream([REQUEST, ANSWER, gate, late]) as upstream:
            exchange = await ask(rig, upstream)
            gate.set()
            assert await upstream.peers[0].gone() in ("fin", "reset")
            await until(lambda: rig.connections == (0, 0))
            assert exchange.status == 200
            assert exchange.breaches == []

    run(main)


def test_an_idle_connection_ages_out(run_once: Run) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([serve]) as upstream:
            origin = rig.origin(upstream.base_url)
            old = (await ask(rig, upstream)).connection
            clock.advance(10.0)
            assert rig.pool.take(origin) is old  # to the second, and not a moment longer
            old.send(RecordedExchange(), b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: rig.connections == (1, 0))
            clock.advance(10.001)
            assert rig.pool.take(origin) is None
            assert await upstream.peers[0].gone() in ("fin", "reset")

    run_once(main, clock=clock, idle_seconds=10.0)


def test_old_idle_connections_are_closed_when_a_newer_one_comes_back(run_once: Run) -> None:
    clock = ManualClock()

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([serve]) as upstream:
            old = [await rig.connect(upstream.base_url) for _ in range(3)]
            busy = [RecordedExchange() for _ in old]
            for connection, exchange in zip(old, busy, strict=True):
                connection.send(exchange, b"GET / HTTP/1.1\r\n\r\n")
                await exchange.over()
            newest = await rig.connect(upstream.base_url)
            clock.advance(11.0)
            newest.send(RecordedExchange(), b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: rig.connections == (1, 0))
            assert newest.usable
            for peer in upstream.peers[:3]:
                assert await peer.gone() in ("fin", "reset")

    run_once(main, clock=clock, idle_seconds=10.0)


def test_idle_connections_of_an_origin_are_bounded_and_the_oldest_go(run_once: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([serve]) as upstream:
            connections = [await rig.connect(upstream.base_url) for _ in range(5)]
            for connection in connections:
                exchange = RecordedExchange()
                connection.send(exchange, b"GET / HTTP/1.1\r\n\r\n")
                await exchange.over()
            await until(lambda: rig.connections == (2, 0))
            assert [connection.usable for connection in connections] == [False, False, False, True, True]
            assert rig.pool.take(rig.origin(upstream.base_url)) is connections[4]
            connections[4].abort()

    run_once(main, max_idle=2)


def test_closing_the_pool_closes_idle_and_busy_connections(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([serve], [REQUEST]) as upstream:
            idle = (await ask(rig, upstream)).connection
            busy = RecordedExchange()
            (await rig.connect(upstream.base_url)).send(busy, b"GET / HTTP/1.1\r\n\r\n")
            assert rig.connections == (1, 1)
            rig.pool.close()
            for peer in upstream.peers:
                assert await peer.gone() in ("fin", "reset")
            await until(lambda: rig.connections == (0, 0))
            assert not idle.usable
            assert not busy.is_over
            assert rig.pool.take(rig.origin(upstream.base_url)) is None

    run(main)


def test_a_closed_connection_is_not_held_on_to(run: Run) -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, Connection) for each in gc.get_objects())

    async def main(rig: Rig) -> None:
        before = alive()
        async with ScriptedUpstream([serve]) as upstream:
            for _ in range(5):
                (await rig.connect(upstream.base_url)).abort()
                await ask(rig, upstream)  # over one that stays idle
            for peer in upstream.peers:
                peer.close()
            await until(lambda: rig.connections == (0, 0))
            await settle()
            assert alive() == before

    run(main)
