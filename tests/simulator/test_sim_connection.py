"""HTTP/1.1 as the simulator speaks it, and what it notices when clients leave."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from tokenwire.simulator import serve
from tokenwire.simulator.connection import MAX_BODY, MAX_HEAD, MAX_QUEUED

Chat = Callable[..., dict[str, Any]]

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something has happened."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture(params=LOOPS)
def play_on(request: pytest.FixtureRequest) -> Any:
    """play(scenario), once on each event loop that the simulator runs on."""

    def run(scenario: Callable[[Any], Any]) -> Any:
        async def main() -> Any:
            simulator = await serve()
            try:
                async with asyncio.timeout(60):
                    return await scenario(simulator)
            finally:
                await simulator.close()

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(main())

    return run


async def answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    """The raw bytes of *count* answers that have a length or chunks."""
    found = []
    for _ in range(count):
        head = await reader.readuntil(b"\r\n\r\n")
        if b"chunked" in head:
            found.append(head + await reader.readuntil(b"\r\n0\r\n\r\n"))
        else:
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            found.append(head + await reader.readexactly(length))
    return found


def test_a_connection_is_kept_alive(play_on: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        for stream in (True, False, True):
            writer.write(encode(chat("again", model="echo", stream=stream), close=False))
            [answer] = await answers(reader, 1)
            assert b"connection: close" not in answer
            assert b"again" in answer
        writer.write(encode(None, method="GET", path="/healthz"))
        [answer] = await answers(reader, 1)
        assert b"connection: close" in answer
        assert await reader.read() == b""
        writer.close()

    play_on(scenario)


def test_pipelined_requests_are_answered_in_order(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        bodies = [chat(f"number {n}", model="echo", stream=n % 2 == 0) for n in range(MAX_QUEUED)]
        writer.write(b"".join(encode(body, close=False) for body in bodies))
        for n, answer in enumerate(await answers(reader, len(bodies))):
            assert b"number" in answer
            assert f" {n}".encode() in answer
        slow = encode(chat("slow", model="echo"), {"x-sim-ttft-ms": "30"}, close=False)
        writer.write(slow + encode(chat("next", model="echo"), close=False))
        first, second = await answers(reader, 2)
        assert b"slow" in first
        assert b"next" in second
        writer.close()

    play(scenario)


def test_a_request_may_come_byte_by_byte_and_chunked(play: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        body = json.dumps(chat("slowly typed", model="echo", stream=False)).encode()
        raw = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        raw += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        for byte in raw:
            writer.write(bytes((byte,)))
            await writer.drain()
        [answer] = await answers(reader, 1)
        assert b"slowly typed" in answer
        writer.close()

    play(scenario)


def test_a_client_that_waits_for_100_continue_gets_it(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        head, _, body = encode(chat("hi"), {"Expect": "100-continue"}).partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await reader.read()
        writer.close()

    play(scenario)


def test_http_1_0_gets_the_end_of_the_connection_for_an_end(get: Any, chat: Chat) -> None:
    wire = get(chat("old", model="echo"), version="1.0", close=False)
    assert "transfer-encoding" not in wire.headers
    assert wire.headers["connection"] == "close"
    assert wire.text == "old"


def test_http_1_0_may_keep_a_connection_whose_answers_have_a_length(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        request = encode(chat(stream=False), {"connection": "keep-alive"}, version="1.0", close=False)
        for _ in range(2):
            writer.write(request)
            [answer] = await answers(reader, 1)
            assert b"connection: keep-alive" in answer
        writer.close()

    play(scenario)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * MAX_HEAD + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * MAX_HEAD + b" HTTP/1.1\r\nx: y\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY + 1) + b"z" * (MAX_BODY + 1), 413),
    ],
    ids=["nonsense", "upgrade", "header", "path", "body"],
)
def test_what_cannot_be_a_request_is_refused_and_the_connection_closed(play: Any, raw: bytes, status: int) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(raw)
        [answer] = await answers(reader, 1)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b'"type":"invalid_request_error"' in answer
        writer.transport.abort()

    play(scenario)


def test_a_header_that_never_ends_is_refused(play: Any) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        while not reader._buffer:  # type: ignore[attr-defined]
            writer.write(b"y" * MAX_HEAD)
            await asyncio.sleep(0)
        [answer] = await answers(reader, 1)
        assert answer.startswith(b"HTTP/1.1 431 ")
        writer.transport.abort()

    play(scenario)


def test_nonsense_behind_a_request_ends_the_connection(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(chat(model="fault-stall"), close=False))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"NONSENSE\r\n\r\nand more")
        await until(lambda: simulator.stats.aborted == 1)
        writer.close()

    play(scenario)


def test_too_many_waiting_requests_end_the_connection(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        _, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(chat(model="fault-stall-head"), close=False))
        await until(lambda: simulator.stats.active == 1)
        writer.write(encode(None, method="GET", path="/healthz", close=False) * (MAX_QUEUED + 1))
        await until(lambda: simulator.stats.aborted == 1)
        writer.close()

    play(scenario)


# Leaving


async def start(simulator: Any, raw: bytes, tokens: int) -> socket.socket:
    """A blocking-style client on a bare socket that has sent a request and read so many tokens."""
    loop = asyncio.get_running_loop()
    sock = socket.create_connection((simulator.host, simulator.port))
    sock.setblocking(False)
    await loop.sock_sendall(sock, raw)
    seen = b""
    while seen.count(b'"content":"') <= tokens:
        seen += await loop.sock_recv(sock, 65536)
    return sock


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
def test_a_client_that_leaves_is_counted_and_nothing_is_written_for_it(
    play_on: Any, encode: Any, chat: Chat, how: str
) -> None:
    async def scenario(simulator: Any) -> None:
        headers = {"x-sim-tokens": "100000", "x-sim-interval-ms": "1"}
        begun = time.monotonic_ns()
        sock = await start(simulator, encode(chat(), headers), 20)
        assert simulator.stats.active == 1
        left = time.monotonic_ns()
        if how == "half-close":
            sock.shutdown(socket.SHUT_WR)
        elif how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how != "half-close":
            sock.close()
        await until(lambda: simulator.stats.active == 0)
        stats = simulator.stats
        assert (stats.requests, stats.done, stats.aborted) == (1, 0, 1)
        assert left <= stats.last_abort_ns <= time.monotonic_ns()
        # One token a millisecond until it was noticed, of which 20 were read, whatever else this machine had to do.
        due = (stats.last_abort_ns - begun) / 1e6 + 1
        assert 20 <= stats.tokens <= due
        # Exact after a FIN; after a reset what was read but not acknowledged yet counts as well.
        assert stats.tokens_after_leave <= due - (0 if how == "reset" else 20)
        written = stats.tokens
        for _ in range(20):
            await asyncio.sleep(0)
        assert stats.tokens == written
        sock.close()

    play_on(scenario)


def test_tokens_written_after_the_client_has_left_are_counted(play_on: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        # A deaf simulator goes on: the difference is what it wrote for nobody.
        headers = {"x-sim-fault": "deaf", "x-sim-tokens": "60", "x-sim-interval-ms": "1"}
        sock = await start(simulator, encode(chat(), headers), 10)
        sock.shutdown(socket.SHUT_WR)
        await until(lambda: simulator.stats.aborted == 1)
        before = simulator.stats.tokens
        await until(lambda: simulator.stats.active == 0)
        stats = simulator.stats
        assert (stats.tokens, stats.done, stats.aborted) == (60, 0, 1)
        assert 60 - before <= stats.tokens_after_leave <= 60 - 10
        sock.close()

    play_on(scenario)


def test_a_deaf_reply_ends_with_the_connection(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        headers = {"x-sim-fault": "deaf", "x-sim-tokens": "100000", "x-sim-interval-ms": "1"}
        sock = await start(simulator, encode(chat(), headers), 10)
        sock.close()
        await until(lambda: simulator.stats.active == 0)
        stats = simulator.stats
        assert (stats.done, stats.aborted) == (0, 1)
        assert stats.tokens_after_leave <= stats.tokens < 100_000

    play(scenario)


def test_a_client_that_leaves_before_the_first_byte_is_counted(play_on: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        _, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(chat(), {"x-sim-ttft-ms": "60000"}))
        await until(lambda: simulator.stats.active == 1)
        writer.close()
        await until(lambda: simulator.stats.active == 0)
        stats = simulator.stats
        assert (stats.aborted, stats.tokens, stats.tokens_after_leave) == (1, 0, 0)

    play_on(scenario)


@pytest.mark.untraced
def test_a_client_that_does_not_read_holds_the_stream_back(play_on: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        sock.connect((simulator.host, simulator.port))
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, encode(chat(), {"x-sim-tokens": "60000"}))
        seen = -1
        while simulator.stats.tokens != seen:  # until the buffers are full
            seen = simulator.stats.tokens
            for _ in range(200):
                await asyncio.sleep(0)
        assert 0 < seen < 60_000
        raw = b""
        while not raw.endswith(b"0\r\n\r\n"):
            raw += await loop.sock_recv(sock, 1 << 20)
        assert raw.count(b'"content":"') == 60_000 + 1
        sock.close()
        # And one that leaves with all of that unread: nearly all of it was for nobody.
        sock = socket.create_connection((simulator.host, simulator.port))
        sock.sendall(encode(chat(), {"x-sim-tokens": "60000"}))
        await until(lambda: simulator.stats.tokens > 60_000 + 1000)
        sock.shutdown(socket.SHUT_WR)
        await until(lambda: simulator.stats.aborted == 1)
        written = simulator.stats.tokens - 60_000
        assert simulator.stats.tokens_after_leave <= written
        sock.close()

    play_on(scenario)


def test_a_client_that_closes_an_idle_connection_counts_for_nothing(play_on: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(chat(), close=False))
        await answers(reader, 1)
        writer.close()
        await until(lambda: not simulator._connections)
        assert (simulator.stats.done, simulator.stats.aborted) == (1, 0)

    play_on(scenario)


@pytest.mark.untraced
def test_a_client_that_does_not_read_holds_its_next_answer_back_as_well(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        sock = socket.create_connection((simulator.host, simulator.port))
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        # One large piece, which is written whole and fills every buffer, and then a stream.
        large = encode(chat("x" * 8_000_000, model="echo", stream=False), close=False)
        await loop.sock_sendall(sock, large + encode(chat(), {"x-sim-tokens": "500"}, close=False))
        await until(lambda: simulator.stats.requests == 2)
        for _ in range(200):
            await asyncio.sleep(0)
        assert simulator.stats.active == 1
        raw = b""
        while not raw.endswith(b"\r\n0\r\n\r\n"):
            raw += await loop.sock_recv(sock, 1 << 20)
        assert raw.count(b'"finish_reason":"stop"') == 2
        sock.close()

    play(scenario)


# The simulator's own routes, and its end


def test_stats_and_health(play: Any, fetch: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        before = time.monotonic_ns()
        await fetch(simulator, chat(), {"x-sim-tokens": "12"})
        await fetch(simulator, chat(model="fault-429"))
        stats = json.loads((await fetch(simulator, None, method="GET", path="/stats")).body)
        assert before <= stats.pop("now_ns") <= time.monotonic_ns()
        zeros = dict.fromkeys(("active", "aborted", "tokens_after_leave", "last_abort_ns"), 0)
        assert stats == {"requests": 2, "tokens": 12, "done": 2, **zeros}
        assert json.loads((await fetch(simulator, None, method="GET", path="/healthz")).body) == {"status": "ok"}

    play(scenario)


def test_recent_requests_can_be_looked_at(play: Any, fetch: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        for n in range(20):
            await fetch(simulator, chat("x" * 100_000 if n == 19 else "hi"), {"X-Number": str(n)})
        assert [request.headers["x-number"] for request in simulator.recent] == [str(n) for n in range(4, 20)]
        assert simulator.recent[0].path == "/v1/chat/completions"
        assert len(simulator.recent[-1].body) == 64 * 1024

    play(scenario)


def test_closing_drops_the_streams_and_the_port(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(chat(model="fault-stall")))
        await reader.readuntil(b"\r\n\r\n")
        await simulator.close()
        assert simulator.stats.active == 0
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await asyncio.open_connection(simulator.host, simulator.port)
        await simulator.close()
        writer.close()

    play(scenario)


def test_the_address_is_a_url() -> None:
    async def main() -> None:
        simulator = await serve("::1")
        assert simulator.url == f"http://[::1]:{simulator.port}"
        await simulator.close()

    try:
        asyncio.run(main())
    except OSError:
        pytest.skip("no IPv6 here")


def test_a_bug_in_a_reply_ends_its_connection_and_is_reported(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        problems: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
        simulator.handle = lambda request: 1 / 0
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(chat()))
        assert await reader.read() == b""
        assert isinstance(problems[0]["exception"], ZeroDivisionError)
        writer.close()

    play(scenario)


def test_a_bug_in_the_middle_of_a_reply_ends_its_connection(play: Any, encode: Any, chat: Chat) -> None:
    async def scenario(simulator: Any) -> None:
        from tokenwire.simulator.exchange import Frame, Mark, Reply

        def frames() -> Any:
            yield Frame(Mark.HEAD, b"HTTP/1.1 200 OK\r\n\r\n")
            yield Frame(Mark.DATA, b"x", delay=0.001)
            raise ZeroDivisionError

        problems: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
        simulator.handle = lambda request: Reply(frames(), generation=True)
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(encode(chat()))
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readuntil(b"never")
        assert isinstance(problems[0]["exception"], ZeroDivisionError)
        await until(lambda: simulator.stats.active == 0)
        assert simulator.stats.aborted == 1
        writer.close()

    play(scenario)
