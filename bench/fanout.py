"""One stream, many readers: how late is an event at the last of a thousand?

nginx cannot share a stream. Its row opens an upstream stream for each reader: as many events to as many
clients, and so a yardstick for the writing alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.load import Load, LoadReport, Pace
from bench.report import Section, number, pair

if TYPE_CHECKING:
    from bench.rig import Line
    from bench.session import Session

_GATHER_MS = 4_000  # before the first event: all readers are there by then, and none starts with a backlog


def follow(line: Line, *, readers: int, pace: Pace) -> tuple[LoadReport, float]:
    """Let *readers* follow one stream to its end. Returns the report, and the relay's CPU us per delivery."""
    if line.relay.native:
        path = f"/v1/streams/{line.start_stream(pace)}/events"
    else:
        path = f"/v1/streams/each-its-own/events?{pace.prompt()}"
    load = Load(
        method="GET",
        path=path,
        streams=readers,
        concurrency=readers,
        expect=pace.tokens,
        ramp_us=2_000_000 // readers,
        headers=line.relay.headers,
    )
    before = line.cpu_seconds()
    report = line.run(load)
    used = line.cpu_seconds() - before
    return report, used / max(report.tokens, 1) * 1e6


def run(session: Session) -> Section:
    readers = 200 if session.quick else 1000
    pace = Pace(tokens=100 if session.quick else 400, first_ms=_GATHER_MS)
    section = Section(
        "fanout",
        f"One stream, {readers} readers, 50 events/s",
        ("", "delay p50 / p99 ms", "CPU us/delivery", "lost", "broken"),
        notes=["nginx has one upstream stream per reader: it cannot share one."],
    )
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None  # the load generator has the other one
    for relay in session.plain():
        if not relay.native and relay.name != "nginx":
            continue
        found = session.measure(relay, lambda line: follow(line, readers=readers, pace=pace), relay_core=core)
        if found is None:
            continue
        report, cpu = found
        section.rows.append(
            [
                relay.title,
                pair(report.delay(0.5), report.delay(0.99)),
                number(cpu, 1),
                str(report.lost + report.repeated),
                str(report.broken + report.unfinished),
            ]
        )
        if report.why:
            section.notes.append(f"{relay.title}: first broken stream: {report.why}")
        section.data.append(
            {
                "relay": relay.name,
                "readers": readers,
                "delay_p50_us": report.delay(0.5),
                "delay_p99_us": report.delay(0.99),
                "cpu_us_per_delivery": cpu,
                "lost": report.lost,
                "repeated": report.repeated,
                "broken": report.broken,
                "unfinished": report.unfinished,
            }
        )
    return section
