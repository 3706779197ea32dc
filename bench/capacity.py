"""What one core carries, and how it fails beyond that: slower for all alike, or for some not at all?

The relay has one core to itself and the harness has the others. Every level runs for a fixed window, in which
streams are joined by none and left by none.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.figures import percentile
from bench.load import Load, Pace
from bench.report import Section, milliseconds, number

if TYPE_CHECKING:
    from bench.rig import Line
    from bench.session import Session

_FOREVER = 1_000_000
_RAMP_US = 1_000  # a thousand clients a second: arriving is not what is measured
_REST_MS = 2_000  # between the answer to the last of them and the window


@dataclass(frozen=True, kw_only=True)
class Level:
    """So many streams at 50 tokens/s, on one core."""

    streams: int
    tokens_per_s: float
    longest_gap_us: float | None
    slowest_share: float | None
    """Rate of the slowest stream over the median rate."""
    broken: int
    silent: int
    """Streams without a token in the window, though not broken."""
    why: str
    """Of the first broken stream."""
    relay_cores: float
    harness_cores: float


def hold_level(line: Line, streams: int, seconds: int) -> Level:
    """Carry *streams* streams through a window of *seconds*."""
    load = Load(
        streams=streams,
        concurrency=streams,
        ramp_us=_RAMP_US,
        window_ms=(_REST_MS, seconds * 1000),
        **line.post(Pace(tokens=_FOREVER)),
    )
    relay, upstream = line.cpu_seconds(), line.upstream_cpu_seconds()
    report = line.run(load)
    relay, upstream = line.cpu_seconds() - relay, line.upstream_cpu_seconds() - upstream
    rates = report.tokens_per_s
    middle = percentile(rates, 0.5)
    return Level(
        streams=streams,
        tokens_per_s=sum(rates),
        longest_gap_us=max(report.longest_gap_us, default=None),
        slowest_share=min(rates) / middle if middle else None,
        broken=report.broken,
        silent=sum(rate == 0 for rate in rates),
        why=report.why,
        relay_cores=relay / report.seconds,
        harness_cores=(upstream + report.cpu_seconds) / report.seconds,
    )


def run(session: Session) -> Section:
    levels = (250, 500) if session.quick else (1000, 1500, 2000)
    seconds = 4 if session.quick else 10
    section = Section(
        "capacity",
        f"One core for the relay: streams × 50 tokens/s, over {seconds} s",
        (
            "",
            "streams",
            "tokens/s",
            "of its peak",
            "longest gap ms",
            "slowest/median",
            "broken",
            "silent",
            "relay cores",
            "harness cores",
        ),
    )
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        section.notes.append("Not measured: the relay needs one core and the harness another, and there is one.")
        return section
    section.notes.append(
        f"The harness has {len(cores) - 1} core(s). Where it uses nearly all of them, it is what is measured."
    )
    for relay in session.plain():
        if not relay.command or relay.slow:
            continue
        found = session.measure(relay, lambda line: [hold_level(line, n, seconds) for n in levels], relay_core=cores[0])
        if found is None:
            continue
        peak = max(level.tokens_per_s for level in found)
        for level in found:
            section.rows.append(
                [
                    relay.title,
                    str(level.streams),
                    number(level.tokens_per_s, 0),
                    number(level.tokens_per_s / peak if peak else None),
                    milliseconds(level.longest_gap_us),
                    number(level.slowest_share),
                    str(level.broken),
                    str(level.silent),
                    number(level.relay_cores),
                    number(level.harness_cores),
                ]
            )
            if level.why:
                section.notes.append(f"{relay.title}, {level.streams}: first broken stream: {level.why}")
        section.data.append({"relay": relay.name, "levels": [asdict(level) for level in found]})
    return section
