"""What the kernel is asked to do for a client's connection: notice that it vanished, and not hide that it is slow."""

from __future__ import annotations

import _socket
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_TCP = socket.IPPROTO_TCP
# Linux has them all; elsewhere the missing ones are left out.
_KEEP_IDLE = getattr(socket, "TCP_KEEPIDLE", None)
_KEEP_INTERVAL = getattr(socket, "TCP_KEEPINTVL", None)
_UNSENT = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)


class _Borrowed(_socket.socket):
    """A socket that is closed by its owner, and never by us."""

    __slots__ = ()

    def __del__(self) -> None:
        """In place of the close that a socket's end brings: by then the number may be another connection's."""


def borrowed(sock: socket.socket) -> Callable[[bytes], int]:
    """``send`` of a transport's socket: returns how many bytes it took, raises ``OSError`` if none.

    ``os.write`` does the same, and takes a microsecond more in the kernel's file layer: a tenth of a small write.
    """
    return _Borrowed(sock.family, sock.type, sock.proto, sock.fileno()).send


def tune(transport: asyncio.Transport, *, unsent_bytes: int, user_timeout: float) -> None:
    """Probe an idle client after 30 s, every 10 s; the rest is explained in ``edge_limits``."""
    options = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (_TCP, _KEEP_IDLE, 30),
        (_TCP, _KEEP_INTERVAL, 10),
        (_TCP, _UNSENT, unsent_bytes),
        (_TCP, _USER_TIMEOUT, int(user_timeout * 1000)),
    ]
    _set(transport, options)


def set_user_timeout(transport: asyncio.Transport, seconds: float) -> None:
    """How long sent bytes may stay unacknowledged, or a client's window closed, before the connection is given up."""
    _set(transport, [(_TCP, _USER_TIMEOUT, int(seconds * 1000))])


def _set(transport: asyncio.Transport, options: list[tuple[int, int | None, int]]) -> None:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return  # a Unix socket, or a transport of a test
    for level, name, value in options:
        if name is not None:
            try:
                sock.setsockopt(level, name, value)
            except OSError:  # a client that is already gone
                return
