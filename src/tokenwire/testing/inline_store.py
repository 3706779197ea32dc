"""The SQLite store without its threads: every call is done before it first waits. For simulations on a virtual loop,
where the same seed has to do the same.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tokenwire.engine.stores import sqlite_schema
from tokenwire.engine.stores.port import PAGE, Append, Figures, Head, Note, Piece
from tokenwire.engine.stores.sqlite_database import Database
from tokenwire.errors import StoreFailed

if TYPE_CHECKING:
    from typing import Self


class InlineSqliteStore:
    """A ``Store`` that is ``SqliteStore`` but for threads and the lock of its file.

    Args:
        path: of the file; ``:memory:`` is kept as long as this object, over ``close`` and ``crash``.
        wall: seconds since 1970.
    """

    def __init__(self, path: str = ":memory:", *, wall: Callable[[], float] = time.time) -> None:
        self.path = path
        self._wall = wall
        self._connection: sqlite3.Connection | None = None
        self._database: Database | None = None

    def crash(self) -> None:
        """What ``kill -9`` leaves: the file, as the last write left it."""
        self._database = None
        if self._connection is not None and self.path != ":memory:":
            self._connection.close()
            self._connection = None

    async def open(self) -> Self:
        if self._database is None:
            if self._connection is None:
                if self.path != ":memory:":
                    sqlite_schema.make_file(self.path)
                self._connection = sqlite_schema.connect(self.path)
                sqlite_schema.prepare(self._connection, self.path)
            database = Database(self._connection, self.path, self._wall)
            database.load()
            self._database = database
        return self

    async def close(self) -> None:
        if self._database is not None:
            self._database.fold_all()
        self.crash()

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        database = self._usable()
        database.write(appends, notes)
        database.upkeep()

    async def forget(self, streams: Sequence[str]) -> None:
        self._usable().forget(streams)

    async def sweep(self, now: float) -> int:
        return self._usable().sweep(now)

    async def head(self, stream: str) -> Head | None:
        return self._usable().reading.head(stream)

    async def pieces(self, stream: str, after: int = 0, limit: int = PAGE) -> list[Piece]:
        return self._usable().reading.pieces(stream, after, limit)

    async def heads(self, owner: str, limit: int = 1000) -> list[Head]:
        return self._usable().reading.heads(owner, limit)

    async def orphans(self, limit: int = 1000) -> list[Head]:
        return self._usable().orphans(limit)

    async def recall(self, kind: str, owner: str, key: str) -> bytes | None:
        return self._usable().reading.recall(kind, owner, key)

    async def figures(self) -> Figures:
        return self._usable().reading.figures()

    def _usable(self) -> Database:
        if self._database is None:
            raise StoreFailed("the store is not open")
        return self._database
