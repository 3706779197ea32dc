"""What streams do, written to a store: behind the readers' backs, and never in their way.

The read loop is not told of this: it looks at the logs of running streams a few at a time, so that each is looked at
every quarter of a second, and writes down what is new. What begins, opens or ends is written at once. One write is
under way at a time; what comes meanwhile goes with the next.

A store that stalls or fails costs nobody a token. The logs hold what it does not have, up to a bound for the process;
past that new streams are refused. ``engine.writing`` tries until the batch under way is written; then the rest is
caught up with.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from tokenwire.engine.deletions import Deletions
from tokenwire.engine.heads import head_of
from tokenwire.engine.keeping import Keep, Kept, RecorderStatistics
from tokenwire.engine.pieces import pieces
from tokenwire.engine.stores.port import Append, Note
from tokenwire.engine.writing import PATIENCE, Batch, Writer

if TYPE_CHECKING:
    from tokenwire.engine.clock import Handle
    from tokenwire.engine.registry import Registry
    from tokenwire.engine.stores.port import Store
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Timer

log = logging.getLogger(__name__)


class Recorder:
    """One per hub that has a store. Plain calls in the loop's thread, but for what is ``async``.

    Attributes:
        gone: streams that were deleted, and that the store may still have; whose each was.
    """

    #: Streams are looked at in so many portions, so that no token waits for all of them.
    PORTIONS = 5
    #: Of one write: streams and entries, 2 ms of work before it is under way.
    MOST_STREAMS = 512
    MOST_ENTRIES = 8192
    #: Between two writes there is so much time at least: each costs as much as a hundred tokens, however little it has.
    GAP = 0.01

    def __init__(self, hub: Registry, store: Store, keep: Keep) -> None:
        self.store = store
        self.keep = keep
        self._hub = hub
        self._writer = Writer(store, hub.clock, hub.wheel)
        self._due: deque[Stream] = deque()
        self._notes: list[Note] = []
        self._ring: deque[Stream] = deque()
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._soon: Handle | None = None
        self._wrote_ns = 0
        self._told = False
        self._closed = False
        self._waiting = 0
        self._deletions = Deletions(store, hub.clock, self._writer)
        self.gone = self._deletions.streams

    # ------------------------------------------------------------------ what happens to streams

    def opened(self, stream: Stream) -> None:
        """A new stream, to be kept."""
        stream.kept = Kept()
        self._ring.append(stream)
        self.urgent(stream)
        if self._timer is None and not self._closed:
            self._timer = self._hub.wheel.after(self.keep.flush / self.PORTIONS, self._tick)

    def urgent(self, stream: Stream) -> None:
        """Something of *stream* is to be stored at once."""
        kept = stream.kept
        if kept is not None and not (kept.queued or kept.over):
            kept.queued = True
            self._due.append(stream)
            self._wake()

    def changed(self, stream: Stream) -> None:
        """What is known of *stream* beside its entries has changed."""
        if stream.kept is not None:
            stream.kept.changed = True
            self.urgent(stream)

    def note(self, note: Note) -> None:
        """A fact to be kept, with the next write."""
        self._notes.append(note)
        self._wake()

    def forgotten(self, stream: Stream) -> None:
        """*stream* was deleted: nothing more is written of it."""
        if stream.kept is not None:
            stream.kept.over = True

    async def delete(self, stream: Stream) -> None:
        """*stream*, which was forgotten, and its bytes are gone from the store. Raises ``StoreFailed``: then nobody is
        shown it any more, and it goes when the store is back."""
        self.gone[stream.id] = stream.owner
        task = self._task  # it may have some of it on the way; none that begins later has
        while task is not None and not task.done() and self.degraded is None:
            await asyncio.wait([task], timeout=PATIENCE)
        await self._deletions.forget([stream.id])

    async def delete_again(self, stream_id: str) -> None:
        """What is left of a deleted stream (``gone``) goes from the store. Raises ``StoreFailed``."""
        await self._deletions.forget([stream_id])

    def expires(self, stream: Stream) -> float:
        """When the store may forget *stream*, seconds since 1970, by the hub's clock: what a person sees as the time of
        its creation was read off one that anybody may set."""
        began = self._hub.wall() - (self._hub.clock.now_ns() - stream.created_ns) / 1e9
        hard = began + self.keep.hard_seconds
        if stream.ended_ns is None:
            return hard
        return min(hard, began + (stream.ended_ns - stream.created_ns) / 1e9 + self.keep.ended_seconds)

    # ------------------------------------------------------------------ what can be asked

    def safe(self, stream: Stream) -> bool:
        """Whether memory may forget *stream*: the store has all of it, or is not to have it."""
        kept = stream.kept
        if kept is None or kept.over:
            return True
        written = kept.ended and not (kept.changed or kept.queued or kept.unsettled)
        return written and kept.acknowledged and kept.stored == stream.log.last_frame

    @property
    def full(self) -> bool:
        """Whether as much waits to be stored as may."""
        return self._waiting > self.keep.unstored_bytes

    @property
    def degraded(self) -> str | None:
        """What is wrong with the store, if anything is."""
        return self._writer.degraded

    def statistics(self) -> RecorderStatistics:
        writer = self._writer
        return RecorderStatistics(
            writer.writes, writer.failures, writer.lag, self._waiting, writer.degraded is not None
        )

    # ------------------------------------------------------------------ when

    def look(self) -> None:
        """Every quarter of a second: how much waits, and whether readers are to be told of the store."""
        wrong = self.degraded
        if wrong is None:
            self._deletions.look()
        self._waiting = 0 if wrong is None else sum(map(_waiting, self._hub.kept()))
        if (wrong is not None) != self._told:
            self._told = wrong is not None
            if wrong is not None:
                log.warning("the store cannot keep up: %s; streams go on, and are kept in memory", wrong)
                self._hub.notice("degraded", what="store")  # the reason may name files: it is for operators
            else:
                log.warning("the store is back")
                self._hub.notice("recovered", what="store")

    def _tick(self) -> None:
        """A portion of the running streams: what has something new is written."""
        self._timer = None
        ring = self._ring
        for _ in range(-(-len(ring) // self.PORTIONS)):
            stream = ring.popleft()
            kept = stream.kept
            if stream.terminal is not None or kept is None or kept.over:
                continue  # whoever ends is told of at once
            ring.append(stream)
            if stream.log.last_frame > kept.sent and not kept.queued:
                kept.queued = True
                self._due.append(stream)
        self._go_on()
        if ring and not self._closed:
            self._timer = self._hub.wheel.after(self.keep.flush / self.PORTIONS, self._tick)

    def _wake(self) -> None:
        """Write when this turn of the loop is over: what else it brings goes with it. Right after another write, a
        little later: where much begins and ends, several go together."""
        if self._soon is not None or self._task is not None or self._closed:
            return
        pause = self._wrote_ns + int(self.GAP * 1e9) - self._hub.clock.now_ns()
        if pause > 0:
            self._soon = self._hub.clock.call_later(pause / 1e9, self._woken)
        else:
            self._soon = asyncio.get_running_loop().call_soon(self._woken)

    def _woken(self) -> None:
        self._soon = None
        self._go_on()

    def _go_on(self) -> None:
        if self._task is None and not self._closed and (self._due or self._notes):
            batch = self._collect()
            if batch.appends or batch.notes:
                self._task = asyncio.get_running_loop().create_task(self._writer.write(batch))
                self._task.add_done_callback(self._wrote)

    def _wrote(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self._wrote_ns = self._hub.clock.now_ns()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the recorder failed", exc_info=error)
        self._wake()

    # ------------------------------------------------------------------ what

    def _collect(self) -> Batch:
        """What is due, as much as one write takes."""
        batch = Batch([], [], self._notes)
        self._notes = []
        entries = 0
        due = self._due
        while due and len(batch.appends) < self.MOST_STREAMS and entries < self.MOST_ENTRIES:
            stream = due.popleft()
            kept = stream.kept
            if kept is None:
                continue
            kept.queued = False
            if kept.over:
                continue
            try:
                append = self._append(stream, kept)
            except Exception:  # one stream that cannot be written must not keep the others from it
                log.exception("stream %s cannot be written, and is not stored", stream.id)
                kept.over = True
                continue
            if append is not None:
                batch.appends.append(append)
                batch.streams.append((stream, kept.sent))
                entries += sum(piece.entries for piece in append.pieces)
        return batch

    def _append(self, stream: Stream, kept: Kept) -> Append | None:
        held = stream.log
        last = held.last_frame
        running = held.terminal is None
        restart = held.first > kept.sent + 1
        if restart:  # forgotten before it could be stored
            kept.sent = held.first - 1
        found = pieces(held, kept.sent) if last > kept.sent else ()
        kept.sent = last
        head: bytes | None = None
        shape = len(held.templates), len(held.attempts)
        if kept.changed or shape != kept.shape or (not running and not kept.ended):
            head = head_of(stream)
            kept.shape = shape
            kept.changed = False
            kept.unsettled = stream.estimates
        if head is None and not found:
            return None
        kept.ended = not running
        kept.acknowledged = False
        return Append(stream.id, stream.owner, found, head, running, self.expires(stream), restart)

    # ------------------------------------------------------------------ the end

    async def flush(self, seconds: float) -> bool:
        """Write all that is there, and delete what is to be deleted, for *seconds* at most; whether that is done."""
        for stream in self._hub.kept():
            self.urgent(stream)
        deadline = asyncio.get_running_loop().time() + seconds
        while not self._closed and (self._due or self._notes or self._task is not None):
            self._go_on()
            task = self._task
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            if task is not None:
                await asyncio.wait([task], timeout=left)
                await asyncio.sleep(0)  # for what is called when it is done
        if self.gone and not self._closed:
            return await self._deletions.finish(deadline - asyncio.get_running_loop().time())
        return not self._closed

    def close(self) -> None:
        """Stop. What was not flushed is lost."""
        self._closed = True
        for timer in (self._timer, self._soon):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._deletions.close()


def _waiting(stream: Stream) -> int:
    """About how many bytes of *stream* the store does not have."""
    kept = stream.kept
    return 0 if kept is None or kept.over else stream.log.taken_by(kept.stored)
