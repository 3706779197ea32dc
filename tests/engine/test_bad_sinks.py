"""engine/reader: a sink that raises is its own reader's trouble, and nobody else's."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.engine.reader import Reader
from tokenwire.engine.states import State
from tokenwire.engine.stream import Stream
from tokenwire.engine.timers import GRANULARITY_NS
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

CHAT = dialects.get("openai.chat")
NATIVE = dialects.get("native")
GRANULE = GRANULARITY_NS / 1e9
Streaming = Callable[..., Stream]
Sinks = Callable[..., ScriptedSink]


def attach(stream: Stream, sink: ScriptedSink, *, ids: bool = False, dialect: str = "openai.chat") -> Reader:
    reader = stream.attach(sink, dialects.get(dialect), ids=ids)
    reader.start()
    return reader


@pytest.mark.parametrize("dialect", ["openai.chat", "native"])
def test_a_sink_that_raises_is_let_go_and_touches_nobody_else(
    streaming: Streaming, sink: Sinks, caplog: pytest.LogCaptureFixture, dialect: str
) -> None:
    stream = streaming()
    sinks = [sink() for _ in range(4)]
    readers = [attach(stream, one, dialect=dialect) for one in sinks]
    stream.append([chat.text("a")], 0)
    sinks[1].raises = RuntimeError("a bug in the sink")
    sinks[2].raises = OSError("another")
    with caplog.at_level(logging.ERROR):
        stream.append([chat.text("b")], 0)
        stream.append([chat.text("c")], 0)
    stream.cancel()
    assert "a bug in the sink" in caplog.text
    assert [reader.over for reader in readers] == [True] * 4
    assert sinks[0].data == sinks[3].data
    assert sinks[0].data.startswith(sinks[1].data)
    assert [one.closed for one in sinks] == [True] * 4  # also theirs: its response must not wait for ever
    assert sinks[1].terminal is None


def test_the_last_reader_whose_sink_raises_has_left_like_any_other(
    streaming: Streaming, sink: Sinks, source: ScriptedSource
) -> None:
    stream = streaming(linger=0)
    bad = sink()
    attach(stream, bad)
    bad.raises = RuntimeError("a bug in the sink")
    stream.append([chat.text("a"), chat.text("b")], 0)
    assert (stream.state, source.aborted, stream.readers) == (State.CANCELLED, True, [])


@pytest.mark.parametrize("moment", ["preface", "first page", "resume", "heartbeat", "ending"])
def test_a_sink_may_raise_at_any_moment(clock: ManualClock, streaming: Streaming, sink: Sinks, moment: str) -> None:
    stream = streaming()
    stream.append([chat.text("a")], clock.now_ns())
    bad, good = sink(high_water=0), sink()
    attach(stream, good)
    reader = stream.attach(bad, CHAT, ids=False)
    fault = RuntimeError("a bug in the sink")
    if moment in ("preface", "first page"):
        bad.raises = fault
        reader.start(b": hello\n\n" if moment == "preface" else b"")
    else:
        reader.start()
        bad.drain()
        if moment == "resume":
            stream.append([chat.text("b")], clock.now_ns())
            bad.raises = fault
            reader.resume()
        else:
            reader.resume()
            bad.raises = fault
            if moment == "heartbeat":
                clock.advance(11)
            else:
                stream.cancel()
    assert (reader.over, reader in stream.readers, bad.closed) == (True, False, True)
    stream.append([chat.text("c")], clock.now_ns())
    clock.advance(200)
    assert good.data.startswith(chat.text("a"))
    assert len(stream.readers) == (0 if moment == "ending" else 1)


def test_a_sink_that_raises_in_closing_does_not_stop_the_end_of_the_stream(
    streaming: Streaming, sink: Sinks, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []
    stream = streaming()
    stream.on_end.append(lambda: ended.append(stream.state.value))
    sinks = [sink() for _ in range(3)]
    for one in sinks:
        attach(stream, one)
    sinks[0].raises_on_close = RuntimeError("a bug in the sink")
    with caplog.at_level(logging.ERROR):
        stream.cancel()
    assert ended == ["cancelled"]
    assert len({one.data for one in sinks}) == 1
    assert stream.readers == []
    assert "failed in closing" in caplog.text


def test_a_reader_can_say_that_it_is_detached(streaming: Streaming, sink: Sinks) -> None:
    stream = streaming()
    calls: list[str] = []
    for name in ("left", "ended"):
        reader = attach(stream, sink())
        reader.on_detached = lambda name=name: calls.append(name)
        if name == "left":
            reader.leave()
            reader.leave()
            reader.finish()
    stream.cancel()
    assert calls == ["left", "ended"]
