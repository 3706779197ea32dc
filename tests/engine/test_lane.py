"""engine/lane: the short way of the usual frame, held against the general one.

(`test_seam` runs over it, too: there the lane is whatever the stream says it is.)
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.engine.lane_upstream import ODD, OPEN, OTHER, Upstream, attach, frames_of

from tokenwire.engine.stream import Stream
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink

Streaming = Callable[..., Stream]
TEXTS = [
    "plain", "", " ", '"', "\\", "\n", "\t", "\u00e9", "\U0001f30a", "\x7f", "}\n\n", '"},"finish_reason":"stop"',
]  # fmt: skip


@pytest.mark.parametrize("opening", [OPEN, ODD])
def test_sizes_written_with_capitals_take_the_lane_too(streaming: Streaming, opening: bytes) -> None:
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
    clock: ManualClock, streaming: Streaming, ids: bool, opening: bytes
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
def test_what_is_not_surely_plain_goes_the_general_way(streaming: Streaming, body: bytes, opening: bytes) -> None:
    stream = streaming()
    attach(stream, ScriptedSink(express=True))
    up = Upstream(stream)
    up.send(opening)
    assert up.lane is not None
    up.send(body)
    assert up.short == 0


@pytest.mark.parametrize("obfuscation", [False, True])
@pytest.mark.parametrize("ids", [False, True])
def test_in_an_envelope_only_holes_are_kept_and_all_reads_the_same(
    streaming: Streaming, ids: bool, obfuscation: bool
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
    clock: ManualClock, streaming: Streaming, ids: bool, obfuscation: bool, odd: int
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


def test_a_new_kind_of_frames_gets_an_envelope_of_its_own(streaming: Streaming) -> None:
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


def test_an_envelope_that_is_not_surely_plain_text_is_left_alone(streaming: Streaming) -> None:
    stream = streaming()
    sink = ScriptedSink(express=True)
    attach(stream, sink)
    up = Upstream(stream)
    finished = [chat.text(f"w{n}").replace(b'"finish_reason":null', b'"finish_reason":"stop"') for n in range(40)]
    assert finished[0] != chat.text("w0")
    up.send(OPEN, *finished)
    assert up.short == 0
    assert frames_of(stream)[-40:] == finished


def test_a_chunk_that_ends_a_pending_event_goes_the_general_way(streaming: Streaming) -> None:
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
