"""One connection over real sockets, in both kinds of loop: delivery, pausing, and closing at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.testing.exchange import RecordedExchange
from tokenwire.testing.rig import LIMIT_SECONDS, Rig, run_in, settle, until
from tokenwire.testing.upstream import CLOSE, FLUSHED, LAST_CHUNK, REQUEST, RESET, ScriptedUpstream, answer, head
from tokenwire.upstream.connection import Connection

Run = Callable[..., Any]
CHUNKED = head(200, ("Transfer-Encoding", "chunked"))
REQUEST_BYTES = b"GET /v1 HTTP/1.1\r\nHost: x\r\n\r\n"


async def has_read(exchange: RecordedExchange, times: int) -> None:
    await until(lambda: exchange.reads == times)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_body_of_each_framing_comes_whole(run: Run, framing: Any) -> None:
    pieces = [b"x" * size for size in (1, 100, 70_000, 1, 300_000)]

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer(pieces, framing=framing), CLOSE]) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            await exchange.over()
            assert exchange.ended
            assert exchange.body == b"".join(pieces)
            assert exchange.breaches == []

    run(main)


def test_each_read_is_delivered_at_once(run: Run) -> None:
    """The next token is only sent when the one before it is there: held back anywhere, it would never come."""

    async def main(rig: Rig) -> None:
        gates = [asyncio.Event() for _ in range(5)]
        script: list[Any] = [REQUEST, CHUNKED]
        for gate in gates:
            script += [gate, b"5\r\nhello\r\n"]
        async with ScriptedUpstream([*script, LAST_CHUNK]) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            await until(lambda: exchange.status)
            for count, gate in enumerate(gates, 1):
                assert exchange.reads == count - 1
                gate.set()
                await has_read(exchange, count)
            await exchange.over()

    run(main)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([REQUEST, CLOSE], "before it answered"),
        ([REQUEST, RESET], "before it answered: [Errno 104]"),
        ([REQUEST, b"HTTP/1.1 200 OK\r\nX", CLOSE], "in its answer's head"),
        ([REQUEST, CHUNKED + b"5\r\nhel", CLOSE], "in mid-answer"),
        ([REQUEST, CHUNKED + b"5\r\nhello\r\n", FLUSHED, RESET], "[Errno 104]"),
        ([REQUEST, head(200, ("Content-Length", "9")) + b"hello", CLOSE], "in mid-answer"),
        ([REQUEST, head(200) + b"hello", FLUSHED, RESET], "[Errno 104]"),
    ],
)
def test_an_early_end_is_told_from_a_clean_one(run: Run, script: list[Any], error: str) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(script) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            await exchange.over()
            assert error in str(exchange.error)
            assert not exchange.ended
            assert exchange.breaches == []

    run(main)


def test_a_paused_connection_reads_nothing_and_loses_nothing(run: Run) -> None:
    size = 8 * 1024 * 1024

    async def main(rig: Rig) -> None:
        whole = head(200, ("Content-Length", str(size))) + b"x" * size
        async with ScriptedUpstream([REQUEST, whole, FLUSHED, CLOSE]) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            await until(lambda: exchange.reads)
            exchange.connection.pause()
            read = len(exchange.body)
            peer = await upstream.peer()
            await until(lambda: peer.unsent)
            stuck = peer.unsent
            await settle()
            assert (len(exchange.body), peer.unsent) == (read, stuck)
            exchange.connection.resume()
            await exchange.over()
            assert len(exchange.body) == size

    run(main)


def test_a_connection_that_is_paused_before_the_answer_hears_nothing_of_it(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer(b"{}"), CLOSE]) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            exchange.connection.pause()
            peer = await upstream.peer()
            await peer.gone()
            await settle()
            assert exchange.status == 0
            exchange.connection.resume()
            await exchange.over()
            assert exchange.ended

    run(main)


def test_pausing_a_connection_that_is_just_closing_does_nothing(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer(b"{}"), CLOSE], [REQUEST]) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            await exchange.over()
            connection = exchange.connection
            for _ in range(20):  # through end of file, closing and closed
                connection.pause()
                connection.resume()
                await settle(1)
            await until(lambda: not connection.usable)
            for call in (connection.pause, connection.resume, connection.abort):
                call()

            exchange = await rig.exchange(upstream.base_url)
            connection = exchange.connection
            connection.abort()
            for _ in range(20):
                connection.pause()
                connection.resume()
                await settle(1)
            assert not connection.usable

    run(main)


# ---------------------------------------------------------------------- closing at once

BEFORE = {
    "head awaited": [REQUEST],
    "in the head": [REQUEST, b"HTTP/1.1 200 OK\r\n"],
    "in mid-body": [REQUEST, CHUNKED + b"5\r\nhello\r\n"],
    "idle": [REQUEST, answer(b"{}")],
}


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("script", BEFORE.values(), ids=BEFORE)
def test_abort_closes_at_once_and_the_exchange_hears_nothing(run: Run, script: list[Any], paused: bool) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream(script) as upstream:
            exchange = await rig.exchange(upstream.base_url)
            peer = await upstream.peer()
            await until(lambda: peer.requests)
            await settle()
            if paused:
                exchange.connection.pause()
            state = (exchange.status, exchange.body, exchange.ended)
            exchange.connection.abort()
            # Its script waits for ever and sends nothing more: what it sees is the abort.
            assert await peer.gone() in ("fin", "reset")
            await settle()
            assert (exchange.status, exchange.body, exchange.ended) == state
            assert exchange.error is None

    run(main)


def test_abort_does_not_wait_for_a_request_that_is_still_on_its_way(run: Run) -> None:
    """A server that reads nothing, and 16 MB that it has not taken: closing properly would mean to send them."""

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream() as upstream:
            connection = await rig.connect(upstream.base_url)
            peer = await upstream.peer()
            peer.transport.pause_reading()
            connection.send(RecordedExchange(), REQUEST_BYTES + b"x" * 16_000_000)
            await settle()
            received = len(peer.received)
            connection.abort()
            await until(lambda: rig.pool.statistics().busy == 0)
            peer.transport.resume_reading()
            assert await peer.gone() in ("fin", "reset")
            assert received <= len(peer.received) < 16_000_000

    run(main)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_bug_of_the_exchange_ends_it_and_is_reported_by_the_loop(loop: str) -> None:
    """Not dressed as the upstream's fault: the loop's exception handler gets the bug itself."""
    reported: list[Any] = []

    def broken() -> None:
        raise KeyError("a bug")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        async with Rig() as rig, ScriptedUpstream([REQUEST, answer(b"{}")]) as upstream:
            exchange = RecordedExchange({"head": broken})
            connection: Connection = await rig.pool.connect(rig.origin(upstream.base_url), LIMIT_SECONDS)
            connection.send(exchange, REQUEST_BYTES)
            await exchange.over()
            assert exchange.error is not None
            assert not connection.usable
            await (await upstream.peer()).gone()

    run_in(loop, main)
    assert [type(error) for error in reported] == [KeyError]
