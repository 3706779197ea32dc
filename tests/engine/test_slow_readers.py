"""engine/reader: full sinks, stalls, heartbeats, and sinks that raise. No reader is another's trouble."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.engine.ids import EventId
from tokenwire.engine.reader import PAGE, Reader
from tokenwire.engine.stream import State, Stream
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


# -- full sinks


def test_a_full_sink_is_written_nothing_until_it_says_so(streaming: Streaming, sink: Sinks) -> None:
    stream = streaming()
    quick, slow = sink(), sink(high_water=0)
    attach(stream, quick)
    reader = attach(stream, slow)
    frames = [chat.text(str(number)) for number in range(5)]
    for frame in frames:
        stream.append([frame], 0)
    assert (quick.writes, slow.writes) == (frames, frames[:1])
    assert (reader.live, reader.cursor) == (False, EventId(1, 1))
    slow.drain()
    reader.resume()
    assert slow.writes == [frames[0], b"".join(frames[1:])]  # all that there is, in one write


@pytest.mark.parametrize("dialect", ["openai.chat", "native"])
def test_what_a_reader_missed_is_taken_from_the_log_page_by_page(
    streaming: Streaming, sink: Sinks, dialect: str
) -> None:
    stream = streaming()
    stream.append([chat.text(f"{number} ".rjust(1000)) for number in range(200)], 0)
    slow, quick = sink(high_water=0), sink()
    reader = attach(stream, slow, dialect=dialect)
    for _ in range(10):
        slow.drain()
        reader.resume()
    attach(stream, quick, dialect=dialect)
    assert reader.live
    assert slow.data == quick.data
    assert len(slow.writes) > 2
    assert all(PAGE <= len(page) < 1.1 * PAGE for page in slow.writes[:-1])


def test_a_reader_that_is_told_to_go_on_before_it_started_or_while_it_is_live_does_nothing(
    streaming: Streaming, sink: Sinks
) -> None:
    stream = streaming()
    stream.append([chat.role()], 0)
    held = sink()
    reader = stream.attach(held, CHAT, ids=False)
    reader.resume()
    assert held.writes == []
    reader.start()
    reader.resume()
    assert held.writes == [chat.role()]


def test_the_preface_comes_first_and_may_fill_the_sink(streaming: Streaming, sink: Sinks) -> None:
    stream = streaming()
    stream.append([chat.role()], 0)
    slow = sink(high_water=0)
    reader = stream.attach(slow, CHAT, ids=False)
    reader.start(b": welcome\n\n")
    assert slow.writes == [b": welcome\n\n"]
    slow.drain()
    reader.resume()
    assert slow.writes == [b": welcome\n\n", chat.role()]


def test_a_sink_that_is_full_at_the_end_gets_its_ending_when_it_can(streaming: Streaming, sink: Sinks) -> None:
    stream = streaming()
    slow = sink(high_water=0)
    reader = attach(stream, slow)
    stream.append([chat.role(), chat.text("a")], 0)
    stream.append([chat.text("b"), chat.finish()], 0)
    stream.finish()
    assert (slow.closed, slow.writes) == (False, [chat.role() + chat.text("a")])
    slow.drain()
    reader.resume()
    assert slow.closed  # that which it just got fills it again, but there is no more
    assert slow.data == chat.role() + chat.text("a") + chat.text("b") + chat.finish()
    assert stream.readers == []


# -- stalls


def test_a_reader_that_takes_nothing_for_a_minute_is_told_how_to_resume_and_let_go(
    clock: ManualClock, streaming: Streaming, sink: Sinks, source: ScriptedSource
) -> None:
    stream = streaming(linger=0)
    slow = sink(high_water=0)
    attach(stream, slow, ids=True)
    stream.append([chat.role()], clock.now_ns())
    stream.append([chat.text("a")], clock.now_ns())
    clock.advance(59.9)
    assert (slow.closed, len(stream.readers)) == (False, 1)
    clock.advance(0.1 + GRANULE)
    assert slow.closed
    assert slow.terminal is not None
    assert slow.terminal.error is not None
    assert (slow.terminal.state, slow.terminal.error.code) == ("failed", "reader_timeout")
    assert "resume after 1-1" in slow.terminal.error.message
    assert slow.terminal.error.retryable
    assert stream.readers == []
    assert source.aborted  # nobody is left, and the policy says what that means


def test_a_reader_that_makes_progress_is_given_another_minute_each_time(
    clock: ManualClock, streaming: Streaming, sink: Sinks
) -> None:
    stream = streaming()
    slow = sink(high_water=1)
    attach(stream, slow)
    stream.append([chat.text("a" * 1000)], clock.now_ns())
    for _ in range(5):
        clock.advance(55)
        slow.drain(100)
    assert not slow.closed
    clock.advance(120 + 2 * GRANULE)  # the minute that is under way, in which it took something, and a whole one
    assert slow.closed


def test_a_reader_that_catches_up_has_its_minute_anew(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = streaming(heartbeat=1e6)
    slow = sink(high_water=0)
    reader = attach(stream, slow)
    for _ in range(3):
        stream.append([chat.text("a")], clock.now_ns())
        clock.advance(50)
        slow.drain()
        reader.resume()
    clock.advance(200)
    assert not slow.closed


def test_only_the_slow_reader_is_let_go(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = streaming(linger=0)
    quick, slow = sink(), sink(high_water=0)
    attach(stream, quick)
    attach(stream, slow)
    for _ in range(70):
        stream.append([chat.text("a")], clock.now_ns())
        clock.advance(1)
    assert (slow.closed, quick.closed, stream.state) == (True, False, State.STREAMING)
    assert quick.data == chat.text("a") * 70


# -- heartbeats


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
        stream.append_one(chat.text("a"), clock.now_ns(), None)
    assert b"hb" not in busy.data
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


# -- sinks that raise


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
        stream.append_one(chat.text("c"), 0, None)
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


# -- figures


def test_statistics_tell_live_lag_and_unsent(streaming: Streaming, sink: Sinks) -> None:
    stream = streaming()
    quick, slow = sink(), sink(high_water=0)
    attach(stream, quick)
    reader = attach(stream, slow, dialect="native")
    frames = [chat.text("a")] * 4
    for frame in frames:
        stream.append([frame], 0)
    assert reader.statistics() == ("native", False, 3, len(slow.data))
    statistics = stream.statistics()
    assert statistics[:2] == (stream.id, "streaming")
    assert (statistics.entries, statistics.bytes_held) == (4, stream.log.size)
    assert (statistics.readers, statistics.live_readers) == (2, 1)
    assert (statistics.furthest_lag, statistics.unsent, statistics.paused) == (3, len(slow.data), "")
