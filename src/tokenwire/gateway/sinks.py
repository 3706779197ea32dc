"""Where a reader's bytes go: straight to uvicorn's transport, or through any server's plain ASGI ``send``.

Both end alike: ``done`` is set when the log has nothing more for this reader, or when the client is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Terminal
    from tokenwire.gateway.edge import Port

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

#: What a plain ASGI sink holds before it says that it is full.
HIGH_WATER = 64 * 1024


class ResponseSink(Protocol):
    """A sink that also carries the HTTP response around the frames."""

    lost: bool

    def watch(self, on_lost: Callable[[], None], on_writable: Callable[[], None]) -> bool: ...

    def write(self, data: bytes, chunk: bytes | None = None) -> bool: ...

    def close(self, terminal: Terminal | None) -> None: ...

    @property
    def unsent(self) -> int: ...

    async def run(self, send: Send) -> None:
        """After ``http.response.start`` was sent: returns when the answer is complete or the client is gone."""
        ...

    def release(self) -> None: ...


class PortSink:
    """HTTP/1.1 chunks into the transport that our own protocol offers: no task, no await per token."""

    __slots__ = ("_done", "_port", "_transport", "lost")

    def __init__(self, port: Port) -> None:
        self._port = port
        self._transport = port.transport
        self._done = asyncio.get_running_loop().create_future()
        self.lost = False

    def watch(self, on_lost: Callable[[], None], on_writable: Callable[[], None]) -> bool:
        """Be told of the client's leaving from now on. False if it is gone already."""

        def lost() -> None:
            self.lost = True
            self._finish()
            on_lost()

        self._port.on_lost = lost
        self._port.on_writable = on_writable
        if not self._port.engage():
            self.lost = True
        return not self.lost

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        transport = self._transport
        if transport.is_closing():
            return False
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunk is None else chunk)
        return self._port.writable

    def close(self, terminal: Terminal | None) -> None:
        self._finish()

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    async def run(self, send: Send) -> None:
        await self._done
        self.release()
        if not self.lost:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

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
        "_on_lost",
        "_on_writable",
        "_parts",
        "_receive",
        "_size",
        "_wake",
        "_watcher",
        "lost",
    )

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._parts: list[bytes] = []
        self._size = 0
        self._closed = False
        self._wake = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._on_lost: Callable[[], None] | None = None
        self._on_writable: Callable[[], None] | None = None
        self.lost = False

    def watch(self, on_lost: Callable[[], None], on_writable: Callable[[], None]) -> bool:
        self._on_lost = on_lost
        self._on_writable = on_writable
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())
        return True

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        if self.lost:
            return False
        self._parts.append(data)
        self._size += len(data)
        self._wake.set()
        return self._size < HIGH_WATER

    def close(self, terminal: Terminal | None) -> None:
        self._closed = True
        self._wake.set()

    @property
    def unsent(self) -> int:
        return self._size

    def started(self) -> None:
        """Nothing to prepare."""

    async def run(self, send: Send) -> None:
        try:
            while not self.lost:
                await self._wake.wait()
                self._wake.clear()
                closed = self._closed
                while self._parts and not self.lost:
                    parts, self._parts = self._parts, []
                    was_full = self._size >= HIGH_WATER
                    await send({"type": "http.response.body", "body": b"".join(parts), "more_body": True})
                    self._size = sum(map(len, self._parts))
                    if was_full and self._size < HIGH_WATER and self._on_writable is not None:
                        self._on_writable()
                if closed and not self._parts:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
        except OSError:  # newer servers raise when the client is gone, others drop the bytes
            self._lose()
        finally:
            self.release()

    def release(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def _watch(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._lose()
                return

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            self._wake.set()
            if self._on_lost is not None and not self._closed:
                self._on_lost()
