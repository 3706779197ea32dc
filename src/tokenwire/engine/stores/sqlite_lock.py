"""One process at a time has a store's file: a lock on ``PATH.lock`` that dies with the process, however it dies."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from tokenwire.errors import ConfigError

if sys.platform != "win32":  # pragma: no branch
    import fcntl


def acquire(path: str) -> int:
    """Take the lock of the store at *path*. Returns its descriptor: closing it gives the lock back.

    The file stays: were it removed, two processes could hold locks of two files of that name. In it stands who has it.

    Raises:
        ConfigError: another process, or another store of this one, has it; or no such file can be made.
    """
    name = f"{path}.lock"
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise ConfigError(f"cannot make {name}: {error.strerror}") from error
    try:
        if sys.platform != "win32":  # pragma: no branch - there is no lock there
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        who = f"another tokenwire (process {holder})" if holder else "another tokenwire"
        raise ConfigError(f"{who} has {path}: a store's file has one process at a time") from error
    with suppress(OSError):  # a full disk: then nobody is told who has it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
