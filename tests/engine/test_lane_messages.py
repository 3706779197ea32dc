"""engine/lane for frames with a name and a mask of spaces (Anthropic's), held against the general way."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenwire import dialects
from tokenwire.dialects.base import Dialect
from tokenwire.engine.hub import Hub
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.lane import Lane, Offer
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream
from tokenwire.testing import message_frames as m
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource
from tokenwire.wire import envelope
from tokenwire.wire.chunked import chunk

MESSAGES = dialects.get("anthropic")
OPENING = [m.start(), m.block(), m.text("open"), m.text("ed", padding=3), m.PING, m.text("now")]


class Line:
    """A stream with one reader, whose upstream's reads are chunks; with its lane, or all the general way."""

    def __init__(self, *, express: bool, ids: bool = False, upper: bool = False, dialect: Dialect = MESSAGES) -> None:
        self.hub = Hub(ManualClock())
        self.stream: Stream = self.hub.open(owner="me", dialect=dialect, model="m", policy=Policy())
        self.stream.connecting(ScriptedSource())
        self.stream.begin()
        self.sink = ScriptedSink(express=express)
        self.stream.attach(self.sink, dialect, ids=ids).start()
        self.upper = upper
        self.lane: Lane | None = None
        self.offer: Offer | None = None
        self.general = 0
        self.ingest = Ingest(self.stream, express=self._express)

    def _express(self, offer: Offer | None) -> None:
        self.offer = offer
        self.lane = None if offer is None else offer.make(self._general, lambda: None, upper=self.upper)

    def _general(self, data: bytes) -> None:
        self.general += 1
        body = b""
        while data:
            size, _, data = data.partition(b"\r\n")
            body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
        self.ingest.body(body)

    def read(self, *bodies: bytes) -> None:
        """Chunks that come in one read."""
        data = b"".join(b"%X\r\n%b\r\n" % (len(body), body) if self.upper else chunk(body) for body in bodies)
        if self.lane is not None and self.offer is not None and self.offer.ready():
            self.lane(data)
        else:
            self._general(data)

    def frames(self) -> list[bytes]:
        log = self.stream.log
        return [log.frame(seq) for seq in range(1, log.last_frame + 1)]


def same(short: Line, plain: Line) -> None:
    assert short.sink.data == plain.sink.data
    assert short.frames() == plain.frames()
    assert short.stream.log.notable == plain.stream.log.notable
    assert short.stream.state is plain.stream.state
    assert short.stream.transcript().choice().text == plain.stream.transcript().choice().text
    assert short.sink.breaches == []


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("make", [m.text, m.thinking, m.tool_input], ids=["text", "thinking", "input"])
def test_plain_frames_take_the_lane_and_keep_only_what_is_new(
    make: Callable[..., bytes], ids: bool, upper: bool
) -> None:
    dice = random.Random(1)
    opening = [m.start(), m.block(0, {m.text: "text", m.thinking: "thinking"}.get(make, "tool_use"))]
    frames = [make(f"w{n}", padding=dice.randrange(12)) for n in range(200)]
    short, plain = Line(express=True, ids=ids, upper=upper), Line(express=False, ids=ids)
    for body in [*opening, *frames]:
        short.read(body)
        plain.read(body)
    assert short.general == len(opening) + 2  # as many as the envelope is looked for in
    assert short.stream.log.run.holes
    assert len(short.stream.log.run.plain) == 0
    for body in (m.end(), m.finish(), m.STOP):
        short.read(body)
        plain.read(body)
    same(short, plain)
    assert short.stream.log.size < len(b"".join(frames)) / 2


BAD = [
    m.text("lone").replace(b"lone", b"\\ud800"),
    m.text("half").replace(b"half", b"\xc3"),
    m.text("nul").replace(b"nul", b"a\0b"),
    m.text("quote").replace(b"quote", b'a"b'),
    m.text("quote", padding=2).replace(b"quote", b'a"}  b'),
    m.text("quote").replace(b"quote", b'a"}'),
    m.text("tab", padding=1).replace(b" }", b"\t}"),
    m.text("x").replace(b'"x"', b'"x","y":1'),
    m.text("x").replace(b'"index":0', b'"index":00'),
    m.text("name").replace(b"content_block_delta\n", b"content_block_start\n"),
    m.text("bare").partition(b"\n")[2],
    m.text("crlf").replace(b"\n", b"\r\n"),
    m.text("space").replace(b"}\n\n", b"} \n\n"),
    m.text("cut")[:-1],
    m.text("cut")[:40],
    m.text("two") + m.text("in one"),
    m.text("id").replace(b"\ndata", b"\nid: 1\ndata"),
    b": note\n\n",
    m.PING,
    m.end() + m.block(1),
    m.text("other", 1),
    m.thinking("thought", 0, padding=3),
    m.delta("signature_delta", signature="s"),
    m.delta("new_delta", text="a"),
    m.text("big" * 2000),
    m.finish(None),
    m.error(),
    m.STOP,
]  # fmt: skip


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("known", [True, False], ids=["in an envelope", "without"])
@pytest.mark.parametrize("bad", range(len(BAD)))
def test_what_is_not_surely_plain_goes_the_general_way(bad: int, known: bool, ids: bool) -> None:
    short, plain = Line(express=True, ids=ids), Line(express=False, ids=ids)
    odd = m.text("in another envelope").replace(b'"index":0,', b'"index":0, ')
    opening = OPENING if known else [*OPENING[:3], odd, m.text("and"), odd]
    reads = [*([body] for body in opening), [BAD[bad]], [m.text("after", padding=1)], [m.text("a"), m.text("b")]]
    reads += [[m.text("and"), BAD[bad], m.text("on")], [m.text("the end")], [m.STOP]]
    for read in reads:
        short.read(*read)
        plain.read(*read)
    same(short, plain)


TEXT = st.text(max_size=6) | st.sampled_from(['"', "\\", '"}', '"}  ', "}\n\n", "🌊", " ", "\u2028", '\\"}   }', "\r"])
FRAME = st.one_of(
    st.builds(m.text, TEXT, st.just(0), st.integers(0, 12)),
    st.builds(m.thinking, TEXT, st.just(0), st.integers(0, 2)),
    st.builds(m.tool_input, TEXT, st.integers(0, 2), st.integers(0, 2)),
    st.sampled_from(BAD[:-2]),
)


@pytest.mark.untraced
@given(st.lists(st.lists(FRAME, min_size=1, max_size=4), max_size=25), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_frames_in_any_reads_give_what_the_general_way_gives(reads: list[list[bytes]], ids: bool) -> None:
    short, plain = Line(express=True, ids=ids), Line(express=False, ids=ids)
    for read in [*([body] for body in OPENING), *reads, [m.STOP]]:
        short.read(*read)
        plain.read(*read)
    assert short.sink.data == plain.sink.data
    assert short.frames() == plain.frames()
    assert short.stream.log.notable == plain.stream.log.notable


def live(tokens: int) -> list[bytes]:
    """As the provider sends them: masked, in several blocks, with pings, escapes and characters of all kinds."""
    dice = random.Random(7)
    words = ["the", " stream", " of", ",", " —", " 流", "🌊", "\n\n", '"quoted"', "\t", "}", '"}']
    frames = [m.start()]
    for index, make in enumerate((m.thinking, m.text, m.tool_input)):
        frames.append(m.block(index, ("thinking", "text", "tool_use")[index]))
        for number in range(tokens // 3):
            frames.append(make(dice.choice(words), index, padding=dice.randrange(12)))
            if number % 50 == 0:
                frames.append(m.PING)
        frames.append(m.end(index))
    return [*frames, m.finish(), m.STOP]


def test_nearly_all_frames_of_a_live_stream_take_the_lane_in_an_envelope() -> None:
    frames = live(900)
    line = Line(express=True)
    packed = envelope.Codec(MESSAGES.holes)
    assert packed.pack(frames).unpack() == frames
    assert packed.statistics().hits >= 890
    for frame in frames:
        line.read(frame)
    assert line.general < len(frames) * 0.1
    assert line.sink.data == b"".join(frames)
    assert line.stream.log.size < 900 * 60
    assert [line.stream.log.frame(seq) for seq in range(1, len(frames) + 1)] == frames


def test_several_chunks_of_one_read_take_the_lane_together() -> None:
    line = Line(express=True)
    for frame in OPENING:
        line.read(frame)
    before = line.general
    for count in range(2, 9):
        line.read(*(m.text(f"w{n}", padding=n) for n in range(count)))
    assert line.general == before
    line.read(m.text("a"), m.text("b").replace(b'"b"', b'"b" '))
    assert line.general == before + 1
    assert line.sink.data.endswith(b'"text":"b" }}\n\n')


@pytest.mark.parametrize(
    "frame",
    [
        lambda n: m.event("something_new", delta={"text": f"w{n}"}),
        lambda n: m.delta("new_delta", text=f"w{n}"),
        lambda n: m.text(f"w{n}").partition(b"\n")[2],
    ],
    ids=["another event", "another delta", "without its name"],
)
def test_an_envelope_that_is_not_surely_plain_text_is_left_to_the_general_way(frame: Callable[[int], bytes]) -> None:
    short, plain = Line(express=True), Line(express=False)
    for body in [*OPENING[:3], *(frame(n) for n in range(80)), m.text("after"), m.STOP]:
        short.read(body)
        plain.read(body)
    assert short.general >= 80
    same(short, plain)


def test_numbers_that_vary_are_kept_but_have_no_lane_of_their_own() -> None:
    """Such an envelope has a hole that is no string: the frames are plain, and go whole."""
    counting = dataclasses.replace(MESSAGES, holes=(("index",), ("delta", "text")))
    line = Line(express=True, dialect=counting)
    frames = [m.start(), m.block(), *(m.text(f"w{n}", n) for n in range(100))]
    for body in frames:
        line.read(body)
    assert line.general == 4
    assert line.sink.data == b"".join(frames)
    assert line.frames() == frames
    assert line.stream.log.size < len(b"".join(frames))
