"""A batch on its way into a store, until the store has it.

One that failed is tried again as it was, for its answer may only have been lost. What the store will never take is left
out, so that nobody else's part waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenwire.errors import StoreConflict, StoreFailed

if TYPE_CHECKING:
    from tokenwire.engine.clock import Clock
    from tokenwire.engine.stores.port import Append, Note, Store
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Wheel

#: A failed write is tried again after so long, and then after twice that, up to the second figure.
RETRY: Final = (0.1, 2.0)
#: A write that takes longer than this is told to operators and readers.
PATIENCE: Final = 1.0

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """One write; *streams*: for each append its stream and the newest entry in it."""

    appends: list[Append]
    streams: list[tuple[Stream, int]]
    notes: list[Note]

    def refuse(self, error: StoreConflict) -> bool:
        """The store does not take one stream's part: that stream is not stored any more, the others are. False: it is
        none of these."""
        for at, append in enumerate(self.appends):
            if append.stream == error.stream:
                stream, _ = self.streams.pop(at)
                self.appends.pop(at)
                if stream.kept is not None and not stream.kept.over:  # else it was deleted while this was on its way
                    stream.kept.over = True
                    log.error("%s; it is not stored any more", error)
                return True
        log.error("%s; nobody has told the store to store it", error)
        return False

    def drop_deleted(self) -> None:
        """A store that knew nothing of a stream when it was told to forget it would take what is repeated as a new
        one."""
        for at in reversed(range(len(self.appends))):
            kept = self.streams[at][0].kept
            if kept is not None and kept.over:
                del self.appends[at], self.streams[at]

    def give_up(self) -> None:
        """None of it is stored, and so nothing that would follow it."""
        for stream, _ in self.streams:
            if stream.kept is not None:
                stream.kept.over = True
        log.error("%d streams and %d notes are not stored any more", len(self.streams), len(self.notes))

    def written(self) -> None:
        """The store has what is left of it."""
        for stream, sent in self.streams:
            if stream.kept is not None:
                stream.kept.stored = sent
                stream.kept.acknowledged = True


class Writer:
    """Of one store: one ``write`` at a time.

    Attributes:
        writes: that are over, with what was given up.
        failures: tries that failed.
    """

    def __init__(self, store: Store, clock: Clock, wheel: Wheel) -> None:
        self._store = store
        self._clock = clock
        self._wheel = wheel
        self._batch: Batch | None = None
        self._since_ns: int | None = None  # the write under way was first tried then
        self._failing: str | None = None
        self.writes = 0
        self.failures = 0

    @property
    def lag(self) -> float:
        """Seconds since the write under way was first tried."""
        return 0.0 if self._since_ns is None else (self._clock.now_ns() - self._since_ns) / 1e9

    @property
    def degraded(self) -> str | None:
        """What is wrong with the store, if anything is."""
        if self._failing is not None:
            return self._failing
        return f"a write has taken {self.lag:.1f} s so far" if self.lag > PATIENCE else None

    def has(self, stream_id: str) -> bool:
        """Whether something of that stream is on its way."""
        return self._batch is not None and any(append.stream == stream_id for append in self._batch.appends)

    async def write(self, batch: Batch) -> None:
        """Until it is written."""
        self._batch = batch
        try:
            await self._write(batch)
        finally:
            self._batch = None

    async def _write(self, batch: Batch) -> None:
        pause, longest = RETRY
        self._since_ns = self._clock.now_ns()
        while batch.appends or batch.notes:
            try:
                await self._store.write(batch.appends, batch.notes)
            except StoreConflict as error:
                if not batch.refuse(error):
                    batch.give_up()
                    break
            except StoreFailed as error:
                self.failures += 1
                self._failing = error.message
                await self._pause(pause)
                pause = min(2 * pause, longest)
                batch.drop_deleted()
            except Exception:  # a bug, which would be there again at the next try: the others must not wait for it
                log.exception("the store failed in an unknown way")
                batch.give_up()
                break
            else:
                break
        self._failing = self._since_ns = None
        self.writes += 1
        batch.written()

    async def _pause(self, seconds: float) -> None:
        """By the hub's clock, which tests move."""
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._wheel.after(seconds, lambda: None if waited.done() else waited.set_result(None))
        try:
            await waited
        finally:
            timer.cancel()
