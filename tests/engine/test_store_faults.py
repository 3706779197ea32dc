"""A full disk, a lock of somebody else's: writes fail and say why, nothing is half done, and it works again later."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenwire.engine.stores import sqlite_folding, sqlite_journal, sqlite_schema
from tokenwire.engine.stores.port import Append, Note, Piece
from tokenwire.engine.stores.sqlite import SqliteStore
from tokenwire.engine.stores.sqlite_database import Database
from tokenwire.errors import ConfigError, StoreConflict, StoreFailed
from tokenwire.testing.inline_store import InlineSqliteStore

FOREVER = 4e9


def append(stream: str, first: int, data: bytes = b"x", *, running: bool = True) -> Append:
    return Append(stream, "me", [Piece(first, 1, data)], b"head" if first == 1 else None, running, FOREVER)


# ---------------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB. Where none may be mounted the test is skipped, by that name; the next one is not."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def enlarge(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=20m", folder], check=True)


async def fill(store: SqliteStore, first: int = 1) -> int:
    """Write until the disk is full. Returns the number of the piece that was refused."""
    with pytest.raises(StoreFailed, match="cannot grow: the disk is full") as caught:
        await write_on(store, first)
    assert not isinstance(caught.value, StoreConflict)
    return await last_of(store) + 1


async def write_on(store: SqliteStore, first: int) -> None:
    """Write pieces from *first* on, without end."""
    for n in range(first, 10_000):
        await store.write([append("st_a", n, b"%06d " % n * 1000), append(f"st_{n}", 1, running=False)])


async def last_of(store: SqliteStore) -> int:
    head = await store.head("st_a")
    assert head is not None
    return head.last


async def check(store: SqliteStore, last: int) -> None:
    head = await store.head("st_a")
    assert head is not None
    assert head.last == last
    pieces = await store.pieces("st_a", 0, 1 << 30)
    assert pieces == [Piece(n, 1, b"%06d " % n * 1000) for n in range(1, last + 1)]
    for n in (1, last, last + 1):
        assert (await store.head(f"st_{n}") is not None) == (n <= last)


def test_a_full_disk_refuses_and_works_again_when_there_is_room(small_disk: Path) -> None:
    path, filler = small_disk / "t.db", small_disk / "filler"

    async def run() -> None:
        store = await SqliteStore(path).open()
        with filler.open("wb") as file:
            file.write(bytes(400_000))
        refused = await fill(store)
        assert refused > 10
        await check(store, refused - 1)
        with pytest.raises(StoreFailed):
            await store.write([append("st_a", refused, b"y" * 100_000)])
        filler.unlink()
        assert await fill(store, refused) > refused + 10
        last = await last_of(store)
        await check(store, last)
        await store.close()
        await store.open()  # it is full still
        await check(store, last)
        assert [head.stream for head in await store.orphans()] == ["st_a"]
        with pytest.raises(StoreFailed, match="cannot grow"):
            await write_on(store, last + 1)
        await store.close()
        enlarge(small_disk)
        await store.open()
        await check(store, await last_of(store))
        await store.write([append("st_z", 1)])
        await store.forget(["st_3"])
        assert await store.head("st_3") is None
        await store.close()

    asyncio.run(run())


def test_a_store_cannot_be_made_on_a_full_disk_and_can_later(small_disk: Path) -> None:
    path, filler = small_disk / "t.db", small_disk / "filler"

    async def run() -> None:
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
            file.writelines(itertools.repeat(bytes(4096)))
        with pytest.raises((StoreFailed, ConfigError)):
            await SqliteStore(path).open()
        filler.unlink()
        store = await SqliteStore(path).open()
        await store.write([append("st_a", 1)])
        await store.close()

    asyncio.run(run())


def test_what_the_file_may_not_grow_beyond_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without a mount: SQLite's own bound on the file."""
    made: list[sqlite3.Connection] = []
    real = sqlite_schema.connect

    def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
        made.append(real(path, read_only=read_only))
        return made[-1]

    monkeypatch.setattr(sqlite_schema, "connect", connect)

    async def run() -> None:
        store = await SqliteStore(tmp_path / "t.db").open()
        made[0].execute("PRAGMA max_page_count = 120")
        refused = await fill(store)
        await check(store, refused - 1)
        made[0].execute("PRAGMA max_page_count = 240")
        assert await fill(store, refused) > refused + 10
        made[0].execute("PRAGMA max_page_count = 1000000")
        await store.write([append("st_z", 1)])
        await store.close()

    asyncio.run(run())


def test_a_disk_that_is_full_in_between_writes_costs_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Folding fails: what was written is in the journal all the same, and is folded later."""
    monkeypatch.setattr(sqlite_journal, "JOURNAL_BYTES", 1000)
    monkeypatch.setattr(sqlite_journal, "TAIL_SHARE", 0)
    troubled = True
    real = sqlite_folding.Folding.run

    def run_folding(self: sqlite_folding.Folding, connection: sqlite3.Connection) -> None:
        real(self, connection)
        if troubled:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    monkeypatch.setattr(sqlite_folding.Folding, "run", run_folding)

    async def run() -> None:
        nonlocal troubled
        store = await SqliteStore(tmp_path / "t.db").open()
        with caplog.at_level(logging.WARNING):
            for n in range(1, 20):
                await store.write([append("st_a", n, b"%06d " % n * 1000), append(f"st_{n}", 1, running=False)])
            await check(store, 19)
            with pytest.raises(StoreFailed):
                await store.forget(["st_5"])
            await check(store, 19)
            await store.close()
        assert any("upkeep has to wait" in record.message for record in caplog.records)
        assert any("closed as it is" in record.message for record in caplog.records)
        troubled = False
        await store.open()
        await check(store, 19)
        await store.close()

    asyncio.run(run())


# ---------------------------------------------------------------------- a lock


def test_an_outsiders_lock_is_waited_for_and_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_schema, "BUSY_SECONDS", 0.05)
    path = tmp_path / "t.db"

    async def run() -> None:
        store = await SqliteStore(path).open()
        await store.write([append("st_a", 1)])
        outsider = sqlite3.connect(path, isolation_level=None)
        outsider.execute("BEGIN EXCLUSIVE")
        note = Note("k", "me", "n", b"v", FOREVER)
        for _ in range(2):
            with pytest.raises(StoreFailed, match="is locked by another program"):
                await store.write([append("st_a", 2)], [note])
            for call in (store.forget(["st_a"]), store.sweep(0.0)):
                with pytest.raises(StoreFailed, match="is locked by another program"):
                    await call
        assert await store.pieces("st_a") == [Piece(1, 1, b"x")], "reading goes on"
        assert await store.recall("k", "me", "n") is None
        outsider.execute("ROLLBACK")
        await store.write([append("st_a", 2)], [note])
        assert len(await store.pieces("st_a")) == 2
        outsider.execute("BEGIN EXCLUSIVE")
        await store.close()  # what is in the journal stays there
        with pytest.raises(StoreFailed, match="is locked by another program"):
            await store.open()
        outsider.close()
        await store.open()
        assert len(await store.pieces("st_a")) == 2
        await store.close()

    asyncio.run(run())


# ---------------------------------------------------------------------- the core, without threads


def test_a_crash_at_any_write_loses_none() -> None:
    async def run() -> None:
        store = await InlineSqliteStore().open()
        for n in range(1, 60):
            await store.write([append("st_a", n), append(f"st_{n}", 1, running=n % 2 == 0)])
            if n % 7 == 0:
                store.crash()
                await store.open()
                assert [head.stream for head in await store.orphans(1)] == ["st_a"]
                assert len(await store.pieces("st_a", 0, 1 << 30)) == n
        await store.close()

    asyncio.run(run())


def test_the_core_keeps_a_file_too(tmp_path: Path) -> None:
    async def run() -> None:
        path = str(tmp_path / "t.db")
        store = await InlineSqliteStore(path).open()
        await store.write([append("st_a", 1)])
        store.crash()
        other = await InlineSqliteStore(path).open()
        assert len(await other.pieces("st_a")) == 1
        await other.close()
        await store.open()
        await store.close()

    asyncio.run(run())


def filled(wall: float = 0.0) -> tuple[sqlite3.Connection, Database]:
    connection = sqlite_schema.connect(":memory:")
    sqlite_schema.prepare(connection, ":memory:")
    database = Database(connection, ":memory:", lambda: wall)
    database.load()
    return connection, database


def rows(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_the_journal_is_shortened_as_streams_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_journal, "JOURNAL_BYTES", 100_000)
    monkeypatch.setattr(sqlite_journal, "TAIL_SHARE", 0)
    connection, database = filled()
    most = 0
    for n in range(1, 400):
        database.write([append(f"st_{stream}", n, b"x" * 100) for stream in range(5)])
        while database.upkeep():
            pass
        most = max(most, rows(connection, "journal"))
    assert 20 < most < 150
    assert 5 < rows(connection, "chunks") < 100, "not one for each piece"
    assert len(database.reading.pieces("st_3", 0, 1 << 30)) == 399
    connection.close()


def test_a_large_tail_is_folded_at_once() -> None:
    connection, database = filled()
    database.write([append("st_a", 1, b"x" * sqlite_journal.LARGE_TAIL), append("st_b", 1)])
    assert not database.upkeep()
    assert rows(connection, "chunks") == 1
    connection.close()


def test_ended_streams_notes_and_rows_that_say_nothing_new_do_not_pile_up() -> None:
    connection, database = filled()
    database.write([append("st_a", 1)])
    for n in range(2, 300):
        database.write([append(f"st_{n}", 1, running=False)], [Note("k", "me", str(n), b"v", FOREVER)])
        database.upkeep()
    assert rows(connection, "streams") > 250
    assert len(database.lives) < 50
    assert len(database.notes()) < 50
    database.write([append("st_a", 2, running=False)])
    for n in range(400):
        database.write([], [Note("l", "me", str(n), b"v", FOREVER)])
        database.upkeep()
    assert len(database.notes()) < 300
    connection.close()


def test_a_swept_stream_is_not_brought_back_by_the_journal() -> None:
    """Not even when its id is forgotten, and a slow stream has held up the journal all the time."""
    wall = 1000.0
    connection, _ = filled()
    database = Database(connection, ":memory:", lambda: wall)
    database.load()
    database.write([append("st_slow", 1)])
    database.write([append("st_a", 1)._replace(expires=1010.0)])
    wall = 1020.0
    assert database.sweep(wall) == 1
    wall += 10 * 3600
    assert database.sweep(wall) == 0
    left = Database(connection, ":memory:", lambda: wall)
    left.load()
    assert left.reading.head("st_a") is None
    assert left.reading.head("st_slow") is not None
    assert rows(connection, "streams") == 1
    connection.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to everything")
def test_a_file_that_may_not_be_written_to_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    path.touch(mode=0o400)
    with pytest.raises(ConfigError, match="Permission denied"):
        asyncio.run(SqliteStore(path).open())


def test_a_bug_in_the_upkeep_does_not_end_the_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    def upkeep(database: Database) -> bool:
        raise TypeError("a bug")

    async def main() -> None:
        store = await SqliteStore(tmp_path / "kept.db").open()
        with monkeypatch.context() as patched:
            patched.setattr(Database, "upkeep", upkeep)
            for n in range(1, 4):
                await asyncio.wait_for(store.write([append("st_a", n)]), 5.0)
        assert await last_of(store) == 3
        await store.close()

    asyncio.run(main())
