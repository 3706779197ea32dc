"""A time-out that is not fooled by our own lateness.

To connect takes a handful of turns of the event loop. With more sockets ready than libuv asks for at once (1,024) a
turn may take a second: it reads what is ready up to 48 times before it looks at anything else. By the clock alone an
upstream that answered at once would then have been given up.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

#: A limit is at least so many turns of the loop, however long these take.
TURNS = 20


class Patience:
    """``async with Patience(seconds)``: raises ``TimeoutError`` as ``asyncio.timeout`` does, after ``TURNS`` turns of
    the loop at the earliest."""

    __slots__ = ("_handle", "_left", "_limit", "_step")

    def __init__(self, seconds: float) -> None:
        self._limit = asyncio.timeout(None)
        self._step = seconds / TURNS
        self._left = TURNS
        self._handle: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._arm()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _arm(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(self._step, self._stepped)

    def _stepped(self) -> None:
        self._left -= 1
        if self._left:
            self._arm()
        else:
            self._limit.reschedule(asyncio.get_running_loop().time())
