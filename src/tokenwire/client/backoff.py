"""How long to wait before trying again: exponential, with full jitter, so that a thousand clients do not come at once.

Randomness is handed in, and time is the caller's: nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

# Where doubling has long reached any sensible bound: 2 to a greater power would not fit into a float.
_MOST_DOUBLINGS = 60


class Retry(Struct, frozen=True, kw_only=True):
    """When to try again, and when not. Seconds.

    Attributes:
        first: bound of the first delay; each further one doubles it.
        longest: bound of every delay.
        healthy: a connection that lived so long was a good one, and counting begins anew.
        give_up: a stream without any progress for so long is given up. Two minutes outlast a restart of the relay.
        requests: tries of one plain request (start, look, cancel).
    """

    first: float = 0.5
    longest: float = 30.0
    healthy: float = 10.0
    give_up: float = 120.0
    requests: int = 3


class Backoff:
    """The delays of one thing that is tried again and again.

    Args:
        retry: the bounds.
        random: uniform in [0, 1).
    """

    def __init__(self, retry: Retry, random: Callable[[], float]) -> None:
        self._retry = retry
        self.random = random
        self.attempts = 0

    def delay(self, floor: float = 0.0) -> float:
        """Seconds until the next attempt: at least *floor*, which is what the server asked for."""
        bound = min(self._retry.longest, self._retry.first * 2.0 ** min(self.attempts, _MOST_DOUBLINGS))
        self.attempts += 1
        return max(floor, self.random() * bound)

    def reset(self) -> None:
        """It went well: begin anew."""
        self.attempts = 0
