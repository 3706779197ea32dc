"""The scripted upstream itself, asked by a plain asyncio client."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.testing.rig import LOOPS, run_in, settle, until
from tokenwire.testing.upstream import (
    CLOSE,
    FLUSHED,
    REQUEST,
    RESET,
    Peer,
    ScriptedUpstream,
    answer,
    head,
    http_chunk,
)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return lambda main: run_in(request.param, main)


async def dial(upstream: ScriptedUpstream) -> Streams:
    return await asyncio.open_connection(upstream.host, upstream.port)


def test_it_plays_bytes_when_asked_and_tells_what_it_received(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with ScriptedUpstream([REQUEST, b"one", REQUEST, b"two", CLOSE]) as upstream:
            reader, writer = await dial(upstream)
            writer.write(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Le")
            await settle()
            writer.write(b"ngth: 5\r\n\r\nhelloGET /v1/y HTTP/1.1\r\n\r\nrest")
            assert await reader.read() == b"onetwo"
            peer = await upstream.peer()
            assert [(each.method, each.target, each.body) for each in peer.requests] == [
                ("POST", "/v1/x", b"hello"),
                ("GET", "/v1/y", b""),
            ]
            assert peer.requests[0].fields == {"host": "a", "content-length": "5"}
            assert peer.received.endswith(b"\r\n\r\nrest")
            assert await peer.gone() is None
            assert upstream.base_url == f"http://127.0.0.1:{upstream.port}/v1"
            peer.write(b"too late")  # does nothing
            writer.close()

    run(main)


def test_each_connection_plays_its_own_script_and_further_ones_the_last(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with ScriptedUpstream([b"first", CLOSE], [b"last", CLOSE]) as upstream:
            for expected in (b"first", b"last", b"last"):
                reader, writer = await dial(upstream)
                assert await reader.read() == expected
                writer.close()
            assert len(upstream.peers) == 3

    run(main)


def test_it_waits_for_the_test_and_for_its_own_steps(run: Callable[..., Any]) -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def ping(peer: Peer) -> None:
            await gate.wait()
            peer.write(b"pong")

        async with ScriptedUpstream([gate, b"go ", ping, CLOSE]) as upstream:
            reader, writer = await dial(upstream)
            answered = asyncio.create_task(reader.read())
            await upstream.peer()
            await settle()
            assert not answered.done()
            gate.set()
            assert await answered == b"go pong"
            writer.close()

    run(main)


def test_it_tells_how_the_client_left(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with ScriptedUpstream([REQUEST]) as upstream:
            _, writer = await dial(upstream)
            _, second = await dial(upstream)
            peers = [await upstream.peer(0), await upstream.peer(1)]
            assert peers[0].left is None
            writer.close()
            linger = struct.pack("ii", 1, 0)
            second.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            second.transport.abort()
            assert [await peer.gone() for peer in peers] == ["fin", "reset"]
            assert all(peer.left_ns is not None for peer in peers)

    run(main)


def test_it_resets(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with ScriptedUpstream([REQUEST, RESET]) as upstream:
            reader, writer = await dial(upstream)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            assert await (await upstream.peer()).gone() is None
            writer.close()

    run(main)


def test_it_knows_what_the_kernel_has_not_taken(run: Callable[..., Any]) -> None:
    async def main() -> None:
        size = 16 * 1024 * 1024
        async with ScriptedUpstream([b"x" * size, FLUSHED, CLOSE]) as upstream:
            reader, writer = await dial(upstream)
            peer = await upstream.peer()
            await until(lambda: peer.unsent)
            await settle()
            assert peer.unsent > 0
            assert len(await reader.read()) == size
            assert await peer.gone() is None
            writer.close()

    run(main)


def test_a_failed_step_fails_the_test(run: Callable[..., Any]) -> None:
    async def check(peer: Peer) -> None:
        assert peer.received == b"something else"

    async def main(inside: Exception | None = None) -> None:
        async with ScriptedUpstream([check]) as upstream:
            _, writer = await dial(upstream)
            await upstream.peer()
            await settle()
            writer.close()
            if inside is not None:
                raise inside

    with pytest.raises(AssertionError, match="something else"):
        run(main)
    with pytest.raises(LookupError, match="the test's own"):
        run(lambda: main(LookupError("the test's own")))


def test_without_a_script_it_only_listens_and_leaving_it_closes_everything(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with ScriptedUpstream() as silent:
            reader, writer = await dial(silent)
            peer = await silent.peer()
        assert await reader.read() == b""
        assert peer.over
        with pytest.raises(OSError, match=r"refused|failed"):
            await dial(silent)
        writer.close()

    run(main)


@pytest.mark.usefixtures("ipv6")
def test_it_listens_on_other_addresses_of_this_machine(run: Callable[..., Any]) -> None:
    async def main() -> None:
        async with ScriptedUpstream([b"hi", CLOSE], host="::1") as upstream:
            assert upstream.base_url == f"http://[::1]:{upstream.port}/v1"
            reader, writer = await dial(upstream)
            assert await reader.read() == b"hi"
            writer.close()

    run(main)


def test_bytes_of_answers() -> None:
    assert head(204) == b"HTTP/1.1 204 Scripted\r\n\r\n"
    assert answer(b"ab").endswith(b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\nab")
    assert answer([b"a", b"b"], status=500).startswith(b"HTTP/1.1 500 ")
    chunked = answer([b"a", b"bc"], framing="chunked", content_type="text/event-stream", fields=[("X", "y")])
    assert chunked.startswith(
        b"HTTP/1.1 200 Scripted\r\nContent-Type: text/event-stream\r\nX: y\r\nTransfer-Encoding: "
    )
    assert chunked.endswith(b"\r\n\r\n" + http_chunk(b"a") + http_chunk(b"bc") + b"0\r\n\r\n")
    assert answer(b"ab", framing="close").endswith(b"json\r\n\r\nab")
