"""A scripted upstream: a raw server on 127.0.0.1 that plays bytes, waits, closes or resets, and keeps what it saw.

It knows no more of HTTP than where a request ends, so that it can break any rule: each connection plays one script,
and a script is a sequence of steps:

    bytes             written as they are
    REQUEST           wait until the next whole request has come (its head, and the body that Content-Length says)
    asyncio.Event     wait until the test sets it
    FLUSHED           wait until the kernel has taken everything written (never, while the client reads nothing)
    CLOSE             send what is written, then FIN
    RESET             RST, now; what the kernel has not sent yet is lost
    async callable    is handed the ``Peer`` and does whatever it likes

After its last step a connection stays open until the client leaves. A client that leaves ends its script where it
stands. The nth connection plays the nth script, and all further ones the last. ::

    async with ScriptedUpstream([REQUEST, answer(b"{}")]) as upstream:
        ...                                   # ask upstream.base_url
        peer = await upstream.peer(0)         # the first connection
        assert peer.requests[0].target == "/v1/models"
        assert await peer.gone() == "fin"
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from tokenwire.testing.http_bytes import LAST_CHUNK, ReceivedRequest, answer, head, http_chunk, take_request

if TYPE_CHECKING:
    import ssl
    from types import TracebackType
    from typing import Self

__all__ = [
    "CLOSE", "FLUSHED", "LAST_CHUNK", "REQUEST", "RESET", "Leaving", "Peer", "ReceivedRequest", "ScriptedUpstream",
    "Signal", "Step", "answer", "head", "http_chunk", "in_turn",
]  # fmt: skip


class Signal(Enum):
    """Steps without arguments; their own names stand at the module's top level."""

    REQUEST = "request"
    FLUSHED = "flushed"
    CLOSE = "close"
    RESET = "reset"


REQUEST: Final = Signal.REQUEST
FLUSHED: Final = Signal.FLUSHED
CLOSE: Final = Signal.CLOSE
RESET: Final = Signal.RESET

Step: TypeAlias = "bytes | Signal | asyncio.Event | Callable[[Peer], Awaitable[object]]"
#: How a client left: by FIN, by RST, or not at all (we closed first).
Leaving: TypeAlias = Literal["fin", "reset"] | None


def in_turn(scripts: Sequence[Sequence[Step]]) -> list[Step]:
    """A script for every connection: the nth request is answered with the nth of *scripts* (without ``REQUEST``),
    whichever connection it comes over; all further ones with the last."""
    left = iter(scripts)

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.play(next(left, scripts[-1]))

    return [play]


class _News:
    """Wakes whoever waits for something to become true, whenever something happened."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future


class Peer(asyncio.Protocol):
    """One connection, seen from the server.

    Attributes:
        received: every byte that came.
        requests: the whole requests among them, in order.
        left: how the client went, None while it is there and when we closed first.
        left_ns: CLOCK_MONOTONIC of that moment.
        over: the connection is gone, by whichever side.
    """

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self._upstream = upstream
        self._news = upstream.news
        self._pending = bytearray()
        self._awaited = 0
        self._writable = True
        self._ours = False  # it is we who end it
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.received = bytearray()
        self.requests: list[ReceivedRequest] = []
        self.left: Leaving = None
        self.left_ns: int | None = None
        self.over = False

    # ------------------------------------------------------------------ for scripts and tests

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def write(self, data: bytes) -> None:
        """Send *data*. Does nothing once the connection is closing."""
        if not self.transport.is_closing():
            self.transport.write(data)

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self.transport.get_write_buffer_size()

    async def request(self) -> ReceivedRequest:
        """The next request that nobody awaited yet."""
        index = self._awaited
        self._awaited += 1
        await self._news.until(lambda: len(self.requests) > index)
        return self.requests[index]

    async def flushed(self) -> None:
        """Until the kernel has taken everything written."""
        await self._news.until(lambda: self._writable and not self.unsent)

    async def gone(self) -> Leaving:
        """Until the connection is gone; how the client left, None if we closed it."""
        await self._news.until(lambda: self.over)
        return self.left

    def close(self) -> None:
        """Send what is written, then FIN."""
        self._ours = True
        self.transport.close()

    def reset(self) -> None:
        """RST: with a linger of zero, closing a socket is not a goodbye."""
        self._ours = True
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=0)
        self._task = self._upstream.accepted(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._pending += data
        while (request := take_request(self._pending)) is not None:
            self.requests.append(request)
        self._news.tell()

    def eof_received(self) -> None:
        self._leave("fin")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ours:  # over TLS some loops show no end of file
            self._leave("reset" if isinstance(exc, OSError) else "fin")
        self.over = True
        assert self._task is not None
        self._task.cancel()
        self._news.tell()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._news.tell()

    def _leave(self, how: Leaving) -> None:
        if self.left is None:
            self.left = how
            self.left_ns = time.monotonic_ns()

    # ------------------------------------------------------------------ the script

    async def play(self, script: Sequence[Step]) -> None:
        """Play *script* from its first step to its last."""
        for step in script:
            if isinstance(step, bytes):
                self.write(step)
            elif step is REQUEST:
                await self.request()
            elif step is FLUSHED:
                await self.flushed()
            elif step is CLOSE:
                self.close()
            elif step is RESET:
                self.reset()
            elif isinstance(step, asyncio.Event):
                await step.wait()
            else:
                await step(self)


class ScriptedUpstream:
    """The server; an asynchronous context manager. Leaving it closes every connection.

    Args:
        scripts: one for each connection, the last one for all further ones; none: it only listens.
        host: an address of this machine to listen on; the port is the kernel's choice unless *port* says one.
        tls: a server's context, to speak TLS.

    Attributes:
        peers: the connections accepted so far (with TLS: those whose handshake is done), in order.
        port: where it listens.

    Raises, when it is left: what a script raised, an ``AssertionError`` of a step for instance.
    """

    def __init__(
        self, *scripts: Sequence[Step], host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.peers: list[Peer] = []
        self.news = _News()
        self._scripts = scripts or ((),)
        self._tls = tls
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        """``http(s)://HOST:PORT/v1``, as a provider's SDK takes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.port}/v1"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """All whole requests so far, by connection."""
        return [request for peer in self.peers for request in peer.requests]

    async def peer(self, index: int = 0) -> Peer:
        """The connection number *index*, once it is accepted."""
        await self.news.until(lambda: len(self.peers) > index)
        return self.peers[index]

    def stop_listening(self) -> None:
        """Refuse new connections from now on; those that stand go on."""
        assert self._server is not None
        self._server.close()

    def accepted(self, peer: Peer) -> asyncio.Task[None]:
        """Called by a new connection; the task that plays its script."""
        script = self._scripts[min(len(self.peers), len(self._scripts) - 1)]
        self.peers.append(peer)
        self.news.tell()
        task = asyncio.get_running_loop().create_task(peer.play(script))
        self._tasks.append(task)
        return task

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Peer(self), self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_listening()
        for peer in self.peers:
            peer.close()
            try:
                peer.transport.abort()  # whatever is still to be sent
            except AttributeError:  # asyncio's transport cannot be aborted once it is gone
                pass
            await peer.gone()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        if error is None:  # else the test's own failure says more
            for result in results:
                if isinstance(result, Exception):
                    raise result
