"""All streams of one process: their clock, their bounds, and how long an ended one is kept."""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from tokenwire.dialects.base import Dialect
from tokenwire.dialects.native import encode as native
from tokenwire.engine.clock import Clock
from tokenwire.engine.learning import Learning
from tokenwire.engine.live import Live
from tokenwire.engine.record import SAMPLE, StreamStatistics
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream
from tokenwire.engine.timers import Timer, Wheel
from tokenwire.errors import NotResumable, Overloaded
from tokenwire.measure.estimator import Estimator
from tokenwire.measure.worker import Worker

if TYPE_CHECKING:
    from tokenwire.measure.tokenizers import Tokenizer

log = logging.getLogger(__name__)


class Retention(Struct, frozen=True, kw_only=True):
    """Bounds of the in-memory store.

    Attributes:
        max_bytes: frames of all streams together. Ended streams go oldest first; when only running ones are left, the
            part of their logs that every reader has had is trimmed (who comes later is told: 410), and new streams are
            refused (503). A third of a small container's memory.
        ended_seconds: how long an ended stream can still be followed, at most.
        max_streams: running streams; doubling it doubles what a burst may cost (about 20 KiB each, and a socket).
    """

    max_bytes: int = 256 * 1024 * 1024
    ended_seconds: float = 600.0
    max_streams: int = 20_000


class HubStatistics(NamedTuple):
    streams: int
    running: int
    readers: int
    bytes_held: int
    opened: int
    completed: int
    failed: int
    cancelled: int
    evicted: int
    refused: int


class Hub:
    """Opens, finds and forgets streams. One per event loop; plain calls in its thread.

    Attributes:
        estimator: what is known of the models' tokens; every answer that is counted adds to it.
        tokenizers: by upstream, what counts its models' tokens exactly; called in a thread, one text at a time.
        live: who is told of the usage while it grows.
        worker: the thread for what must not keep the loop.
    """

    #: How often retention and packing look around, seconds.
    TICK = 0.25
    #: Running streams pack themselves. What an ended one leaves plain is less than a run, and packing it waits for a
    #: quiet moment (fewer new entries in a tick than this), or until this share of the bound is reached …
    PACK_QUIET = 1000
    PACK_FROM = 1 / 2
    #: … and is done in portions of two milliseconds with pauses between them, for no token may wait for it.
    PACK_FRAMES = 2048
    PACK_PAUSE = 0.02
    #: What it costs to read a frame for an estimate of the usage, in frames packed.
    PACK_SETTLE = 8

    def __init__(self, clock: Clock, retention: Retention | None = None, *, estimator: Estimator | None = None) -> None:
        self.clock = clock
        self.wheel = Wheel(clock)
        self.retention = retention or Retention()
        self.estimator = Estimator() if estimator is None else estimator
        self.tokenizers: dict[str, Tokenizer] = {}
        self.live = Live(clock, self.wheel)
        self.worker = Worker()
        self._learning = Learning(self.estimator)
        self._streams: dict[str, Stream] = {}
        self._ended: dict[str, Stream] = {}  # in order of ending
        self._names: list[bytes] = []
        self._opened = 0
        self._evicted = 0
        self._refused = 0
        self._ends: dict[str, int] = {}
        self._running: dict[str, Stream] = {}
        self._ended_bytes = 0  # what the ended ones hold: they can be many, and change only here
        self._bytes = 0
        self._ended_entries = 0  # of all that ever ended
        self._entries = 0  # of all streams, at the last tick
        # Those of the ended whose newest run is still plain, or whose usage is still to be estimated; oldest first.
        self._unpacked: dict[str, Stream] = {}
        self._packing = Timer(None)
        self._quiet = True
        self._tick_timer = self.wheel.after(self.TICK, self._tick)

    def open(self, *, owner: str, dialect: Dialect, model: str, policy: Policy, hide_usage: bool = False) -> Stream:
        """A new stream in state ``queued``. Raises ``Overloaded`` when a bound of the process is reached."""
        running = len(self._running)
        if running >= self.retention.max_streams:
            self._refused += 1
            raise Overloaded(f"{running} streams are running, the most that this process takes")
        if self._bytes > self.retention.max_bytes and not self._evict(self.retention.max_bytes):
            self._refused += 1
            raise Overloaded("the running streams hold all the memory that this process may use for them")
        stream_id = self._new_id()
        stream = Stream(self, stream_id, owner=owner, dialect=dialect, model=model, policy=policy, hide=hide_usage)
        self._streams[stream_id] = self._running[stream_id] = stream
        self._opened += 1
        return stream

    def get(self, stream_id: str, owner: str) -> Stream:
        """The caller's stream. Raises ``NotResumable`` (404), the same for a stranger's stream as for none."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.owner != owner:
            raise NotResumable(404, "stream_not_found", f"no stream {stream_id[:64]!r}")
        return stream

    def mine(self, owner: str) -> Iterator[Stream]:
        """The caller's streams, oldest first."""
        return (stream for stream in self._streams.values() if stream.owner == owner)

    def running(self) -> list[Stream]:
        return list(self._running.values())

    def notice(self, code: str, **fields: Any) -> None:
        """Tell it to everyone who reads a running stream in the native dialect, the only one with a word for it. Who is
        behind is not told: news do not wait."""
        frame = native.notice(code, **fields)
        for stream in self.running():
            for view in stream.views:
                if view.dialect.name == native.NAME:
                    view.tell(frame)

    def forget(self, stream: Stream) -> None:
        """Drop a stream; a running one is cancelled first. Readers that are behind still get its end, and then its
        bytes are free."""
        stream.cancel("deleted")
        if stream.id in self._streams:
            self._drop(stream)

    def pack(self, stream: Stream) -> None:
        """Pack a stream's frames now."""
        saved = stream.log.pack()
        self._bytes -= saved
        if stream.id in self._ended:
            self._ended_bytes -= saved

    def ended(self, stream: Stream) -> None:
        """Called by a stream at its terminal."""
        state = stream.state.value
        self._ends[state] = self._ends.get(state, 0) + 1
        if self._running.pop(stream.id, None) is not None:
            self._ended[stream.id] = stream
            self._ended_bytes += stream.log.size
            self._ended_entries += stream.log.last
            self._learning.ended(stream)
            if stream.log.packable or stream.estimates:
                self._unpacked[stream.id] = stream

    def close(self) -> None:
        """End every running stream and stop the clock."""
        for stream in self.running():
            stream.cancel("the relay is shutting down")
        self._tick_timer.cancel()
        self.wheel.close()
        self.worker.close()

    def statistics(self) -> HubStatistics:
        """Frozen figures of this moment."""
        streams = list(self._streams.values())
        return HubStatistics(
            len(streams),
            len(self._running),
            sum(len(stream.readers) for stream in streams),
            sum(stream.log.size for stream in streams),
            self._opened,
            self._ends.get("completed", 0),
            self._ends.get("failed", 0),
            self._ends.get("cancelled", 0),
            self._evicted,
            self._refused,
        )

    def stream_statistics(self) -> list[StreamStatistics]:
        return [stream.statistics() for stream in self._streams.values()]

    def _tick(self) -> None:
        self._tick_timer = self.wheel.after(self.TICK, self._tick)
        running = self._running.values()
        self._bytes = self._ended_bytes + sum([stream.log.size for stream in running])
        before, self._entries = self._entries, self._ended_entries + sum([stream.log.last for stream in running])
        self._quiet = self._entries - before < self.PACK_QUIET
        self._learning.go_on()
        if self.tokenizers:
            for stream in self.running():
                if stream.tally is None and stream.counted_exactly:
                    self.live.watch(stream)
        if (self._quiet or self._bytes > self.retention.max_bytes * self.PACK_FROM) and not self._packing.active:
            self._pack_some()
        cutoff = self.clock.now_ns() - int(self.retention.ended_seconds * 1e9)
        for stream in list(self._ended.values()):
            if stream.ended_ns is None or stream.ended_ns > cutoff:
                break
            if not stream.readers:
                self._evict_one(stream)
        if self._bytes > self.retention.max_bytes and not self._evict(self.retention.max_bytes):
            self._trim(self._bytes - self.retention.max_bytes)

    def _pack_some(self) -> None:
        left = self.PACK_FRAMES
        while self._unpacked:
            stream = self._unpacked.pop(next(iter(self._unpacked)))
            if stream.log.packable:
                left -= len(stream.log.run)
                self.pack(stream)
            if self._quiet and stream.estimates:
                # While there is time: whoever lists a thousand streams that were cut would wait for all the estimates.
                left -= SAMPLE * self.PACK_SETTLE
                _ = stream.settled
            if left <= 0 and self._unpacked:
                self._packing = self.wheel.after(self.PACK_PAUSE, self._pack_some)
                return

    def _trim(self, excess: int) -> None:
        """Only running streams are left: forget what all of their readers have had, from the largest logs first."""
        for stream in sorted(self.running(), key=lambda each: each.log.size, reverse=True):
            freed = stream.trim(stream.log.size // 2)
            excess -= freed
            self._bytes -= freed
            if excess <= 0:
                return

    def _evict(self, bound: int) -> bool:
        """Forget ended streams that nobody reads, oldest first, until *bound* holds."""
        for stream in list(self._ended.values()):
            if self._bytes <= bound:
                break
            if not stream.readers:
                self._evict_one(stream)
        return self._bytes <= bound

    def _evict_one(self, stream: Stream) -> None:
        self._drop(stream)
        self._evicted += 1

    def _drop(self, stream: Stream) -> None:
        del self._streams[stream.id]
        stream.views = []  # they refer to it: a circle that only the garbage collector would find
        self._running.pop(stream.id, None)  # deleted from within its own end
        self._unpacked.pop(stream.id, None)
        self._bytes -= stream.log.size
        if self._ended.pop(stream.id, None) is not None:
            self._ended_bytes -= stream.log.size

    def _new_id(self) -> str:
        """128 random bits. Asked for 256 names at once: one call to the kernel costs as much as ``open``."""
        if not self._names:
            noise = secrets.token_bytes(16 * 256)
            self._names = [noise[at : at + 16] for at in range(0, len(noise), 16)]
        return "st_" + base64.urlsafe_b64encode(self._names.pop())[:22].decode()
