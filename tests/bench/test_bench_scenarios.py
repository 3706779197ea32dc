"""The scenarios: what they make of measurements, and short runs of what they measure with."""

from __future__ import annotations

import sqlite3
import sys
import threading
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from bench.load import Departure, LoadReport, Pace
from bench.rig import Line, RelayFailedError, open_line
from bench.session import Session
from bench.toolchain import MissingProgramError, Programs

from bench import cache, cancel, capacity, fanout, latejoin, memory, relays, store_stall, streams, translate
from tokenwire.testing.processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Canned(Session):
    """A session whose relays have been measured already: by name, one result a turn; no more of them: None."""

    results: dict[str, list[Any]] = field(default_factory=dict)

    def measure(self, relay: relays.Relay, work: Callable[[Line], Any], **how: Any) -> Any:
        waiting = self.results.get(relay.name, [])
        return waiting.pop(0) if waiting else None


def canned(*names: str, rounds: int = 3, **results: list[Any]) -> Canned:
    rows = [relays.KNOWN[name] for name in names]
    return Canned(Programs(Path("paced"), Path("load")), rows, rounds=rounds, tries=2, results=results)


def turn(cpu: float | None, **changes: Any) -> streams.Measurement:
    usual = streams.Measurement(
        cpu_us_per_token=cpu,
        delay_p50_us=100.0,
        delay_p99_us=1000.0,
        added_ttft_p50_us=200.0,
        added_ttft_p99_us=None,
        kib_per_stream=17.5,
        idle_mib=12.0,
        started_ms=20.0,
        tokens=1000,
        seconds=8.0,
        lost=0,
        repeated=0,
        broken=0,
        unfinished=0,
        why="",
        stranger_cores=0.1,
        harness_cores=0.5,
    )
    return replace(usual, **changes)


def test_each_round_is_compared_with_the_nginx_of_the_same_round() -> None:
    session = canned(
        "nginx",
        "tutorial",
        nginx=[turn(10.0), turn(20.0), turn(10.0)],
        tutorial=[turn(200.0, lost=1, repeated=2, broken=3, unfinished=4, why="cut off", stranger_cores=0.8)],
    )
    section = streams.run(session, streams.works(quick=False)["lab"])
    nginx, tutorial = section.rows
    assert nginx == ["nginx", "10.0", "1.00", "0.10 / 1.00", "0.20 / –", "17.5", "12.0", "0", "0"]
    assert tutorial[:3] == ["tutorial relay", "200.0", "20.00"]
    assert tutorial[-2:] == ["3", "7"]
    notes = " ".join(section.notes)
    assert "cut off" in notes
    assert "4 streams were not over" in notes
    assert "one round and one pass" in notes
    assert "up to 0.8 cores" in notes
    assert len(section.data[0]["turns"]) == 3


def test_without_nginx_there_is_no_ratio_and_the_direct_line_is_shown_where_it_tells() -> None:
    session = canned("direct", "nginx", "tokenwire", rounds=1, direct=[turn(None)], tokenwire=[turn(9.0)])
    section = streams.run(session, streams.works(quick=True)["latency"])
    assert [row[:3] for row in section.rows] == [["direct line", "–", "–"], ["tokenwire", "9.0", "–"]]
    assert section.data[1]["ratio_to_nginx"] is None
    assert "Disturbed" not in " ".join(section.notes)
    again = canned("direct", "tokenwire", rounds=1, direct=[turn(None)], tokenwire=[turn(9.0)])
    assert len(streams.run(again, streams.works(quick=True)["lab"]).rows) == 1


def test_tls_is_for_relays_that_can_and_needs_a_terminator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.session.find", lambda program, package: program)
    session = canned("nginx", "tutorial", rounds=1, nginx=[turn(10.0)], tutorial=[turn(200.0)])
    assert [row[0] for row in streams.run(session, streams.works(quick=True)["tls"]).rows] == ["nginx"]
    good = cancel.Closings([100.0, 300.0], 0, 0)
    session = canned("direct", "nginx", "tutorial", direct=[[good] * 6], nginx=[[good] * 6])
    section = cancel.run(session, tls=True)
    assert (section.name, [row[0] for row in section.rows]) == ("tls-cancel", ["nginx"])

    def nowhere(program: str, package: str) -> str:
        raise MissingProgramError(program, f"apt-get install {package}")

    monkeypatch.setattr("bench.session.find", nowhere)
    session = canned("nginx", rounds=1, nginx=[turn(10.0), [good] * 6])
    assert streams.run(session, streams.works(quick=True)["tls"]).rows == []
    assert cancel.run(session, tls=True).rows == []
    assert session.troubles[0] == "tls: nginx is not on this machine: apt-get install nginx"
    assert session.left_out == {}


def test_a_relay_without_the_dialect_has_no_row() -> None:
    session = canned("nginx", "tutorial", rounds=1, nginx=[turn(10.0)], tutorial=[turn(200.0)])
    session.dialect = "messages"
    assert len(streams.run(session, streams.works(quick=True)["live"]).rows) == 1


def test_a_translated_token_is_compared_with_one_that_was_passed_on_in_the_same_process() -> None:
    rounds = [
        {"chat": turn(10.0), "messages": turn(12.0)},
        {"messages": turn(30.0, broken=2, why="404"), "chat": turn(20.0)},
    ]
    session = canned("nginx", "tokenwire", "tokenwire-ids", rounds=2, tokenwire=[*rounds, *rounds])
    section = translate.run(session)
    assert [row[1:5] for row in section.rows] == [
        ["chat", "chat", "15.0", "1.00"],
        ["chat", "messages", "21.0", "1.35"],
        ["messages", "messages", "21.0", "1.00"],
        ["messages", "chat", "15.0", "0.75"],
    ]
    assert section.rows[1][-1] == "2"
    assert section.notes[1] == "tokenwire, messages of chat: first broken stream: 404"
    assert section.data[1]["ratio_to_passed_on"] == pytest.approx(1.35)
    assert translate.run(canned("tokenwire", rounds=1)).rows == []


def test_leavings_are_matched_by_tag() -> None:
    seen = [Departure(tag=2, ns=9_000, reset=True), Departure(tag=1, ns=3_000, reset=False)]
    seen.append(Departure(tag=99, ns=1, reset=False))
    closings = cancel.match({1: 1_000, 2: 2_000, 3: 5_000, 4: 6_000}, seen, still_open=1)
    assert sorted(closings.delays_us) == [2.0, 7.0]
    assert (closings.never, closings.not_begun) == (1, 1)


def test_the_leave_log_is_read() -> None:
    assert cancel.read_log("1 100\n2 200\n") == {1: 100, 2: 200}
    assert cancel.read_log("") == {}


def test_cancel_shows_what_never_ended() -> None:
    good, bad = cancel.Closings([100.0, 300.0], 0, 0), cancel.Closings([100.0], 1, 0)
    session = canned("direct", "nginx", direct=[[good] * 6], nginx=[[good, bad, good, good, good, good]])
    section = cancel.run(session)
    assert section.rows[0] == ["direct line", *["0.20 / –"] * 6]
    assert section.rows[1][2] == "0.10 / – (1 never)"
    assert section.data[1]["mid-stream, RST"]["tries"] == 2


def test_memory_of_a_relay_without_followers_is_its_streams() -> None:
    plain = memory.Memory(started_ms=20.0, idle_mib=12.0, kib_per_stream=17.25)
    session = canned("direct", "nginx", "tokenwire", nginx=[plain], tokenwire=[plain, 12.5, (70.0, 30.0)])
    section = memory.run(session)
    assert section.rows == [
        ["nginx", "20", "12.0", "17.2", "–", "–", "–"],
        ["tokenwire", "20", "12.0", "17.2", "12.5", "40.0", "30.0"],
    ]
    assert section.data[1]["log_bytes_per_token"] == 40.0


def test_memory_keeps_what_was_measured_before_a_failure() -> None:
    plain = memory.Memory(started_ms=20.0, idle_mib=12.0, kib_per_stream=17.25)
    section = memory.run(canned("nginx", "tokenwire", tokenwire=[plain]))
    assert section.rows == [["tokenwire", "20", "12.0", "17.2", "–", "–", "–"]]


def report(**changes: Any) -> LoadReport:
    counts = ("started", "complete", "broken", "left", "unfinished", "tokens", "lost", "repeated")
    series = ("ttft_us", "added_ttft_us", "longest_gap_us", "tokens_per_s")
    values: dict[str, Any] = dict.fromkeys(counts, 0) | {name: [] for name in series}
    values |= {"why": "", "seconds": 2.0, "cpu_seconds": 1.0, "delay_us": [(100, 200)]}
    return LoadReport(**(values | changes))


def test_fanout_has_those_who_can_follow_and_the_yardstick() -> None:
    session = canned(
        "direct",
        "nginx",
        "tokenwire",
        "tutorial",
        nginx=[(report(), 12.0)],
        tokenwire=[(report(broken=1, lost=2, why="refused"), 3.0)],
        tutorial=[(report(), 1.0)],
    )
    section = fanout.run(session)
    assert section.rows[0] == ["nginx", "0.10 / 0.10", "12.0", "0", "0"]
    assert section.rows[1][-2:] == ["2", "1"]
    assert "refused" in section.notes[-1]
    assert len(section.rows) == len(section.data) == 2


def test_late_joins_are_of_those_who_can_be_followed() -> None:
    first = latejoin.Join(first_ms=3.0, last_ms=4.0, frames=2, size=1100)
    found = [
        latejoin.Joins(dialect=name, text_bytes=1000, first=first, later_ms=1.0, worst_ms=2.0)
        for name in latejoin.DIALECTS[:-1]
    ]
    section = latejoin.run(canned("nginx", "tokenwire", nginx=[found[0]], tokenwire=list(found)))
    assert section.rows[0] == ["tokenwire", "native", "3.0", "4.0", "2", "1.10", "1.0", "2.0"]
    assert [row[1] for row in section.rows] == list(latejoin.DIALECTS[:-1])  # the last one could not be measured
    assert section.data[0]["first"]["size"] == 1100


def test_kept_answers_have_a_row_for_each_way_to_read_them() -> None:
    told = cache.Told([500.0, 700.0], 2000.0, 4.5, 0, "")
    session = canned("nginx")
    session.results["tokenwire-cache"] = [told] * 10 + [replace(told, broken=2, why="cut off")]
    section = cache.run(session)
    assert len(section.rows) == len(section.data) == 11
    assert section.rows[0] == ["chat", "100", "1", "0.60 / –", "2.00", "4.50", "0"]
    assert [row[0] for row in section.rows] == ["chat"] * 4 + ["messages"] * 4 + ["native"] * 3
    assert "cut off" in section.notes[-1]


def test_a_stalled_store_is_shown_beside_one_that_is_well(tmp_path: Path) -> None:
    whole = msgspec.json.decode(
        b'{"started":2,"complete":2,"broken":0,"left":0,"unfinished":0,"tokens":20,"lost":0,"repeated":0,"why":"",'
        b'"seconds":1,"cpu_seconds":0,"delay_us":[],"ttft_us":[],"added_ttft_us":[],"longest_gap_us":[30000,50000],'
        b'"tokens_per_s":[]}',
        type=LoadReport,
    )
    session = canned("nginx")
    cut = msgspec.structs.replace(whole, broken=1, lost=2, why="cut off")
    session.results["tokenwire-sqlite"] = [[(0.0, whole), (5.0, cut)]]
    section = store_stall.run(session)
    assert [(row[0], *row[-2:]) for row in section.rows] == [("none", "0", "0"), ("5 s of stall", "2", "1")]
    assert section.data[1]["stall_seconds"] == 5.0
    assert "cut off" in section.notes[-1]
    assert store_stall.run(canned("nginx")).rows == []


def test_the_lock_of_a_stalled_store_keeps_others_from_writing(tmp_path: Path) -> None:
    path = tmp_path / "tokenwire.db"
    sqlite3.connect(path, isolation_level=None).execute("CREATE TABLE a (b)").connection.close()
    released = threading.Event()
    holder = threading.Thread(target=store_stall.hold, args=(path, 0.0, released))
    holder.start()
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0.0)) as other:
        wait_for(lambda: not writes(other))
        released.set()
        holder.join()
        assert writes(other)


def writes(connection: sqlite3.Connection) -> bool:
    """Whether *connection* may write now."""
    try:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    return True


def test_an_answer_that_was_not_told_again_is_no_figure(direct: Line) -> None:
    with pytest.raises(RelayFailedError, match="2 of 2 answers were not told again"):
        cache.told_again(direct, tokens=5, streams=2, concurrency=1, dialect="chat")


def level(streams: int, rate: float) -> capacity.Level:
    return capacity.Level(
        streams=streams,
        tokens_per_s=rate,
        longest_gap_us=50_000.0,
        slowest_share=0.9,
        broken=1,
        silent=1,
        why="refused",
        relay_cores=1.0,
        harness_cores=0.5,
    )


def test_capacity_compares_each_level_with_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    session = canned("nginx", "tutorial", nginx=[[level(1000, 50_000.0), level(2000, 40_000.0)]])
    section = capacity.run(session)
    assert section.rows[1] == ["nginx", "2000", "40000", "0.80", "50.00", "0.90", "1", "1", "1.00", "0.50"]
    assert "1 core(s)" in section.notes[0]


def test_capacity_wants_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    section = capacity.run(canned("nginx", nginx=[[level(1000, 50_000.0)]]))
    assert section.rows == []
    assert "there is one" in section.notes[0]


# ---- short runs over the direct line, and over a relay with native routes ----


@pytest.fixture(scope="module")
def direct(programs: Programs) -> Iterator[Line]:
    with open_line(relays.DIRECT, programs) as line:
        yield line


def test_a_short_work(direct: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_SAMPLE_SECONDS", 0.0)
    work = streams.Work(
        name="x", title="x", shape="live", streams=2, pace=Pace(tokens=5, gap_us=1_000, first_ms=1), passes=2
    )
    found = streams.run_work(direct, work, "chat")
    assert (found.tokens, found.lost, found.broken, found.unfinished) == (20, 0, 0, 0)
    assert found.cpu_us_per_token is None
    assert found.delay_p50_us is not None
    assert found.added_ttft_p99_us is None


def test_a_short_translation(direct: Line) -> None:
    """The upstream speaks both dialects: what is asked by which path is told apart."""
    pace = Pace(tokens=5, gap_us=1_000, first_ms=1)
    work = replace(translate.work_of(quick=True), streams=2, pace=pace)
    found = translate.both(direct, work, ("messages", "chat"))
    assert [(dialect, measured.tokens, measured.broken) for dialect, measured in found.items()] == [
        ("messages", 10, 0),
        ("chat", 10, 0),
    ]


def test_one_follower_a_stream_at_the_direct_line(direct: Line) -> None:
    found, _ = fanout.follow(direct, readers=3, pace=Pace(tokens=5, gap_us=1_000, first_ms=1))
    assert (found.complete, found.tokens) == (3, 15)


def test_a_short_level(direct: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "_REST_MS", 200)
    found = capacity.hold_level(direct, streams=2, seconds=1)
    assert (found.broken, found.silent) == (0, 0)
    assert 0 < found.tokens_per_s < 200
    assert found.longest_gap_us is not None
    assert found.slowest_share is not None


def test_memory_of_held_streams_is_a_difference(direct: Line) -> None:
    assert memory.per_stream(direct, streams=3) == 0.0
    assert direct.stats().active == 0


NATIVE = relays.Relay(
    name="native",
    title="native",
    command=(sys.executable, str(Path(__file__).with_name("native_relay.py")), "{port}", "{upstream}"),
    models={"chat": "m"},
    native=True,
)


#: Snapshots are ours: only the real relay has them.
TOKENWIRE = relays.KNOWN["tokenwire"]


def test_many_read_what_one_stream_says(programs: Programs) -> None:
    with open_line(NATIVE, programs) as line:
        found, cpu = fanout.follow(line, readers=20, pace=Pace(tokens=5, gap_us=1_000, first_ms=200))
        assert (found.complete, found.tokens, found.lost) == (20, 100, 0), found.why
        assert cpu >= 0
        assert line.stats().requests == 20 + 1  # the warm-up's, and one for all readers


def test_joining_a_stream_that_stands_still(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latejoin, "_PAUSE", 0.05)
    with open_line(TOKENWIRE, programs) as line:
        found = latejoin.joins(line, dialect="native", tokens=1000, again=2)
        assert found.first.frames == 2  # started, snapshot
        assert found.text_bytes <= found.first.size <= 1.3 * found.text_bytes
        assert 0 < found.first.first_ms <= found.first.last_ms
        assert 0 < found.later_ms <= found.worst_ms
        with pytest.raises(TimeoutError, match="404"):
            latejoin.join(line.port, "/v1/streams/st_none/events?from=snapshot")


def test_memory_where_streams_can_be_followed(programs: Programs) -> None:
    with open_line(NATIVE, programs) as line:
        memory.per_reader(line, readers=3)
        _, text = memory.per_logged_token(line, streams=2, tokens=20)
        assert line.stats().tokens == 20 * 20 + 2 + 2 * (100 + 120)  # warm-up, followed stream, logged ones
    # The memory of so few is noise, of either sign. What was in it is not.
    assert 26 <= text <= 34  # a stamp of 25 bytes and a word


def test_a_start_that_is_refused_is_trouble(direct: Line) -> None:
    # The upstream takes POST /v1/streams for a chat request: 200 and a stream, where 201 and an id were due.
    with pytest.raises(RelayFailedError, match="POST /v1/streams: 200"):
        direct.start_stream(Pace(tokens=1, first_ms=0))
