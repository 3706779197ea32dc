"""A store that does not answer for five seconds: how much later do tokens arrive?

Another program takes the lock of the store's file and keeps it. What the relay does about tokens must not wait for
that; the row without it, on the same line, is what it is compared with.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from bench.figures import percentile
from bench.load import Load, LoadReport, Pace
from bench.relays import SQLITE
from bench.report import Section, number, pair

if TYPE_CHECKING:
    from pathlib import Path

    from bench.rig import Line
    from bench.session import Session

STALL_SECONDS = 5.0
_BEGIN_SECONDS = 1.0  # all streams run by then
_FIFTY_A_SECOND = 50
_CATCH_UP_SECONDS = 2.5  # what waited is written by then: the next row is one of a store that is well


def hold(database: Path, begin: float, released: threading.Event) -> None:
    """Keep the file's lock from *begin* seconds from now on, for as long as a stall lasts or until it is *released*."""
    time.sleep(begin)
    with closing(sqlite3.connect(database, isolation_level=None, timeout=STALL_SECONDS)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        released.wait(STALL_SECONDS)
        connection.execute("ROLLBACK")


def run_stalled(line: Line, *, streams: int, stalls: bool) -> LoadReport:
    """*streams* streams that outlast a stall, and whether there is one."""
    seconds = _BEGIN_SECONDS + STALL_SECONDS + 1
    pace = Pace(tokens=int(seconds * _FIFTY_A_SECOND))
    load = line.start(Load(streams=streams, concurrency=streams, expect=pace.tokens, **line.post(pace)))
    if not stalls:
        return load.wait()
    released = threading.Event()
    thread = threading.Thread(target=hold, args=(line.directory / "tokenwire.db", _BEGIN_SECONDS, released))
    thread.start()
    report = load.wait()
    released.set()
    thread.join()
    time.sleep(_CATCH_UP_SECONDS)
    return report


def run(session: Session) -> Section:
    """Without, and with; round after round on one line."""
    streams = 100 if session.quick else 800
    section = Section(
        "store-stall",
        f"{streams} streams x 50 tokens/s, while another program holds the lock of the store's file",
        ("", "delay p50 / p99 ms", "longest gap, median stream, ms", "lost", "broken"),
        notes=["Both rows have the same relay, sqlite as its store: `serve`'s defaults."],
    )

    def both(line: Line) -> list[tuple[float, LoadReport]]:
        stalls = [0.0, STALL_SECONDS] * session.rounds
        return [(stall, run_stalled(line, streams=streams, stalls=stall > 0)) for stall in stalls]

    for stall, report in session.measure(SQLITE, both, shape="lab") or ():
        gap = percentile(report.longest_gap_us, 0.5)
        section.rows.append(
            [
                f"{stall:g} s of stall" if stall else "none",
                pair(report.delay(0.5), report.delay(0.99)),
                number(None if gap is None else gap / 1000, 1),
                str(report.lost + report.repeated),
                str(report.broken + report.unfinished),
            ]
        )
        section.data.append(
            {
                "stall_seconds": stall,
                "delay_p50_us": report.delay(0.5),
                "delay_p99_us": report.delay(0.99),
                "longest_gap_us": gap,
                "lost": report.lost,
                "repeated": report.repeated,
                "broken": report.broken,
                "unfinished": report.unfinished,
            }
        )
        if report.why:
            section.notes.append(f"First broken stream: {report.why}")
    return section
