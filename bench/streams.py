"""Many streams at a set pace: what a relayed token costs, and how much later it arrives."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.figures import median, median_ratio
from bench.load import Load, LoadReport, Pace
from bench.processes import machine_seconds
from bench.relays import DIRECT, Relay
from bench.report import Section, number, pair

if TYPE_CHECKING:
    from bench.relays import Dialect
    from bench.rig import Line
    from bench.session import Session

_FEW = 100  # streams; below, the allocator's next page is most of what would be measured
_DISTURBED_CORES = 0.4  # taken by others; arbitrary, with room for what the kernel does for us in its own time
_SAMPLE_SECONDS = 1.0  # between two readings of the relay's memory, each of which walks its page tables


@dataclass(frozen=True, kw_only=True)
class Work:
    """``passes`` streams on each of ``streams`` connections, one after another."""

    name: str
    title: str
    shape: str
    streams: int
    pace: Pace
    passes: int
    direct: bool = False
    """Show the direct line too: the floor of the harness."""
    tls: bool = False
    """The upstream speaks TLS."""
    heavy: bool = True
    """Whether it would take a slow relay minutes."""


def works(*, quick: bool) -> dict[str, Work]:
    """The scenarios by name; *quick* gives a hint in a fifth of the time, not a figure to quote."""
    fifty_a_second = Pace(tokens=50 if quick else 200, gap_us=20_000)
    passes = 1 if quick else 2
    return {
        w.name: w
        for w in (
            Work(
                name="lab",
                title="800 streams × 50 tokens/s, all events alike (shape lab)",
                shape="lab",
                streams=800,
                pace=fifty_a_second,
                passes=passes,
            ),
            Work(
                name="live",
                title="800 streams × 50 tokens/s, as providers send them (shape live)",
                shape="live",
                streams=800,
                pace=fifty_a_second,
                passes=passes,
            ),
            Work(
                name="pacing",
                title="133 streams × 300 tokens/s (shape live)",
                shape="live",
                streams=133,
                pace=Pace(tokens=300 if quick else 1200, gap_us=3_333),
                passes=passes,
            ),
            Work(
                name="latency",
                title="10 streams × 50 tokens/s: what is added when nothing is busy (shape live)",
                shape="live",
                streams=10,
                # Short streams: a p99 of TTFT wants 100 of them at least.
                pace=Pace(tokens=20),
                passes=12 if quick else 20,
                direct=True,
                heavy=False,
            ),
            # Fewer: what speaks TLS before the upstream needs a share of the cores, too.
            Work(
                name="tls",
                title="300 streams × 50 tokens/s from an upstream that speaks TLS (shape live)",
                shape="live",
                streams=300,
                pace=fifty_a_second,
                passes=passes,
                tls=True,
            ),
            Work(
                name="tls-fast",
                title="50 streams × 300 tokens/s from an upstream that speaks TLS (shape live)",
                shape="live",
                streams=50,
                pace=Pace(tokens=300 if quick else 1200, gap_us=3_333),
                passes=passes,
                tls=True,
            ),
        )
    }


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One turn of one relay."""

    cpu_us_per_token: float | None
    delay_p50_us: float | None
    delay_p99_us: float | None
    added_ttft_p50_us: float | None
    added_ttft_p99_us: float | None
    kib_per_stream: float | None
    idle_mib: float | None
    started_ms: float | None
    tokens: int
    seconds: float
    lost: int
    repeated: int
    broken: int
    unfinished: int
    why: str
    stranger_cores: float
    """Cores that other programs took meanwhile, the kernel's own work and other machines' included."""
    harness_cores: float
    """Cores that upstream and load generator used: where these are all, the harness is what is measured."""


def run_work(line: Line, work: Work, dialect: Dialect) -> Measurement:
    """Run *work* once over *line*, with clients of *dialect*."""
    passes = 1 if line.relay.slow and work.heavy else work.passes
    load = Load(
        streams=work.streams * passes,
        concurrency=work.streams,
        expect=work.pace.tokens,
        **line.post(work.pace, dialect),
    )
    idle = peak = line.pss_kib()
    sampled = time.monotonic()

    def sample() -> None:
        nonlocal peak, sampled
        if time.monotonic() - sampled >= _SAMPLE_SECONDS:
            peak = max(peak, line.pss_kib())
            sampled = time.monotonic()

    busy, used, upstream_used = machine_seconds(), line.cpu_seconds(), line.upstream_cpu_seconds()
    report = line.start(load).wait(sample)
    used, upstream_used = line.cpu_seconds() - used, line.upstream_cpu_seconds() - upstream_used
    busy = machine_seconds() - busy
    harness = upstream_used + report.cpu_seconds
    seconds = max(report.seconds, 0.001)
    relayed = line.process is not None
    return Measurement(
        cpu_us_per_token=used / report.tokens * 1e6 if relayed and report.tokens else None,
        **_latencies(report),
        kib_per_stream=(peak - idle) / work.streams if relayed and work.streams >= _FEW else None,
        idle_mib=idle / 1024 if relayed else None,
        started_ms=line.started_ms if relayed else None,
        tokens=report.tokens,
        seconds=report.seconds,
        lost=report.lost,
        repeated=report.repeated,
        broken=report.broken,
        unfinished=report.unfinished,
        why=report.why,
        stranger_cores=max(0.0, busy - used - harness) / seconds,
        harness_cores=harness / seconds,
    )


def _latencies(report: LoadReport) -> dict[str, Any]:
    return {
        "delay_p50_us": report.delay(0.5),
        "delay_p99_us": report.delay(0.99),
        "added_ttft_p50_us": report.added_ttft(0.5),
        "added_ttft_p99_us": report.added_ttft(0.99),
    }


_COLUMNS = (
    "",
    "CPU us/token",
    "× nginx",
    "delay p50 / p99 ms",
    "TTFT added p50 / p99 ms",
    "KiB/stream",
    "idle MiB",
    "lost",
    "broken",
)


def run(session: Session, work: Work) -> Section:
    """Measure every relay that speaks the dialect, in turn, and compare each with nginx round by round."""
    relays = [r for r in session.relays if session.dialect in r.models and (r.tls or not work.tls)]
    if work.tls and not session.has("nginx", work.name):
        relays = []
    if not work.direct:
        relays = [r for r in relays if r is not DIRECT]
    turns: dict[str, dict[int, Measurement]] = {relay.name: {} for relay in relays}
    for turn, relay in session.turns(relays, heavy=work.heavy):
        found = session.measure(
            relay,
            lambda line: run_work(line, work, session.dialect),
            shape=work.shape,
            dialect=session.dialect,
            tls=work.tls,
        )
        if found is not None:
            turns[relay.name][turn] = found
    section = Section(work.name, f"{work.title} — {session.dialect}", _COLUMNS)
    for relay in relays:
        if turns[relay.name]:
            _add_row(section, relay, turns[relay.name], turns.get("nginx", {}))
    section.notes.append(
        f"Medians of {session.rounds} interleaved rounds; the ratio is the median of the rounds' ratios."
    )
    disturbed = max((m.stranger_cores for found in turns.values() for m in found.values()), default=0.0)
    if disturbed > _DISTURBED_CORES:
        section.notes.append(f"Disturbed: other programs took up to {disturbed:.1f} cores. Measure again without them.")
    if work.direct:
        section.notes.append("What a relay adds is its row less the direct line's.")
    if work.heavy and any(relay.slow and turns[relay.name] for relay in relays):
        section.notes.append("The tutorial relay had one round and one pass; its delays are a queue's.")
    return section


def _add_row(section: Section, relay: Relay, turns: dict[int, Measurement], nginx: dict[int, Measurement]) -> None:
    mine = list(turns.values())
    ratio = median_ratio(
        [turns[n].cpu_us_per_token for n in turns if n in nginx],
        [nginx[n].cpu_us_per_token for n in turns if n in nginx],
    )

    def middle(name: str) -> float | None:
        return median(getattr(m, name) for m in mine)

    lost = sum(m.lost + m.repeated for m in mine)
    broken = sum(m.broken + m.unfinished for m in mine)
    section.rows.append(
        [
            relay.title,
            number(middle("cpu_us_per_token"), 1),
            number(ratio),
            pair(middle("delay_p50_us"), middle("delay_p99_us")),
            pair(middle("added_ttft_p50_us"), middle("added_ttft_p99_us")),
            number(middle("kib_per_stream"), 1),
            number(middle("idle_mib"), 1),
            str(lost),
            str(broken),
        ]
    )
    section.data.append({"relay": relay.name, "ratio_to_nginx": ratio, "turns": [dataclasses.asdict(m) for m in mine]})
    why = next((m.why for m in mine if m.why), None)
    if why:
        section.notes.append(f"{relay.title}: first broken stream: {why}")
    unfinished = sum(m.unfinished for m in mine)
    if unfinished:
        section.notes.append(f"{relay.title}: {unfinished} streams were not over when the time was.")
