"""Five deadlines, and the one timer that watches four of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Timer


class Deadlines(Struct, frozen=True, kw_only=True):
    """Seconds. They stand still while it is we who pause the reading.

    Attributes:
        connect: to a connection: name, address, TLS. A healthy network needs a tenth of a second.
        headers: from the request's last byte to the answer's head. Providers queue a request before they say 200.
        first_token: from the request's last byte to the first generated event. Long reasoning is streamed by some and
            hidden by others: two minutes of silence are then normal.
        between_tokens: from one event to the next. Comments and the dialect's pings do not count: a proxy that is
            alive says nothing of the model.
        total: the whole stream with all its attempts, from the first one's request. Longer than any model writes.
    """

    connect: float = 5.0
    headers: float = 60.0
    first_token: float = 120.0
    between_tokens: float = 60.0
    total: float = 3600.0


class Timed:
    """The half of an attempt that knows what time it is. A base and not an object beside it, for the same reason as
    ``upstream.reading``: the two would hold each other, and only the garbage collector would free them.

    Attributes:
        began_ns: when the first request for this stream was sent, later by as long as we paused.
        status: of the answer's head; 0 before it.
    """

    __slots__ = (
        "_deadlines",
        "_first",
        "_paused_ns",
        "_resumed_ns",
        "_sent_ns",
        "_stream",
        "_streaming",
        "_timer",
        "began_ns",
        "status",
    )

    def __init__(self, stream: Stream, deadlines: Deadlines, *, streaming: bool, began_ns: int | None) -> None:
        self._stream = stream
        self._deadlines = deadlines
        self._streaming = streaming
        self._first = began_ns is None  # and nothing was sent yet: to connect is not the answer's time
        self.began_ns = stream.clock.now_ns() if began_ns is None else began_ns
        self.status = 0
        self._sent_ns = 0
        self._paused_ns: int | None = None
        self._resumed_ns = 0
        self._timer: Timer | None = None

    def _late(self, message: str) -> None:
        """A deadline has passed."""
        raise NotImplementedError

    def _sent(self) -> None:
        """The request is on its way."""
        self._sent_ns = self._stream.clock.now_ns()
        if self._first:
            self._first = False
            self.began_ns = self._sent_ns
        self._arm(self._deadlines.total - (self._sent_ns - self.began_ns) / 1e9)

    def _stop(self) -> None:
        """Nothing can be late any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _stand_still(self) -> None:
        if self._paused_ns is None:
            self._paused_ns = self._stream.clock.now_ns()

    def _go_on(self) -> None:
        """What began before the pause began later by as long as it took."""
        if self._paused_ns is not None:
            self._resumed_ns = now = self._stream.clock.now_ns()
            self.began_ns += now - max(self._paused_ns, self.began_ns)
            self._sent_ns += now - max(self._paused_ns, self._sent_ns)
            self._paused_ns = None

    def _arm(self, seconds: float) -> None:
        """Look again after *seconds*, but within the shortest limit: no phase that begins meanwhile is then missed."""
        limits = self._deadlines
        soonest = min(seconds, limits.headers, limits.first_token, limits.between_tokens)
        self._timer = self._stream.wheel.after(max(soonest, 0.001), self._check)

    def _check(self) -> None:
        """One timer for four deadlines: find the one in force, and wait for what is left of it."""
        now, limits = self._stream.clock.now_ns(), self._deadlines
        if self._paused_ns is not None:
            self._arm(limits.between_tokens)  # we are the ones pausing: nothing can be late
            return
        since_sent = (now - self._sent_ns) / 1e9
        since_began = (now - self.began_ns) / 1e9
        if not self._streaming:  # a whole answer: not even its head comes before the last token
            phase, limit, elapsed = "total", limits.total, since_began
        elif not self.status:
            phase, limit, elapsed = "headers", limits.headers, since_sent
        elif self._stream.generated_ns is None:
            phase, limit, elapsed = "first_token", limits.first_token, since_sent
        else:
            since_last = (now - max(self._stream.spoke_ns(), self._resumed_ns)) / 1e9
            phase, limit, elapsed = "between_tokens", limits.between_tokens, since_last
        if since_began >= limits.total:
            phase, limit, elapsed = "total", limits.total, since_began
        left = min(limit - elapsed, limits.total - since_began)
        if left > 0:
            self._arm(left)
            return
        self._late(f"nothing from the upstream within {limit:g} s ({phase.replace('_', ' ')})")
