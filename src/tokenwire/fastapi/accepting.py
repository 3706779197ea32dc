"""``gateway.accept`` under a server that is not ours: many clients come together, and uvloop takes one of them a turn.

uvicorn gives its protocols no listening socket, so that is looked for among the process's open files. Where it is not
found (no /proc, TLS, another loop), nothing is lost but the speed.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tokenwire.gateway.accept import Acceptor

_OPEN_FILES: Final = Path("/proc/self/fd")


class Beside(Acceptor):
    """Accepts beside a server, for as long as that listens itself."""

    def __init__(self, sock: socket.socket, files: dict[int, int], make: Callable[[], asyncio.Protocol]) -> None:
        super().__init__(sock, make)
        self._files = files

    def look(self) -> bool:
        """Whether the server still listens; else this ends, for it would keep the port open."""
        listens = all(_inode(number) == inode for number, inode in self._files.items())
        if not listens:
            self.close()
        return listens

    def _ready(self) -> None:
        if self.look():
            super()._ready()


def beside(transport: asyncio.Transport, make: Callable[[], asyncio.Protocol]) -> Beside | None:
    """An acceptor for the socket that *transport* came from; None where none is needed, or it cannot be had."""
    if isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):  # it takes a hundred a turn by itself
        return None
    if transport.get_extra_info("sslcontext") is not None:
        return None
    sock = transport.get_extra_info("socket")
    try:
        files = _listening(sock.family, sock.getsockname())
        number = next(iter(files))
        with socket.socket(fileno=os.dup(number)) as listener:
            return Beside(listener, files, make)
    except (AttributeError, OSError, StopIteration):
        return None


def _listening(family: int, name: object) -> dict[int, int]:
    """The open files of this process that are a socket which listens at *name*, and which file each is."""
    found: dict[int, int] = {}
    for number in [int(each) for each in os.listdir(_OPEN_FILES)]:
        try:
            sock = socket.socket(fileno=number)
        except OSError:  # it is none, or closed meanwhile (the directory's own file)
            continue
        try:
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and sock.family == family and _same(sock.getsockname(), name):
                found[number] = os.fstat(number).st_ino
        except OSError:  # a socket of another kind
            pass
        finally:
            sock.detach()  # it is somebody else's to close
    return found


def _same(bound: object, name: object) -> bool:
    """Whether connections to *name* come to a socket that is *bound* so: to that address, or to all of its port."""
    if isinstance(bound, tuple) and isinstance(name, tuple):
        return bound[1] == name[1] and bound[0] in (name[0], "0.0.0.0", "::")
    return bound == name


def _inode(number: int) -> int:
    try:
        return os.fstat(number).st_ino
    except OSError:
        return 0
