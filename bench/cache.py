"""Answers that are kept: how soon a repeated one begins, how long it takes, and what it costs.

Every request of a row is the same, and was asked once before. The load reads one answer at a time, and then ten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.figures import percentile
from bench.load import PATHS, Load, Pace, request_body
from bench.relays import KNOWN
from bench.report import Section, number, pair
from bench.rig import RelayFailedError

if TYPE_CHECKING:
    from bench.relays import Dialect, Relay
    from bench.rig import Line
    from bench.session import Session

_CACHED: Final = '\n[models."lab/gpt-4o".cache]\nseconds = 3600\n'
#: In which dialect the kept chat stream is asked for, and read.
_READ: Final[tuple[tuple[str, Dialect, tuple[str, ...]], ...]] = (
    ("chat", "chat", ()),
    ("messages", "messages", ()),
    ("native", "chat", ("X-Tokenwire-Dialect: native",)),
)


@dataclass(frozen=True)
class Told:
    """Repeated answers of one length, in one dialect. Microseconds."""

    ttft_us: list[float]
    answer_us: float
    cpu_us_per_token: float
    broken: int
    why: str


def cached() -> Relay:
    """tokenwire, with settings that keep the answers of its chat model."""
    usual = KNOWN["tokenwire"]
    files = {name: text + _CACHED for name, text in usual.files.items()}
    models = {**usual.models, "messages": usual.models["chat"]}
    return replace(usual, name="tokenwire-cache", files=files, models=models)


def told_again(
    line: Line, *, tokens: int, streams: int, concurrency: int, dialect: Dialect, headers: tuple[str, ...] = ()
) -> Told:
    """*streams* repetitions of an answer of *tokens*. Raises ``RelayFailedError`` if the upstream was asked for one."""
    body = request_body(dialect, line.relay.models[dialect], Pace(tokens=tokens, gap_us=0, first_ms=0))
    load = Load(
        path=PATHS[dialect],
        body=body,
        headers=headers,
        expect=tokens,
        streams=streams,
        concurrency=concurrency,
        limit_s=60,
    )
    line.run(replace(load, streams=1, concurrency=1))
    asked, cpu = line.stats().requests, line.cpu_seconds()
    report = line.run(load)
    if line.stats().requests != asked:
        raise RelayFailedError(f"{line.stats().requests - asked} of {streams} answers were not told again")
    used = line.cpu_seconds() - cpu
    whole = report.seconds * concurrency / max(report.complete, 1) * 1e6
    broken = report.broken + report.unfinished + report.lost + report.repeated
    return Told(report.ttft_us, whole, used / max(report.tokens, 1) * 1e6, broken, report.why)


def run(session: Session) -> Section:
    streams = 200 if session.quick else 500
    section = Section(
        "cache",
        "Kept answers of a chat model, told again",
        ("read as", "tokens", "at once", "TTFT p50 / p99 ms", "answer ms", "CPU us/token", "broken"),
        notes=[
            "answer: the mean, from the request to the last byte of the answer.",
            "Ten at once keep the relay's core busy: their TTFT is the time in its queue.",
        ],
    )
    relay = cached()
    for name, dialect, headers in _READ:
        for tokens in (100, 1000):
            for concurrency in (1, 10):
                work = partial(
                    told_again,
                    tokens=tokens,
                    streams=streams,
                    concurrency=concurrency,
                    dialect=dialect,
                    headers=headers,
                )
                found = session.measure(relay, work)
                if found is None:
                    continue
                p50, p99 = (percentile(found.ttft_us, q) for q in (0.5, 0.99))
                section.rows.append(
                    [
                        name,
                        str(tokens),
                        str(concurrency),
                        pair(p50, p99),
                        number(found.answer_us / 1000),
                        number(found.cpu_us_per_token),
                        str(found.broken),
                    ]
                )
                if found.why:
                    section.notes.append(f"{name}, {tokens} tokens: first broken stream: {found.why}")
                section.data.append(
                    {
                        "read_as": name,
                        "tokens": tokens,
                        "at_once": concurrency,
                        "ttft_p50_us": p50,
                        "ttft_p99_us": p99,
                        "answer_us": found.answer_us,
                        "cpu_us_per_token": found.cpu_us_per_token,
                        "broken": found.broken,
                    }
                )
    return section
