"""What a process that was killed left behind in the journal."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from tokenwire.engine.stores.port import Note
from tokenwire.engine.stores.sqlite_journal import About, Live, Record, State, unpack_entry
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
    latest: dict[int, Record] = {}
    notes: list[Note] = []
    oldest = newest = 0
    (known,) = connection.execute("SELECT coalesce(max(number), 0) FROM streams").fetchone()
    for newest, data in connection.execute("SELECT n, data FROM journal ORDER BY n"):
        oldest = oldest or newest
        entry = unpack_entry(data)
        notes += entry.notes
        for record in entry.records:
            number, about = record.number, record.about
            # Where a stream begins anew, the journal may know no more of its first beginning, and yet of what followed.
            if number not in lives or (lives[number] is None and about is not None and about.anew):
                # Most of thousands have begun since anything was folded.
                lives[number] = _known(connection, record) if number <= known else _begun(record)
            live = lives[number]
            if live is None or newest <= live.folded:
                continue
            if about is not None:
                live = lives[number] = _told(live, about)
            live.tail += record.pieces
            live.since = live.since or newest
            latest[number] = record
    return Left(
        oldest, newest, [_final(live, latest[live.number]) for live in lives.values() if live and live.since], notes
    )


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
    if live is not None:
        return live
    row = connection.execute(f"SELECT 1 FROM streams WHERE number = ? AND state = {GONE}", (record.number,)).fetchone()
    return _begun(record) if row is None else None


def _begun(record: Record) -> Live | None:
    """The stream that *record* begins; None if it does not."""
    about = record.about
    if about is None:
        return None
    state = State(about.head, about.running, about.first, about.first - 1, 0, record.expires)
    return Live(record.number, about.stream, about.owner, state, None, 0)


def _told(live: Live, about: About) -> Live:
    """*live* with what *about* says."""
    state = live.state
    if about.anew:
        live = live.anew()
    live.state = State(about.head, about.running, about.first, state.last, state.size, state.expires)
    return live


def _final(live: Live, record: Record) -> Live:
    """*live*, whose tail is whole, after the last *record* of it."""
    state, last = live.state, live.state.last
    if live.tail:
        last = live.tail[-1].first + live.tail[-1].entries - 1
    elif live.voided:
        last = state.first - 1
    live.state = State(state.head, state.running, state.first, last, record.size, record.expires)
    return live
