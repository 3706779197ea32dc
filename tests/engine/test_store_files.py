"""The file of a SQLite store: how it is made, who may have it, and what cannot be one."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tokenwire.engine.stores.port import Append, Piece
from tokenwire.engine.stores.sqlite import SqliteStore
from tokenwire.engine.stores.sqlite_schema import APPLICATION_ID
from tokenwire.errors import ConfigError, StoreFailed


def append(stream: str = "st_a", first: int = 1, entries: int = 1, data: bytes = b"x", *, head: bool = True) -> Append:
    return Append(stream, "me", [Piece(first, entries, data)], b"head" if head else None)


def with_store(path: Path, work: Callable[[SqliteStore], Awaitable[None]] | None = None) -> None:
    """Open the store at *path*, do *work*, close it."""

    async def run() -> None:
        store = await SqliteStore(path).open()
        try:
            if work is not None:
                await work(store)
        finally:
            await store.close()

    asyncio.run(run())


def refused(path: Path) -> str:
    """What is said when the store at *path* is opened."""
    with pytest.raises(ConfigError) as caught:
        with_store(path)
    return caught.value.message


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---------------------------------------------------------------------- making it


def test_the_file_and_its_directory_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "t.db"

    async def look(store: SqliteStore) -> None:
        await store.write([append()])
        assert mode(path.parent) == 0o700
        for each in path.parent.iterdir():
            assert mode(each) == 0o600, each
        assert len(list(path.parent.iterdir())) == 4

    with_store(path, look)
    assert sorted(each.name for each in path.parent.iterdir()) == ["t.db", "t.db.lock"], "all is in the one file"


def test_what_is_there_already_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    path.touch(mode=0o640)
    path.chmod(0o640)
    with_store(path)
    assert mode(path) == 0o640


def test_a_file_that_was_begun_and_never_made_is_made(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    with_store(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=ro#%41\u00fc.db"
    with_store(path)
    assert path.is_file()


def test_two_names_of_a_file_are_one_store(tmp_path: Path) -> None:
    path, link = tmp_path / "t.db", tmp_path / "link.db"
    with_store(path)
    link.symlink_to(path)

    async def again(store: SqliteStore) -> None:
        with pytest.raises(ConfigError, match="one process at a time"):
            await SqliteStore(link).open()

    with_store(path, again)


# ---------------------------------------------------------------------- what it cannot be


def test_a_directory_is_none(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path} is a directory: name a file in it"


def test_a_device_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refused(tmp_path / "fifo") == f"{tmp_path}/fifo is no file"


def test_a_directory_that_is_missing_with_its_parent_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "no" / "such" / "t.db"
    assert refused(path) == f"cannot make {path}: No such file or directory"
    assert not (tmp_path / "no").exists()


def test_a_file_where_a_directory_should_be_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "t").touch()
    assert "Not a directory" in refused(tmp_path / "t" / "t.db")


def test_a_lock_that_cannot_be_made_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "t.db.lock").mkdir()
    assert refused(tmp_path / "t.db") == f"cannot make {tmp_path}/t.db.lock: Is a directory"


@pytest.mark.parametrize("content", [b"hello, this is a letter" * 100, b"\0" * 5000])
def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter"
    path.write_bytes(content)
    assert refused(path) == f"{path} is no SQLite database: name another file, or move it away"
    assert path.read_bytes() == content


def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    content = path.read_bytes()
    assert refused(path) == f"{path} is a SQLite database, and none of tokenwire's: name another file"
    assert path.read_bytes() == content


def test_a_store_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with_store(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    content = path.read_bytes()
    assert refused(path) == f"{path} was made by a newer tokenwire (its schema is 2, ours 1): update"
    assert path.read_bytes() == content


def test_a_file_system_without_shared_memory_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lame(sqlite3.Connection):
        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            return super().execute("SELECT 'delete'" if "journal_mode" in sql else sql, *parameters)  # type: ignore[arg-type]

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **more: real(*given, factory=Lame, **more))
    assert "take a local disk" in refused(tmp_path / "t.db")


# ---------------------------------------------------------------------- damage


def damage(path: Path, start: int) -> bytes:
    content = bytearray(path.read_bytes())
    assert len(content) > start
    content[start:] = b"\xa5" * (len(content) - start)
    path.write_bytes(content)
    return bytes(content)


async def fill(store: SqliteStore) -> None:
    for n in range(20):
        await store.write([append(f"st_{n}", data=b"x" * 9000)])


def test_a_damaged_file_is_told_of_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with_store(path, fill)
    content = damage(path, 4096)
    said = refused(path)
    assert said.startswith(f"{path} is damaged: move it away")
    assert path.read_bytes() == content


def test_damage_that_is_met_later_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with_store(path, fill)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE chunks SET data = x'c1'")
    connection.commit()
    connection.close()

    async def meet(store: SqliteStore) -> None:
        with pytest.raises(StoreFailed, match="is damaged: move it away"):
            await store.pieces("st_3")
        assert await store.head("st_3") is not None

    with_store(path, meet)


def test_a_damaged_journal_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with_store(path, fill)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE journal SET data = x'c1'")
    connection.commit()
    connection.close()
    assert "is damaged" in refused(path)


# ---------------------------------------------------------------------- one process at a time


HOLD = """
import asyncio, sys
from tokenwire.engine.stores.sqlite import SqliteStore

async def hold():
    await SqliteStore(sys.argv[1]).open()
    print("open", flush=True)
    sys.stdin.read()

asyncio.run(hold())
"""


@pytest.mark.slow
def test_another_process_is_told_who_has_it_and_gets_it_when_that_one_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        said = f"another tokenwire (process {other.pid}) has {path}: a store's file has one process at a time"
        assert refused(path) == said
        other.kill()
        other.wait()
    with_store(path)


def test_a_holder_that_could_not_write_its_name_is_nameless(tmp_path: Path) -> None:
    path = tmp_path / "t.db"

    async def again(store: SqliteStore) -> None:
        (tmp_path / "t.db.lock").write_bytes(b"")
        with pytest.raises(ConfigError, match=r"^another tokenwire has "):
            await SqliteStore(path).open()

    with_store(path, again)


# ---------------------------------------------------------------------- opening and closing


def test_what_could_not_be_opened_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    path.write_bytes(b"a letter" * 1000)

    async def run() -> None:
        store = SqliteStore(path)
        with pytest.raises(ConfigError):
            await store.open()
        await store.close()
        path.unlink()
        await store.open()  # neither lock nor thread was left
        await store.write([append()])
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize("turns", range(4))
def test_an_open_that_was_cancelled_is_taken_back(tmp_path: Path, turns: int) -> None:
    path = tmp_path / "t.db"

    async def run() -> None:
        store = SqliteStore(path)
        task = asyncio.create_task(store.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        other = await SqliteStore(path).open()
        await other.close()
        await store.open()
        await store.close()

    asyncio.run(run())


def test_a_close_that_was_cancelled_is_done_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "t.db"

    async def run() -> None:
        store = await SqliteStore(path).open()
        await store.write([append()])
        task = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()

    asyncio.run(run())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["t.db", "t.db.lock"]


def test_an_answer_that_comes_after_the_loops_end_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    loop = asyncio.new_event_loop()
    store = SqliteStore(path)
    loop.run_until_complete(store.open())
    write = loop.create_task(store.write([append(data=b"x" * 5_000_000)]))
    loop.run_until_complete(asyncio.sleep(0))
    write.cancel()
    loop.run_until_complete(asyncio.gather(write, return_exceptions=True))
    loop.close()

    async def after() -> None:
        await store.write([])  # one thing after another
        assert await store.head("st_a") is not None, "the thread did what it was given"
        await store.close()

    asyncio.run(after())


def test_the_names_of_its_threads_tell_what_they_are_for(tmp_path: Path) -> None:
    async def look(store: SqliteStore) -> None:
        names = {thread.name for thread in threading.enumerate()}
        assert {"tokenwire-store-writer", "tokenwire-store-reader"} <= names

    with_store(tmp_path / "t.db", look)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tokenwire-store")]
