"""Where a response goes: straight to uvicorn's transport, or through any server's plain ASGI ``send``.

Both are plain calls for whoever answers (``following``, ``whole``). Both have a ``run`` for an ASGI application to wait
in, which returns when the answer is complete or the client is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tokenwire.wire import chunked

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Terminal
    from tokenwire.engine.lane import Outlet
    from tokenwire.gateway.answers import Headers
    from tokenwire.gateway.port import Port

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

#: What a plain ASGI sink holds before it says that it is full.
HIGH_WATER = 64 * 1024


class Owner(Protocol):
    """Who answers by a sink. Called in the loop turn in which it happens."""

    def lost(self) -> None:
        """The client is gone."""
        ...

    def writable(self) -> None:
        """The sink takes more again."""
        ...

    def closed(self) -> None:
        """The reader has closed the sink: nothing but ``end`` follows."""
        ...


class ResponseSink(Protocol):
    """A ``engine.reader.Sink`` that also knows its client. Either ``begin`` … ``end``, or ``answer``.

    Attributes:
        is_lost: the client is gone.
        terminal: what the reader was closed with; None before.
    """

    is_lost: bool
    terminal: Terminal | None

    def watch(self, owner: Owner) -> bool:
        """From now on tell *owner*. False if the client is gone already."""
        ...

    def begin(self, headers: Headers) -> None:
        """A stream: status 200, and chunks from now on."""
        ...

    def write(self, data: bytes, chunk: bytes | None = None) -> bool: ...

    def close(self, terminal: Terminal | None) -> None: ...

    def end(self, data: bytes) -> None:
        """The stream's last bytes. Afterwards the connection is its server's again."""
        ...

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        ...

    def fail(self) -> None:
        """A bug of ours: 500, or, where something was begun, the end of the connection; never a clean end."""
        ...

    @property
    def unsent(self) -> int: ...

    async def run(self, send: Send) -> None: ...

    def release(self) -> None:
        """No more watching; the connection goes back to its server. Idempotent."""
        ...


class PortSink:
    """HTTP/1.1 into the transport that our own protocol offers: no task, no await."""

    __slots__ = ("_done", "_owner", "_port", "_send", "_transport", "_waiting", "is_lost", "terminal")

    def __init__(self, port: Port) -> None:
        self._port = port
        self._transport = port.transport
        self._send: Callable[[bytes], int] | None = None
        self._owner: Owner | None = None
        self._done = False
        self._waiting: asyncio.Future[None] | None = None
        self.is_lost = False
        self.terminal: Terminal | None = None

    def watch(self, owner: Owner) -> bool:
        self._owner = owner
        self._done = self.is_lost = not self._port.engage(self._lost, owner.writable)
        return not self.is_lost

    def begin(self, headers: Headers) -> None:
        self._port.begin(headers)
        outlet = self._port.outlet()
        self._send = None if outlet is None else outlet.send

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        transport, port, send = self._transport, self._port, self._send
        if transport.is_closing():
            return False
        if chunk is None:
            chunk = chunked.chunk(data)
        if send is not None and not port.queued():  # straight to the socket: a transport takes a microsecond more
            try:
                sent = send(chunk)
            except OSError:  # full, or gone: the transport finds out which
                sent = 0
            if sent == len(chunk):
                return True
            chunk = chunk[sent:]
        transport.write(chunk)
        return port.writable

    @property
    def outlet(self) -> Outlet | None:
        """Where ``engine.lane`` may write chunks itself."""
        return self._port.outlet()

    def close(self, terminal: Terminal | None) -> None:
        self.terminal = terminal
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.closed()

    def end(self, data: bytes) -> None:
        self._port.end(data)
        self._finish()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self._port.answer(status, headers, body)
        self._finish()

    def fail(self) -> None:
        self._port.fail()
        self._finish()

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    async def run(self, send: Send) -> None:
        if not self._done:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    def release(self) -> None:
        self._port.release()

    def _lost(self) -> None:
        self.is_lost = True
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.lost()
        self._finish()

    def _finish(self) -> None:
        self._done = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class AsgiSink:
    """The same by ``send``, for any ASGI server. A watcher task waits for ``http.disconnect``."""

    __slots__ = (
        "_closed",
        "_failed",
        "_full",
        "_head",
        "_last",
        "_owner",
        "_parts",
        "_receive",
        "_size",
        "_wake",
        "_watcher",
        "is_lost",
        "terminal",
    )

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._owner: Owner | None = None
        self._head: Message | None = None
        self._parts: list[bytes] = []
        self._last: bytes | None = None
        self._size = 0
        self._closed = False
        self._failed = False
        self._full = False
        self._wake = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self.is_lost = False
        self.terminal: Terminal | None = None

    def watch(self, owner: Owner) -> bool:
        self._owner = owner
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        return True

    def begin(self, headers: Headers) -> None:
        self._head = {"type": "http.response.start", "status": 200, "headers": headers}
        self._wake.set()

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        if self.is_lost:
            return False
        self._parts.append(data)
        self._size += len(data)
        self._wake.set()
        self._full = self._size >= HIGH_WATER
        return not self._full

    def close(self, terminal: Terminal | None) -> None:
        self.terminal = terminal
        if not self._closed:
            self._closed = True
            if self._owner is not None:
                self._owner.closed()

    def end(self, data: bytes) -> None:
        self._last = data
        self._wake.set()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self._head = {"type": "http.response.start", "status": status, "headers": headers}
        self.end(body)

    def fail(self) -> None:
        self._failed = True
        self._wake.set()

    @property
    def unsent(self) -> int:
        return self._size

    async def run(self, send: Send) -> None:
        while not self.is_lost:
            await self._wake.wait()
            self._wake.clear()
            if self._failed:
                raise RuntimeError("answering failed; see above")  # the server knows what to do
            if self._head is not None and not self.is_lost:
                head, self._head = self._head, None
                await send(head)
            while self._parts and not self.is_lost:
                await self._pass_on(send)
            if self._last is not None and not self._parts:
                await send({"type": "http.response.body", "body": self._last, "more_body": False})
                return

    async def _pass_on(self, send: Send) -> None:
        parts, self._parts = self._parts, []
        await self._send(send, b"".join(parts))
        self._size = sum(map(len, self._parts))
        if self._full and self._size < HIGH_WATER and not self.is_lost:  # it may have filled up during that wait
            self._full = False
            assert self._owner is not None
            self._owner.writable()

    async def _send(self, send: Send, body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})

    def release(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_lost = True
        self._wake.set()
        if not self._closed and self._owner is not None:
            self._owner.lost()
