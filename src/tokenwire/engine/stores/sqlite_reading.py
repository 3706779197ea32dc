"""Looking into the file, beside whoever writes it.

The order is what makes an answer whole: memory first (streams that run, and what of them is in the journal only), the
file second. What moves from memory into the file in between is then seen twice, and never not at all.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final

from tokenwire.engine.stores.port import Figures, Head, Piece
from tokenwire.engine.stores.sqlite_errors import told
from tokenwire.engine.stores.sqlite_journal import Live, unpack_pieces
from tokenwire.engine.stores.sqlite_schema import ENTRY_BITS, GONE, MOST_ENTRIES, RUNNING

_HEAD: Final = (
    "SELECT s.stream, s.owner, h.data, s.first, s.last, s.size, s.state, s.expires "
    f"FROM streams AS s JOIN heads AS h USING (number) WHERE s.state < {GONE} AND "
)
#: One statement, and so one moment of the file: the stream's row with each of its chunks, from the one that holds an
#: entry on. A stream without chunks is one row.
_PIECES: Final = f"""
SELECT s.first, s.expires, c.data FROM streams AS s LEFT JOIN chunks AS c
ON c.key >= coalesce(
    (SELECT max(key) FROM chunks WHERE key BETWEEN s.number << {ENTRY_BITS} AND (s.number << {ENTRY_BITS}) + ?2),
    s.number << {ENTRY_BITS})
AND c.key < (s.number + 1) << {ENTRY_BITS}
WHERE s.stream = ?1 AND s.state < {GONE} ORDER BY c.key
"""


class Reading:
    """Reads through *connection*; *lives* are the streams that the writer holds in memory, by id.

    Of each method: raises ``StoreFailed`` if the file cannot be read.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: str, lives: Mapping[str, Live], wall: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._path = path
        self._lives = lives
        self._wall = wall

    def head(self, stream: str) -> Head | None:
        live = self._lives.get(stream)
        if live is not None:
            head: Head | None = live.head()
        else:
            with told(self._path):
                row = self._connection.execute(f"{_HEAD} s.stream = ?", (stream,)).fetchone()
            head = None if row is None else _head(row)
        return head if head is not None and head.expires > self._wall() else None

    def pieces(self, stream: str, after: int, limit: int) -> list[Piece]:
        live = self._lives.get(stream)
        tail = [] if live is None else list(live.tail)
        wanted = min(max(after, 0), MOST_ENTRIES - 1) + 1
        found: list[Piece] = []
        size = 0
        with told(self._path), closing(self._connection.execute(_PIECES, (stream, wanted))) as rows:
            known = False
            for first, expires, data in rows:
                if (expires if live is None else live.shown.expires) <= self._wall():
                    return []
                if not known:  # what was written before the stream's new beginning does not count
                    known, after = True, max(after, first - 1)
                for piece in [] if data is None else unpack_pieces(data):
                    if piece.first + piece.entries - 1 > after:
                        found.append(piece)
                        size += len(piece.data)
                        if size >= limit:
                            return found
        if not known:
            return []
        if found:
            after = found[-1].first + found[-1].entries - 1
        for piece in tail:
            if piece.first + piece.entries - 1 > after:
                found.append(piece)
                size += len(piece.data)
                if size >= limit:
                    break
        return found

    def heads(self, owner: str, limit: int) -> list[Head]:
        lives = dict(self._lives)
        found: list[Head] = []
        now = self._wall()
        statement = f"{_HEAD} s.owner = ? ORDER BY s.number DESC"
        with told(self._path), closing(self._connection.execute(statement, (owner,))) as rows:
            for row in rows:
                if len(found) >= limit:
                    break
                live = lives.get(row[0])
                head = _head(row) if live is None else live.head()
                if head.expires > now:
                    found.append(head)
        return found[::-1]

    def recall(self, kind: str, owner: str, key: str) -> bytes | None:
        statement = "SELECT value FROM notes WHERE kind = ? AND owner = ? AND key = ? AND expires > ?"
        with told(self._path):
            row = self._connection.execute(statement, (kind, owner, key, self._wall())).fetchone()
        return None if row is None else bytes(row[0])

    def figures(self) -> Figures:
        now = self._wall()
        lives = list(dict(self._lives).values())
        statement = (
            f"SELECT count(*), coalesce(sum(state = {RUNNING}), 0), coalesce(sum(last - first + 1), 0), "
            f"coalesce(sum(size), 0) FROM streams WHERE state < {GONE} AND expires > ?"
        )
        with told(self._path):
            streams, running, entries, size = self._connection.execute(statement, (now,)).fetchone()
            (notes,) = self._connection.execute("SELECT count(*) FROM notes WHERE expires > ?", (now,)).fetchone()
        for live in lives:  # the rows of these lag behind
            row, shown = live.row, live.shown
            for sign, known, counts in ((-1, row, row.state == RUNNING), (1, shown, shown.running)):
                if known.expires > now:
                    streams += sign
                    running += sign * counts
                    entries += sign * (known.last - known.first + 1)
                    size += sign * known.size
        return Figures(streams, running, entries, size, notes, on_disk(self._path))

    def next_expiry(self) -> float | None:
        """The earliest deadline of a stream or a note, which may have passed; None if there is none."""
        statement = (
            f"SELECT min(expires) FROM (SELECT min(expires) AS expires FROM streams WHERE state < {GONE} "
            "UNION ALL SELECT min(expires) FROM notes)"
        )
        with told(self._path):
            (row,) = self._connection.execute(statement).fetchone()
        return None if row is None else float(row)


def on_disk(path: str) -> int:
    """Bytes that the store's files take."""
    total = 0
    for name in (path, f"{path}-wal", f"{path}-shm", f"{path}.lock"):
        try:
            total += os.stat(name).st_size
        except OSError:
            continue  # it comes and goes
    return total


def _head(row: tuple[Any, ...]) -> Head:
    stream, owner, data, first, last, size, state, expires = row
    return Head(stream, owner, data, first, last, size, state == RUNNING, expires)
