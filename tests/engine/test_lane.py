"""engine/lane: the short way of the usual frame, held against the general one.

(`test_seam` runs over it, too: there the lane is whatever the stream says it is.)
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.lane import CHECK_EVERY, Lane, Offer
from tokenwire.engine.reader import Reader
from tokenwire.engine.states import State
from tokenwire.engine.stream import Stream
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource
from tokenwire.wire import sse
from tokenwire.wire.chunked import chunk

Streaming = Callable[..., Stream]


class Upstream:
    """A source that reads HTTP/1.1 chunks, and takes the lane where it is given one."""

    def __init__(self, stream: Stream, *, upper: bool = False) -> None:
        self.upper = upper
        self.lane: Lane | None = None
        self.offer: Offer | None = None
        self.ingest = Ingest(stream, express=self._express)
        self.short = 0  # chunks that the lane took
        self.checks = 0

    def _express(self, offer: Offer | None) -> None:
        self.offer = offer
        self.lane = None if offer is None else offer.make(self._general, self._check, upper=self.upper)

    def _general(self, data: bytes) -> None:
        self.short -= 1
        body = b""
        rest = data
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        self.ingest.body(body, data if data == chunk(body) else None)

    def _check(self) -> None:
        self.checks += 1

    def is_short(self) -> bool:
        return self.lane is not None

    def send(self, *bodies: bytes) -> None:
        for body in bodies:
            self.short += 1
            if self.lane is not None and self.offer is not None and self.offer.ready():
                self.lane(chunk(body))
            else:
                self._general(chunk(body))

    def send_at_once(self, *bodies: bytes) -> None:
        """Several chunks in one read."""
        self.short += 1
        data = b"".join(map(chunk, bodies))
        if self.lane is not None and self.offer is not None and self.offer.ready():
            self.lane(data)
        else:
            self._general(data)


@pytest.fixture
def attach() -> Callable[..., Reader]:
    def build(stream: Stream, sink: ScriptedSink, dialect: str = "openai.chat", *, ids: bool = False) -> Reader:
        reader = stream.attach(sink, dialects.get(dialect), ids=ids)
        reader.start()
        return reader

    return build


OTHER = chat.text("in another envelope").replace(b'"index":0,', b'"index":0, ')
#: As many frames as an envelope is looked for in: it is found, or it is not.
OPEN = chat.role() + chat.text("open") + chat.text("ed ") + chat.text("now")
ODD = chat.role() + chat.text("open") + OTHER + chat.text("now")


@pytest.mark.parametrize("opening", [OPEN, ODD])
def test_sizes_written_with_capitals_take_the_lane_too(
    streaming: Streaming, attach: Callable[..., Reader], opening: bytes
) -> None:
    def capital(frame: bytes) -> bytes:
        return b"%X\r\n%b\r\n" % (len(frame), frame)

    stream = streaming()
    sink = ScriptedSink(express=True)
    attach(stream, sink)
    up = Upstream(stream, upper=True)
    up.send(opening)
    assert up.lane is not None
    frames = [chat.text("w" * size) for size in range(120)]
    for frame in frames:
        up.lane(capital(frame))
    up.lane(capital(frames[0]) + capital(frames[-1]))
    assert up.short >= (0 if opening is OPEN else -1)  # several in one read: only if their envelope is known
    assert sink.data == opening + b"".join(frames) + frames[0] + frames[-1]
    assert frames_of(stream)[4:] == [*frames, frames[0], frames[-1]]


@pytest.mark.parametrize("opening", [OPEN, ODD])
@pytest.mark.parametrize("ids", [False, True])
def test_plain_frames_take_the_lane_and_read_like_any_others(
    clock: ManualClock, streaming: Streaming, attach: Callable[..., Reader], ids: bool, opening: bytes
) -> None:
    short, general = streaming(), streaming()
    express, usual = ScriptedSink(express=True), ScriptedSink()
    attach(short, express, ids=ids)
    attach(general, usual, ids=ids)
    up, plain = Upstream(short), Upstream(general)
    for body in (opening, *(chat.text(f"word {number}") for number in range(10)), chat.finish(), chat.DONE):
        up.send(body)
        plain.send(body)
        clock.advance(0.1)
    assert (up.short, plain.short, express.expressed) == (10, 0, 10)
    assert express.data == usual.data
    assert express.breaches == []
    assert (express.closed, up.lane) == (True, None)
    assert frames_of(short) == frames_of(general)
    assert short.timeline == general.timeline


@pytest.mark.parametrize("opening", [OPEN, ODD])
@pytest.mark.parametrize(
    "body",
    [
        chat.finish(),
        chat.usage(),
        chat.error(),
        chat.DONE,
        b": note\n\n",
        chat.text("a") + chat.text("b"),
        b"event: e\n" + chat.text("a"),
        b"id: 1\n" + chat.text("a"),
        b": note\n" + chat.text("a"),
        chat.text("a").replace(b"\n", b"\r\n"),
        chat.text("a").replace(b"\n", b"\r"),
        chat.text("a").replace(b"data: ", b"data:"),
        chat.text("a")[:-1],
        chat.text("a")[:-2],
        chat.text("a")[:20],
        b"\n" + chat.text("a"),
        chat.text("a") + b"\n",
        b"data: {}\n\n",
        b"data: 12\n\n",
        b"data: not json\n\n",
        b"data: " + b"[" * 5000 + b"\n\n",
        b"data: \n\n",
        b'data: {"choices":[\ndata: ]}\n\n',
        chat.text("a").replace(b"}\n\n", b"\r}\n\n"),  # JSON allows it there, and to SSE it ends the line
    ],
)
def test_what_is_not_surely_plain_goes_the_general_way(
    streaming: Streaming, attach: Callable[..., Reader], body: bytes, opening: bytes
) -> None:
    stream = streaming()
    attach(stream, ScriptedSink(express=True))
    up = Upstream(stream)
    up.send(opening)
    assert up.lane is not None
    up.send(body)
    assert up.short == 0


def frames_of(stream: Stream) -> list[bytes]:
    """One by one, which is the hardest way to read a log."""
    return [stream.log.frame(seq) for seq in range(1, stream.log.last_frame + 1)]


TEXTS = [
    "plain", "", " ", '"', "\\", "\n", "\t", "\u00e9", "\U0001f30a", "\x7f", "}\n\n", '"},"finish_reason":"stop"',
]  # fmt: skip


@pytest.mark.parametrize("obfuscation", [False, True])
@pytest.mark.parametrize("ids", [False, True])
def test_in_an_envelope_only_holes_are_kept_and_all_reads_the_same(
    streaming: Streaming, attach: Callable[..., Reader], ids: bool, obfuscation: bool
) -> None:
    def text(words: str, pad: str = "aZ3") -> bytes:
        frame = chat.text(words)
        return frame.replace(b"}\n\n", b',"obfuscation":"%b"}\n\n' % pad.encode()) if obfuscation else frame

    short, general = streaming(), streaming()
    express, usual = ScriptedSink(express=True), ScriptedSink()
    attach(short, express, ids=ids)
    attach(general, usual, ids=ids)
    up, plain = Upstream(short), Upstream(general)
    bad = [
        text("lone").replace(b"lone", b"\\ud800"),
        text("half").replace(b"half", b"\xc3"),
        text("a", "\\\\n") if obfuscation else b": note\n\n",
        chat.finish(),
    ]
    no_json = text("nul").replace(b"nul", b"a\0b"), text("quote").replace(b"quote", b'a"b')
    frames = [OPEN, *map(text, [f"word {number}" for number in range(40)] + TEXTS), *bad, *map(text, TEXTS * 9)]
    for body in [*frames, chat.usage(), no_json[obfuscation], chat.DONE]:
        up.send(body)
        plain.send(body)
    assert b"word 39" in express.data
    assert express.data == usual.data
    assert frames_of(short) == frames_of(general)
    assert short.log.notable == general.log.notable
    assert len(short.log.run.plain) < 8
    assert short.log.size < general.log.size * 1.2
    assert short.transcript().choice().text == general.transcript().choice().text


@pytest.mark.parametrize("obfuscation", [False, True])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("odd", range(8))
def test_several_chunks_of_one_read_take_the_lane_together(
    clock: ManualClock, streaming: Streaming, attach: Callable[..., Reader], ids: bool, obfuscation: bool, odd: int
) -> None:
    def text(words: str) -> bytes:
        frame = chat.text(words)
        return frame.replace(b"}\n\n", b',"obfuscation":"aZ3"}\n\n') if obfuscation else frame

    odd_ones = [
        text("as usual"),
        chat.finish(),
        OTHER,
        text("lone").replace(b"lone", b"\\ud800"),
        text("half").replace(b"half", b"\xc3"),
        text("bad").replace(b"bad", b'a"b'),
        text("x" * 5000),
        text("crlf").replace(b"\n", b"\r\n"),
    ]
    short, general = streaming(), streaming()
    express, usual = ScriptedSink(express=True), ScriptedSink()
    attach(short, express, ids=ids)
    attach(general, usual, ids=ids)
    up, plain = Upstream(short), Upstream(general)
    reads = [[OPEN], *([text(f"word {n}")] for n in range(20))]
    reads += [[text(f"{n}.{k}") for k in range(1 + n % 5)] for n in range(30)]
    reads += [[text("before"), odd_ones[odd], text("after")], [text("and"), text("on")], [chat.DONE]]
    taken = 0
    for read in reads:
        up.send_at_once(*read)
        plain.ingest.body(b"".join(read))
        clock.advance(0.01)
        taken = max(taken, up.short)
    assert express.data == usual.data
    assert frames_of(short) == frames_of(general)
    assert short.timeline == general.timeline
    assert short.log.notable == general.log.notable
    assert short.state is general.state
    assert taken >= 50
    assert up.checks > 4


def test_a_new_kind_of_frames_gets_an_envelope_of_its_own(streaming: Streaming, attach: Callable[..., Reader]) -> None:
    stream = streaming()
    sink = ScriptedSink(express=True)
    attach(stream, sink)
    up = Upstream(stream)
    thoughts = [chat.text(f"t{number}").replace(b"content", b"reasoning_content") for number in range(200)]
    words = [chat.text(f"w{number}") for number in range(200)]
    frames = [chat.role(), *thoughts, *words, *thoughts, *words]
    up.send(*frames[:401])
    assert len(stream.log.run.plain) == 0
    assert stream.log.size < 400 * 80
    up.send(*frames[401:601])
    assert len(stream.log.run.plain) == 0, "back in the first one"
    up.send(*frames[601:])
    assert sink.data == b"".join(frames)
    assert frames_of(stream) == frames


def test_an_envelope_that_is_not_surely_plain_text_is_left_alone(
    streaming: Streaming, attach: Callable[..., Reader]
) -> None:
    stream = streaming()
    sink = ScriptedSink(express=True)
    attach(stream, sink)
    up = Upstream(stream)
    finished = [chat.text(f"w{n}").replace(b'"finish_reason":null', b'"finish_reason":"stop"') for n in range(40)]
    assert finished[0] != chat.text("w0")
    up.send(OPEN, *finished)
    assert up.short == 0
    assert frames_of(stream)[-40:] == finished


def test_a_chunk_that_ends_a_pending_event_goes_the_general_way(
    streaming: Streaming, attach: Callable[..., Reader]
) -> None:
    stream = streaming()
    sink = ScriptedSink(express=True)
    attach(stream, sink)
    up = Upstream(stream)
    up.send(OPEN, chat.text("a")[:30])
    up.send(chat.text("a")[30:], chat.text("b"))
    assert up.short == 1
    up.send(b"event: looks whole\n", chat.text("c"), chat.text("d"))
    assert up.short == 2
    assert sink.data == OPEN + chat.text("a") + chat.text("b") + b"event: looks whole\n" + chat.text("c") + chat.text(
        "d"
    )


def test_there_is_a_lane_only_for_one_live_reader_of_the_providers_dialect(
    streaming: Streaming, attach: Callable[..., Reader]
) -> None:
    stream = streaming()
    up = Upstream(stream)
    only = ScriptedSink(express=True)
    reader = attach(stream, only)
    assert not up.is_short()  # nothing generated yet: every frame is decoded
    up.send(chat.role() + chat.text("open"))
    assert not up.is_short()  # its envelope cannot be known yet
    up.send(chat.text("a"), chat.text("b"))
    assert up.is_short()
    second = attach(stream, ScriptedSink(express=True), ids=True)
    assert not up.is_short()
    second.leave()
    assert up.is_short()
    native = attach(stream, ScriptedSink(express=True), "native")
    assert not up.is_short()
    reader.leave()
    assert not up.is_short()  # the one that is left is another's dialect
    native.leave()
    plain = attach(stream, ScriptedSink())  # has no outlet
    assert not up.is_short()
    plain.leave()
    attach(stream, ScriptedSink(express=True))
    assert up.is_short()
    stream.cancel()
    assert not up.is_short()


@pytest.mark.parametrize("peek", [True, False])
def test_a_dialect_without_a_quick_look_has_no_lane_and_reads_the_same(
    queued: Streaming, attach: Callable[..., Reader], peek: bool
) -> None:
    chat_dialect = dialects.get("openai.chat")
    dialect = chat_dialect if peek else dataclasses.replace(chat_dialect, peek=None)
    stream = queued(dialect)
    stream.connecting(ScriptedSource())
    stream.begin()
    sink = ScriptedSink(express=True)
    stream.attach(sink, dialect, ids=True).start()
    up = Upstream(stream)
    up.send(OPEN)
    assert up.is_short() == peek
    up.send(chat.text("a"), chat.text("b"), chat.finish(), chat.usage(), chat.DONE, chat.text("late"))
    up.ingest.end()
    assert (up.short, stream.state, sorted(stream.log.notable)) == (2 * peek, State.COMPLETED, [7, 8, 9])
    assert [event.id for event in sse.Decoder().feed(sink.data)] == [f"1-{seq}" for seq in range(1, 10)]


def test_a_source_that_has_no_use_for_lanes_is_not_bothered(
    streaming: Streaming, attach: Callable[..., Reader]
) -> None:
    stream = streaming()
    ingest = Ingest(stream)
    sink = ScriptedSink(express=True)
    attach(stream, sink)
    for body in (OPEN, chat.text("a")):
        ingest.body(body)
    assert (sink.data, sink.expressed) == (OPEN + chat.text("a"), 0)


def test_a_reader_that_is_full_falls_out_and_comes_back_to_its_lane(
    streaming: Streaming, attach: Callable[..., Reader]
) -> None:
    stream = streaming()
    sink = ScriptedSink(high_water=10_000, express=True)
    reader = attach(stream, sink)
    up = Upstream(stream)
    up.send(OPEN)
    frames = [chat.text(str(number)) for number in range(200)]
    up.send(*frames)
    assert (reader.live, up.lane) == (False, None)
    assert 0 < up.short < 100
    while not reader.live:
        sink.drain()
        reader.resume()
    assert up.lane is not None
    up.send(chat.text("again"))
    assert sink.data == OPEN + b"".join(frames) + chat.text("again")
    assert sink.breaches == []


def test_a_sink_that_raises_in_the_lane_is_let_go(
    streaming: Streaming, source: ScriptedSource, attach: Callable[..., Reader], caplog: pytest.LogCaptureFixture
) -> None:
    stream = streaming(linger=0)
    sink = ScriptedSink(express=True)
    reader = attach(stream, sink)
    up = Upstream(stream)
    up.send(OPEN)
    sink.raises = RuntimeError("a bug in the sink")
    with caplog.at_level(logging.ERROR):
        up.send(chat.text("a"), chat.text("b"))
    assert "a bug in the sink" in caplog.text
    assert (reader.over, sink.closed, up.lane) == (True, True, None)
    assert (stream.state, source.aborted) == (State.CANCELLED, True)


def test_the_lane_keeps_the_bound_of_the_log(streaming: Streaming, attach: Callable[..., Reader]) -> None:
    """Looked at every few frames, each of less than 4 KiB."""
    stream = streaming(max_bytes=20_000)
    sink = ScriptedSink(express=True)
    attach(stream, sink)
    up = Upstream(stream)
    up.send(OPEN)
    big = chat.text("x" * 3000)
    up.send(*[big] * 30)
    assert stream.state is State.FAILED
    assert stream.log.last_frame < 20 + CHECK_EVERY
    assert up.checks == 1
    assert b"log_limit" in sink.data


def test_a_busy_reader_in_the_lane_gets_no_heartbeats(
    clock: ManualClock, streaming: Streaming, attach: Callable[..., Reader]
) -> None:
    stream = streaming()
    sink = ScriptedSink(express=True)
    attach(stream, sink)
    up = Upstream(stream)
    up.send(OPEN)
    for _ in range(20):
        clock.advance(3)
        up.send(chat.text("a"))
    assert up.short == 20
    assert sink.data == OPEN + chat.text("a") * 20
