"""What is kept in a store's file, beside the process that has it, if one has: nothing is locked, nothing written."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tokenwire.engine.stores.port import Figures
from tokenwire.engine.stores.sqlite_errors import told_at_open
from tokenwire.engine.stores.sqlite_reading import Reading
from tokenwire.engine.stores.sqlite_recovery import left_behind
from tokenwire.engine.stores.sqlite_schema import check, connect


class Look(NamedTuple):
    """``next_expiry``: the earliest deadline, seconds since 1970; None if nothing is kept."""

    figures: Figures
    next_expiry: float | None


def look(path: str, wall: Callable[[], float] = time.time) -> Look | None:
    """The store at *path*; None if there is no file yet.

    Raises:
        ConfigError: it is no store of ours, or cannot be read.
        StoreFailed: it is locked just now.
    """
    if not Path(path).exists():
        return None
    with told_at_open(path), closing(connect(path, read_only=True)) as connection:
        connection.execute("BEGIN")  # one moment of the file
        check(connection, path)
        left = left_behind(connection)
        lives = {live.stream: live for live in left.lives}
        notes = {note[:3]: note for note in left.notes}
        reading = Reading(connection, path, lives, lambda: notes, wall)
        return Look(reading.figures(), reading.next_expiry())
