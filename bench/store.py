"""The SQLite store alone: what it costs to keep 800 streams of 50 tokens/s, and to find them again after a crash.

The engine's side is played: 20 writes a second with what a fifth of the streams has brought, and one more whenever a
stream begins or ends, which is every 20 s for each. CPU is that of this process with all its threads, less that of the
same agenda with a store that does nothing. No relay takes part.
"""

from __future__ import annotations

import asyncio
import gc
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import uvloop

from bench.figures import median, percentile
from bench.report import Section, number
from tokenwire.engine.stores import sqlite_schema
from tokenwire.engine.stores.port import Append, Piece
from tokenwire.engine.stores.sqlite import SqliteStore
from tokenwire.engine.stores.sqlite_database import Database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.session import Session

STREAMS: Final = 800
PORTIONS: Final = 5
TICK: Final = 0.05
ENTRIES: Final = 12.5  # 50 tokens/s, looked at every quarter of a second
ENTRY_BYTES: Final = 12  # as envelopes leave them
LIFE: Final = 20.0
HEAD_BYTES: Final = 600
#: Streams that were running when the process was killed, and the writes in the journal by then.
LEFT: Final = {800: 25, 20_000: 10}


class Agenda(NamedTuple):
    """Writes, each with its time in seconds, and how many tokens are in them."""

    writes: list[tuple[float, list[Append]]]
    tokens: int


class Run(NamedTuple):
    """Seconds of CPU; of each write, from asking to the answer."""

    cpu: float
    waits: list[float]


class Nothing:
    """The store that the figures are compared with."""

    async def write(self, appends: Sequence[Append]) -> None:
        pass


def agenda(seconds: float, streams: int = STREAMS) -> Agenda:
    chance = random.Random(1)
    expires = time.time() + 86_400
    writes: list[tuple[float, list[Append]]] = []
    tokens = 0

    def append(stream: int, entries: int, *, running: bool = True, head: bool = False) -> Append:
        nonlocal tokens
        tokens += entries
        piece = Piece(last[stream] + 1, entries, chance.randbytes(entries * ENTRY_BYTES))
        last[stream] += entries
        about = chance.randbytes(HEAD_BYTES) if head else None
        return Append(ids[stream], f"owner {stream % 50}", [piece], about, running, expires)

    ids = [name(chance) for _ in range(streams)]
    last = [0] * streams
    ends = [LIFE * (stream + 1) / streams for stream in range(streams)]
    writes.append((0.0, [append(stream, 1, head=True) for stream in range(streams)]))
    for tick in range(round(seconds / TICK)):
        at = tick * TICK
        due = range(tick % PORTIONS, streams, PORTIONS)
        writes.append((at, [append(stream, int(ENTRIES + chance.random())) for stream in due]))
        for stream in [stream for stream in range(streams) if ends[stream] <= at]:
            writes.append((at, [append(stream, 2, running=False, head=True)]))
            ids[stream], last[stream], ends[stream] = name(chance), 0, at + LIFE
            writes.append((at, [append(stream, 1, head=True)]))
    return Agenda(writes, tokens)


def name(chance: random.Random) -> str:
    return f"st_{chance.getrandbits(128):032x}"[:25]


async def play(store: SqliteStore | Nothing, writes: list[tuple[float, list[Append]]]) -> Run:
    """Do *writes*, each at its time, one after the other."""
    waits: list[float] = []
    gc.collect()
    cpu, start = time.process_time(), time.perf_counter()
    for at, appends in writes:
        if (early := start + at - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        asked = time.perf_counter()
        await store.write(appends)
        waits.append(time.perf_counter() - asked)
    return Run(time.process_time() - cpu, waits)


async def kept(folder: Path, work: Agenda) -> tuple[Run, Run, int]:
    """What *work* costs without a store, and with one; bytes on disk at its end."""
    nothing = await play(Nothing(), work.writes)
    store = await SqliteStore(folder / "streams.db").open()
    run = await play(store, work.writes)
    size = (await store.figures()).on_disk
    await store.close()
    return nothing, run, size


def leave_behind(path: Path, streams: int, writes: int) -> int:
    """What a process leaves that is killed with *streams* running; bytes of its journal."""
    sqlite_schema.make_file(str(path))
    connection = sqlite_schema.connect(str(path))
    sqlite_schema.prepare(connection, str(path))
    database = Database(connection, str(path), time.time)
    database.load()
    chance, expires = random.Random(1), time.time() + 86_400
    ids = [name(chance) for _ in range(streams)]
    data, head = bytes(int(ENTRIES) * ENTRY_BYTES), bytes(HEAD_BYTES)
    for write in range(writes):
        for start in range(0, streams, 160):
            pieces = [Piece(write * int(ENTRIES) + 1, int(ENTRIES), data)]
            about = None if write else head
            database.write([Append(each, "owner", pieces, about, True, expires) for each in ids[start : start + 160]])
    (size,) = connection.execute("SELECT sum(length(data)) FROM journal").fetchone()
    connection.close()
    return int(size)


async def opened(path: Path, streams: int) -> float:
    """Seconds until the store at *path* is open, with all its orphans."""
    start = time.perf_counter()
    store = await SqliteStore(path).open()
    took = time.perf_counter() - start
    orphans = await store.orphans(streams + 1)
    await store.close()
    assert len(orphans) == streams
    return took


def run(session: Session) -> Section:
    seconds = 5.0 if session.quick else LIFE + 5
    section = Section(
        "store",
        f"the SQLite store alone: {STREAMS} streams of 50 tokens/s for {seconds:.0f} s",
        ("", "us of CPU a token", "write p50 / p99, ms", "bytes a token on disk"),
        notes=[
            f"Medians of {session.rounds} rounds. A token is {ENTRY_BYTES} bytes; each stream begins and ends anew "
            f"every {LIFE:.0f} s, with a head of {HEAD_BYTES} bytes.",
        ],
    )
    work = agenda(seconds)
    found: dict[str, list[float]] = {"cpu": [], "p50": [], "p99": [], "disk": []}
    with uvloop_runner() as runner:
        for turn in range(session.rounds):
            session.say(f"  round {turn + 1}: {work.tokens:,} tokens in {len(work.writes):,} writes …")
            with tempfile.TemporaryDirectory(prefix="tokenwire-bench-") as folder:
                nothing, kept_run, size = runner.run(kept(Path(folder), work))
            found["cpu"].append((kept_run.cpu - nothing.cpu) / work.tokens * 1e6)
            found["p50"].append((median(kept_run.waits) or 0) * 1e3)
            found["p99"].append((percentile(kept_run.waits, 0.99) or 0) * 1e3)
            found["disk"].append(size / work.tokens)
        data: dict[str, Any] = {each: median(figures) for each, figures in found.items()}
        section.rows.append(
            ["writing", number(data["cpu"]), f"{number(data['p50'])} / {number(data['p99'])}", number(data["disk"], 1)]
        )
        for streams, writes in LEFT.items():
            session.say(f"  a crash with {streams:,} streams …")
            times = []
            for _ in range(session.rounds):
                with tempfile.TemporaryDirectory(prefix="tokenwire-bench-") as folder:
                    journal = leave_behind(Path(folder) / "streams.db", streams, writes)
                    times.append(runner.run(opened(Path(folder) / "streams.db", streams)))
            took = (median(times) or 0) * 1e3
            section.notes.append(
                f"Opened in {took:.0f} ms after a crash that left {streams:,} streams and {journal / 2**20:.1f} MiB of "
                "journal."
            )
            data[f"opened_ms_{streams}"] = took
    section.data.append(data)
    return section


def uvloop_runner() -> asyncio.Runner:
    """The loop that ``serve`` has."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
