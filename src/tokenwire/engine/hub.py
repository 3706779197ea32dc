"""All streams of one process, and what is done about them from time to time: packed, forgotten, learned from, ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tokenwire.engine.learning import Learning
from tokenwire.engine.record import SAMPLE
from tokenwire.engine.registry import Registry
from tokenwire.engine.retention import Retention
from tokenwire.engine.timers import Timer
from tokenwire.measure.estimator import Estimator

if TYPE_CHECKING:
    from tokenwire.engine.clock import Clock
    from tokenwire.engine.stream import Stream

log = logging.getLogger(__name__)


class Hub(Registry):
    """Opens, finds and forgets streams. One per event loop."""

    #: How often retention and packing look around, seconds.
    TICK = 0.25
    #: How often the age of running streams is looked at, in ticks.
    AGE_TICKS = 20
    #: Running streams pack themselves. What an ended one leaves plain is less than a run, and packing it waits for a
    #: quiet moment (fewer new entries in a tick than this), or until this share of the bound is reached …
    PACK_QUIET = 1000
    PACK_FROM = 1 / 2
    #: … and is done in portions of two milliseconds with pauses between them, for no token may wait for it.
    PACK_FRAMES = 2048
    PACK_PAUSE = 0.02
    #: What it costs to read a frame for an estimate of the usage, in frames packed.
    PACK_SETTLE = 8
    #: Steps of 10 to 40 us that a tick reads of what is about to leave memory.
    COOL_STEPS = 128

    def __init__(self, clock: Clock, retention: Retention | None = None, *, estimator: Estimator | None = None) -> None:
        super().__init__(clock, retention or Retention(), Estimator() if estimator is None else estimator)
        self._learning = Learning(self.estimator)
        self._entries = 0  # of all streams, at the last tick
        # Those of the ended whose newest run is still plain, or whose usage is still to be estimated; oldest first.
        self._unpacked: dict[str, Stream] = {}
        self._packing = Timer(None)
        self._quiet = True
        self._ticks = 0
        self._tick_timer = self.wheel.after(self.TICK, self._tick)

    def ended(self, stream: Stream) -> None:
        super().ended(stream)
        if stream.id in self._ended:
            self._learning.ended(stream)
            if stream.log.packable or stream.estimates:
                self._unpacked[stream.id] = stream

    def close(self) -> None:
        """End every running stream and stop the clock."""
        for stream in self.running():
            stream.cancel("the relay is shutting down")
        self._tick_timer.cancel()
        if self.recorder is not None and self.archive is not None:
            self.recorder.close()
            self.archive.close()
        for errand in self.errands:
            errand.cancel()
        self.wheel.close()
        self.worker.close()

    def _tick(self) -> None:
        self._tick_timer = self.wheel.after(self.TICK, self._tick)
        self._ticks += 1
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
        if self._ticks % self.AGE_TICKS == 0:
            self._end_old()
        if self.recorder is not None:
            self.recorder.look()
            self._cool()
        self._forget_old()
        if self._bytes > self.retention.max_bytes and not self._evict(self.retention.max_bytes):
            self._trim(self._bytes - self.retention.max_bytes)

    def _forget_old(self) -> None:
        """What has been over for long leaves memory."""
        bounds = self.retention
        seconds = bounds.ended_seconds if self.recorder is None else min(bounds.rest_seconds, bounds.ended_seconds)
        cutoff = self.clock.now_ns() - int(seconds * 1e9)
        for stream in list(self._ended.values()):
            if stream.rests_ns > cutoff:
                break
            self._rest(stream)

    def _end_old(self) -> None:
        """What runs for too long, or has brought nothing for too long, expires."""
        now, bounds = self.clock.now_ns(), self.retention
        idle, hard = now - int(bounds.idle_seconds * 1e9), now - int(bounds.hard_seconds * 1e9)
        for stream in self.running():
            if stream.created_ns < hard:
                stream.expire(f"the stream ran for {bounds.hard_seconds:g} s")
            elif stream.last_ns < idle:
                stream.expire(f"nothing came for {bounds.idle_seconds:g} s")

    def _cool(self) -> None:
        """Of long logs memory keeps the newest part only, where the store has the rest. The longest come first: what
        goes is read before, and not all may have their turn in one tick."""
        keep, archive = self.retention.hot_bytes, self.archive
        assert archive is not None
        wanted: dict[str, Stream] = {}
        left = self.COOL_STEPS
        large = [each for each in [*self._running.values(), *self._warm.values()] if each.log.size > keep]
        for stream in sorted(large, key=lambda each: each.log.size, reverse=True):
            if stream.kept is None or stream.kept.over:
                continue
            if archive.brings(stream):  # somebody needs all of it at once
                wanted[stream.id] = stream
            else:
                left -= self._let_go(stream, stream.kept.stored, left)
        self._warm = {name: stream for name, stream in wanted.items() if name in self._ended}

    def _let_go(self, stream: Stream, stored: int, steps: int) -> int:
        """Of the entries up to *stored*, what is more than memory is to keep. What cannot be read in so many *steps*
        stays until there is twice as much, and then goes unread. Returns the steps that were taken."""
        keep, held = self.retention.hot_bytes, stream.log
        taken = stream.pass_by(held.coolable(keep, stored), steps)
        freed = held.cool(keep, min(stored, stream.passed))
        if held.taken_by(0) > 2 * keep:
            freed += held.cool(keep, stored)
        self.resized(stream, -freed)
        return taken

    def _pack_some(self) -> None:
        left = self.PACK_FRAMES
        while self._unpacked:
            stream = self._unpacked.pop(next(iter(self._unpacked)))
            if stream.log.packable:
                left -= len(stream.log.run)
                self.pack(stream)
            unsettled = stream.kept is not None and stream.kept.unsettled  # whoever else has asked for it
            if unsettled or (stream.estimates and (self._quiet or self.recorder is not None)):
                # While there is time: whoever lists a thousand streams that were cut would wait for all the estimates.
                # Or because memory is to be freed, and the store would not know them.
                left -= SAMPLE * self.PACK_SETTLE
                _ = stream.settled
                if self.recorder is not None:
                    self.recorder.changed(stream)
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

    def _drop(self, stream: Stream) -> None:
        super()._drop(stream)
        self._unpacked.pop(stream.id, None)
