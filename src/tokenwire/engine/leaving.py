"""What becomes of a stream that nobody reads any more, and of an answer that is whole while its body is not over.

Generation costs money, so it does not go on for nobody: the policy says whether it stops at once, lingers for a reader
who may come back, or is finished. An answer that is whole lacks at most its usage and the end of the HTTP body, and
neither is waited for without end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tokenwire.engine.leases import Leases
from tokenwire.engine.unread import COUNTED_FROM, Unread

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.engine.leases import Lease
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Timer

_FOREVER = float("inf")
#: As long as such a stream lingers where nobody says otherwise.
FIRST_READER_SECONDS = 15.0


class Leaving:
    """One per stream: its two deadlines, and its readers' leases. The stream is an argument and never kept, or the two
    would hold each other until the garbage collector comes; a timer holds it only until it fires or is cancelled.

    Attributes:
        leases: in force; None while there has been none, as in nearly every stream.
    """

    __slots__ = ("_drain_timer", "_linger_timer", "_promise", "leases")

    def __init__(self) -> None:
        self._linger_timer: Timer | None = None
        self._drain_timer: Timer | None = None
        self._promise: Lease | None = None
        self.leases: Leases | None = None

    def whole(self, stream: Stream) -> None:
        """The end marker came. May be said again."""
        if self._drain_timer is None and stream.log.terminal is None:
            self._drain_timer = stream.wheel.after(stream.policy.drain, stream.finish)

    def joined(self) -> None:
        """There is a reader (again)."""
        if self._promise is not None:  # it was to come, and has come
            assert self.leases is not None
            self.leases.release(self._promise)
            self._promise = None
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def left(self, stream: Stream) -> None:
        """A reader left, or none has come yet. If there is no other before the end, the policy decides."""
        if stream.readers or stream.log.terminal is not None:
            return
        policy = stream.policy
        if stream.is_whole():
            self._linger_timer = stream.wheel.after(policy.drain, lambda: self._drained(stream))
        elif policy.linger <= 0:
            stream.cancel("the reader left", code="client_left")
        else:
            if policy.linger != _FOREVER:
                self._linger_timer = stream.wheel.after(policy.linger, lambda: self._lapsed(stream))
            if policy.linger > COUNTED_FROM and min(policy.unread_usd, policy.unread_tokens) != math.inf:
                stream.hub.live.watch(stream).unread = Unread()

    def awaited(self, stream: Stream) -> None:
        """It was started, and nobody reads yet. Where a reader's leaving cancels at once, whoever began it still needs
        the time to come."""
        if stream.policy.linger > 0 or stream.readers or stream.log.terminal is not None:
            self.left(stream)
        else:
            self._linger_timer = stream.wheel.after(FIRST_READER_SECONDS, lambda: self._lapsed(stream))

    def promised(self, stream: Stream, seconds: float) -> Lease | None:
        """``awaited``, by somebody who says again and again that he will read, or have it read: until a reader comes,
        he counts as one. None where he need not: somebody reads, or it is over. Said again, it is a renewal."""
        if stream.readers or stream.log.terminal is not None:
            return None
        if self._promise is None:
            self.joined()
            self._promise = self.lease(stream, seconds, lambda: self._broken(stream))
        else:
            assert self.leases is not None
            self.leases.renew(self._promise.id)
        return self._promise

    def lease(self, stream: Stream, seconds: float, lapsed: Callable[[], None]) -> Lease:
        """A lease of one who reads *stream*; whoever is over releases it. *lapsed*: what his leaving is."""
        if self.leases is None:
            self.leases = Leases(stream.wheel, stream.clock)
        return self.leases.grant(seconds, lapsed)

    def over(self) -> None:
        """The stream has its terminal: nothing happens to it later."""
        self._promise = None
        if self.leases is not None:
            self.leases.over()
        for timer in (self._linger_timer, self._drain_timer):
            if timer is not None:
                timer.cancel()

    def _broken(self, stream: Stream) -> None:
        self._promise = None
        self.left(stream)

    def _drained(self, stream: Stream) -> None:
        self._linger_timer = None
        if not stream.readers:
            stream.finish()

    def _lapsed(self, stream: Stream) -> None:
        self._linger_timer = None
        if not stream.readers:
            seconds = stream.policy.linger or FIRST_READER_SECONDS
            stream.cancel(f"nobody read for {seconds:g} s", code="client_left")
