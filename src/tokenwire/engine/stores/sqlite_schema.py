"""The file of a SQLite store: what is in it, how it is made, and how it is known as ours.

streams   one row a stream, small: figures are a walk over it. ``state`` is ENDED, RUNNING or GONE; of what is gone
          only the id is left, until ``expires``. ``folded``: rows of the journal up to this one hold nothing of
          the stream that is not in ``chunks`` (or void), see ``sqlite_journal``.
heads     the head of each, apart, for heads are large.
chunks    entries of a stream that follow one another, many pieces in a row. The key is made of the stream's number
          and the chunk's first entry: chunks of a stream are neighbours, in order, without an index of their own.
journal   what was written lately, one row a write, for all streams.
notes     small facts under a name.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

from tokenwire.engine.stores.sqlite_errors import told_at_open
from tokenwire.errors import ConfigError

#: "tkwr", in the header of every file that we make: `file` and others show it.
APPLICATION_ID: Final = 0x746B7772
VERSION: Final = 1

ENDED: Final = 0
RUNNING: Final = 1
GONE: Final = 2

#: A chunk's key is ``number << ENTRY_BITS | first``: 134 million entries a stream, five days at 300 a second, where the
#: hard end of a stream is a day; and as many streams as a thousand a second in two years.
ENTRY_BITS: Final = 27
MOST_ENTRIES: Final = (1 << ENTRY_BITS) - 1

#: Seconds for which a write waits for an outsider's lock. The store's other writes wait with it, and no reader does.
BUSY_SECONDS: Final = 1.0

_TABLES: Final = """
CREATE TABLE streams (
    number INTEGER PRIMARY KEY,
    stream TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    state INTEGER NOT NULL,
    expires REAL NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    size INTEGER NOT NULL,
    folded INTEGER NOT NULL
);
CREATE INDEX streams_owner ON streams (owner);
CREATE INDEX streams_expires ON streams (expires);
CREATE TABLE heads (number INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE chunks (key INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE journal (n INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE notes (
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (kind, owner, key)
) WITHOUT ROWID;
CREATE INDEX notes_expires ON notes (expires);
"""


def make_file(path: str) -> None:
    """See to it that there is a file at *path* that only its owner may read; its directory is made, if need be.

    Raises ``ConfigError``: no such directory can be made, or what is there is no file.
    """
    directory = Path(path).parent
    try:
        if not directory.exists():
            directory.mkdir(mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ConfigError(f"{path} is no file")
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a directory: name a file in it") from error
    except OSError as error:
        raise ConfigError(f"cannot make {path}: {error.strerror}") from error


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to the file at *path*, set up; it may be used by one thread at a time, and any."""
    where = f"{Path(path).absolute().as_uri()}?mode={'ro' if read_only else 'rw'}" if path != ":memory:" else path
    connection = sqlite3.connect(
        where, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=path != ":memory:"
    )
    # Sorted rows and statements' own journals stay in memory: a forgotten stream is in no file but ours.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Make a new file a store, or make sure that it is one.

    Raises:
        ConfigError: it is something else, of a newer version or damaged, or its disk cannot hold such a file.
        StoreFailed: it is locked, or the disk is full.
    """
    with told_at_open(path):
        if _is_new(connection):
            # Whole pages that are free can be given back, see `incremental_vacuum`; only a new file can be told so.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        else:
            check(connection, path)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode not in ("wal", "memory"):
            raise ConfigError(f"{path} is on a file system that SQLite's WAL does not work on: take a local disk")
        # NORMAL: the disk is waited for when the WAL is copied back, not at each commit. A killed process loses
        # nothing, a power cut perhaps the last seconds, and never the order.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
        # Ours decides when, between two writes; this is for writers who never do.
        connection.execute("PRAGMA wal_autocheckpoint = 16384")
        if _is_new(connection):
            connection.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")


def check(connection: sqlite3.Connection, path: str) -> None:
    """Raise ``ConfigError`` unless the file is a store that this version knows."""
    with told_at_open(path):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise ConfigError(f"{path} is a SQLite database, and none of tokenwire's: name another file")
    if version != VERSION:
        raise ConfigError(f"{path} was made by a newer tokenwire (its schema is {version}, ours {VERSION}): update")


def _is_new(connection: sqlite3.Connection) -> bool:
    """Whether nothing is in it yet: a process may have been killed before it could make the tables."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(application == 0 and tables == 0)
