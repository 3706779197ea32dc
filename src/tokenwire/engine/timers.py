"""One coarse timer wheel for all deadlines: a stream has half a dozen, and none may cost anything per token.

A timer is put into the bucket of its deadline, rounded up to the granularity; one clock call serves the earliest
bucket. Deadlines that move with every token (between tokens, heartbeats) are not moved: they fire, look at the last
activity and arm themselves again for the rest. So a busy stream touches the wheel once per period, not per token.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable

from tokenwire.engine.clock import Clock, Handle

log = logging.getLogger(__name__)

#: 20 ms: the shortest deadline that anybody sets is a fraction of a second, and late by one frame harms nobody.
GRANULARITY_NS = 20_000_000


class Timer:
    """A pending call; ``cancel`` is cheap and may be repeated."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None] | None) -> None:
        self.callback = callback

    def cancel(self) -> None:
        self.callback = None

    @property
    def active(self) -> bool:
        return self.callback is not None


class Wheel:
    """Coarse timers over one clock. Callbacks run in the loop; what they raise is logged and harms no other timer."""

    def __init__(self, clock: Clock, granularity_ns: int = GRANULARITY_NS) -> None:
        self._clock = clock
        self._granularity = granularity_ns
        self._buckets: dict[int, list[Timer]] = {}
        self._order: list[int] = []
        self._handle: Handle | None = None
        self._armed_for: int | None = None

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call *callback* once, *seconds* from now or at most one granule later."""
        timer = Timer(callback)
        slot = (self._clock.now_ns() + int(seconds * 1e9)) // self._granularity + 1
        bucket = self._buckets.get(slot)
        if bucket is None:
            self._buckets[slot] = [timer]
            heapq.heappush(self._order, slot)
            if self._armed_for is None or slot < self._armed_for:
                self._arm(slot)
        else:
            bucket.append(timer)
        return timer

    def close(self) -> None:
        """Forget every timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed_for = None
        self._buckets.clear()
        self._order.clear()

    def __len__(self) -> int:
        """Timers that will still fire."""
        return sum(timer.active for bucket in self._buckets.values() for timer in bucket)

    def _arm(self, slot: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = slot
        delay = max(0, slot * self._granularity - self._clock.now_ns()) / 1e9
        self._handle = self._clock.call_later(delay, self._tick)

    def _tick(self) -> None:
        self._handle = None
        now = self._clock.now_ns() // self._granularity
        # What callbacks arm is due later than this, so none of it asks the clock: it is asked once, below, for the
        # earliest of all that wait.
        self._armed_for = now
        while self._order and self._order[0] <= now:
            for timer in self._buckets.pop(heapq.heappop(self._order)):
                callback = timer.callback
                if callback is None:
                    continue
                timer.callback = None
                try:
                    callback()
                except Exception:
                    log.exception("a timer's callback failed")
        self._armed_for = None
        if self._order:
            self._arm(self._order[0])
