"""The one place where time enters the engine. Tests hand in another clock and move it themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Handle(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Monotonic time and deferred calls.

    ``now_ns`` is CLOCK_MONOTONIC in nanoseconds; ``wall`` is seconds since 1970, for people and never for durations.
    """

    def now_ns(self) -> int: ...

    def wall(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> Handle: ...


class LoopClock:
    """The running event loop's clock."""

    __slots__ = ("_loop", "now_ns", "wall")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self.now_ns = time.monotonic_ns
        self.wall = time.time

    def call_later(self, delay: float, callback: Callable[[], None]) -> Handle:
        return self._loop.call_later(delay, callback)
