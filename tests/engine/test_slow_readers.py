"""engine/reader: full sinks and stalls. A slow reader costs a cursor and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.engine.ids import EventId
from tokenwire.engine.reader import PAGE, Reader
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
