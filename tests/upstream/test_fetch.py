"""Small whole answers: a model list, and everything that may come instead of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.errors import ConnectFailed, EventTooLarge, RemoteProtocolError, UpstreamStatus, UpstreamTimeout
from tokenwire.testing.exchange import RecordedExchange
from tokenwire.testing.rig import LIMIT_SECONDS, Rig, settle, until
from tokenwire.testing.upstream import CLOSE, REQUEST, RESET, ScriptedUpstream, Step, answer, head
from tokenwire.upstream.fetch import MAX_BODY, fetch
from tokenwire.upstream.request import Request

Run = Callable[..., Any]

MODELS = b'{"object":"list","data":[{"id":"m"}]}'


def get(rig: Rig, base_url: str) -> Request:
    return Request(origin=rig.origin(base_url), path="/v1/models", fields=(), body=b"", method="GET")


async def fetched(rig: Rig, upstream: ScriptedUpstream, timeout: float = LIMIT_SECONDS) -> bytes:
    return await fetch(rig.pool, get(rig, upstream.base_url), timeout=timeout)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_the_body_of_a_200(run: Run, framing: Any) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer([MODELS[:9], MODELS[9:]], framing=framing), CLOSE]) as upstream:
            assert await fetched(rig, upstream) == MODELS
            (request,) = upstream.peers[0].requests
            assert (request.method, request.target) == ("GET", "/v1/models")

    run(main)


def test_its_connection_stays_for_others_and_is_never_one_of_theirs(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer(MODELS)]) as upstream:
            for _ in range(2):
                await fetched(rig, upstream)
            assert rig.pool.statistics() == (2, 0, 2, 0)

    run(main)


def test_a_connection_that_another_took_over_at_once_is_left_alone(run: Run) -> None:
    """The answer frees the connection in one turn of the loop, and ``fetch`` goes on in the next."""

    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer(MODELS), REQUEST, answer(b"{}")]) as upstream:
            task = asyncio.create_task(fetched(rig, upstream))
            connection = None
            while connection is None:
                await asyncio.sleep(0)
                connection = rig.pool.take(rig.origin(upstream.base_url))
            assert not task.done()
            exchange = RecordedExchange()
            connection.send(exchange, b"GET / HTTP/1.1\r\n\r\n")
            assert await task == MODELS
            await exchange.over()
            assert exchange.body == b"{}"

    run(main)


@pytest.mark.parametrize("status", [204, 302, 401, 404, 500])
def test_another_status(run: Run, status: int) -> None:
    async def main(rig: Rig) -> None:
        wire = head(204) if status == 204 else answer(b"no", status=status, fields=[("X-Request-Id", "r")])
        async with ScriptedUpstream([REQUEST, wire]) as upstream:
            with pytest.raises(UpstreamStatus) as caught:
                await fetched(rig, upstream)
            error = caught.value
            assert (error.status, error.body) == (status, b"" if status == 204 else b"no")
            assert status == 204 or (b"x-request-id", b"r") in error.headers
            assert rig.connections == (1, 0)

    run(main)


BROKEN: dict[str, tuple[list[Step], str]] = {
    "nothing": ([CLOSE], "before it answered"),
    "a reset": ([RESET], "before it answered"),
    "half a body": ([head(200, ("Content-Length", "99")) + MODELS, CLOSE], "in mid-answer"),
    "nonsense": ([b"\x15\x03\x01\x00\x02\x02F"], "does not speak HTTP/1.1"),
}


@pytest.mark.parametrize(("script", "message"), BROKEN.values(), ids=BROKEN)
def test_no_whole_answer(run: Run, script: list[Step], message: str) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, *script]) as upstream:
            with pytest.raises(RemoteProtocolError, match=message):
                await fetched(rig, upstream)
            await until(lambda: rig.connections == (0, 0))

    run(main)


def test_an_endless_head(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000]) as upstream:
            with pytest.raises(EventTooLarge):
                await fetched(rig, upstream)
            assert await upstream.peers[0].gone() in ("fin", "reset")

    run(main)


@pytest.mark.parametrize("status", [200, 500])
def test_a_body_above_the_bound(run: Run, status: int) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, answer(b"x" * (2 * MAX_BODY), status=status)]) as upstream:
            with pytest.raises(RemoteProtocolError, match=f"larger than {MAX_BODY} bytes"):
                await fetched(rig, upstream)
            assert await upstream.peers[0].gone() in ("fin", "reset")

    run(main)


def test_a_body_above_the_bound_that_ends_in_the_same_read(run_once: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(rig: Rig) -> None:
        for status in (200, 500):
            async with ScriptedUpstream([REQUEST, answer(b"x" * 9, status=status)]) as upstream:
                with pytest.raises(RemoteProtocolError, match="larger than 8 bytes"):
                    await fetched(rig, upstream)

    monkeypatch.setattr("tokenwire.upstream.fetch.MAX_BODY", 8)
    run_once(main)


@pytest.mark.parametrize("begun", [b"", head(200, ("Content-Length", "99")) + MODELS])
def test_no_answer_in_time(run: Run, begun: bytes) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, begun]) as upstream:
            with pytest.raises(UpstreamTimeout) as caught:
                await fetched(rig, upstream, timeout=0.05)
            assert (caught.value.phase, caught.value.seconds) == ("total", 0.05)
            assert await upstream.peers[0].gone() in ("fin", "reset")

    run(main)


def test_no_connection(run: Run, closed_port: int) -> None:
    async def main(rig: Rig) -> None:
        with pytest.raises(ConnectFailed, match="Connection refused"):
            await fetch(rig.pool, get(rig, f"http://127.0.0.1:{closed_port}"), timeout=5.0)

    run(main)


def test_cancelled_at_any_turn_of_the_loop(run: Run) -> None:
    async def main(rig: Rig) -> None:
        async with ScriptedUpstream([REQUEST, head(200, ("Content-Length", "99"))]) as upstream:
            for turns in range(15):
                task = asyncio.create_task(fetched(rig, upstream))
                await settle(turns)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            for peer in upstream.peers:
                assert await peer.gone() in ("fin", "reset")

    run(main)
