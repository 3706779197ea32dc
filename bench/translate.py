"""Clients of one dialect, an upstream of another: what a translated token costs beside one that is passed on.

Both kinds of clients ask one process, one kind after the other, of an upstream that writes the same in both cases. The
round's two figures are compared, and the order changes from round to round.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Final

from bench import streams
from bench.figures import median, median_ratio
from bench.load import Pace
from bench.report import Section, number, pair

if TYPE_CHECKING:
    from bench.relays import Dialect, Relay
    from bench.rig import Line
    from bench.session import Session

_DIALECTS: Final[tuple[Dialect, ...]] = ("chat", "messages")


def work_of(*, quick: bool) -> streams.Work:
    pace = Pace(tokens=50 if quick else 200, gap_us=20_000)
    return streams.Work(name="translate", title="translate", shape="live", streams=400, pace=pace, passes=1)


def both(line: Line, work: streams.Work, clients: tuple[Dialect, ...]) -> dict[Dialect, streams.Measurement]:
    """*work* over *line* for the clients of each dialect, in that order."""
    return {client: streams.run_work(line, work, client) for client in clients}


def run(session: Session) -> Section:
    work = work_of(quick=session.quick)
    section = Section(
        work.name,
        f"{work.streams} streams × 50 tokens/s, passed on and translated (shape {work.shape})",
        ("", "upstream", "clients", "CPU us/token", "× passed on", "delay p50 / p99 ms", "lost", "broken"),
        notes=[
            f"Medians of {session.rounds} rounds; the ratio is the median of the rounds' ratios, of one process each."
        ],
    )
    for relay in session.plain():
        if not relay.translates:
            continue
        for upstream in _DIALECTS:
            turns: list[dict[Dialect, streams.Measurement]] = []
            for turn in range(session.rounds):
                clients = _DIALECTS if turn % 2 == 0 else _DIALECTS[::-1]
                found = session.measure(
                    relay, partial(both, work=work, clients=clients), shape=work.shape, dialect=upstream
                )
                if found is not None:
                    turns.append(found)
            if turns:
                _add_rows(section, relay, upstream, turns)
    return section


def _add_rows(
    section: Section, relay: Relay, upstream: Dialect, turns: list[dict[Dialect, streams.Measurement]]
) -> None:
    for client in sorted(_DIALECTS, key=lambda dialect: dialect != upstream):
        mine = [turn[client] for turn in turns]
        ratio = median_ratio(
            [measured.cpu_us_per_token for measured in mine], [turn[upstream].cpu_us_per_token for turn in turns]
        )
        section.rows.append(
            [
                relay.title,
                upstream,
                client,
                number(median(measured.cpu_us_per_token for measured in mine), 1),
                number(ratio),
                pair(median(m.delay_p50_us for m in mine), median(m.delay_p99_us for m in mine)),
                str(sum(measured.lost + measured.repeated for measured in mine)),
                str(sum(measured.broken + measured.unfinished for measured in mine)),
            ]
        )
        section.data.append(
            {
                "relay": relay.name,
                "upstream": upstream,
                "clients": client,
                "ratio_to_passed_on": ratio,
                "turns": [dataclasses.asdict(measured) for measured in mine],
            }
        )
        why = next((measured.why for measured in mine if measured.why), None)
        if why:
            section.notes.append(f"{relay.title}, {client} of {upstream}: first broken stream: {why}")
