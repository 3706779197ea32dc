"""What ``check`` says of the store: how much is kept, also while a server has it."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenwire.cli.kept import _size, _time, kept_in
from tokenwire.engine.stores.port import Append, Note, Piece
from tokenwire.engine.stores.sqlite import SqliteStore

Command = Callable[..., Any]


def append(stream: str, first: int, *, running: bool = True, expires: float = 5000.0) -> Append:
    pieces = [Piece(first, 10, b"x" * 300)]
    return Append(stream, "me", pieces, b"head", running, time.time() + expires)


def test_check_says_what_is_kept_while_a_process_has_it_and_after(
    tokenwire: Command, config: Command, tmp_path: Path
) -> None:
    path = tmp_path / "kept.db"
    config_file = config(f'[store]\nurl = "sqlite://{path}"\n[upstreams]\n')

    def kept() -> tuple[int, str]:
        ended = tokenwire("check", "--config", config_file)
        assert f"store sqlite://{path}\n" in ended.out
        lines = ended.out.splitlines()
        return ended.code, lines[-1]

    assert kept() == (1, "nothing is kept yet"), "1: it has no upstream"
    assert not path.exists()

    async def run() -> None:
        store = await SqliteStore(path).open()
        notes = [Note("k", "me", "n", b"v", time.time() + 7300)]
        await store.write([append("st_a", 1), append("st_b", 1, running=False)], notes)
        await store.write([append("st_a", 11), append("st_late", 1, expires=-1)])
        _, said = await asyncio.to_thread(kept)
        assert said.startswith("kept: 2 streams (1 running), 30 entries of 900 bytes, 1 note; ")
        assert said.endswith("KiB on disk; some has expired and is about to go")
        assert await store.sweep(time.time()) == 1
        await store.write([append("st_a", 21)])
        _, said = await asyncio.to_thread(kept)
        assert said.startswith("kept: 2 streams (1 running), 40 entries of 1.2 KiB, 1 note; ")
        assert said.endswith("KiB on disk; the next expires in 83 min")
        await store.close()

    asyncio.run(run())
    _, said = kept()
    assert said.startswith("kept: 2 streams (1 running), 40 entries of 1.2 KiB, 1 note; ")


def test_check_of_what_is_no_store_says_so(tokenwire: Command, config: Command, tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_text("hello " * 1000)
    ended = tokenwire("check", "--config", config(f'[store]\nurl = "sqlite://{path}"\n'))
    assert ended.code == 1
    assert f"{path} is no SQLite database" in ended.out
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE t (x)")
    assert kept_in(f"sqlite://{path}") == (
        False,
        f"{path} is a SQLite database, and none of tokenwire's: name another file",
        "",
    )


def test_check_without_settings_looks_where_serve_does(tokenwire: Command, tmp_path: Path) -> None:
    ended = tokenwire("check")
    assert ended.code == 0
    assert f"store sqlite://{tmp_path}/home/tokenwire.db\nnothing is kept yet\n" in ended.out
    assert not (tmp_path / "home").exists()


def test_check_of_memory(tokenwire: Command, config: Command) -> None:
    ended = tokenwire("check", "--config", config('[store]\nurl = "memory://"\n'))
    assert "store memory://\nstreams are kept in the server's memory, as long as it runs\n" in ended.out


def test_an_empty_store_has_no_next_expiry(tmp_path: Path) -> None:
    async def run() -> None:
        await (await SqliteStore(tmp_path / "t.db").open()).close()

    asyncio.run(run())
    answer = kept_in(f"sqlite://{tmp_path}/t.db")
    assert answer.ok
    assert answer.said.startswith("kept: 0 streams (0 running), 0 entries of 0 bytes, 0 notes; ")
    assert answer.said.endswith("on disk")


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")],
)
def test_sizes_are_told_in_their_unit(size: int, said: str) -> None:
    assert _size(size) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (99, "99 s"), (120, "2 min"), (7200, "2 h"), (86400 * 9, "9 days")]
)
def test_times_are_told_in_their_unit(seconds: float, said: str) -> None:
    assert _time(seconds) == said


def test_a_store_that_cannot_be_made_is_none(tmp_path: Path) -> None:
    """As `serve` would find: it makes the file and its directory, and none above that."""
    assert kept_in(f"sqlite://{tmp_path}/new/t.db").ok
    answer = kept_in(f"sqlite://{tmp_path}/no/new/t.db")
    assert answer == (
        False,
        f"{tmp_path}/no/new/t.db cannot be made: there is no directory {tmp_path}/no",
        f"mkdir -p {tmp_path}/no",
    )


def test_what_never_expires_is_not_said_to(tmp_path: Path) -> None:
    """The key that tickets are signed with is a note without an end."""

    async def run() -> None:
        store = await SqliteStore(tmp_path / "t.db").open()
        await store.write([], [Note("k", "", "n", b"v", math.inf)])
        await store.close()

    asyncio.run(run())
    assert kept_in(f"sqlite://{tmp_path}/t.db").said.startswith(
        "kept: 0 streams (0 running), 0 entries of 0 bytes, 1 note; "
    )
    assert kept_in(f"sqlite://{tmp_path}/t.db").said.endswith("KiB on disk")
