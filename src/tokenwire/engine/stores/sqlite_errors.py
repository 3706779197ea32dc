"""What SQLite says when it fails, in our words. The one place that knows its codes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from tokenwire.errors import ConfigError, StoreFailed

_DAMAGED: Final = "is damaged: move it away (tokenwire then begins a new one), or put a copy of it there"

#: By the primary code, which is the lowest byte of what SQLite answers.
_SAID: Final = {
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_LOCKED: "is locked by another program",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_READONLY: "cannot be written to",
    sqlite3.SQLITE_PERM: "cannot be written to",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk, or its file system, reports an error",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}


#: What may be otherwise in a moment.
_PASSING: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def code_of(error: BaseException | None) -> int:
    """The primary code; 0 for what Python's own half of the driver raises, which has none. A row of ours that cannot be
    read is as corrupt as a page of theirs."""
    if isinstance(error, msgspec.DecodeError):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def describe(path: str, error: Exception) -> str:
    """A sentence for people: the file, what is wrong with it, and SQLite's own words."""
    return f"{path} {_SAID.get(code_of(error), 'cannot be used')} ({error})"


@contextmanager
def told(path: str) -> Iterator[None]:
    """SQLite's errors inside come out as ``StoreFailed``, and so does what cannot be read of our own."""
    try:
        yield
    except (sqlite3.Error, msgspec.DecodeError) as error:
        raise StoreFailed(describe(path, error)) from error


@contextmanager
def told_at_open(path: str) -> Iterator[None]:
    """As ``told``, but for what does not pass by itself: that is a ``ConfigError``."""
    try:
        with told(path):
            yield
    except StoreFailed as error:
        code = code_of(error.__cause__)
        if code in _PASSING:
            raise
        if code == sqlite3.SQLITE_NOTADB:
            raise ConfigError(f"{path} is no SQLite database: name another file, or move it away") from error
        raise ConfigError(error.message) from error
