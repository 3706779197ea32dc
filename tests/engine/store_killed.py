"""A process that is killed while it writes to a store, again and again: ``python store_killed.py PATH KILLS SEED``.

It forks the writer, kills it at any moment, opens the file and compares it with what the writer had been answered. A
difference is an ``AssertionError``, and status 1. The writer counts up: write number w adds an entry to each of five
streams, begins and ends them every so often, and notes w; so the file itself says how far it came.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Final

from tokenwire.engine.stores import sqlite_database, sqlite_journal
from tokenwire.engine.stores.port import Append, Note, Piece
from tokenwire.engine.stores.sqlite import SqliteStore

LIFE: Final = 40
TOGETHER: Final = 5
FOREVER: Final = 4e9


def piece(w: int, stream: int) -> Piece:
    return Piece(w % LIFE + 1, 1, b"%d/%d " % (w, stream) * (20 + 30 * stream))


def batch(w: int) -> list[Append]:
    begins, ends = w % LIFE == 0, w % LIFE == LIFE - 1
    head = b"begun" if begins else b"ended" if ends else None
    streams = [(f"st_{w // LIFE}_{n}", n) for n in range(TOGETHER)]
    return [Append(stream, "me", [piece(w, n)], head, not ends, FOREVER) for stream, n in streams]


async def newest(store: SqliteStore) -> int:
    """The newest write that the store has; -1 if none."""
    noted = await store.recall("w", "me", "newest")
    return -1 if noted is None else int(noted)


async def write(path: Path, answered: mmap.mmap) -> None:
    """Until it is killed."""
    store = await SqliteStore(path).open()
    w = await newest(store)
    while True:
        w += 1
        if w % LIFE == LIFE // 2 and w > LIFE:
            await store.forget([f"st_{w // LIFE - 1}_0"])
        await store.write(batch(w), [Note("w", "me", "newest", b"%d" % w, FOREVER)])
        answered[:8] = struct.pack("<q", w)


async def check(path: Path, answered: int, unsure: int) -> int:
    """Compare the file with what it should hold: all that was *answered*, and perhaps one write more of each of the
    *unsure* processes that were killed. Returns the newest write in it."""
    store = await SqliteStore(path).open()
    try:
        last = await newest(store)
        assert answered <= last <= answered + unsure, f"{answered} was answered, and {last} is the newest there"
        for group in range(last // LIFE + 1):
            written = range(group * LIFE, min(last, group * LIFE + LIFE - 1) + 1)
            for n in range(TOGETHER):
                stream = f"st_{group}_{n}"
                head = await store.head(stream)
                forgotten = n == 0 and last >= (group + 1) * LIFE + LIFE // 2
                if head is None and n == 0 and last == (group + 1) * LIFE + LIFE // 2 - 1:
                    continue  # it was killed in between
                assert (head is None) == forgotten, stream
                if head is not None:
                    ended = len(written) == LIFE
                    assert (head.first, head.last, head.running) == (1, len(written), not ended), head
                    assert head.data == (b"ended" if ended else b"begun")
                    pieces = await store.pieces(stream, 0, 1 << 30)
                    assert pieces == [piece(w, n) for w in written], stream
                    assert head.size == sum(len(each.data) for each in pieces)
        orphans = await store.orphans()
        running = [] if last % LIFE == LIFE - 1 else [f"st_{last // LIFE}_{n}" for n in range(TOGETHER)]
        assert [head.stream for head in orphans] == running
        return last
    finally:
        await store.close()


def main(path: Path, kills: int, seed: int) -> None:
    # So that all that happens once in a while happens all the time.
    sqlite_journal.JOURNAL_BYTES = 40_000  # type: ignore[misc]
    sqlite_journal.TAIL_SHARE = 0  # type: ignore[misc]
    sqlite_database._WAL_BYTES = 100_000  # type: ignore[misc]
    chance = random.Random(seed)
    answered = mmap.mmap(-1, 8)
    last, unsure = -1, 1
    for kill in range(kills):
        answered[:8] = struct.pack("<q", last)
        pid = os.fork()
        if pid == 0:
            asyncio.run(write(path, answered))
        if chance.random() < 0.8:  # else it may not even have opened the file
            until = time.monotonic() + 20
            while struct.unpack("<q", answered[:8])[0] == last and time.monotonic() < until:
                time.sleep(0.0005)
        time.sleep(chance.random() * 0.06)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), f"the writer ended by itself, with {status}"
        (known,) = struct.unpack("<q", answered[:8])
        if chance.random() < 0.7 or kill == kills - 1:
            last = asyncio.run(check(path, known, unsure))
            unsure = 1
        else:  # the next writer finds what this one left behind, and may be killed while it reads that
            last = known
            unsure += 1
    print(f"{kills} kills, {last + 1} writes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
