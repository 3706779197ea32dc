"""Bringing into the tables what the journal says: many rows with one call.

Each call of SQLite gives Python's lock away and takes it back, and the event loop's thread has to wait for whoever has
it: a call for each row would cost the loop more than it costs the writer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

from tokenwire.engine.stores.port import Note
from tokenwire.engine.stores.sqlite_journal import Live, pack_pieces
from tokenwire.engine.stores.sqlite_schema import ENTRY_BITS, RUNNING

#: Rows of one call. SQLite's bound on what is bound is 999 in old builds, and a stream's row is nine of them.
_TOGETHER: Final = 32

_BEGUN: Final = "INSERT INTO streams VALUES {}"
_KNOWN: Final = (
    "WITH new (number, state, expires, first, last, size, folded) AS (VALUES {}) "
    "UPDATE streams SET state = new.state, expires = new.expires, first = new.first, last = new.last, "
    "size = new.size, folded = new.folded FROM new WHERE streams.number = new.number"
)
_HEADS: Final = "INSERT OR REPLACE INTO heads VALUES {}"
_CHUNKS: Final = "INSERT INTO chunks VALUES {}"
_NOTES: Final = "INSERT OR REPLACE INTO notes VALUES {}"

#: For deletions, which are few.
_VOID: Final = "DELETE FROM chunks WHERE key >= ? AND key < ?"
_UNSET: Final = "DELETE FROM notes WHERE kind = ? AND owner = ? AND key = ?"


def range_of(live: Live) -> tuple[int, int]:
    """Keys of its chunks: from, to."""
    return live.number << ENTRY_BITS, (live.number + 1) << ENTRY_BITS


class Folding:
    """What is to be written of *lives* and *notes*, worked out; *newest*: the journal's newest row.

    Attributes:
        size: bytes of it, about.
    """

    def __init__(self, lives: list[Live], notes: Iterable[Note], newest: int) -> None:
        self._void = [range_of(live) for live in lives if live.voided and live.stored is not None]
        self._begun: list[tuple[Any, ...]] = []
        self._known: list[tuple[Any, ...]] = []
        self._heads: list[tuple[int, bytes]] = []
        self._chunks: list[tuple[int, bytes]] = []
        self.size = 0
        for live in lives:
            number, state, stored = live.number, live.state, live.stored
            row = (int(state.running) * RUNNING, state.expires, state.first, state.last, state.size, newest)
            if stored is None:
                self._begun.append((number, live.stream, live.owner, *row))
            else:
                self._known.append((number, *row))
            if stored is None or stored.head is not state.head:
                self._heads.append((number, state.head))
                self.size += len(state.head)
            if live.tail:
                data = pack_pieces(live.tail)
                self._chunks.append((number << ENTRY_BITS | live.tail[0].first, data))
                self.size += len(data)
        self._notes = [note for note in notes if note.value is not None]
        self._unset = [note[:3] for note in notes if note.value is None]

    def run(self, connection: sqlite3.Connection) -> None:
        """In a transaction: write it."""
        connection.executemany(_VOID, self._void)
        _together(connection, _BEGUN, self._begun)
        _together(connection, _KNOWN, self._known)
        _together(connection, _HEADS, self._heads)
        _together(connection, _CHUNKS, self._chunks)
        _together(connection, _NOTES, self._notes)
        connection.executemany(_UNSET, self._unset)


def _together(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    for at in range(0, len(rows), _TOGETHER):
        some = rows[at : at + _TOGETHER]
        marks = f"({', '.join('?' * len(some[0]))})"
        connection.execute(statement.format(", ".join([marks] * len(some))), [*chain(*some)])
