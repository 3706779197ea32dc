"""Faults and switches without a server: their names, and frames in, frames out."""

from __future__ import annotations

import itertools
import random
import re
import zlib
from collections.abc import Iterator

import pytest

from tokenwire.simulator.exchange import Frame, Mark
from tokenwire.simulator.fault_frames import bend
from tokenwire.simulator.fault_scene import Says
from tokenwire.simulator.faults import FAULTS, TABLE, Fault, UnknownFaultError, listing, parse_fault
from tokenwire.simulator.knobs import read_knobs
from tokenwire.simulator.latency import PROFILES

HEAD = Frame(Mark.HEAD, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", delay=0.4)
ERROR = b'data: {"error":{}}\n\n'
SAYS = Says(ERROR, b"data: overloaded\n\n", b"data: limited\n\n", b"event: error\n" + ERROR, b": ping\n\n")


def frames(tokens: int = 8) -> Iterator[Frame]:
    yield HEAD
    yield Frame(Mark.START, b'data: {"role"}\n\n')
    for n in range(tokens):
        yield Frame(Mark.TOKEN, b'data: {"text":"%d \xc5\x82"}\n\n' % n, 1, 0.01)
    yield Frame(Mark.FINISH, b'data: {"finish"}\n\n')
    yield Frame(Mark.USAGE, b'data: {"usage"}\n\n')
    yield Frame(Mark.DONE, b"data: [DONE]\n\n")


def bent(name: str, n: int = 0, tokens: int = 8) -> list[Frame]:
    bent = bend(Fault(name, n), frames(tokens), chunked=True, says=SAYS, rng=random.Random(1))
    return list(itertools.islice(bent, 200))


def body(found: list[Frame]) -> bytes:
    return b"".join(frame.data for frame in found[1:])


def test_the_table_names_every_fault_and_its_number() -> None:
    rows = re.findall(r"^  ([a-z0-9-]+)( \*)? +(\d+|-)  ([a-z]+) +(\S.*)$", listing(), re.MULTILINE)
    listed = [(name, None if n == "-" else int(n), phase, bool(star), what) for name, star, n, phase, what in rows]
    assert listed == [spec[:5] for spec in TABLE]
    assert len(FAULTS) == len(TABLE)
    assert all(len(line) <= 120 for line in listing().splitlines())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cut", Fault("cut", 5)),
        ("cut-12", Fault("cut", 12)),
        ("cut:0", Fault("cut", 0)),
        ("429", Fault("429", 1000)),
        ("429-50", Fault("429", 50)),
        ("json-200", Fault("json-200", 0)),
        ("error-before-503", Fault("error-before", 503)),
        ("html", Fault("html", 0)),
        ("cut-3-x2", Fault("cut", 3, 2)),
        ("html:x1", Fault("html", 0, 1)),
        ("flaky", Fault("flaky", 2, 2)),
        ("flaky-3", Fault("flaky", 3, 3)),
    ],
)
def test_a_fault_is_asked_for_by_name_and_number(text: str, expected: Fault) -> None:
    assert parse_fault(text) == expected


@pytest.mark.parametrize(
    "text", ["", "cutt", "html-3", "cut-", "cut--1", "json-200-1", "cut-x", "-5", "cut-x0", "cutt-x2", "x2"]
)
def test_an_unknown_fault_names_the_known_ones(text: str) -> None:
    with pytest.raises(UnknownFaultError, match=r"there is no fault '.*early-leave, .*done-twice"):
        parse_fault(text)


@pytest.mark.parametrize("name", ["stall", "cut", "reset", "eof", "error-mid", "error-event", "done-only", "bad-chunk"])
@pytest.mark.parametrize("k", [0, 3, 7])
def test_a_fault_after_k_tokens_lets_k_pass(name: str, k: int) -> None:
    found = bent(name, k)
    before = list(itertools.islice(frames(), 2 + k))
    assert found[: 2 + k] == before
    assert found[2 + k : 3 + k] != list(frames())[2 + k : 3 + k]


@pytest.mark.parametrize(
    "name", ["stall", "cut", "reset", "eof", "error-mid", "malformed", "done-only", "endless-line"]
)
def test_a_shorter_answer_is_left_alone(name: str) -> None:
    assert bent(name, 8) == list(frames())


def test_cut_ends_inside_an_event_and_its_chunk() -> None:
    half, end = bent("cut", 2)[4:]
    victim = list(frames())[4]
    assert half.mark is Mark.RAW
    assert half.data == b"%x\r\n" % len(victim.data) + victim.data[: len(victim.data) // 2]
    assert end.mark is Mark.CUT


def test_cut_without_chunks_is_half_the_body() -> None:
    whole = iter([HEAD, Frame(Mark.DATA, b"0123456789", 9)])
    found = list(bend(Fault("cut", 5), whole, chunked=False, says=SAYS, rng=random.Random(1)))
    assert [frame.data for frame in found[1:]] == [b"01234", b""]


def test_cut_tool_counts_argument_fragments() -> None:
    def calls() -> Iterator[Frame]:
        yield HEAD
        for _ in range(3):
            yield Frame(Mark.TOKEN, b"text....", 1)
        for _ in range(4):
            yield Frame(Mark.ARGUMENTS, b"fragment", 1)

    found = list(bend(Fault("cut-tool", 2), calls(), chunked=True, says=SAYS, rng=random.Random(1)))
    assert [frame.mark for frame in found[4:]] == [Mark.ARGUMENTS, Mark.ARGUMENTS, Mark.RAW, Mark.CUT]
    assert bent("cut-tool", 0) == list(frames())


def test_the_rows_of_the_table_one_by_one() -> None:
    assert bent("stall", 2)[4:] == [Frame(Mark.STALL)]
    assert bent("reset", 2)[4:] == [Frame(Mark.RESET, delay=0.01)]
    assert bent("eof", 2)[4:] == []
    assert bent("error-mid", 2)[4:] == [Frame(Mark.DATA, ERROR, delay=0.01)]
    assert bent("error-event", 2)[4].data == b"event: error\n" + ERROR
    assert bent("error-first")[1:] == [Frame(Mark.DATA, ERROR)]
    assert bent("stall-first")[1:] == [Frame(Mark.STALL)]
    assert [frame.mark for frame in bent("early-leave")] == [Mark.CUT]
    assert [frame.mark for frame in bent("stall-head")] == [Mark.STALL]
    assert [frame.mark for frame in bent("no-done")][-1] is Mark.USAGE
    assert [frame.mark for frame in bent("done-only", 2)[4:]] == [Mark.DONE]
    assert bent("done-bare")[-1].data == b"data: [DONE]\n"
    assert [frame.data for frame in bent("done-twice")[-3:]] == [
        b"data: [DONE]\n\n", b'data: {"text":"7 \xc5\x82"}\n\n', b"data: [DONE]\n\n",
    ]  # fmt: skip
    assert bent("done-twice", tokens=0)[-2].data == b": nothing\n\n"


def test_malformed_breaks_one_event_and_goes_on() -> None:
    found = bent("malformed", 2)
    honest = list(frames())
    assert found[:4] + found[5:] == honest[:4] + honest[5:]
    assert found[4].data.endswith(b"\n\n")
    assert found[4].data.count(b"}") == 0


def test_bad_chunk_breaks_the_framing_and_goes_on() -> None:
    found = bent("bad-chunk", 2)
    assert found[4].mark is Mark.RAW
    assert not re.match(rb"[0-9a-f]", found[4].data)
    assert len(found) == len(list(frames())) + 1


def test_endless_faults_have_no_end() -> None:
    line = bent("endless-line", 2)
    assert len(line) == 200
    assert all(b"\n" not in frame.data for frame in line[4:])
    header = bent("endless-header")
    assert len(header) == 200
    assert b"\r\n\r\n" not in b"".join(frame.data for frame in header)
    assert all(frame.delay for frame in header[1:])


def test_slow_headers_come_byte_by_byte() -> None:
    found = bent("slow-headers", 3)
    length = len(HEAD.data)
    assert b"".join(frame.data for frame in found[:length]) == HEAD.data
    assert {len(frame.data) for frame in found[:length]} == {1}
    assert [frame.delay for frame in found[:3]] == [0.4, 0.003, 0.003]
    assert found[length:] == list(frames())[1:]


def test_close_delimited_has_no_framing() -> None:
    found = bent("close-delimited")
    assert b"chunked" not in found[0].data
    assert b"connection: close" in found[0].data
    assert {frame.mark for frame in found[1:-1]} == {Mark.RAW}
    assert found[-1].mark is Mark.CUT
    assert body(found) == body(list(frames()))


@pytest.mark.parametrize("most", [0, 1, 7])
def test_split_keeps_bytes_tokens_and_time(most: int) -> None:
    honest = list(frames())
    found = list(bend(Fault("split", most), frames(), chunked=True, says=SAYS, rng=random.Random(1)))
    assert body(found) == body(honest)
    assert max(len(frame.data) for frame in found[1:]) <= max(1, most)
    assert sum(frame.tokens for frame in found) == 8
    assert sum(frame.delay for frame in found) == pytest.approx(sum(frame.delay for frame in honest))


def test_framing_faults_change_the_framing_alone() -> None:
    honest = body(list(frames()))
    assert body(bent("crlf")) == honest.replace(b"\n", b"\r\n")
    assert body(bent("cr")) == honest.replace(b"\n", b"\r")
    assert body(bent("bom")) == b"\xef\xbb\xbf" + honest
    assert body(bent("no-space")) == honest.replace(b"data: ", b"data:")
    assert body(bent("pings", 1)).count(b": ping\n\n") == 12
    assert body(bent("pings", 5)).count(b": ping\n\n") == 3
    assert body(bent("pings", 1)).replace(b": ping\n\n", b"") == honest
    assert body(bent("id-lines")).startswith(b'id: 1\ndata: {"role"}\n\n: ping\n\nid: 2\n')


def test_gzip_can_be_read_event_by_event() -> None:
    found = bent("gzip")
    assert found[0].data.endswith(b"\r\ncontent-encoding: gzip\r\n\r\n")
    reader = zlib.decompressobj(wbits=31)
    for packed, honest in zip(found[1:-1], list(frames())[1:], strict=True):
        assert reader.decompress(packed.data) == honest.data
    assert reader.decompress(found[-1].data) == b""
    assert reader.eof


def test_the_new_ones() -> None:
    assert [frame.mark for frame in bent("reset-head")] == [Mark.RESET]
    assert [frame.mark for frame in bent("garbage")] == [Mark.RAW, Mark.CUT]
    assert not bent("garbage")[0].data.startswith(b"HTTP/")
    assert bent("cut-head") == [HEAD._replace(data=HEAD.data[: len(HEAD.data) // 2]), Frame(Mark.CUT)]
    assert bent("slow-head", 1500) == [HEAD._replace(delay=1.9), *list(frames())[1:]]
    slow = bent("slow-first", 1500)
    assert slow[2].delay == pytest.approx(1.51)
    assert slow[:2] + slow[3:] == list(frames())[:2] + list(frames())[3:]
    assert bent("overloaded-first")[1:] == [Frame(Mark.DATA, SAYS.overloaded)]
    assert bent("overloaded-mid", 2)[4:] == [Frame(Mark.DATA, SAYS.overloaded, delay=0.01)]
    assert bent("limited-mid", 2)[4].data == SAYS.limited
    assert [frame.data for frame in bent("error-last")[-2:]] == [b'data: {"usage"}\n\n', ERROR]
    assert [frame.data for frame in bent("start-twice")[1:3]] == [b'data: {"role"}\n\n'] * 2
    assert bent("close-after") == [*frames(), Frame(Mark.RAW, b"0\r\n\r\n"), Frame(Mark.CUT)]


def test_without_chunks_a_connection_is_closed_after_the_last_byte() -> None:
    whole = iter([HEAD, Frame(Mark.DATA, b"0123456789", 9)])
    found = list(bend(Fault("close-after"), whole, chunked=False, says=SAYS, rng=random.Random(1)))
    assert [frame.mark for frame in found] == [Mark.HEAD, Mark.DATA, Mark.CUT]


def test_wrong_type_changes_the_label_alone() -> None:
    head = Frame(Mark.HEAD, b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx: y\r\n\r\n")
    found = list(bend(Fault("wrong-type"), iter([head]), chunked=True, says=SAYS, rng=random.Random(1)))
    assert found == [Frame(Mark.HEAD, b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nx: y\r\n\r\n")]


def test_event_lines_can_be_left_out() -> None:
    events = [HEAD, Frame(Mark.TOKEN, b'event: a\ndata: {"event: ":"event: b"}\n\n', 1)]
    bare = list(bend(Fault("no-event"), iter(events), chunked=True, says=SAYS, rng=random.Random(1)))
    assert bare[1].data == b'data: {"event: ":"event: b"}\n\n'
    tight = list(bend(Fault("no-space"), iter(events), chunked=True, says=SAYS, rng=random.Random(1)))
    assert tight[1].data == b'event:a\ndata:{"event: ":"event: b"}\n\n'


def test_other_faults_leave_the_frames_alone() -> None:
    assert bent("deaf") == bent("html") == bent("") == list(frames())


def test_switches_come_from_headers_and_metadata() -> None:
    headers = {"x-sim-fault": "cut:2", "x-sim-seed": "7", "x-sim-ttft-ms": "12.5"}
    knobs = read_knobs(headers, {"x-sim-seed": "8", "x-sim-tokens": 30, "x-sim-interval-ms": "0"})
    assert (knobs.fault, knobs.seed, knobs.tokens) == (Fault("cut", 2), 7, 30)
    timing = knobs.timing(PROFILES["gpt-4o"])
    assert (timing.first, timing.rate, timing.sigma_first, timing.sigma_gap) == (0.0125, 0.0, 0.0, 0.0)
    assert read_knobs({}, {"x-sim-interval-ms": "20"}).timing(PROFILES["gpt-4o"]).rate == 50
    assert read_knobs({}, {}).timing(PROFILES["gpt-4o"]) == PROFILES["gpt-4o"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-sim-seed", "-1"),
        ("x-sim-seed", "9" * 30),
        ("x-sim-tokens", "many"),
        ("x-sim-tokens", "1000001"),
        ("x-sim-tokens", "٣"),
        ("x-sim-ttft-ms", "soon"),
        ("x-sim-ttft-ms", "nan"),
        ("x-sim-interval-ms", "-1"),
        ("x-sim-fault", "none"),
    ],
)
def test_a_switch_that_makes_no_sense_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name if name != "x-sim-fault" else "there is no fault 'none'"):
        read_knobs({name: value}, {})
