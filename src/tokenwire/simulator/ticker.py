"""One timer for all streams. Wakes each at its due time on a grid of one millisecond.

A timer per token would cost the loop a heap operation and a callback for each of 40,000 tokens a second; here streams
that are due in the same millisecond share one timer, and a stream costs a list append. The grid is what the loop can do
anyway: uvloop's clock counts whole milliseconds.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

Wake: TypeAlias = Callable[[float], None]


class Loop(Protocol):
    """The part of an event loop that is needed here, so that a test can bring its own clock."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], None], /) -> Any: ...

    def call_exception_handler(self, context: dict[str, Any], /) -> None: ...


class Ticker:
    """Calls back at given times, never early, and late by less than a millisecond plus the loop's own delay."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._buckets: dict[int, list[Wake]] = {}  # millisecond -> whom to wake
        self._ticks: list[int] = []  # a heap of the keys above
        self._timer: Any = None
        self._armed = math.inf  # the millisecond that the timer is set to

    def time(self) -> float:
        """The loop's time in seconds."""
        return self._loop.time()

    def at(self, due: float, wake: Wake) -> None:
        """Call *wake* with the time, at the loop time *due* (seconds) or right after this turn if that is past."""
        # A millionth of a millisecond off: 1.234 s is 1234.0000000000002 ms in floats, and is not the next tick.
        tick = math.ceil(due * 1000 - 1e-6)
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = [wake]
            heapq.heappush(self._ticks, tick)
            if tick < self._armed:
                self._arm(tick)
        else:
            bucket.append(wake)

    def close(self) -> None:
        """Wake nobody any more."""
        self._buckets.clear()
        self._ticks.clear()
        self._cancel()

    def _arm(self, tick: int) -> None:
        self._cancel()
        self._armed = tick
        self._timer = self._loop.call_at(tick / 1000, self._run)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._armed = math.inf

    def _run(self) -> None:
        now = self._loop.time()
        self._timer = None
        self._armed = math.inf
        last = math.floor(now * 1000 + 1e-6)
        due: list[Wake] = []
        # All that are due first, then their calls: one that wants to go on at once waits for the next turn of the
        # loop, so that a stream without delays cannot keep the others from theirs.
        while self._ticks and self._ticks[0] <= last:
            due += self._buckets.pop(heapq.heappop(self._ticks))
        for wake in due:
            try:
                wake(now)
            except Exception as error:
                # A bug in one stream must not silence all others.
                self._loop.call_exception_handler({"message": "a simulated stream failed", "exception": error})
        if self._ticks and self._ticks[0] < self._armed:
            self._arm(self._ticks[0])
