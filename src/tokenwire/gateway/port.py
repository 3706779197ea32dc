"""What our edge offers to the app beside ASGI: the transport, for as long as an answer streams.

As ``scope["extensions"]["tokenwire.port"]``. The app sends ``http.response.start`` and the final empty body by ``send``
and stays awaiting in between; only chunks go to the port.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

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
        sock = self.transport.get_extra_info("socket")
        if sock is None or self.transport.get_extra_info("sslcontext") is not None:
            return None
        self.send = functools.partial(os.write, sock.fileno())
        return self

    def unbuffered(self) -> None:
        """Write straight to the socket, and say so at once when it is full."""
        self.transport.set_write_buffer_limits(high=0)

    def release(self) -> None:
        """The answer is complete but for its final ``send``: the connection goes back to ordinary HTTP."""
        self._protocol.release(self)
