"""A line between a client and a server that is cut before any answer: a TCP proxy in threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tokenwire.testing.processes import wait_for


class CuttingLine:
    """Connections to 127.0.0.1: the first *cuts* of them end, with their request passed on, as soon as *when* is true;
    the others are passed through."""

    def __init__(self, target: int, cuts: int, when: Callable[[], bool]) -> None:
        self._target = target
        self._when = when
        self.left = cuts
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def serve(self) -> None:
        """Until ``close``."""
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._carry, args=(near,))
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Every connection ends with it: a client may keep one for later."""
        for each in (self._server, *self._sockets):
            _shut(each)
        self._server.close()
        for thread in self._threads:
            thread.join()

    def _carry(self, near: socket.socket) -> None:
        far = socket.create_connection(("127.0.0.1", self._target))
        self._sockets += [near, far]
        with near, far:
            up = threading.Thread(target=_pump, args=(near, far))
            up.start()
            if self.left:
                self.left -= 1
                wait_for(self._when)
                _shut(far)
            else:
                _pump(far, near)
            _shut(near)
            up.join()


def _shut(end: socket.socket) -> None:
    with suppress(OSError):  # it is gone already
        end.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one of them is gone
        return


@contextmanager
def cutting(target: int, cuts: int, when: Callable[[], bool]) -> Iterator[CuttingLine]:
    """A line to port *target*, until the block ends."""
    line = CuttingLine(target, cuts, when)
    thread = threading.Thread(target=line.serve)
    thread.start()
    try:
        yield line
    finally:
        line.close()
        thread.join()
