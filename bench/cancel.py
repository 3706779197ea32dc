"""How long after a reader leaves is the upstream's connection closed? Until then the model writes, and bills.

Both ends write down CLOCK_MONOTONIC: the load generator just before it closes, the upstream when it wakes up
to the FIN or RST. The direct line shows what of that is the kernel and the harness.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.figures import percentile
from bench.load import Departure, Leave, Load, Pace
from bench.relays import DIRECT
from bench.report import Section, pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.rig import Line
    from bench.session import Session

_AT_ONCE = 4  # tries that overlap: enough to be done soon, too few to queue
_GIVE_UP_SECONDS = 3.0  # after the last try; what the upstream has not seen by then counts as never
_LATE_SECONDS = 0.3  # a request that the relay sends only now, for a reader that is gone, would show within it
_NEVER_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When the reader leaves, give or take one token gap: no phase of the stream is preferred."""

    name: str
    pace: Pace
    after_tokens: int = 0
    after_ms: int = 0


MOMENTS = (
    Moment(name="mid-stream", pace=Pace(tokens=100_000, first_ms=5), after_tokens=3),
    Moment(name="before the first token", pace=Pace(first_ms=_NEVER_MS), after_ms=20),
    Moment(name="during the headers", pace=Pace(head_ms=_NEVER_MS), after_ms=20),
)
WAYS: tuple[tuple[str, Leave], ...] = (("FIN", Leave(how="fin")), ("RST", Leave(how="rst")))


@dataclass(frozen=True)
class Closings:
    """What became of the tries of one moment and one way."""

    delays_us: list[float]
    never: int
    """Upstream connections that stayed open: the model writes on for nobody."""
    not_begun: int
    """The relay had not asked the upstream yet when the reader left, and then did not: as it should be."""


def match(left: dict[int, int], seen: Sequence[Departure], still_open: int) -> Closings:
    """Pair each leaving with what the upstream saw of it, by tag.

    Args:
        left: Tag -> when the client left (ns).
        seen: In any order; of other tags too.
        still_open: Streams that the upstream is still writing.
    """
    arrivals = {d.tag: d.ns for d in seen}
    delays = [(arrivals[tag] - ns) / 1000 for tag, ns in left.items() if tag in arrivals]
    return Closings(delays, never=still_open, not_begun=len(left) - len(delays) - still_open)


def read_log(text: str) -> dict[int, int]:
    """The load generator's "TAG NS" lines."""
    return {int(tag): int(ns) for tag, ns in (line.split() for line in text.splitlines())}


def leave_often(line: Line, moment: Moment, leave: Leave, tries: int, first_tag: int) -> Closings:
    """*tries* streams that are left at *moment*, and when the upstream knew."""
    log = line.directory / f"left-{first_tag}"
    load = Load(
        streams=tries,
        concurrency=_AT_ONCE,
        leave=Leave(how=leave.how, after_tokens=moment.after_tokens, after_ms=moment.after_ms, jitter_ms=20),
        first_tag=first_tag,
        extra={"leave-log": str(log)},
        **line.post(moment.pace),
    )
    line.run(load)
    left = read_log(log.read_text())
    time.sleep(_LATE_SECONDS)
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while (still_open := line.stats().active) and time.monotonic() < deadline:
        time.sleep(0.05)
    return match(left, line.departures(), still_open)


def run(session: Session, *, tls: bool = False) -> Section:
    """Try every moment and both ways at each relay. *tls*: the upstream speaks it."""
    names = [f"{moment.name}, {way}" for moment in MOMENTS for way, _ in WAYS]
    section = Section(
        "tls-cancel" if tls else "cancel",
        f"Upstream{' over TLS' if tls else ''} closed after the reader left: p50 / p99 ms, {session.tries} tries each",
        ("", *names),
        notes=['"never": tries whose upstream connection was still open 3 s after the last of them.'],
    )
    relays = [DIRECT, *(relay for relay in session.plain() if relay is not DIRECT)]
    if tls:
        section.notes.append("What speaks TLS before the upstream passes it on; its own time is in every figure.")
        relays = [relay for relay in relays if relay.tls] if session.has("nginx", section.name) else []

    def tries(line: Line) -> list[Closings]:
        found: list[Closings] = []
        for moment in MOMENTS:
            for _, leave in WAYS:
                first_tag = 1 + len(found) * session.tries
                found.append(leave_often(line, moment, leave, session.tries, first_tag))
        return found

    for relay in relays:
        results = session.measure(relay, tries, tls=tls)
        if results is None:
            continue
        section.rows.append([relay.title, *(_cell(closings) for closings in results)])
        section.data.append({"relay": relay.name, **dict(zip(names, map(_facts, results), strict=True))})
    return section


def _cell(closings: Closings) -> str:
    times = pair(percentile(closings.delays_us, 0.5), percentile(closings.delays_us, 0.99))
    return times + (f" ({closings.never} never)" if closings.never else "")


def _facts(closings: Closings) -> dict[str, float | int | None]:
    return {
        "tries": len(closings.delays_us) + closings.never + closings.not_begun,
        "never": closings.never,
        "not_begun": closings.not_begun,
        "p50_us": percentile(closings.delays_us, 0.5),
        "p99_us": percentile(closings.delays_us, 0.99),
        "max_us": max(closings.delays_us, default=None),
    }
