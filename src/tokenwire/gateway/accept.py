"""Accepting many clients at once, which uvloop alone does not do.

libuv (since 1.45) accepts one connection in each turn of its loop. Of 800 clients that come
together to a busy relay, after a network's hiccup for instance, the last one waited for three to five seconds. So a
second look is had at the listening socket, and all that is left is taken.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

#: Connections taken in one turn: 5 ms of work, which the streams that run already can wait for.
BATCH = 64


class Acceptor:
    """Takes what the loop's own server leaves of *sock*'s connections, and gives each a protocol from *make*."""

    def __init__(self, sock: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock.dup()  # a file descriptor of its own, for a place of its own in the loop's poll set
        self._make = make
        self._adopting: set[asyncio.Task[None]] = set()
        self._loop.add_reader(self._sock, self._ready)

    def close(self) -> None:
        """Accept no more. Idempotent; connections that were accepted stay."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _ready(self) -> None:
        for _ in range(BATCH):
            try:
                client, _ = self._sock.accept()
            except ConnectionAbortedError:  # it left while it waited
                continue
            except OSError:  # none is left; or no file descriptor is, and then the loop's server knows what to do
                return
            client.setblocking(False)
            task = self._loop.create_task(self._adopt(client))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)

    async def _adopt(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, client)
        except OSError:
            client.close()
