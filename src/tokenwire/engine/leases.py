"""Leases: how a reader is known to be there when its connection cannot tell.

Some proxies go on reading an answer whose client has left. So a reader may hold a lease: it says again and again that
it is there, and one that lapses has left, as if its connection had ended. Renewals come on requests of their own, so
each lease has an id: the tabs of one caller share a stream, and none must keep another's dead connection alive.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenwire.errors import NotResumable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.engine.clock import Clock
    from tokenwire.engine.timers import Timer, Wheel

#: A renewal without an id says that its caller lives, not which of his connections do. The newest one is then kept for
#: as long as he says so, each older one for so many of its periods more: a connection that is dead ends, and a client
#: that lives comes back (at the usual 15 s, every five minutes).
PERIODS_UNNAMED: Final = 20


class Renewed(NamedTuple):
    """*leases* were renewed; the first of them lapses in *seconds*."""

    leases: int
    seconds: float


class Lease:
    """One reader's. Made by ``Leases.grant``.

    Attributes:
        id: by which it is renewed; unguessable, though of no use to another caller.
        seconds: how long it lasts after each renewal.
        named: it was renewed by its id: its client knows it, and nobody else renews it.
    """

    __slots__ = ("_limit_ns", "_timer", "expires_ns", "id", "lapsed", "named", "seconds")

    def __init__(self, seconds: float, now_ns: int, lapsed: Callable[[], None]) -> None:
        self.id = "le_" + secrets.token_urlsafe(9)
        self.seconds = seconds
        self.named = False
        self.lapsed: Callable[[], None] | None = lapsed
        self.expires_ns = now_ns + int(seconds * 1e9)
        self._limit_ns: int | None = None
        self._timer: Timer | None = None

    def arm(self, wheel: Wheel, clock: Clock) -> None:
        """One timer, which is not moved by renewals: it fires, looks, and waits for the rest."""
        left = (self.expires_ns - clock.now_ns()) / 1e9
        self._timer = wheel.after(max(0.0, left), lambda: self._due(wheel, clock))

    def renew(self, now_ns: int, *, named: bool) -> None:
        """It lasts its whole time from now on, unless others may keep it alive no longer."""
        self.named = self.named or named
        expires = now_ns + int(self.seconds * 1e9)
        self.expires_ns = expires if named or self._limit_ns is None else min(expires, self._limit_ns)

    def outdated(self, now_ns: int) -> None:
        """Another reader came after this one."""
        if self._limit_ns is None:
            self._limit_ns = now_ns + int(PERIODS_UNNAMED * self.seconds * 1e9)

    def release(self) -> None:
        """Nothing comes of it any more. Idempotent."""
        self.lapsed = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self, wheel: Wheel, clock: Clock) -> None:
        if self.expires_ns > clock.now_ns():
            self.arm(wheel, clock)
        elif self.lapsed is not None:
            self.lapsed()


class Leases:
    """Those of one stream, oldest first. As ``engine.leaving``, it does not know its stream."""

    __slots__ = ("_clock", "_held", "_wheel")

    def __init__(self, wheel: Wheel, clock: Clock) -> None:
        self._wheel = wheel
        self._clock = clock
        self._held: dict[str, Lease] = {}

    def __len__(self) -> int:
        """Leases in force."""
        return len(self._held)

    def grant(self, seconds: float, lapsed: Callable[[], None]) -> Lease:
        """A lease in force from now on. If it is not renewed within *seconds*, *lapsed* is called, once."""
        now = self._clock.now_ns()
        for older in self._held.values():
            older.outdated(now)

        def over() -> None:
            self.release(lease)
            lapsed()

        lease = Lease(seconds, now, over)
        lease.arm(self._wheel, self._clock)
        self._held[lease.id] = lease
        return lease

    def renew(self, lease_id: str | None = None) -> Renewed:
        """Renew the one of that id; without one, all that are not renewed by theirs.

        Raises ``NotResumable`` (404, ``lease_not_found``) if there is none: it lapsed, or its response is over.
        """
        now = self._clock.now_ns()
        if lease_id is None:
            found = [lease for lease in self._held.values() if not lease.named]
        else:
            found = [lease for lease in (self._held.get(lease_id),) if lease is not None]
        if not found:
            raise no_lease(lease_id)
        for lease in found:
            lease.renew(now, named=lease_id is not None)
        return Renewed(len(found), (min(lease.expires_ns for lease in found) - now) / 1e9)

    def release(self, lease: Lease) -> None:
        """Its reader is over. Idempotent."""
        self._held.pop(lease.id, None)
        lease.release()

    def over(self) -> None:
        """The stream has ended: who still reads what it said need not say that it is there."""
        for lease in list(self._held.values()):
            self.release(lease)


def no_lease(lease_id: str | None) -> NotResumable:
    """The answer to who renews what is not in force."""
    which = "without an id" if lease_id is None else f"of the id {lease_id[:40]!r}"
    return NotResumable(404, "lease_not_found", f"no lease {which} is in force: it lapsed, or its response is over")
