"""engine/reader: a heartbeat after ten seconds without a write to that reader, and never to a full sink."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.engine.reader import Reader
from tokenwire.engine.stream import Stream
from tokenwire.engine.timers import GRANULARITY_NS
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink

CHAT = dialects.get("openai.chat")
NATIVE = dialects.get("native")
GRANULE = GRANULARITY_NS / 1e9
Streaming = Callable[..., Stream]
Sinks = Callable[..., ScriptedSink]


def attach(stream: Stream, sink: ScriptedSink, *, ids: bool = False, dialect: str = "openai.chat") -> Reader:
    reader = stream.attach(sink, dialects.get(dialect), ids=ids)
    reader.start()
    return reader


@pytest.mark.parametrize(
    ("dialect", "ids", "beat"),
    [("openai.chat", False, b": hb\n\n"), ("openai.chat", True, b": hb\n"), ("native", True, b": hb\n")],
)
def test_an_idle_reader_gets_a_heartbeat_after_ten_seconds(
    clock: ManualClock, streaming: Streaming, sink: Sinks, dialect: str, ids: bool, beat: bytes
) -> None:
    stream = streaming()
    idle = sink()
    attach(stream, idle, ids=ids, dialect=dialect)
    clock.advance(9.9)
    assert idle.writes == []
    clock.advance(0.1 + GRANULE)
    assert idle.writes == [beat]
    clock.advance(30 + 3 * GRANULE)
    assert idle.writes == [beat] * 4


@pytest.mark.parametrize("dialect", ["openai.chat", "native"])
def test_a_busy_reader_gets_none(clock: ManualClock, streaming: Streaming, sink: Sinks, dialect: str) -> None:
    stream = streaming()
    busy = sink()
    attach(stream, busy, dialect=dialect)
    for _ in range(20):
        clock.advance(3)
        stream.append([chat.text("a")], clock.now_ns())
    assert b": hb" not in busy.data
    assert len(busy.writes) == 20
    clock.advance(10.9)
    assert busy.writes[20:] == [b": hb\n\n"]


def test_entries_that_give_a_reader_nothing_do_not_count_as_written(
    clock: ManualClock, streaming: Streaming, sink: Sinks
) -> None:
    """An upstream that sends empty chunks to keep its own connection open says nothing to a reader of another kind."""
    stream = streaming()
    raw, native = sink(), sink()
    attach(stream, raw)
    attach(stream, native, dialect="native")
    stream.append([chat.text("a")], clock.now_ns())
    native.take()
    for _ in range(12):
        clock.advance(2)
        stream.append([chat.chunk({})], clock.now_ns())
    assert raw.writes == [chat.text("a")] + [chat.chunk({})] * 12
    assert native.data == b": hb\n\n" * 2


def test_what_is_hidden_from_a_reader_does_not_count_as_written(
    clock: ManualClock, streaming: Streaming, sink: Sinks
) -> None:
    stream = streaming(hide_usage=True)
    idle = sink()
    attach(stream, idle)
    stream.append([chat.usage()], clock.now_ns())  # continuous usage, and nothing to say yet
    clock.advance(6)
    stream.append([chat.usage()], clock.now_ns())
    clock.advance(5)
    assert idle.writes == [b": hb\n\n"]


def test_a_full_sink_gets_none_and_catches_up_without(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = streaming()
    slow = sink(high_water=0)
    reader = attach(stream, slow)
    stream.append([chat.text("a")], clock.now_ns())
    clock.advance(45)
    assert slow.writes == [chat.text("a")]
    slow.drain()
    reader.resume()
    clock.advance(2)
    assert slow.writes == [chat.text("a"), b": hb\n\n"]


def test_a_heartbeat_may_fill_the_sink_and_no_entry_is_lost_by_it(
    clock: ManualClock, streaming: Streaming, sink: Sinks
) -> None:
    stream = streaming()
    slow, other = sink(high_water=0), sink()
    reader = attach(stream, slow)
    attach(stream, other)
    clock.advance(10 + GRANULE)
    assert (slow.writes, reader.live) == ([b": hb\n\n"], False)
    stream.append([chat.text("a")], clock.now_ns())
    slow.drain()
    reader.resume()
    stream.append([chat.text("b")], clock.now_ns())
    assert slow.data == b": hb\n\n" + chat.text("a")
    slow.drain()
    reader.resume()
    assert slow.data == b": hb\n\n" + chat.text("a") + chat.text("b")


def test_a_reader_that_is_gone_gets_none(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = streaming()
    gone, ended = sink(), sink()
    attach(stream, gone).leave()
    attach(stream, ended)
    stream.cancel()
    before = ended.data
    clock.advance(100)
    assert (gone.writes, ended.data) == ([], before)
