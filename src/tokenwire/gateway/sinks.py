"""Where a reader's bytes go: straight to uvicorn's transport, or through any server's plain ASGI ``send``.

Both end alike: ``run`` returns when the reader closed its sink and all before it was passed on, or when the client is
gone. The final empty body is the caller's to send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Terminal
    from tokenwire.engine.lane import Outlet
    from tokenwire.gateway.port import Port

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

#: What a plain ASGI sink holds before it says that it is full.
HIGH_WATER = 64 * 1024


class ResponseSink(Protocol):
    """A ``engine.reader.Sink`` that also knows its client.

    Attributes:
        lost: the client is gone.
        terminal: what the reader was closed with; None before.
    """

    lost: bool
    terminal: Terminal | None

    def watch(self, on_lost: Callable[[], None], on_writable: Callable[[], None]) -> bool:
        """Be told of the client's leaving from now on. False if it is gone already."""
        ...

    def started(self) -> None:
        """``http.response.start`` was sent."""
        ...

    def write(self, data: bytes, chunk: bytes | None = None) -> bool: ...

    def close(self, terminal: Terminal | None) -> None: ...

    @property
    def unsent(self) -> int: ...

    async def run(self, send: Send) -> None: ...

    def release(self) -> None:
        """No more watching; the connection goes back to its server. Idempotent."""
        ...


class PortSink:
    """HTTP/1.1 chunks into the transport that our own protocol offers: no task, no await per token."""

    __slots__ = ("_done", "_port", "_transport", "lost", "terminal")

    def __init__(self, port: Port) -> None:
        self._port = port
        self._transport = port.transport
        self._done = asyncio.get_running_loop().create_future()
        self.lost = False
        self.terminal: Terminal | None = None

    def watch(self, on_lost: Callable[[], None], on_writable: Callable[[], None]) -> bool:
        def lost() -> None:
            self.lost = True
            self._finish()
            on_lost()

        self.lost = not self._port.engage(lost, on_writable)
        return not self.lost

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        transport = self._transport
        if transport.is_closing():
            return False
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunk is None else chunk)
        return self._port.writable

    @property
    def outlet(self) -> Outlet | None:
        """Where ``engine.lane`` may write chunks itself."""
        return self._port.outlet()

    def close(self, terminal: Terminal | None) -> None:
        self.terminal = terminal
        self._finish()

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    async def run(self, send: Send) -> None:
        await self._done

    def started(self) -> None:
        self._port.unbuffered()

    def release(self) -> None:
        self._port.release()

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)


class AsgiSink:
    """The same by ``send``, for any ASGI server. A watcher task waits for ``http.disconnect``."""

    __slots__ = (
        "_closed",
        "_full",
        "_on_lost",
        "_on_writable",
        "_parts",
        "_receive",
        "_size",
        "_wake",
        "_watcher",
        "lost",
        "terminal",
    )

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._parts: list[bytes] = []
        self._size = 0
        self._closed = False
        self._full = False
        self._wake = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._on_lost: Callable[[], None]
        self._on_writable: Callable[[], None]
        self.lost = False
        self.terminal: Terminal | None = None

    def watch(self, on_lost: Callable[[], None], on_writable: Callable[[], None]) -> bool:
        self._on_lost = on_lost
        self._on_writable = on_writable
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        return True

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        if self.lost:
            return False
        self._parts.append(data)
        self._size += len(data)
        self._wake.set()
        self._full = self._size >= HIGH_WATER
        return not self._full

    def close(self, terminal: Terminal | None) -> None:
        self.terminal = terminal
        self._closed = True
        self._wake.set()

    @property
    def unsent(self) -> int:
        return self._size

    def started(self) -> None:
        """Nothing to prepare."""

    async def run(self, send: Send) -> None:
        while not self.lost:
            await self._wake.wait()
            self._wake.clear()
            while self._parts and not self.lost:
                await self._pass_on(send)
            if self._closed and not self._parts:
                return

    async def _pass_on(self, send: Send) -> None:
        parts, self._parts = self._parts, []
        await send({"type": "http.response.body", "body": b"".join(parts), "more_body": True})
        self._size = sum(map(len, self._parts))
        if self._full and self._size < HIGH_WATER and not self.lost:  # it may have filled up during that wait
            self._full = False
            self._on_writable()

    def release(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.lost = True
        self._wake.set()
        if not self._closed:
            self._on_lost()
