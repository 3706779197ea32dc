"""engine/lane: who has one, and what becomes of readers, bounds and heartbeats in it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import pytest
from tests.engine.lane_upstream import OPEN, Upstream, attach

from tokenwire import dialects
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.lane import CHECK_EVERY
from tokenwire.engine.states import State
from tokenwire.engine.stream import Stream
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource
from tokenwire.wire import sse

Streaming = Callable[..., Stream]


def test_there_is_a_lane_only_for_one_live_reader_of_the_providers_dialect(streaming: Streaming) -> None:
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
def test_a_dialect_without_a_quick_look_has_no_lane_and_reads_the_same(queued: Streaming, peek: bool) -> None:
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


def test_a_source_that_has_no_use_for_lanes_is_not_bothered(streaming: Streaming) -> None:
    stream = streaming()
    ingest = Ingest(stream)
    sink = ScriptedSink(express=True)
    attach(stream, sink)
    for body in (OPEN, chat.text("a")):
        ingest.body(body)
    assert (sink.data, sink.expressed) == (OPEN + chat.text("a"), 0)


def test_a_reader_that_is_full_falls_out_and_comes_back_to_its_lane(streaming: Streaming) -> None:
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
    streaming: Streaming, source: ScriptedSource, caplog: pytest.LogCaptureFixture
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


def test_the_lane_keeps_the_bound_of_the_log(streaming: Streaming) -> None:
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


def test_a_busy_reader_in_the_lane_gets_no_heartbeats(clock: ManualClock, streaming: Streaming) -> None:
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
