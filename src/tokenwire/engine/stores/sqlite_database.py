"""A SQLite store without threads: each method is done when it returns. ``SqliteStore`` calls it from a thread of its
own; a simulation calls it directly, on a file or on ``:memory:``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tokenwire.engine.stores.port import TOMBSTONE_SECONDS, Append, Head, Note
from tokenwire.engine.stores.sqlite_errors import told
from tokenwire.engine.stores.sqlite_journal import (
    EMPTY,
    Journal,
    Live,
    Record,
    Row,
    Shown,
    pack_pieces,
    pack_records,
    unpack_records,
)
from tokenwire.engine.stores.sqlite_plan import Change, plan
from tokenwire.engine.stores.sqlite_reading import Reading
from tokenwire.engine.stores.sqlite_schema import ENTRY_BITS, GONE, RUNNING
from tokenwire.errors import StoreConflict, StoreFailed

#: Streams that are folded, or swept, in one transaction: some milliseconds.
_PORTION: Final = 64
#: Bytes of streams that are swept in one transaction: what is deleted is overwritten, page by page.
_SWEPT_BYTES: Final = 1024 * 1024
#: Free pages that are given back to the disk at a time, once a quarter of the file is free, and at least this much.
_FREED_PAGES: Final = 256
#: What is written before the WAL is copied back into the file, bytes. The disk is waited for then, twice.
_WAL_BYTES: Final = 8 * 1024 * 1024
_ROW_BYTES: Final = 4096  # what a changed row costs there: a page, most often


class Database:
    """The store's data through one connection, and what its writer holds in memory.

    ``load`` first. Not for several threads at once; ``reading`` is the exception: another ``Reading`` may look at the
    same file, and at ``lives``, from another thread.

    Of each method: raises ``StoreFailed`` when SQLite fails. Nothing is changed then, in the file or in memory.

    Args:
        connection: of ``sqlite_schema.connect``, prepared. It is the caller's to close.
        path: of its file, for messages.
        wall: seconds since 1970.
    """

    def __init__(self, connection: sqlite3.Connection, path: str, wall: Callable[[], float]) -> None:
        self._connection = connection
        self._path = path
        self._wall = wall
        self._journal = Journal()
        self._next_number = 1
        self._orphans: dict[str, None] = {}
        self._unclean = False
        self._unwritten = 0  # bytes in the WAL, about
        self.lives: dict[str, Live] = {}
        self.reading = Reading(connection, path, self.lives, wall)

    # ------------------------------------------------------------------ beginning and end

    def load(self) -> None:
        """Read what was left behind, and fold the journal of a process that was killed."""
        with told(self._path):
            (number,) = self._connection.execute("SELECT coalesce(max(number), 0) FROM streams").fetchone()
            newest, journalled = self._connection.execute(
                "SELECT coalesce(max(n), 0), coalesce(sum(length(data)), 0) FROM journal"
            ).fetchone()
            running = self._connection.execute(
                f"SELECT stream FROM streams WHERE state = {RUNNING} ORDER BY number"
            ).fetchall()
        self._next_number = number + 1
        self._journal.newest = newest
        self._orphans = {stream: None for (stream,) in running}
        if journalled > len(EMPTY):
            self._fold(self.left_behind(), clear=True)

    def left_behind(self) -> list[Live]:
        """The streams that have something in the journal's rows, with it as their tail. Changes nothing."""
        lives: dict[int, Live | None] = {}
        with told(self._path):
            for n, data in self._connection.execute("SELECT n, data FROM journal ORDER BY n").fetchall():
                for record in unpack_records(data):
                    if record.number not in lives:
                        lives[record.number] = self._of_number(record.number)
                    live = lives[record.number]
                    if live is not None and n > live.folded:
                        _replay(live, record)
        return [live for live in lives.values() if live is not None and (live.tail or live.row_now() != live.row)]

    def fold_all(self) -> None:
        """Bring everything into chunks, and empty the journal: what a store that is closed looks like."""
        self._fold(self._journal.tails(), clear=True)
        self.checkpoint(truncate=True)

    # ------------------------------------------------------------------ writing

    def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        """As ``Store.write``."""
        with told(self._path):
            changes = plan(appends, self._find, self._next_number, self._wall())
            records = [change.record() for change in changes if change.shown[1]]
            data = pack_records(records) if records else b""
            rows = [change for change in changes if change.changes_row]
            if rows or notes:
                with self._transaction():
                    self._write_rows(rows)
                    self._write_notes(notes)
                    if records:
                        self._connection.execute("INSERT INTO journal VALUES (?, ?)", (self._journal.newest + 1, data))
            elif records:  # most writes are this one: a single statement is a transaction by itself
                self._connection.execute("INSERT INTO journal VALUES (?, ?)", (self._journal.newest + 1, data))
        self._apply(changes, len(data) if records else None)
        for append in appends if self._orphans else ():
            self._orphans.pop(append.stream, None)
        self._unwritten += len(data) + _ROW_BYTES * (1 + len(rows) + len(notes))

    def _write_rows(self, rows: list[Change]) -> None:
        """Of streams that begin, end, restart or have another head."""
        run, newest = self._connection.executemany, self._journal.newest
        again = [_range(change.live) for change in rows if change.restarted and not change.begun]
        if again:
            run("DELETE FROM chunks WHERE key >= ? AND key < ?", again)
        begun, known, heads, chunks = [], [], [], []
        for change in rows:
            live, shown = change.live, change.shown
            number, (data, running, first, last, size, expires) = live.number, shown
            folded = live.folded if running and not change.restarted and not change.begun else newest
            if change.begun:
                begun.append((number, live.stream, live.owner, int(running), expires, first, last, size, folded))
            else:
                known.append((int(running), expires, first, last, size, folded, number))
            if change.headed:
                heads.append((number, data))
            if not running:
                pieces = [*([] if change.restarted else live.tail), *change.pieces]
                if pieces:
                    chunks.append((number << ENTRY_BITS | pieces[0].first, pack_pieces(pieces)))
        if begun:
            run("INSERT INTO streams VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", begun)
        if known:
            run(
                "UPDATE streams SET state = ?, expires = ?, first = ?, last = ?, size = ?, folded = ? WHERE number = ?",
                known,
            )
        if heads:
            run("INSERT OR REPLACE INTO heads VALUES (?, ?)", heads)
        if chunks:
            run("INSERT INTO chunks VALUES (?, ?)", chunks)

    def _write_notes(self, notes: Sequence[Note]) -> None:
        for note in notes:
            if note.value is None:
                self._connection.execute("DELETE FROM notes WHERE kind = ? AND owner = ? AND key = ?", note[:3])
            else:
                self._connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?, ?)", note)

    def _apply(self, changes: list[Change], journalled: int | None) -> None:
        """The file has *changes*: so has memory now. *journalled*: bytes of the new row of the journal, if there is
        one."""
        journal, weight = self._journal, 0
        for change in changes:
            live, shown = change.live, change.shown
            if change.begun or change.restarted or not shown[1]:
                journal.drop(live)
            if change.changes_row:
                self._next_number = max(self._next_number, live.number + 1)
                live.row = Row(shown.first, shown.last, shown.size, shown.expires, int(shown.running) * RUNNING)
            if shown[1]:
                weight += journal.grew(live, change.pieces, shown[4] - (0 if change.restarted else live.shown[4]))
                live.shown = shown
                self.lives[live.stream] = live
            else:
                live.shown = shown
                self.lives.pop(live.stream, None)
        if journalled is not None:
            journal.added(weight + journalled)

    # ------------------------------------------------------------------ upkeep

    def upkeep(self) -> bool:
        """What is to be done between two writes: fold large tails, shorten the journal, copy the WAL back. A portion of
        it at a time; returns whether there is more."""
        if self._unclean:
            self.checkpoint(truncate=True)
        due = self._journal.due(_PORTION)
        if due:
            self._fold(due)
        elif self._journal.needless() - self._journal.oldest() >= _PORTION:
            self._fold([])
        if self._unwritten >= _WAL_BYTES:
            self.checkpoint()
        return len(due) == _PORTION

    def _fold(self, lives: list[Live], *, clear: bool = False) -> None:
        """Make a chunk of each tail, and delete rows of the journal that hold none any more; with *clear*, all of them
        (*lives* are all that have a tail then)."""
        journal = self._journal
        newest = journal.newest
        chunks = [
            (live.number << ENTRY_BITS | live.tail[0].first, pack_pieces(live.tail)) for live in lives if live.tail
        ]
        now = [live.row_now() for live in lives]
        rows = [(*row, newest, live.number) for row, live in zip(now, lives, strict=True)]
        needless = newest if clear else journal.needless(lives)
        with told(self._path), self._transaction():
            if clear:
                self._connection.execute("DELETE FROM journal")
                if newest:
                    self._connection.execute("INSERT INTO journal VALUES (?, ?)", (newest, EMPTY))
            else:
                self._connection.execute("DELETE FROM journal WHERE n < ?", (needless,))
            self._connection.executemany("INSERT INTO chunks VALUES (?, ?)", chunks)
            self._connection.executemany(
                "UPDATE streams SET first = ?, last = ?, size = ?, expires = ?, state = ?, folded = ? WHERE number = ?",
                rows,
            )
        for live, row in zip(lives, now, strict=True):
            live.row = row
            journal.drop(live)
        journal.trimmed(newest + 1 if clear else needless)
        self._unwritten += sum(len(data) for _, data in chunks) + _ROW_BYTES * len(rows)

    def checkpoint(self, *, truncate: bool = False) -> bool:
        """Copy the WAL back into the file, as far as nobody reads it; with *truncate*, empty it. Returns whether that
        was done; it is tried again later, if not."""
        with told(self._path):
            way = "TRUNCATE" if truncate else "PASSIVE"
            (busy, *_) = self._connection.execute(f"PRAGMA wal_checkpoint({way})").fetchone()
        self._unwritten = 0
        if truncate:
            self._unclean = bool(busy)
        return not busy

    # ------------------------------------------------------------------ forgetting

    def forget(self, streams: Sequence[str]) -> None:
        """As ``Store.forget``. Raises ``StoreFailed``, too, where another program that reads the file keeps the bytes
        in its WAL; the streams are gone then, and their bytes at the next call, or the next ``upkeep``."""
        gone: list[Live] = []
        with told(self._path):
            for stream in dict.fromkeys(streams):
                try:
                    live = self._find(stream)
                except StoreConflict:
                    continue  # already
                if live is not None:
                    gone.append(live)
        if gone:
            if any(live.tail or self._journal.holds(live.folded) for live in gone):
                self._fold(self._journal.tails(), clear=True)
            until = self._wall() + TOMBSTONE_SECONDS
            with told(self._path), self._transaction():
                self._bury(gone, until)
            self._buried(gone)
            self._unclean = True
        if self._unclean and not self.checkpoint(truncate=True):
            raise StoreFailed(f"{self._path} is read by another program: what was deleted is still in {self._path}-wal")

    def sweep(self, now: float) -> int:
        """As ``Store.sweep``."""
        with told(self._path):
            late = [live for live in self.lives.values() if live.shown.expires <= now][:_PORTION]
            found = {live.stream: live for live in late}
            rows = self._connection.execute(
                f"SELECT stream, size FROM streams WHERE expires <= ? AND state < {GONE} ORDER BY expires LIMIT ?",
                (now, _PORTION),
            ).fetchall()
            stale, size = [], 0
            for stream, bytes_ in rows:
                live = self.lives.get(stream)
                if live is not None and live.shown.expires > now:
                    stale.append(live)  # it was told a later deadline since
                    continue
                size += bytes_
                if size > _SWEPT_BYTES and found:
                    break
                if stream not in found:
                    live = self._find(stream)
                    assert live is not None
                    found[stream] = live
            notes = self._connection.execute(
                "SELECT kind, owner, key FROM notes WHERE expires <= ? LIMIT ?", (now, _PORTION)
            ).fetchall()
            with self._transaction():
                run = self._connection.executemany
                run(
                    "UPDATE streams SET expires = ? WHERE number = ?",
                    [(live.shown.expires, live.number) for live in stale],
                )
                self._bury(list(found.values()), now + TOMBSTONE_SECONDS)
                run("DELETE FROM notes WHERE kind = ? AND owner = ? AND key = ?", notes)
                self._connection.execute(
                    "DELETE FROM streams WHERE number IN (SELECT number FROM streams "
                    f"WHERE expires <= ? AND state = {GONE} LIMIT {4 * _PORTION})",
                    (now,),
                )
        for live in stale:
            live.row = live.row._replace(expires=live.shown.expires)
        self._buried(list(found.values()))
        if stale and not found and not notes:
            return self.sweep(now)
        self._shrink()
        return len(found) + len(notes)

    def _bury(self, lives: list[Live], until: float) -> None:
        """In a transaction: nothing is left of them but the ids, until *until*."""
        run = self._connection.executemany
        run("DELETE FROM chunks WHERE key >= ? AND key < ?", [_range(live) for live in lives])
        run("DELETE FROM heads WHERE number = ?", [(live.number,) for live in lives])
        run(
            f"UPDATE streams SET state = {GONE}, owner = '', expires = ? WHERE number = ?",
            [(until, live.number) for live in lives],
        )

    def _buried(self, lives: list[Live]) -> None:
        for live in lives:
            self._journal.drop(live)
            self.lives.pop(live.stream, None)
            self._orphans.pop(live.stream, None)
            self._unwritten += live.shown.size + _ROW_BYTES

    def _shrink(self) -> None:
        """Give free pages back to the disk, some at a time, if there are many of them."""
        with told(self._path):
            (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            if free > max(_FREED_PAGES, pages // 4):
                self._connection.execute(f"PRAGMA incremental_vacuum({_FREED_PAGES})").fetchall()
                self._unwritten += _FREED_PAGES * _ROW_BYTES

    # ------------------------------------------------------------------ looking

    def orphans(self, limit: int) -> list[Head]:
        """As ``Store.orphans``."""
        found: list[Head] = []
        for stream in list(self._orphans):
            if len(found) >= limit:
                break
            head = self.reading.head(stream)
            if head is not None:
                found.append(head)
        return found

    def _find(self, stream: str) -> Live | None:
        live = self.lives.get(stream)
        if live is not None:
            return live
        row = self._connection.execute("SELECT number, state FROM streams WHERE stream = ?", (stream,)).fetchone()
        if row is None:
            return None
        number, state = row
        if state == GONE:
            raise StoreConflict(stream, 0)
        return self._of_number(number)

    def _of_number(self, number: int) -> Live | None:
        row = self._connection.execute(
            "SELECT stream, owner, h.data, state, first, last, size, expires, folded "
            "FROM streams JOIN heads AS h USING (number) WHERE number = ?",
            (number,),
        ).fetchone()
        if row is None:
            return None
        stream, owner, data, state, first, last, size, expires, folded = row
        shown = Shown(data, state == RUNNING, first, last, size, expires)
        return Live(number, stream, owner, shown, Row(first, last, size, expires, state), folded)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite ends it by itself after some errors
                self._connection.execute("ROLLBACK")
            raise


def _replay(live: Live, record: Record) -> None:
    """What *record*, of a journal that was left behind, says of *live*."""
    live.tail += record.pieces
    last = max((live.shown.last, *(piece.first + piece.entries - 1 for piece in record.pieces)))
    live.shown = live.shown._replace(last=last, size=record.size, expires=record.expires)


def _range(live: Live) -> tuple[int, int]:
    """Keys of its chunks: from, to."""
    return live.number << ENTRY_BITS, (live.number + 1) << ENTRY_BITS
