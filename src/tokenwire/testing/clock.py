"""A clock that moves only when a test says so: no sleeps, no flakes, an hour of idling in a millisecond."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

#: More calls than this at one instant are a callback that arms itself again without delay: it would never return.
_MOST_CALLS_AT_ONCE: Final = 100_000


class Call:
    """A deferred call of ``ManualClock``."""

    __slots__ = ("callback", "due_ns")

    def __init__(self, due_ns: int, callback: Callable[[], None]) -> None:
        self.due_ns = due_ns
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Never call it. Idempotent; does nothing once it was called."""
        self.callback = None


class ManualClock:
    """``tokenwire.engine.clock.Clock`` by hand.

    Deferred calls run inside ``advance``, in order of their due time, and those due at the same instant in the order
    in which they were asked for. While a call runs, the clock shows its due time. What a call raises comes out of
    ``advance``: the clock then stands at that instant, and a further ``advance`` goes on with the rest.

    Args:
        now_ns: the monotonic time to begin with, nanoseconds. Not 0, so that a forgotten default shows.
        wall: the time of day to begin with, seconds since 1970.
    """

    def __init__(self, *, now_ns: int = 1_000_000_000_000, wall: float = 1_763_600_000.0) -> None:
        self._now_ns = now_ns
        self._began_ns = now_ns
        self._wall = wall
        self._calls: list[tuple[int, int, Call]] = []
        self._asked = 0

    def now_ns(self) -> int:
        return self._now_ns

    def wall(self) -> float:
        return self._wall + (self._now_ns - self._began_ns) / 1e9

    def call_later(self, delay: float, callback: Callable[[], None]) -> Call:
        """Call *callback* when the clock is *delay* seconds further; a negative delay is none."""
        call = Call(self._now_ns + max(0, round(delay * 1e9)), callback)
        self._asked += 1
        heapq.heappush(self._calls, (call.due_ns, self._asked, call))
        return call

    def advance(self, seconds: float) -> None:
        """Move on by *seconds*, running what falls due on the way; 0 runs what is due now.

        Raises:
            ValueError: *seconds* is negative.
            RuntimeError: callbacks arm themselves again and again without delay.
        """
        if seconds < 0:
            raise ValueError("time does not run backwards")
        until = self._now_ns + round(seconds * 1e9)
        at_once = 0
        while self._calls and self._calls[0][0] <= until:
            due_ns, _, call = heapq.heappop(self._calls)
            callback, call.callback = call.callback, None
            if callback is None:
                continue
            at_once = at_once + 1 if due_ns <= self._now_ns else 0
            if at_once > _MOST_CALLS_AT_ONCE:
                raise RuntimeError(f"over {_MOST_CALLS_AT_ONCE} calls at one instant: {callback!r} never rests")
            self._now_ns = max(self._now_ns, due_ns)
            callback()
        self._now_ns = until

    @property
    def pending(self) -> int:
        """Deferred calls that are still to come."""
        return sum(call.callback is not None for _, _, call in self._calls)

    @property
    def next_in(self) -> float | None:
        """Seconds until the next deferred call; None if there is none."""
        due = [call.due_ns for _, _, call in self._calls if call.callback is not None]
        return (min(due) - self._now_ns) / 1e9 if due else None
