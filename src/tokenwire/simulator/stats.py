"""What the simulator has done so far: counters, read by ``GET /stats`` and by tests in the same process."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass


@dataclass
class Stats:
    """Counters since the start.

    Attributes:
        requests: model answers that were asked for, refused ones included.
        active: answers under way.
        tokens: tokens written.
        done: answers that we ended, also if a fault was how.
        aborted: answers whose client left before the end.
        tokens_after_leave: tokens written that a leaving client never acknowledged: what was generated for nobody.
            Exact for a client that closes; one that resets may have received what it had not acknowledged yet, so
            there it is an upper bound.
        last_abort_ns: when the last leaving was seen (CLOCK_MONOTONIC, as for every process of this machine); 0: never.
    """

    requests: int = 0
    active: int = 0
    tokens: int = 0
    done: int = 0
    aborted: int = 0
    tokens_after_leave: int = 0
    last_abort_ns: int = 0

    def report(self) -> dict[str, int]:
        """The counters and ``now_ns``, the time of this report on the same clock as ``last_abort_ns``."""
        return {**asdict(self), "now_ns": time.monotonic_ns()}
