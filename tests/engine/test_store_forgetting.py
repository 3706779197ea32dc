"""What was forgotten is in none of the files; what is swept makes room."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from tokenwire.engine.stores import sqlite_database, sqlite_journal
from tokenwire.engine.stores.port import Append, Piece
from tokenwire.engine.stores.sqlite import SqliteStore
from tokenwire.errors import StoreFailed
from tokenwire.testing.inline_store import InlineSqliteStore
from tokenwire.testing.store_schedules import Wall


def secret(number: int) -> bytes:
    return b"secret-%06d-" % number


def append(number: int, first: int, entries: int, *, head: bool = False, running: bool = True) -> Append:
    pieces = [Piece(n, 1, b"%d " % n + secret(number) * 12) for n in range(first, first + entries)]
    return Append(f"st_{number}", "me", pieces, secret(number) * 20 if head else None, running)


def found(path: Path, numbers: Iterable[int]) -> dict[int, list[str]]:
    """Where the secrets of *numbers* still are."""
    files = [each for each in path.parent.iterdir() if each.name.startswith(path.name)]
    assert {path.name, f"{path.name}-wal", f"{path.name}-shm"} <= {each.name for each in files}
    contents = {each.name: each.read_bytes() for each in files}
    places = {n: [name for name, content in contents.items() if secret(n) in content] for n in numbers}
    return {number: names for number, names in places.items() if names}


@pytest.mark.parametrize("seed", range(3))
def test_forgotten_bytes_are_in_none_of_the_files(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that run, that ended, that are in the journal or folded, small and large, while others go on."""
    monkeypatch.setattr(sqlite_journal, "JOURNAL_BYTES", 300_000)
    monkeypatch.setattr(sqlite_journal, "TAIL_SHARE", 0)
    monkeypatch.setattr(sqlite_database, "_WAL_BYTES", 200_000)
    path = tmp_path / "t.db"
    chance = random.Random(seed)

    async def run() -> None:
        store = await SqliteStore(path).open()
        last: dict[int, int] = {}
        ended: set[int] = set()
        gone: set[int] = set()
        for step in range(120):
            number = len(last) + len(gone)
            last[number] = chance.randrange(1, 30)
            batch = [append(number, 1, last[number], head=True)]
            for other in chance.sample(sorted(last.keys() - ended - {number}), min(8, len(last) - len(ended) - 1)):
                entries = chance.randrange(1, 12)
                running = chance.random() < 0.8
                batch.append(append(other, last[other] + 1, entries, head=not running, running=running))
                last[other] += entries
                if not running:
                    ended.add(other)
            await store.write(batch)
            if step % 10 == 9:
                forgotten = chance.sample(sorted(last), 3)
                await store.forget([f"st_{each}" for each in forgotten])
                gone |= set(forgotten)
                for each in forgotten:
                    del last[each]
                    ended.discard(each)
                assert found(path, gone) == {}
        assert found(path, last).keys() == last.keys(), "the others are there"
        for number, entries in last.items():
            head = await store.head(f"st_{number}")
            assert head is not None
            assert (head.first, head.last, head.running) == (1, entries, number not in ended)
            pieces = await store.pieces(f"st_{number}", 0, 1 << 30)
            assert [piece.first for piece in pieces] == list(range(1, entries + 1))
        await store.close()

    asyncio.run(run())


def test_another_program_that_reads_delays_it_and_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenwire.engine.stores.sqlite_schema.BUSY_SECONDS", 0.05)
    path = tmp_path / "t.db"

    async def run() -> None:
        store = await SqliteStore(path).open()
        await store.write([append(1, 1, 3, head=True), append(2, 1, 3, head=True)])
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").fetchone()
        with pytest.raises(StoreFailed, match=r"read by another program.*t\.db-wal"):
            await store.forget(["st_1"])
        assert await store.head("st_1") is None
        assert await store.head("st_2") is not None
        with pytest.raises(StoreFailed):
            await store.forget(["st_1"])
        reader.close()
        await store.forget(["st_1"])
        assert found(path, [1]) == {}
        await store.close()

    asyncio.run(run())


def test_what_could_not_be_removed_at_once_is_removed_by_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenwire.engine.stores.sqlite_schema.BUSY_SECONDS", 0.05)
    path = tmp_path / "t.db"

    async def run() -> None:
        store = await SqliteStore(path).open()
        await store.write([append(1, 1, 3, head=True)])
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").fetchone()
        with pytest.raises(StoreFailed):
            await store.forget(["st_1"])
        reader.close()
        await store.write([append(2, 1, 3, head=True)])
        await store.write([append(2, 4, 3)])  # after the first one's upkeep
        assert found(path, [1]) == {}
        await store.close()

    asyncio.run(run())


def test_a_sweep_gives_room_back_to_the_disk(tmp_path: Path) -> None:
    wall = Wall()
    path = tmp_path / "t.db"

    async def run() -> None:
        store = await SqliteStore(path, wall=wall).open()
        for number in range(200):
            pieces = [Piece(1, 1, bytes(50_000))]
            await store.write([Append(f"st_{number}", "me", pieces, b"head", running=False, expires=wall.now + 10)])
        await store.close()
        full = path.stat().st_size
        assert full > 200 * 50_000
        await store.open()
        wall.now += 10
        swept = calls = 0
        while gone := await store.sweep(wall.now):
            swept += gone
            calls += 1
        assert swept == 200
        assert calls >= 10, "a portion at a time"
        for _ in range(20):  # an engine sweeps once in a while, and what is left is given back then
            await store.sweep(wall.now)
        await store.close()
        assert path.stat().st_size < full / 3

    asyncio.run(run())


def test_no_write_waits_for_another_program_that_reads_what_is_deleted(tmp_path: Path) -> None:
    path = str(tmp_path / "t.db")

    async def run() -> None:
        store = await InlineSqliteStore(path).open()
        await store.write([append(1, 1, 3, head=True), append(2, 1, 3, head=True)])
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").fetchone()
        connection = store._connection
        assert connection is not None
        connection.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(StoreFailed):
            await store.forget(["st_1"])
        connection.execute("PRAGMA busy_timeout = 3600000")  # it would be an hour
        await store.write([append(2, 4, 1)])
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (3600000,)
        reader.close()
        await store.write([append(2, 5, 1)])
        assert found(Path(path), [1]) == {}
        await store.close()

    asyncio.run(run())
