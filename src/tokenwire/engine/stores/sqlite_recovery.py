"""What a process that was killed left behind in the journal."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from tokenwire.engine.stores.port import Note
from tokenwire.engine.stores.sqlite_journal import Live, Record, State, unpack_entry
from tokenwire.engine.stores.sqlite_schema import GONE, RUNNING


class Left(NamedTuple):
    """``oldest``, ``newest``: numbers of the journal's rows; ``lives``: streams of which it says what the tables do not
    know; ``notes``: those in it, in order."""

    oldest: int
    newest: int
    lives: list[Live]
    notes: list[Note]


def left_behind(connection: sqlite3.Connection) -> Left:
    """Read the journal. Changes nothing.

    Raises:
        sqlite3.Error: the file cannot be read.
        msgspec.DecodeError: it is damaged.
    """
    lives: dict[int, Live | None] = {}
    notes: list[Note] = []
    oldest = newest = 0
    for newest, data in connection.execute("SELECT n, data FROM journal ORDER BY n").fetchall():
        oldest = oldest or newest
        entry = unpack_entry(data)
        notes += entry.notes
        for record in entry.records:
            number = record.number
            if number not in lives:
                lives[number] = _known(connection, record)
            live = lives[number]
            if live is not None and newest > live.folded:
                lives[number] = _replayed(live, record, newest)
    return Left(oldest, newest, [live for live in lives.values() if live is not None and live.since], notes)


def of_number(connection: sqlite3.Connection, number: int) -> Live | None:
    """The stream as the tables have it; None if they have not, or its id only."""
    row = connection.execute(
        "SELECT stream, owner, h.data, state, first, last, size, expires, folded "
        "FROM streams JOIN heads AS h USING (number) WHERE number = ?",
        (number,),
    ).fetchone()
    if row is None:
        return None
    stream, owner, data, state, first, last, size, expires, folded = row
    stored = State(data, state == RUNNING, first, last, size, expires)
    return Live(number, stream, owner, stored, stored, folded)


def _known(connection: sqlite3.Connection, record: Record) -> Live | None:
    """The stream that *record* is about, before it; None if it is gone."""
    live = of_number(connection, record.number)
    if live is not None or record.about is None:
        return live
    row = connection.execute(f"SELECT 1 FROM streams WHERE number = ? AND state = {GONE}", (record.number,)).fetchone()
    if row is not None:
        return None
    about = record.about
    state = State(about.head, about.running, about.first, about.first - 1, 0, record.expires)
    return Live(record.number, about.stream, about.owner, state, None, 0)


def _replayed(live: Live, record: Record, n: int) -> Live:
    """*live* after *record* of row *n*."""
    state, about = live.state, record.about
    head, running, first, last = state.head, state.running, state.first, state.last
    if about is not None:
        head, running, first = about.head, about.running, about.first
        if about.anew:
            live, last = live.anew(), first - 1
    if record.pieces:
        last = record.pieces[-1].first + record.pieces[-1].entries - 1
    live.tail += record.pieces
    live.state = State(head, running, first, last, record.size, record.expires)
    live.since = live.since or n
    return live
