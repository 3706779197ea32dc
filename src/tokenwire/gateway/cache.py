"""Answers that were whole, kept for who asks the same again; and questions under way that others may share.

In memory, for one process: the least recently used go first when the bound is reached, and all when their time is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tokenwire.engine.timers import Timer

if TYPE_CHECKING:
    from tokenwire.engine.clock import Clock
    from tokenwire.engine.recording import Recording
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Wheel


class Key(NamedTuple):
    """*digest*: of the question (``cache_key``); *streaming*: in which form the upstream is asked for its answer."""

    digest: bytes
    streaming: bool


class CacheStatistics(NamedTuple):
    """*answers* and *bytes* that are kept now; *running*: questions under way that can be shared. The others are counts
    since the start: *dropped* is what had to go before its time."""

    answers: int
    bytes: int
    running: int
    hits: int
    misses: int
    shared: int
    stored: int
    dropped: int


class Found(NamedTuple):
    """A kept answer, and how many seconds ago it was whole."""

    recording: Recording
    age: float


class _Entry(NamedTuple):
    recording: Recording
    kept_ns: int
    seconds: float


class Cache:
    """One per process. Plain calls in the loop's thread.

    Args:
        max_bytes: of all answers together.
        max_answer: of one; a larger one is not kept.
    """

    #: How often what has had its time is looked for, seconds; never, while nothing is kept.
    SWEEP = 5.0

    def __init__(self, clock: Clock, wheel: Wheel, *, max_bytes: int, max_answer: int) -> None:
        self._clock = clock
        self._wheel = wheel
        self._max_bytes = max_bytes
        self.max_answer = min(max_answer, max_bytes)
        self._entries: dict[Key, _Entry] = {}  # the least recently used first
        # The same by how long they are kept, the oldest first: what has had its time stands in front.
        self._ages: dict[float, dict[Key, None]] = {}
        self._running: dict[Key, Stream] = {}
        self._sweeping = Timer(None)
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._shared = 0
        self._stored = 0
        self._dropped = 0

    def find(self, key: Key, seconds: float, *, either: bool = False) -> Found | None:
        """The answer to that question, no older than *seconds*. *either*: also in the other form, if not in this."""
        for form in (key, key._replace(streaming=not key.streaming))[: 1 + either]:
            entry = self._entries.get(form)
            if entry is not None:
                age = (self._clock.now_ns() - entry.kept_ns) / 1e9
                if age < min(seconds, entry.seconds):
                    self._entries[form] = self._entries.pop(form)
                    self._hits += 1
                    return Found(entry.recording, age)
        self._misses += 1
        return None

    def keep(self, key: Key, recording: Recording, seconds: float) -> None:
        """Keep it for so long, instead of what was kept under that key."""
        self._drop(key)
        while self._entries and self._bytes + recording.size > self._max_bytes:
            self._drop(next(iter(self._entries)))
            self._dropped += 1
        self._entries[key] = _Entry(recording, self._clock.now_ns(), seconds)
        self._ages.setdefault(seconds, {})[key] = None
        self._bytes += recording.size
        self._stored += 1
        if not self._sweeping.active:
            self._sweeping = self._wheel.after(self.SWEEP, self._sweep)

    def running(self, key: Key) -> Stream | None:
        """The stream whose upstream is asked that question now; who gets it shares it."""
        origin = self._running.get(key)
        if origin is None or origin.log.first > 1:  # its beginning is gone: who comes now is too late
            return None
        self._shared += 1
        return origin

    def run(self, key: Key, origin: Stream) -> None:
        """*origin* can be shared until its end."""
        self._running[key] = origin

        def over() -> None:
            if self._running.get(key) is origin:
                del self._running[key]

        origin.on_end.append(over)

    def forget(self, key: Key) -> None:
        """Keep no answer to that question, in either form."""
        for streaming in (True, False):
            self._drop(key._replace(streaming=streaming))

    def clear(self) -> None:
        """Forget every answer."""
        for key in list(self._entries):
            self._drop(key)

    def statistics(self) -> CacheStatistics:
        """Frozen figures of this moment."""
        return CacheStatistics(
            len(self._entries),
            self._bytes,
            len(self._running),
            self._hits,
            self._misses,
            self._shared,
            self._stored,
            self._dropped,
        )

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.recording.size
            ages = self._ages[entry.seconds]
            del ages[key]
            if not ages:
                del self._ages[entry.seconds]

    def _sweep(self) -> None:
        now = self._clock.now_ns()
        for seconds, ages in list(self._ages.items()):
            while ages and (now - self._entries[next(iter(ages))].kept_ns) / 1e9 >= seconds:
                self._drop(next(iter(ages)))
        if self._entries:
            self._sweeping = self._wheel.after(self.SWEEP, self._sweep)
