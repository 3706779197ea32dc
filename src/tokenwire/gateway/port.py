"""What our edge offers to the app beside ASGI: the transport, for as long as an answer streams.

As ``scope["extensions"]["tokenwire.port"]``: the app may answer by it instead of ``send``, and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from tokenwire.gateway.sockets import borrowed
from tokenwire.wire.chunked import LAST_CHUNK, chunk

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from tokenwire.gateway.answers import Headers
    from tokenwire.gateway.edge import EdgeProtocol

EXTENSION = "tokenwire.port"


def _ignore() -> None:
    """Nobody wants to know."""


class Port:
    """One request's way to its transport. ``engage`` first; then ``write`` until ``release`` or ``lost``.

    Attributes:
        on_lost: called once, in the turn in which the client is known to be gone.
        on_writable: called when the transport takes more after ``writable`` was False.
    """

    __slots__ = (
        "_direct",
        "_protocol",
        "cycle",
        "lost",
        "on_lost",
        "on_writable",
        "queued",
        "send",
        "transport",
        "writable",
        "write",
    )

    def __init__(self, protocol: EdgeProtocol, cycle: RequestResponseCycle, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self.cycle = cycle
        self.transport = transport
        self.write: Callable[[bytes], object] = transport.write
        self.queued: Callable[[], int] = transport.get_write_buffer_size
        self.send: Callable[[bytes], int]
        self._direct = False  # whether there is a ``send``
        self.lost = False
        self.writable = True
        self.on_lost: Callable[[], None] = _ignore
        self.on_writable: Callable[[], None] = _ignore

    def engage(self, on_lost: Callable[[], None], on_writable: Callable[[], None]) -> bool:
        """From now on input is held, and the client's leaving is told. False if it has left already."""
        self.on_lost = on_lost
        self.on_writable = on_writable
        return self._protocol.engage(self)

    def outlet(self) -> Port | None:
        """Itself as ``engine.lane.Outlet``, where bytes can be given to the socket beside its transport: not under TLS.

        A transport closes its socket after it has told of the connection's end, never before: until ``on_lost`` the
        number is that of our connection.
        """
        if not self._direct:
            sock = self.transport.get_extra_info("socket")
            if sock is None or self.transport.get_extra_info("sslcontext") is not None:
                return None
            self.send = borrowed(sock)
            self._direct = True
        return self

    def begin(self, headers: Headers) -> None:
        """The head of a chunked answer, status 200. It leaves with the first chunk, or at the end of the turn.

        From that chunk on writes go straight to the socket, and it is said at once when that is full."""
        self.write(self._head(200, headers) + b"transfer-encoding: chunked\r\n\r\n")
        self.transport.set_write_buffer_limits(high=0)

    def end(self, data: bytes) -> None:
        """The last bytes of a chunked answer."""
        self._complete((chunk(data) if data else b"") + LAST_CHUNK)

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer; *headers* tell its length."""
        self._complete(self._head(status, headers) + b"\r\n" + body)

    def fail(self) -> None:
        """An answer that cannot be given: 500, or the end of the connection if it was begun."""
        if self.cycle.response_started:
            self._protocol.drop()
        else:
            self.answer(500, [(b"content-length", b"0")], b"")

    def release(self) -> None:
        """The connection goes back to ordinary HTTP. Idempotent."""
        self.on_lost = self.on_writable = _ignore
        self._protocol.release(self)

    def _head(self, status: int, headers: Headers) -> bytes:
        """Status line and fields. Ours come from us, and what is passed on of a provider's came out of a parser."""
        cycle = self.cycle
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        fields = [b"%b: %b\r\n" % field for field in (*cycle.default_headers, *headers)]
        if not cycle.keep_alive:
            fields.append(b"connection: close\r\n")
        return STATUS_LINE[status] + b"".join(fields)

    def _complete(self, data: bytes) -> None:
        """What ``RequestResponseCycle.send`` does at the end of an answer."""
        cycle = self.cycle
        if not self.transport.is_closing():
            self.write(data)
        self.release()
        cycle.response_complete = True
        cycle.scope.pop("extensions", None)  # it holds us, and we it
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
