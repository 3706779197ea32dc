"""What a stream, a reader and a logged token cost in memory: PSS of the relay, without the kernel's buffers.

Every figure is a difference between two moments of rest, so that what is shared by all is in none of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from bench.load import Load, Pace
from bench.loopback import wait_for
from bench.report import Section, number

if TYPE_CHECKING:
    from bench.relays import Relay
    from bench.rig import Line
    from bench.session import Session

_FOREVER = 1_000_000
_GATHER_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Memory:
    started_ms: float
    idle_mib: float
    kib_per_stream: float
    kib_per_reader: float | None = None
    log_bytes_per_token: float | None = None
    """Beyond the bytes of the text itself."""
    text_bytes_per_token: float | None = None


def per_stream(line: Line, streams: int) -> float:
    """KiB of one open stream: its reader, its upstream connection and a log of two tokens, all at rest."""
    before = line.settled_pss_kib()
    tokens = line.stats().tokens
    pace = Pace(tokens=_FOREVER, first_ms=0, hold_after=2)
    load = line.start(Load(streams=streams, concurrency=streams, ramp_us=1000, **line.post(pace)))
    wait_for(lambda: line.stats().tokens - tokens == 2 * streams, _GATHER_SECONDS, "not every stream began")
    load.wait_until_ready()
    after = line.settled_pss_kib()
    load.stop()
    wait_for(lambda: line.stats().active == 0, _GATHER_SECONDS, "not every stream was closed upstream")
    return (after - before) / streams


def per_reader(line: Line, readers: int) -> float:
    """KiB of one more reader of a stream in which nothing happens."""
    stream = line.start_stream(Pace(tokens=_FOREVER, first_ms=0, hold_after=2))
    before = line.settled_pss_kib()
    follow = Load(
        method="GET",
        path=f"/v1/streams/{stream}/events",
        streams=readers,
        concurrency=readers,
        ramp_us=1000,
    )
    load = line.start(follow)
    load.wait_until_ready(_GATHER_SECONDS)
    after = line.settled_pss_kib()
    load.stop()
    return (after - before) / readers


def per_logged_token(line: Line, streams: int, tokens: int) -> tuple[float, float]:
    """Bytes that the log keeps for a token, and the bytes of its text.

    From two sets of streams that differ in length only: what a stream costs by itself cancels out.
    """
    short = 100
    before = line.settled_pss_kib()
    _hold_streams(line, streams, short)
    between = line.settled_pss_kib()
    text_before = line.stats()
    _hold_streams(line, streams, short + tokens)
    after = line.settled_pss_kib()
    text_after = line.stats()
    kib = (after - between) - (between - before)
    text = (text_after.text_bytes - text_before.text_bytes) / (text_after.tokens - text_before.tokens)
    return kib * 1024 / (streams * tokens), text


def _hold_streams(line: Line, streams: int, tokens: int) -> None:
    """Start *streams* streams without readers, and return when each has its *tokens* and stands still."""
    before = line.stats().tokens
    for _ in range(streams):
        line.start_stream(Pace(tokens=_FOREVER, gap_us=2_000, first_ms=0, hold_after=tokens))
    goal = before + streams * tokens
    wait_for(lambda: line.stats().tokens == goal, _GATHER_SECONDS, "the streams did not get their tokens")


def measure(session: Session, relay: Relay) -> Memory | None:
    """Everything about *relay*, from a fresh process for each figure: what one frees, others reuse."""
    many = 200 if session.quick else 1000
    more = 300 if session.quick else 1500

    def at_rest(line: Line) -> Memory:
        idle = line.settled_pss_kib() / 1024
        return Memory(started_ms=line.started_ms, idle_mib=idle, kib_per_stream=per_stream(line, many))

    found = session.measure(relay, at_rest)
    if found is None or not relay.native:
        return found
    reader = session.measure(relay, lambda line: per_reader(line, many))
    logged = session.measure(relay, lambda line: per_logged_token(line, streams=50, tokens=more))
    if reader is None or logged is None:
        return found
    kept, text = logged
    return replace(found, kib_per_reader=reader, log_bytes_per_token=kept - text, text_bytes_per_token=text)


def run(session: Session) -> Section:
    """Measure every relay; readers and logs only where streams can be followed."""
    section = Section(
        "memory",
        "Memory at rest (shape live)",
        (
            "",
            "serves after ms",
            "idle MiB",
            "KiB/stream",
            "KiB/idle reader",
            "log bytes/token beyond its text",
            "text bytes/token",
        ),
        notes=["A stream: its reader, its upstream connection, two logged tokens. Socket buffers do not count."],
    )
    for relay in session.plain():
        if not relay.command:
            continue
        found = measure(session, relay)
        if found is None:
            continue
        section.rows.append(
            [
                relay.title,
                number(found.started_ms, 0),
                number(found.idle_mib, 1),
                number(found.kib_per_stream, 1),
                number(found.kib_per_reader, 1),
                number(found.log_bytes_per_token, 1),
                number(found.text_bytes_per_token, 1),
            ]
        )
        section.data.append({"relay": relay.name, **asdict(found)})
    return section
