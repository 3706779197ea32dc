"""From a stream to the upstreams that may answer it: one attempt after another, until one brings a generated event.

Decides in the loop turn of a failure, without waiting: what is left between two attempts is one timer of the wheel, so
that a stream that ends meanwhile leaves nothing behind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from tokenwire.dialects.deltas import Failed
from tokenwire.engine.record import AttemptRecord
from tokenwire.errors import TokenwireError
from tokenwire.upstream.attempt import Attempt
from tokenwire.upstream.deadlines import Deadlines
from tokenwire.upstream.retry import Retry, elsewhere, retries
from tokenwire.wire.frames import MAX_FRAME

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Timer
    from tokenwire.upstream.connection import Headers
    from tokenwire.upstream.pool import Pool
    from tokenwire.upstream.request import Request


class Leg(Struct, frozen=True, kw_only=True):
    """One upstream of a route.

    Attributes:
        dialect: that it is asked in, and answers in.
        request: makes what it is sent, when its turn comes: most legs are never walked.
        streaming: whether that asks for a stream.
    """

    upstream: str
    model: str
    dialect: Dialect
    request: Callable[[], Request]
    streaming: bool
    deadlines: Deadlines = Deadlines()
    retry: Retry = Retry()


class Route:
    """A stream's source: asks the first of *legs*, as often as its ``retry`` allows, then the next one.

    Each leg keeps its own deadlines; only ``total`` is counted over all attempts.
    *noise* gives numbers from 0 to 1. ``start`` returns at once. What the provider's head said (``meta["headers"]``),
    its refusal (``meta["refused"]``) and who is asked (``meta["upstream"]``) are the present attempt's.
    """

    __slots__ = (
        "_at",
        "_attempt",
        "_began_ns",
        "_legs",
        "_max_event",
        "_noise",
        "_pacing",
        "_paused",
        "_pool",
        "_request",
        "_stream",
        "_timer",
        "_tries",
    )

    def __init__(
        self,
        stream: Stream,
        pool: Pool,
        legs: Sequence[Leg],
        *,
        pacing: bool = True,
        max_event: int = MAX_FRAME,
        noise: Callable[[], float] = random.random,
    ) -> None:
        self._stream = stream
        self._pool = pool
        self._legs = legs
        self._pacing = pacing
        self._max_event = max_event
        self._noise = noise
        self._at = 0  # the present leg
        self._tries = 0  # of it
        self._request: Request | None = None  # of it, while it may be needed again
        self._attempt: Attempt | None = None
        self._began_ns: int | None = None
        self._paused = False
        self._timer: Timer | None = None

    # ------------------------------------------------------------------ engine.stream.Source

    def start(self) -> None:
        """Send the first request, or connect first. Raises what making it raises."""
        request = self._legs[0].request()
        self._stream.connecting(self)
        self._ask(request)

    def abort(self) -> None:
        """Nothing is sent from now on, and no timer is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.settled()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            terminal = self._stream.terminal
            self._record(attempt, None if terminal is None else terminal.error)
            attempt.abort()

    def pause(self) -> None:
        self._paused = True
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        self._paused = False
        if self._attempt is not None:
            self._attempt.resume()

    # ------------------------------------------------------------------ engine.trial.Attempts

    def again(self, failed: Failed) -> bool:
        attempt = self._attempt
        assert attempt is not None  # it is what failed
        wait = self._wait(failed, attempt)
        if wait is None:
            return False
        self._record(attempt, failed)
        self._began_ns = attempt.began_ns
        self._attempt = None
        attempt.abort()
        self._stream.take_back()
        self._stream.meta.pop("headers", None)
        self._stream.meta.pop("refused", None)
        if wait:
            self._timer = self._stream.wheel.after(wait, self._next)
        else:
            self._next()
        return True

    def settled(self) -> None:
        self._legs = ()
        self._request = None

    # ------------------------------------------------------------------ inside

    def _wait(self, failed: Failed, attempt: Attempt) -> float | None:
        """Seconds until the next attempt, and whose turn it then is; None if there is none."""
        stream, leg = self._stream, self._legs[self._at]
        left = leg.deadlines.total - (stream.clock.now_ns() - attempt.began_ns) / 1e9
        if left <= 0:
            return None
        if self._tries < leg.retry.attempts and retries(failed, attempt.status, attempt.headers):
            wait = leg.retry.delay(self._tries, attempt.headers, stream.clock.wall(), self._noise())
            if wait is not None and wait < left:
                return wait
        if self._at + 1 < len(self._legs) and elsewhere(failed, attempt.status):
            self._at += 1
            self._tries = 0
            self._request = None
            return 0.0
        return None

    def _next(self) -> None:
        self._timer = None
        stream, leg = self._stream, self._legs[self._at]
        if not self._tries:
            stream.meta["upstream"] = leg.upstream
            stream.speaks(leg.dialect)
            stream.rename(f"{leg.upstream}/{leg.model}")
        try:
            request = self._request or leg.request()
        except TokenwireError as error:
            stream.fail(Failed(code="bad_request", message=f"{leg.upstream} cannot be asked this: {error}"))
        else:
            self._ask(request)

    def _ask(self, request: Request) -> None:
        stream, leg = self._stream, self._legs[self._at]
        self._tries += 1
        if self._tries < leg.retry.attempts or self._at + 1 < len(self._legs):
            self._request = request
            stream.on_trial(self)
        else:
            self.settled()
        stream.attempts.append(AttemptRecord(leg.upstream, leg.model, leg.dialect.name, stream.clock.now_ns()))
        self._attempt = attempt = Attempt(
            stream,
            self._pool,
            request,
            streaming=leg.streaming,
            deadlines=leg.deadlines,
            on_head=self._headed,
            pacing=self._pacing,
            max_event=self._max_event,
            number=len(stream.attempts),
            began_ns=self._began_ns,
        )
        if self._paused:
            attempt.pause()
        attempt.start()

    def _headed(self, status: int, headers: Headers) -> None:
        self._stream.meta["headers"] = headers

    def _record(self, attempt: Attempt, error: Failed | None) -> None:
        record = self._stream.attempts[-1]
        record.ended_ns = self._stream.ended_ns or self._stream.clock.now_ns()
        record.status = attempt.status or None
        record.error = error
