"""The simulator as a server: own routes, vendors behind them, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import signal
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable

import msgspec

from tokenwire.simulator.about import about
from tokenwire.simulator.connection import Connection
from tokenwire.simulator.exchange import Context, Reply, Request, plain_reply
from tokenwire.simulator.memory import Memory
from tokenwire.simulator.playback import reset
from tokenwire.simulator.stats import Stats
from tokenwire.simulator.texts import library
from tokenwire.simulator.ticker import Ticker
from tokenwire.simulator.tls_layer import BrokenHandshake, TlsLayer
from tokenwire.simulator.tries import Tries
from tokenwire.simulator.vendors import VENDORS, not_found, refusal

#: Connections that may wait to be accepted: a load test opens a thousand at once.
_BACKLOG = 4096

#: Requests that are remembered for tests to look at, and how much of each body.
_RECENT = 16
_RECENT_BODY = 64 * 1024


class Simulator:
    """A running simulator; made by ``serve``.

    Attributes:
        host, port: where it listens.
        stats: its counters, live.
        recent: the last requests, oldest first, with what they brought (bodies cut to 64 KiB): what did a relay
            forward?
    """

    def __init__(self, host: str, seed: int, tls: ssl.SSLContext | None, handshake: str | None) -> None:
        self.host = host
        self.port = 0
        self.stats = Stats()
        self.recent: deque[Request] = deque(maxlen=_RECENT)
        self._tls = tls
        self._handshake = handshake
        self._random = random.Random(seed)
        self._tries = Tries()
        self._memory = Memory()
        self._ticker = Ticker(asyncio.get_running_loop())
        self._connections: set[Connection] = set()
        self._layers: set[BrokenHandshake | TlsLayer] = set()
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        """``http://HOST:PORT`` or ``https://…``; a vendor's SDK takes it with the vendor's own prefix (``/v1``)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls or self._handshake else 'http'}://{host}:{self.port}"

    async def listen(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        library()  # read the texts now: the first request is timed like any other
        self._server = await loop.create_server(self._protocol, self.host, port, backlog=_BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop every connection. May be called again."""
        self._server.close()
        self._ticker.close()
        for connection in tuple(self._connections):
            connection.abort()
        for layer in tuple(self._layers):
            layer.abort()
        while self._connections or self._layers:
            await asyncio.sleep(0)  # connection_lost comes in the next turn of the loop

    def _protocol(self) -> asyncio.Protocol:
        if self._handshake is not None:
            return BrokenHandshake(self._handshake, self._layers, reset)
        connection = Connection(self.handle, self._refuse, self._ticker, self.stats, self._connections)
        return connection if self._tls is None else TlsLayer(self._tls, connection, self._layers)

    def handle(self, request: Request) -> Reply:
        """The reply to a request, by the first vendor that knows its route."""
        if request.path == "/stats":
            return _json(request, self.stats.report())
        if request.path == "/healthz":
            return _json(request, {"status": "ok"})
        if request.path == "/":
            return plain_reply(request, 200, [("content-type", "text/plain; charset=utf-8")], about().encode())
        self.recent.append(dataclasses.replace(request, body=request.body[:_RECENT_BODY]))
        context = self._context()
        for vendor in VENDORS:
            handler = vendor(request)
            if handler is not None:
                return handler(request, context)
        return not_found(request, context)

    def _refuse(self, request: Request, status: int, problem: str) -> Reply:
        return refusal(request, status, problem, self._context())

    def _context(self) -> Context:
        return Context(seed=self._random.getrandbits(53), now=time.time(), tries=self._tries, memory=self._memory)


def _json(request: Request, value: object) -> Reply:
    return plain_reply(request, 200, [("content-type", "application/json")], msgspec.json.encode(value))


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    seed: int = 0,
    tls: ssl.SSLContext | None = None,
    handshake: str | None = None,
) -> Simulator:
    """Start a simulator in the running event loop.

    Args:
        port: 0 takes a free one; ``.port`` of the result says which.
        seed: of ids, jitter and padding for requests that bring no seed of their own.
        tls: a server's context; with it, HTTPS is spoken and nothing else.
        handshake: a key of ``tls.HANDSHAKE_FAULTS``: that happens to every connection, and *tls* is not needed.

    Raises:
        OSError: the address cannot be used.
    """
    simulator = Simulator(host, seed, tls, handshake)
    await simulator.listen(port)
    return simulator


def run(
    host: str = "127.0.0.1",
    port: int = 8789,
    *,
    with_stdin: bool = False,
    tls: ssl.SSLContext | None = None,
    handshake: str | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; prints one line with the address once it listens.

    Args:
        with_stdin: also stop when standard input is closed. A parent that holds the other end of that pipe then takes
            the simulator with it, however it dies.
        tls, handshake: see ``serve``.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_main(host, port, with_stdin, tls, handshake))


async def _main(host: str, port: int, with_stdin: bool, tls: ssl.SSLContext | None, handshake: str | None) -> None:
    # Another seed each time: a restarted simulator must not repeat the ids of the one before.
    seed = random.SystemRandom().getrandbits(53)
    simulator = await serve(host, port, seed=seed, tls=tls, handshake=handshake)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
            loop.add_signal_handler(number, stopped.set)
    pipe = None
    if with_stdin:
        pipe, _ = await loop.connect_read_pipe(lambda: _Watch(stopped), sys.stdin)
    sys.stdout.write(f"simulator listening on {simulator.url}\n")
    sys.stdout.flush()
    try:
        await stopped.wait()
    finally:
        if pipe is not None:
            pipe.close()
        await simulator.close()


class _Watch(asyncio.Protocol):
    """Sets an event at the end of a pipe."""

    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # pragma: no cover - not built for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop
