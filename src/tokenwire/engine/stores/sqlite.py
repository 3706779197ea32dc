"""``sqlite://``: streams in one file, for one process.

Two threads with a connection each: one writes, one reads, so that a replay never waits for a write, nor a write for a
replay. All that is to be said about the data is in ``sqlite_database``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tokenwire.engine.stores import sqlite_lock, sqlite_schema
from tokenwire.engine.stores.port import PAGE, Append, Figures, Head, Note, Piece
from tokenwire.engine.stores.sqlite_database import Database
from tokenwire.engine.stores.sqlite_errors import told_at_open
from tokenwire.engine.stores.sqlite_reading import Reading
from tokenwire.engine.stores.sqlite_thread import Worker
from tokenwire.errors import StoreFailed

if TYPE_CHECKING:
    from typing import Self

_T = TypeVar("_T")

log = logging.getLogger(__name__)


class SqliteStore:
    """A ``Store`` in a SQLite file.

    ``open`` folds what a killed process left in the journal before it returns: some 100 ms at most of what one process
    usually leaves behind. ``close`` copies everything into the one file, so that it can be moved or copied alone.

    Args:
        path: of the file. It is made if it is not there, for its owner only; its directory, too, if that one's parent
            is there.
        wall: seconds since 1970; a test hands in its own.
    """

    def __init__(self, path: str | os.PathLike[str], *, wall: Callable[[], float] = time.time) -> None:
        self.path = str(Path(path).resolve())
        self._wall = wall
        self._changing = asyncio.Lock()  # open and close take turns
        self._writer: Worker | None = None
        self._reader: Worker | None = None
        self._database: Database | None = None
        self._reading: Reading | None = None
        self._connections: list[sqlite3.Connection] = []
        self._lock: int | None = None
        self._trouble: str | None = None  # what was logged last

    # ------------------------------------------------------------------ beginning and end

    async def open(self) -> Self:
        """As ``Store.open``. Raises ``StoreFailed`` if the file is locked or the disk full now: that may pass."""
        async with self._changing:
            if self._database is None:
                writer = self._writer = Worker("tokenwire-store-writer", self._upkeep)
                self._reader = Worker("tokenwire-store-reader")
                try:
                    await writer.run(self._connect)
                except BaseException:  # cancelled, too: whatever the thread has made by then is taken back
                    await asyncio.shield(self._end())
                    raise
        return self

    async def close(self) -> None:
        """As ``Store.close``. Cancelled, it is done all the same."""
        await asyncio.shield(self._closed())

    async def _closed(self) -> None:
        async with self._changing:
            await self._end()

    def _connect(self) -> None:
        try:
            sqlite_schema.make_file(self.path)
            self._lock = sqlite_lock.acquire(self.path)
            connection = sqlite_schema.connect(self.path)
            self._connections.append(connection)
            sqlite_schema.prepare(connection, self.path)
            database = Database(connection, self.path, self._wall)
            with told_at_open(self.path):
                database.load()
                reading = sqlite_schema.connect(self.path)
            self._connections.append(reading)
            self._reading = Reading(reading, self.path, database.lives, database.notes, self._wall)
            self._database = database
        except BaseException:
            self._disconnect()
            raise

    def _upkeep(self) -> bool:
        database = self._database
        try:
            more = database is not None and database.upkeep()
        except StoreFailed as error:  # what was written is safe in the journal; the next write's turn is the next try
            if self._trouble != error.message:
                log.warning("the store's upkeep has to wait: %s", error)
            self._trouble = error.message
            return False
        except Exception:  # a bug of ours must not end the thread, for which all writes would wait
            log.exception("the store's upkeep failed")
            return False
        self._trouble = None
        return more

    async def _end(self) -> None:
        writer, reader = self._writer, self._reader
        self._writer = self._reader = None
        if writer is None or reader is None:
            return
        await reader.run(lambda: None)  # what is being read is read to its end
        reader.stop()
        await writer.run(self._disconnect)
        writer.stop()
        reader.join()
        writer.join()

    def _disconnect(self) -> None:
        """In the writer's thread; the reader's has ended."""
        database, self._database, self._reading = self._database, None, None
        if database is not None:
            for connection in self._connections[1:]:  # a reader would keep the WAL from being emptied
                connection.close()
            try:
                database.fold_all()
            except StoreFailed as error:
                log.warning("the store was closed as it is, and is put in order when it is opened: %s", error)
        while self._connections:
            self._connections.pop().close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # ------------------------------------------------------------------ writing

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        await self._by_writer(lambda database: database.write(appends, notes))

    async def forget(self, streams: Sequence[str]) -> None:
        """As ``Store.forget``. Raises ``StoreFailed``, too, where another program that reads the file at the moment
        keeps their bytes in it: they are not shown any more, and the next call removes them."""
        await self._by_writer(lambda database: database.forget(streams))

    async def sweep(self, now: float) -> int:
        return await self._by_writer(lambda database: database.sweep(now))

    async def _by_writer(self, call: Callable[[Database], _T]) -> _T:
        writer, database = self._writer, self._database
        if writer is None or database is None:
            raise StoreFailed(f"{self.path} is not open")
        return await writer.run(partial(call, database))

    # ------------------------------------------------------------------ looking

    async def head(self, stream: str) -> Head | None:
        return await self._by_reader(lambda reading: reading.head(stream))

    async def pieces(self, stream: str, after: int = 0, limit: int = PAGE) -> list[Piece]:
        return await self._by_reader(lambda reading: reading.pieces(stream, after, limit))

    async def heads(self, owner: str, limit: int = 1000) -> list[Head]:
        return await self._by_reader(lambda reading: reading.heads(owner, limit))

    async def orphans(self, limit: int = 1000) -> list[Head]:
        return await self._by_writer(lambda database: database.orphans(limit))

    async def recall(self, kind: str, owner: str, key: str) -> bytes | None:
        return await self._by_reader(lambda reading: reading.recall(kind, owner, key))

    async def figures(self) -> Figures:
        return await self._by_reader(lambda reading: reading.figures())

    async def _by_reader(self, call: Callable[[Reading], _T]) -> _T:
        reader, reading = self._reader, self._reading
        if reader is None or reading is None:
            raise StoreFailed(f"{self.path} is not open")
        return await reader.run(partial(call, reading))
