"""Streams that are no longer in memory, or not wholly: found in the store, and brought back a page at a time.

A stream that was found again is one like any other: it has a log, views and readers, and leaves memory when nobody has
used it for a while. Its entries come when they are read. Those of a small answer come with it.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from tokenwire.engine.heads import read_head, stream_of
from tokenwire.engine.keeping import Kept
from tokenwire.engine.pieces import take
from tokenwire.engine.states import Policy
from tokenwire.engine.stores.port import PAGE
from tokenwire.errors import NotResumable, Overloaded, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.engine.registry import Registry
    from tokenwire.engine.stores.port import Head, Store
    from tokenwire.engine.stream import Stream

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Streams that are brought back in a second, after a first crowd of as many. A restart makes all readers come back at
#: once, and each costs half a millisecond that the running streams need.
RATE: Final = 500
#: Of these, how many the store is asked for at the same time: more only wait for each other, it has one reader.
AT_ONCE: Final = 32
#: Who is one too many is asked to come back after so many seconds, each after another number of them.
COME_BACK: Final = (1, 6)
#: Orphans that are ended in one go, at the start: 5 ms each, if they are long.
PORTION: Final = 16
#: How long the store may take for their ends before it is tried again, after a pause; and how often one is tried.
FLUSH_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.02
AGAIN_SECONDS: Final = 0.5
TRIES: Final = 3


class ArchiveStatistics(NamedTuple):
    """*found*: streams brought back from the store; *pages*: of entries; *refused*: asked to come back later."""

    found: int
    pages: int
    refused: int
    orphaned: int


class Archive:
    """One per hub that has a store."""

    def __init__(self, hub: Registry, store: Store, policy: Policy, random: Random | None = None) -> None:
        self._random = random or Random()
        self._hub = hub
        self._store = store
        self._policy = policy
        self._coming: dict[str, asyncio.Task[Stream | None]] = {}
        self._deleted: set[str] = set()  # of these
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tokens = float(RATE)
        self._filled_ns = hub.clock.now_ns()
        self._shifts: dict[str, int] = {}  # from the clock of the process that wrote a stream to ours
        self._fetching: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._found = 0
        self._pages = 0
        self._refused = 0
        self._orphaned = 0

    def statistics(self) -> ArchiveStatistics:
        return ArchiveStatistics(self._found, self._pages, self._refused, self._orphaned)

    async def find(self, stream_id: str) -> Stream | None:
        """The stream, in memory from now on; None if the store does not know it. Whoever asks at the same time waits
        for the same answer.

        Raises ``StoreFailed``, and ``Overloaded`` when too many others wait.
        """
        if stream_id not in self._coming:
            self._admit()
        return await self._come(stream_id)

    async def _come(self, stream_id: str) -> Stream | None:
        task = self._coming.get(stream_id)
        if task is None:
            task = self._coming[stream_id] = asyncio.get_running_loop().create_task(self._find(stream_id))
            task.add_done_callback(lambda _: self._came(stream_id))
        return await _of(task)

    def _came(self, stream_id: str) -> None:
        self._coming.pop(stream_id, None)
        self._deleted.discard(stream_id)

    def deleted(self, stream_id: str) -> None:
        """It is being deleted: whoever is looking for it at this moment may have seen it in the store, and does not
        find it all the same."""
        if stream_id in self._coming:
            self._deleted.add(stream_id)

    def _admit(self) -> None:
        now = self._hub.clock.now_ns()
        self._tokens = min(float(RATE), self._tokens + (now - self._filled_ns) * RATE / 1e9)
        self._filled_ns = now
        if self._tokens < 1:
            self._refused += 1
            seconds = self._random.randrange(*COME_BACK)
            raise Overloaded(f"many come back at once; come back in {seconds} s", seconds=seconds)
        self._tokens -= 1

    async def _find(self, stream_id: str) -> Stream | None:
        async with self._turns:
            if self._gone(stream_id):
                return None
            head = await self._store.head(stream_id)
            if head is None or head.expires <= self._hub.wall():
                return None
            stream = self._hub.resident(stream_id)
            return stream if stream is not None else await self._restore(head)

    def _gone(self, stream_id: str) -> bool:
        """Whether it was deleted here, though the store may not know yet, or did not when it was asked."""
        recorder = self._hub.recorder
        return stream_id in self._deleted or (recorder is not None and stream_id in recorder.gone)

    async def _restore(self, head: Head) -> Stream | None:
        try:
            return await self._restored(head)
        finally:
            if self._hub.resident(head.stream) is None:
                self._shifts.pop(head.stream, None)

    async def _restored(self, head: Head) -> Stream | None:
        data = read_head(head.data)
        stream = stream_of(self._hub, head, data, self._policy)
        stream.kept = kept = Kept(head.last)
        self._shifts[stream.id] = stream.created_ns - data.created_ns
        self._found += 1
        if head.running:  # its process is gone: it ends now
            await self.bring(stream, whole=True)
            if (other := self._hub.resident(stream.id)) is not None or self._gone(stream.id):
                return other
            self._hub.adopt(stream)
            try:
                stream.orphan()
            except Exception:  # it would seem to run, and have no source
                self._hub.forget(stream)
                raise
            self._orphaned += 1
            return stream
        kept.ended, kept.changed = True, False
        if head.size <= PAGE:
            await self.bring(stream, whole=True)
        if (other := self._hub.resident(stream.id)) is not None or self._gone(stream.id):
            return other
        self._hub.adopt(stream)
        return stream

    # ------------------------------------------------------------------ entries

    async def bring(self, stream: Stream, seq: int = 1, *, whole: bool = False) -> None:
        """Entry *seq* and a page of those after it are in memory, or, with *whole*, all that are held.

        Raises ``StoreFailed``; ``NotResumable`` (410) if the store has them no longer.
        """
        key = (id(stream), 0 if whole else seq)  # not its name: one that was forgotten may be there again
        task = self._fetching.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._bring(stream, seq, whole))
            self._fetching[key] = task
            task.add_done_callback(lambda _: self._fetching.pop(key, None))
        await _of(task)

    def brings(self, stream: Stream) -> bool:
        """Whether somebody waits for all of it."""
        return (id(stream), 0) in self._fetching

    def fetch(self, stream: Stream, seq: int, then: Callable[[Exception | None], None], *, whole: bool = False) -> None:
        """``bring`` for who cannot wait: *then* is called in the loop, with what went wrong if something did."""

        async def fetching() -> None:
            try:
                async with self._turns:
                    await self.bring(stream, seq, whole=whole)
            except Exception as error:  # whatever it is: the reader would wait for ever
                if not isinstance(error, (StoreFailed, NotResumable)):
                    log.exception("stream %s: entry %d cannot be brought back", stream.id, seq)
                then(error)
            else:
                then(None)

        task = asyncio.get_running_loop().create_task(fetching())
        self._hub.errands.add(task)
        task.add_done_callback(self._hub.errands.discard)

    async def _bring(self, stream: Stream, seq: int, whole: bool) -> None:
        held = stream.log
        shift_ns = self._shifts.get(stream.id, 0)
        after = max(seq, held.first) - 1
        while True:
            found = await self._store.pieces(stream.id, after)
            self._pages += 1
            if not found and after < held.last_frame:
                raise stream.trimmed() if held.terminal else StoreFailed(f"stream {stream.id}: its entries are gone")
            before = held.size
            for taken in take(found, held.templates):
                taken.give(held, shift_ns)
                if held.terminal is None and stream.source is None:
                    taken.mark(held)
            if self._hub.resident(stream.id) is stream:
                self._hub.resized(stream, held.size - before)
            if not whole or not found:
                return
            after = found[-1].first + found[-1].entries - 1
            if after >= held.last_frame:
                return

    def forgotten(self, stream: Stream) -> None:
        """It is not in memory any more."""
        self._shifts.pop(stream.id, None)

    # ------------------------------------------------------------------ at the start

    async def end_orphans(self) -> None:
        """End what was running when the process before us went. Whoever asks for one of them earlier ends it by that.
        Goes on until all are ended; while the store fails it tries again."""
        tried: dict[str, int] = {}  # of those that are still there: what was ended and written is not
        while True:
            try:
                found = await self._store.orphans(PORTION + len(tried))
                tried = {head.stream: tried.get(head.stream, 0) for head in found}
                streams = [stream for stream, tries in tried.items() if tries < TRIES]
                if not streams:
                    return
                for stream in streams:
                    await self._end_orphan(stream, last=tried[stream] == TRIES - 1)
                if await self._written(streams):
                    again = any(tried[stream] for stream in streams)
                    tried.update((stream, tried[stream] + 1) for stream in streams)
                    if not again:
                        continue
            except StoreFailed as error:
                log.warning("streams of the process before this one cannot be ended yet: %s", error)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _written(self, streams: list[str]) -> bool:
        """Until the store has the ends of these, for a while; whether it has. Not by ``flush``: the running streams are
        not to pay for it."""
        recorder = self._hub.recorder
        assert recorder is not None
        deadline = self._hub.clock.now_ns() + int(FLUSH_SECONDS * 1e9)
        ending = [stream for name in streams if (stream := self._hub.resident(name)) is not None]
        while not all(map(recorder.safe, ending)):
            if self._hub.clock.now_ns() > deadline:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _end_orphan(self, stream_id: str, *, last: bool) -> None:
        try:
            await self._come(stream_id)  # somebody may be asking for it at this moment
        except Exception as error:  # one that cannot be read must not keep the others from their end
            if last:
                log.error(
                    "stream %s was running when the process before this one went, and stays so: %s",
                    stream_id, error, exc_info=None if isinstance(error, StoreFailed) else error,
                )  # fmt: skip

    def close(self) -> None:
        """Whoever waits for the store waits no longer."""
        for task in (*self._coming.values(), *self._fetching.values()):
            task.cancel()


async def _of(task: asyncio.Task[_T]) -> _T:
    """What *task* gives, which others may wait for, too. Raises ``StoreFailed`` if ``Archive.close`` has ended it: who
    waits was not cancelled, and answers."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        waiting = asyncio.current_task()
        if task.cancelled() and waiting is not None and not waiting.cancelling():
            raise StoreFailed("it is being closed") from None
        raise
