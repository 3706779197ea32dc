"""A SQLite store without threads: each method is done when it returns. ``SqliteStore`` calls it from a thread of its
own; a simulation calls it directly, on a file or on ``:memory:``.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tokenwire.engine.stores.port import TOMBSTONE_SECONDS, Append, Head, Note
from tokenwire.engine.stores.sqlite_errors import code_of, told
from tokenwire.engine.stores.sqlite_folding import Folding, range_of
from tokenwire.engine.stores.sqlite_journal import EMPTY, Journal, Live, pack_entry
from tokenwire.engine.stores.sqlite_plan import Change, plan
from tokenwire.engine.stores.sqlite_reading import Reading
from tokenwire.engine.stores.sqlite_recovery import left_behind, of_number
from tokenwire.engine.stores.sqlite_schema import GONE, RUNNING
from tokenwire.errors import StoreConflict, StoreFailed

log = logging.getLogger(__name__)

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

    ``load`` first. Not for several threads at once; another ``Reading`` may look at the same file, and at ``lives``
    and ``notes``, from another thread.

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
        self.reading = Reading(connection, path, self.lives, self.notes, wall)

    def notes(self) -> dict[tuple[str, str, str], Note]:
        """Those that are in the journal only."""
        return self._journal.notes

    # ------------------------------------------------------------------ beginning and end

    def load(self) -> None:
        """Read what was left behind, and fold the journal of a process that was killed. Where there is no room for that
        it stays in the journal: it can be read, and the first write that succeeds folds it."""
        with told(self._path):
            left = left_behind(self._connection)
            self._journal.left(left.oldest, left.newest, left.lives, left.notes)
            self.lives.update({live.stream: live for live in left.lives})
            running = dict(
                self._connection.execute(f"SELECT number, stream FROM streams WHERE state = {RUNNING}").fetchall()
            )
            (number,) = self._connection.execute("SELECT coalesce(max(number), 0) FROM streams").fetchone()
        for live in left.lives:
            running[live.number] = live.stream
            if not live.state.running:
                del running[live.number]
        self._orphans = dict.fromkeys(running[each] for each in sorted(running))
        self._next_number = max([number, *(live.number for live in left.lives)]) + 1
        if left.lives or left.notes:
            try:
                self._fold(left.lives, clear=True)
            except StoreFailed as error:
                if code_of(error.__cause__) != sqlite3.SQLITE_FULL:
                    raise
                log.warning("what a process left behind stays where it is: %s", error)
        for live in left.lives:  # orphans: what their end will be is written in a while, if ever
            if not live.since:
                self.lives.pop(live.stream, None)

    def fold_all(self) -> None:
        """Bring everything into the tables, and empty the journal and the WAL: what a closed store looks like."""
        self._fold(self._journal.waiting(), clear=True)
        self.checkpoint(truncate=True)

    # ------------------------------------------------------------------ writing

    def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        """As ``Store.write``."""
        with told(self._path):
            changes = plan(appends, self.lives, self._find, self._next_number, self._wall())
            if changes or notes:
                data = pack_entry([change.record() for change in changes], notes)
                self._connection.execute("INSERT INTO journal VALUES (?, ?)", (self._journal.newest + 1, data))
                self._apply(changes, notes, len(data))
        for append in appends if self._orphans else ():
            self._orphans.pop(append.stream, None)

    def _apply(self, changes: list[Change], notes: Sequence[Note], size: int) -> None:
        """The file has *changes*, in a row of *size* bytes: so has memory now."""
        journal, lives = self._journal, self.lives
        weight = size // 8  # what is not bytes of pieces there
        for change in changes:
            live, state = change.live, change.state
            grown = state.size - live.state.size
            if change.begun:
                self._next_number = live.number + 1
                live.folded = journal.newest
            if change.anew:
                grown = state.size
                anew = live.anew()
                journal.drop(live)
                live = anew
                live.folded = journal.newest
            live.state = state
            weight += journal.grew(live, change.pieces, grown)
            lives[live.stream] = live
        journal.added(weight, notes)
        self._unwritten += size + _ROW_BYTES

    # ------------------------------------------------------------------ upkeep

    def upkeep(self) -> bool:
        """What is to be done between two writes: fold what is due, shorten the journal, copy the WAL back. A portion
        at a time; returns whether there is more."""
        if self._unclean:
            self.checkpoint(truncate=True, wait=False)
        due = self._journal.due(_PORTION)
        if due or self._journal.overdue:
            self._fold(due)
        if self._unwritten >= _WAL_BYTES:
            self.checkpoint()
        return len(due) == _PORTION

    def _fold(self, lives: list[Live], *, clear: bool = False) -> None:
        """Bring what the journal says of *lives*, and all notes, into the tables; delete rows of the journal that say
        nothing more. With *clear*, all of them: nothing else waits."""
        journal = self._journal
        newest, notes = journal.newest, journal.notes
        needless = newest + 1 if clear else journal.needless(lives)
        folding = Folding(lives, notes.values(), newest)
        with told(self._path), self._transaction():
            if needless > newest:
                self._connection.execute("DELETE FROM journal")
                self._connection.execute("INSERT INTO journal VALUES (?, ?)", (newest, EMPTY))
            else:
                self._connection.execute("DELETE FROM journal WHERE n < ?", (needless,))
            folding.run(self._connection)
        for live in lives:
            live.stored = live.state
            journal.drop(live)
            if not live.state.running:
                self.lives.pop(live.stream, None)
        if notes:
            journal.notes = {}
        journal.trimmed(needless)
        self._unwritten += folding.size + _ROW_BYTES * len(lives)

    def checkpoint(self, *, truncate: bool = False, wait: bool = True) -> bool:
        """Copy the WAL back into the file, as far as nobody reads it; with *truncate*, empty it, and *wait* a moment
        for who reads it. Returns whether that was done; it is tried again later, if not."""
        run = self._connection.execute
        way = "TRUNCATE" if truncate else "PASSIVE"
        with told(self._path):
            (patience,) = run("PRAGMA busy_timeout").fetchone()
            try:
                if not wait:
                    run("PRAGMA busy_timeout = 0")
                (busy, *_) = run(f"PRAGMA wal_checkpoint({way})").fetchone()
            finally:
                run(f"PRAGMA busy_timeout = {patience}")
        self._unwritten = 0
        if truncate:
            self._unclean = bool(busy)
        return not busy

    # ------------------------------------------------------------------ forgetting

    def forget(self, streams: Sequence[str]) -> None:
        """As ``Store.forget``. Raises ``StoreFailed``, too, where another program that reads the file keeps the bytes
        in its WAL; the streams are gone then, and their bytes at the next call, or the next ``upkeep``."""
        found = [live for stream in dict.fromkeys(streams) if (live := self._kept(stream)) is not None]
        if found:
            if any(live.since or live.folded >= self._journal.oldest() for live in found):
                self._fold(self._journal.waiting(), clear=True)
            with told(self._path), self._transaction():
                self._bury(found, self._wall() + TOMBSTONE_SECONDS)
            self._buried(found)
            self._unclean = True
        if self._unclean and not self.checkpoint(truncate=True):
            raise StoreFailed(f"{self._path} is read by another program: what was deleted is still in {self._path}-wal")

    def sweep(self, now: float) -> int:
        """As ``Store.sweep``."""
        waiting = [
            live
            for live in self.lives.values()
            if live.state.expires <= now or (live.stored is not None and live.stored.expires <= now)
        ]
        if waiting or self._journal.notes:
            self._fold(waiting)  # from here on the tables know what has expired
        with told(self._path):
            rows = self._connection.execute(
                f"SELECT stream, size FROM streams WHERE expires <= ? AND state < {GONE} ORDER BY expires LIMIT ?",
                (now, _PORTION),
            ).fetchall()
            found: list[Live] = []
            size = 0
            for stream, bytes_ in rows:
                size += bytes_
                if size > _SWEPT_BYTES and found:
                    break
                live = self._kept(stream)
                assert live is not None
                found.append(live)
            notes = self._connection.execute(
                "SELECT kind, owner, key FROM notes WHERE expires <= ? LIMIT ?", (now, _PORTION)
            ).fetchall()
            remembered = self._connection.execute(
                f"SELECT number, folded FROM streams WHERE expires <= ? AND state = {GONE} LIMIT {4 * _PORTION}", (now,)
            ).fetchall()
            oldest = self._journal.oldest()
            if (notes and self._journal.tells_notes) or any(folded >= oldest for _, folded in remembered):
                # The journal still tells of what goes for good now: after a crash it would be taken for new.
                self._fold(self._journal.waiting(), clear=True)
            with self._transaction():
                self._bury(found, now + TOMBSTONE_SECONDS)
                self._connection.executemany("DELETE FROM notes WHERE kind = ? AND owner = ? AND key = ?", notes)
                self._connection.executemany(
                    "DELETE FROM streams WHERE number = ?", [(number,) for number, _ in remembered]
                )
        self._buried(found)
        self._shrink()
        return len(found) + len(notes)

    def _bury(self, lives: list[Live], until: float) -> None:
        """In a transaction: nothing is left of them but the ids, until *until*."""
        run = self._connection.executemany
        run("DELETE FROM chunks WHERE key >= ? AND key < ?", [range_of(live) for live in lives])
        run("DELETE FROM heads WHERE number = ?", [(live.number,) for live in lives])
        run(
            f"UPDATE streams SET state = {GONE}, owner = '', expires = ? WHERE number = ?",
            [(until, live.number) for live in lives],
        )

    def _buried(self, lives: list[Live]) -> None:
        for live in lives:
            self.lives.pop(live.stream, None)
            self._orphans.pop(live.stream, None)
            self._unwritten += live.state.size + _ROW_BYTES

    def _shrink(self) -> None:
        """Give free pages back to the disk, some at a time, if there are many of them."""
        with told(self._path):
            (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            if free > max(_FREED_PAGES, pages // 4):
                # A row for each page, but one without columns: `execute` would take the first for all.
                self._connection.executescript(f"PRAGMA incremental_vacuum({_FREED_PAGES})")
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

    def _kept(self, stream: str) -> Live | None:
        """The stream; None if it is unknown, or gone already."""
        try:
            with told(self._path):
                return self.lives.get(stream) or self._find(stream)
        except StoreConflict:
            return None

    def _find(self, stream: str) -> Live | None:
        """A stream that only the tables know; None if they do not, either. Raises ``StoreConflict`` if it is gone."""
        row = self._connection.execute("SELECT number, state FROM streams WHERE stream = ?", (stream,)).fetchone()
        if row is None:
            return None
        number, state = row
        if state == GONE:
            raise StoreConflict(stream, 0)
        return of_number(self._connection, number)

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
