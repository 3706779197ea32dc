"""Names to addresses: asked when somebody connects, so that what changes in DNS is seen with the next connection.

Kept for a few seconds only. Without that, a thousand clients that come together would be a thousand questions for four
resolver threads, and the last of them would wait longer than it may take to connect.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, Any]
#: As ``loop.getaddrinfo`` with ``type=SOCK_STREAM``.
Resolve = Callable[[str, int], Awaitable[list[AddressInfo]]]

#: Above a DNS record's usual life (30 to 300 s) it would not stay; getaddrinfo does not tell that life.
KEEP_SECONDS: Final = 5.0
#: Names kept. An upstream or proxy is one, and there are as many as are configured.
MAX_NAMES: Final = 256


async def ask_system(host: str, port: int) -> list[AddressInfo]:
    """The system's resolver: hosts file, DNS, or whatever it is told to ask. Raises ``socket.gaierror``."""
    return list(await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))


class Resolver:
    """Asks *resolve* once for all who want to know at the same time, and keeps the answer for *keep_seconds*."""

    def __init__(
        self, now_ns: Callable[[], int], resolve: Resolve = ask_system, *, keep_seconds: float = KEEP_SECONDS
    ) -> None:
        self._now_ns = now_ns
        self._resolve = resolve
        self._keep_ns = int(keep_seconds * 1e9)
        self._kept: dict[tuple[str, int], tuple[int, list[AddressInfo]]] = {}
        self._asked: dict[tuple[str, int], _Question] = {}

    async def addresses(self, host: str, port: int) -> list[AddressInfo]:
        """Raises what *resolve* raises. Cancelling ends the question if nobody else waits for its answer."""
        key = (host, port)
        kept = self._kept.get(key)
        if kept is not None and self._now_ns() - kept[0] < self._keep_ns:
            return kept[1]
        question = self._asked.get(key)
        if question is None:
            question = self._asked[key] = _Question(asyncio.get_running_loop().create_task(self._ask(key)))
        question.waiting += 1
        try:
            return await asyncio.shield(question.task)
        finally:
            question.waiting -= 1
            if not question.waiting and not question.task.done():
                question.task.cancel()
                self._asked.pop(key, None)

    def forget(self, host: str, port: int) -> None:
        """None of its addresses was of use: the next one asks anew."""
        self._kept.pop((host, port), None)

    async def _ask(self, key: tuple[str, int]) -> list[AddressInfo]:
        task = asyncio.current_task()
        try:
            found = await self._resolve(*key)
        finally:
            question = self._asked.get(key)
            if question is not None and question.task is task:
                del self._asked[key]
        self._kept.pop(key, None)
        if found:
            self._kept[key] = (self._now_ns(), found)
            if len(self._kept) > MAX_NAMES:
                del self._kept[next(iter(self._kept))]  # the one that was asked longest ago
        return found


class _Question:
    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[list[AddressInfo]]) -> None:
        self.task = task
        self.waiting = 0
