"""The HTTP edge: uvicorn's httptools protocol, taught what endless answers need.

Why not stock uvicorn, where each difference is tested:

- after a large body it leaves reading paused, and a pipelined request pauses it too: then no disconnect is ever seen.
  While a reader is attached we keep reading, and hold further input unparsed, 64 KiB at most;
- FIN from a client counts as leaving, at once: ``close()`` would first wait for a full socket to drain;
- request heads have neither a size limit nor a deadline there, and slow bodies no deadline;
- an HTTP/1.0 client cannot read chunks: its answers end with the connection.

The protocol offers its transport to the app as ``scope["extensions"]["tokenwire.port"]``. The app sends
``http.response.start`` and the final empty body by ``send`` and stays awaiting in between; only chunks go to the port.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    import asyncio

    from tokenwire.engine.timers import Timer, Wheel

EXTENSION = "tokenwire.port"


class EdgeLimits(Struct, frozen=True, kw_only=True):
    """Bounds of one client connection.

    Attributes:
        head_bytes: request line and headers; nginx allows 32 KiB.
        head_seconds: from a request's first byte to the end of its head.
        body_seconds: longest silence within a body.
        pipelined_bytes: input held unparsed while an answer streams; more is not a browser, and is cut off.
        user_timeout: seconds that sent bytes may stay unacknowledged (TCP_USER_TIMEOUT): clients that vanished.
        stalled_timeout: the same while a live client just does not read: past the reader's own time-out.
        unsent_bytes: what the kernel takes beyond what the network has (TCP_NOTSENT_LOWAT); by default it would
            swallow 4 MB before anybody notices a reader that stands still.
    """

    head_bytes: int = 64 * 1024
    head_seconds: float = 20.0
    body_seconds: float = 60.0
    pipelined_bytes: int = 64 * 1024
    user_timeout: float = 20.0
    stalled_timeout: float = 75.0
    unsent_bytes: int = 16 * 1024


class Port:
    """One request's way to its transport. ``engage`` first; then ``write`` until ``release`` or ``lost``.

    Attributes:
        on_lost: called once, in the turn in which the client is known to be gone.
        on_writable: called when the transport takes more after ``writable`` was False.
    """

    __slots__ = ("_protocol", "cycle", "lost", "on_lost", "on_writable", "transport", "writable")

    def __init__(self, protocol: EdgeProtocol, cycle: RequestResponseCycle, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self.cycle = cycle
        self.transport = transport
        self.lost = False
        self.writable = True
        self.on_lost: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None

    def engage(self) -> bool:
        """From now on input is held, and the client's leaving is told. False if it has left already."""
        return self._protocol.engage(self)

    def unbuffered(self) -> None:
        """Write straight to the socket, and say so at once when it is full."""
        self.transport.set_write_buffer_limits(high=0)

    def release(self) -> None:
        """The answer is complete but for its final ``send``: the connection goes back to ordinary HTTP."""
        self._protocol.release(self)

    def disconnect(self) -> None:
        """Drop the client now."""
        self.transport.abort()


class EdgeProtocol(HttpToolsProtocol):
    """Made per connection by the server; see the module's first lines."""

    def __init__(self, *args: Any, limits: EdgeLimits, wheel: Wheel, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._wheel = wheel
        self._port: Port | None = None  # engaged: a reader is, or will be, attached
        self._held = bytearray()
        self._head_bytes = 0
        self._in_head = False
        self._in_body = False
        self._deadline: Timer | None = None
        self._eof = False

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _tune(transport.get_extra_info("socket"), self._limits)
        # Even a client that never says a word has a deadline.
        self._deadline = self._wheel.after(self._limits.head_seconds, self._too_slow)

    def data_received(self, data: bytes) -> None:
        if self._port is not None:
            self._held += data
            if len(self._held) > self._limits.pipelined_bytes:
                self.transport.abort()
            return
        if not self._in_body:
            if not self._in_head:
                self._in_head = True
                self._head_bytes = 0
                self._arm(self._limits.head_seconds)
            self._head_bytes += len(data)
        elif self._deadline is not None and not self._deadline.active:
            self._arm(self._limits.body_seconds)
        super().data_received(data)
        if self._in_head and self._head_bytes > self._limits.head_bytes:
            self._refuse(431, "request head too large")

    def eof_received(self) -> None:
        self._eof = True
        self._lose()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._lose()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._port is not None:
            self._port.writable = False
            _user_timeout(self.transport, self._limits.stalled_timeout)

    def resume_writing(self) -> None:
        super().resume_writing()
        port = self._port
        if port is not None and not port.writable:
            port.writable = True
            _user_timeout(self.transport, self._limits.user_timeout)
            if port.on_writable is not None:
                port.on_writable()

    # ------------------------------------------------------------------ httptools' callbacks

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._in_body = True
        self._arm(self._limits.body_seconds)
        super().on_headers_complete()
        cycle = self.cycle
        version = self.scope["http_version"]
        if version == "1.0":
            cycle.send = _CloseDelimited(cycle).send  # type: ignore[method-assign]
        elif self.scope["method"] != "HEAD":
            extensions: dict[str, Any] = {EXTENSION: Port(self, cycle, self.transport)}
            self.scope["extensions"] = extensions

    def on_body(self, body: bytes) -> None:
        self._arm(self._limits.body_seconds)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._disarm()
        super().on_message_complete()

    # ------------------------------------------------------------------ the port's side

    def engage(self, port: Port) -> bool:
        if self._eof or self.transport.is_closing():
            port.lost = True
            return False
        self._port = port
        self.flow.resume_reading()  # a large body or a pipelined request had paused it: FIN must be seen
        return True

    def release(self, port: Port) -> None:
        if self._port is not port:
            return
        self._port = None
        if port.lost or self.transport.is_closing():
            return
        self.transport.set_write_buffer_limits()
        if self._held:
            self.loop.call_soon(self._parse_held)

    def _parse_held(self) -> None:
        held, self._held = bytes(self._held), bytearray()
        if self._port is not None:
            self._held += held
        elif held and not self.transport.is_closing():
            self.data_received(held)

    def _lose(self) -> None:
        port = self._port
        if port is not None and not port.lost:
            port.lost = True
            port.writable = False
            port.cycle.disconnected = True  # uvicorn tells only the newest request, which may be a pipelined one
            if port.on_lost is not None:
                port.on_lost()
            if not self.transport.is_closing():
                self.transport.abort()

    # ------------------------------------------------------------------ deadlines

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self._wheel.after(seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self._refuse(408, "request not complete in time")

    def _refuse(self, status: int, message: str) -> None:
        """An answer from below the app: the request never got there, or is not going to be finished."""
        cycle = self.cycle
        if cycle is None or not cycle.response_started:
            self.transport.write(
                STATUS_LINE[status] + b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(message)
                + b"connection: close\r\n\r\n" + message.encode()
            )  # fmt: skip
        self.transport.close()
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()


class _CloseDelimited:
    """``send`` for an HTTP/1.0 client: no chunks, the end of the connection is the end of the answer."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._send = cycle.send
        self._plain = False

    async def send(self, message: Any) -> None:
        cycle = self._cycle
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", [])}
            self._plain = b"content-length" not in names and message["status"] not in (204, 304)
            if not self._plain or cycle.disconnected:
                await self._send(message)
                return
            cycle.response_started = True
            headers = [*cycle.default_headers, *message.get("headers", []), (b"connection", b"close")]
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            cycle.transport.write(STATUS_LINE[message["status"]] + lines + b"\r\n")
        elif not self._plain:
            await self._send(message)
        elif not cycle.disconnected:
            if cycle.flow.write_paused:
                await cycle.flow.drain()
            if cycle.scope["method"] != "HEAD":
                cycle.transport.write(message.get("body", b""))
            if not message.get("more_body", False):
                cycle.response_complete = True
                cycle.message_event.set()
                cycle.transport.close()
                cycle.on_response()


def _tune(sock: socket.socket | None, limits: EdgeLimits) -> None:
    """Vanished clients are noticed, and the kernel does not hide a slow one."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    tcp = socket.IPPROTO_TCP
    options = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (tcp, getattr(socket, "TCP_KEEPIDLE", None), 30),
        (tcp, getattr(socket, "TCP_KEEPINTVL", None), 10),
        (tcp, getattr(socket, "TCP_NOTSENT_LOWAT", None), limits.unsent_bytes),
        (tcp, getattr(socket, "TCP_USER_TIMEOUT", None), int(limits.user_timeout * 1000)),
    ]
    for level, name, value in options:
        if name is not None:
            try:
                sock.setsockopt(level, name, value)
            except OSError:  # a client that is already gone
                return


def _user_timeout(transport: asyncio.Transport, seconds: float) -> None:
    sock = transport.get_extra_info("socket")
    name = getattr(socket, "TCP_USER_TIMEOUT", None)
    if sock is not None and name is not None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, name, int(seconds * 1000))
        except OSError:
            pass
