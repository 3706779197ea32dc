"""Streams that were deleted, until the store has nothing of them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from tokenwire.errors import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.engine.clock import Clock
    from tokenwire.engine.stores.port import Store
    from tokenwire.engine.writing import Writer

#: What could not be deleted is tried again after so long, seconds: the store's writes wait for each try.
AGAIN: Final = 10.0

log = logging.getLogger(__name__)


class Deletions:
    """Of one store.

    Attributes:
        streams: that were deleted, and that the store may still have; whose each was.
    """

    def __init__(self, store: Store, clock: Clock, writer: Writer) -> None:
        self.streams: dict[str, str] = {}
        self._store = store
        self._clock = clock
        self._writer = writer
        self._task: asyncio.Task[None] | None = None
        self._from_ns = 0

    async def forget(self, streams: Iterable[str]) -> None:
        """The store has nothing of *streams* any more, but for what a write that is under way may bring: they are
        forgotten once more when that is over. Raises ``StoreFailed``."""
        streams = list(streams)
        surely = [stream for stream in streams if not self._writer.has(stream)]
        await self._store.forget(streams)
        for stream in surely:
            self.streams.pop(stream, None)

    def look(self) -> None:
        """Called now and then, while nothing is wrong with the store: what is left is tried again."""
        if not self.streams or self._task is not None or self._clock.now_ns() < self._from_ns:
            return
        if left := [stream for stream in self.streams if not self._writer.has(stream)]:
            self._task = asyncio.get_running_loop().create_task(self.forget(left))
            self._task.add_done_callback(self._tried)

    async def finish(self, seconds: float) -> bool:
        """Try for the last time, for *seconds* at most; whether nothing is left."""
        if self._task is not None:
            self._task.cancel()
        try:
            await asyncio.wait_for(self.forget([*self.streams]), seconds)
        except (StoreFailed, TimeoutError) as error:
            log.error("%d deleted streams are still in the store: %s", len(self.streams), error or "it is too slow")
        return not self.streams

    def _tried(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._from_ns = self._clock.now_ns() + int(AGAIN * 1e9)
            log.warning("deleted streams are still in the store, and are tried again: %s", error)

    def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
