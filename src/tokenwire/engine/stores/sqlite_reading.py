"""Looking into the file, beside whoever writes it.

The order is what makes an answer whole: memory first (what the tables do not know yet), the file second. What moves
from memory into the file in between is then seen twice, and never not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tokenwire.engine.stores.port import Figures, Head, Note, Piece
from tokenwire.engine.stores.sqlite_errors import told
from tokenwire.engine.stores.sqlite_journal import Live, unpack_pieces
from tokenwire.engine.stores.sqlite_schema import ENTRY_BITS, GONE, MOST_ENTRIES, RUNNING

_HEAD: Final = (
    "SELECT s.number, s.stream, s.owner, h.data, s.first, s.last, s.size, s.state, s.expires "
    f"FROM streams AS s JOIN heads AS h USING (number) WHERE s.state < {GONE} AND "
)
#: One statement, and so one moment of the file: the stream's row with each of its chunks, from the one that holds an
#: entry on. A stream without chunks is one row.
_PIECES: Final = f"""
SELECT s.expires, c.data FROM streams AS s LEFT JOIN chunks AS c
ON c.key >= coalesce(
    (SELECT max(key) FROM chunks WHERE key BETWEEN s.number << {ENTRY_BITS} AND (s.number << {ENTRY_BITS}) + ?2),
    s.number << {ENTRY_BITS})
AND c.key < (s.number + 1) << {ENTRY_BITS}
WHERE s.stream = ?1 AND s.state < {GONE} ORDER BY c.key
"""


class Reading:
    """Reads through *connection*, and of *lives*, by id, and *notes*: what the tables do not know.

    Of each method: raises ``StoreFailed`` if the file cannot be read.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: str,
        lives: Mapping[str, Live],
        notes: Callable[[], Mapping[tuple[str, str, str], Note]],
        wall: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._path = path
        self._lives = lives
        self._notes = notes
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
        page = _Page(after, limit)
        live = self._lives.get(stream)
        if live is None:
            self._chunks(stream, page, None)
            return page.pieces
        # The tail first, which goes last when it is folded: what is not in it any more is in the file.
        tail = list(live.tail)
        stored, voided, expires = live.stored, live.voided, live.state.expires
        if expires <= self._wall():
            return []
        if stored is not None and not voided and not self._chunks(stream, page, expires):
            return []  # it was forgotten just now
        page.add(tail)
        return page.pieces

    def _chunks(self, stream: str, page: _Page, expires: float | None) -> bool:
        """Add what ``chunks`` has. Returns whether the stream is known there, and its time not over."""
        wanted = min(max(page.after, 0), MOST_ENTRIES - 1) + 1
        known = False
        with told(self._path), closing(self._connection.execute(_PIECES, (stream, wanted))) as rows:
            for stored_expires, data in rows:
                if (stored_expires if expires is None else expires) <= self._wall():
                    return False
                known = True
                if data is not None:
                    page.add(unpack_pieces(data))
                if page.is_full:
                    break
        return known

    def heads(self, owner: str, limit: int) -> list[Head]:
        lives = {live.number: live for live in list(self._lives.values()) if live.owner == owner}
        now = self._wall()
        found = {number: live.head() for number, live in lives.items() if live.state.expires > now}
        counted = 0
        statement = f"{_HEAD} s.owner = ? ORDER BY s.number DESC"
        with told(self._path), closing(self._connection.execute(statement, (owner,))) as rows:
            for row in rows:
                if counted >= limit:
                    break
                if row[0] not in lives:
                    head = _head(row)
                    if head.expires <= now:
                        continue
                    found[row[0]] = head
                counted += row[0] in found
        return [found[number] for number in sorted(found)[max(len(found) - max(limit, 0), 0) :]]

    def recall(self, kind: str, owner: str, key: str) -> bytes | None:
        note = self._notes().get((kind, owner, key))
        if note is not None:
            return note.value if note.expires > self._wall() else None
        statement = "SELECT value FROM notes WHERE kind = ? AND owner = ? AND key = ? AND expires > ?"
        with told(self._path):
            row = self._connection.execute(statement, (kind, owner, key, self._wall())).fetchone()
        return None if row is None else bytes(row[0])

    def figures(self) -> Figures:
        now = self._wall()
        lives, notes = list(self._lives.values()), dict(self._notes())
        statement = (
            f"SELECT count(*), coalesce(sum(state = {RUNNING}), 0), coalesce(sum(last - first + 1), 0), "
            f"coalesce(sum(size), 0) FROM streams WHERE state < {GONE} AND expires > ?"
        )
        with told(self._path):
            run = self._connection.execute
            streams, running, entries, size = run(statement, (now,)).fetchone()
            (kept,) = run("SELECT count(*) FROM notes WHERE expires > ?", (now,)).fetchone()
            for name, note in notes.items():
                known = "SELECT count(*) FROM notes WHERE kind = ? AND owner = ? AND key = ? AND expires > ?"
                kept += (note.value is not None and note.expires > now) - run(known, (*name, now)).fetchone()[0]
        for live in lives:
            for sign, state in ((-1, live.stored), (1, live.state)):
                if state is not None and state.expires > now:
                    streams += sign
                    running += sign * state.running
                    entries += sign * (state.last - state.first + 1)
                    size += sign * state.size
        return Figures(streams, running, entries, size, kept, on_disk(self._path))

    def next_expiry(self) -> float | None:
        """The earliest deadline of a stream or a note, which may have passed; None if there is none."""
        lives, notes = dict(self._lives), self._notes().values()
        found: list[float | None] = [live.state.expires for live in lives.values()]
        found += [note.expires for note in notes if note.value is not None]
        with told(self._path):
            found += self._connection.execute("SELECT min(expires) FROM notes").fetchone()
            statement = f"SELECT stream, expires FROM streams WHERE state < {GONE} ORDER BY expires"
            with closing(self._connection.execute(statement)) as rows:
                found.append(next((expires for stream, expires in rows if stream not in lives), None))
        return min((expires for expires in found if expires is not None), default=None)


class _Page:
    """Pieces of one stream, from the one that holds entry *after + 1* on, until *limit* bytes are reached."""

    def __init__(self, after: int, limit: int) -> None:
        self.pieces: list[Piece] = []
        self.after = after
        self._left = limit

    @property
    def is_full(self) -> bool:
        return bool(self.pieces) and self._left <= 0

    def add(self, pieces: list[Piece]) -> None:
        """Those of *pieces* that belong here. What is here already is passed over."""
        for piece in pieces:
            if self.is_full:
                return
            last = piece.first + piece.entries - 1
            if last > self.after:
                self.pieces.append(piece)
                self.after = last
                self._left -= len(piece.data)


def on_disk(path: str) -> int:
    """Bytes that the store's files take."""
    total = 0
    for name in (path, f"{path}-wal", f"{path}-shm", f"{path}.lock"):
        try:
            total += Path(name).stat().st_size
        except OSError:
            continue  # it comes and goes
    return total


def _head(row: tuple[Any, ...]) -> Head:
    _, stream, owner, data, first, last, size, state, expires = row
    return Head(stream, owner, data, first, last, size, state == RUNNING, expires)
