"""engine/stream: the bound of a log. A reader that is behind holds the upstream back; nobody behind means failure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.engine.log import RUN
from tokenwire.engine.reader import Reader
from tokenwire.engine.states import Pause, State
from tokenwire.engine.stream import Stream
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

CHAT = dialects.get("openai.chat")
BOUND = 50_000
BIG = chat.text("x" * 30_000)
Streaming = Callable[..., Stream]
Sinks = Callable[..., ScriptedSink]


def attach(stream: Stream, sink: ScriptedSink) -> Reader:
    reader = stream.attach(sink, CHAT, ids=False)
    reader.start()
    return reader


def fill(stream: Stream, *, one_by_one: bool = False) -> None:
    """To above the bound."""
    while stream.log.size <= BOUND and stream.terminal is None:
        if one_by_one:
            stream.append([BIG], 0)
        else:
            stream.append([BIG], 0)


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("readers", [0, 2])
def test_a_log_that_is_full_with_nobody_behind_fails(
    streaming: Streaming, source: ScriptedSource, sink: Sinks, one_by_one: bool, readers: int
) -> None:
    stream = streaming(max_bytes=BOUND, linger=float("inf"))
    sinks = [sink() for _ in range(readers)]
    for one in sinks:
        attach(stream, one)
    fill(stream, one_by_one=one_by_one)
    assert stream.terminal is not None
    assert stream.terminal.error is not None
    assert (stream.state, stream.terminal.error.code) == (State.FAILED, "log_limit")
    assert str(BOUND) in stream.terminal.error.message
    assert source.calls == ["abort"]
    assert all(one.closed and b"log_limit" in one.data for one in sinks)


def test_a_reader_that_is_behind_pauses_the_upstream_until_it_has_caught_up(
    streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    stream = streaming(max_bytes=BOUND)
    slow, quick = sink(high_water=0), sink()
    reader = attach(stream, slow)
    attach(stream, quick)
    fill(stream)
    assert (source.calls, stream.statistics().paused, stream.terminal) == (["pause"], "MEMORY", None)
    slow.drain()
    reader.resume()
    assert source.paused  # it has been handed everything, and holds it still
    slow.drain()
    reader.resume()
    assert (source.calls, stream.statistics().paused) == (["pause", "resume"], "")
    assert slow.data == quick.data


def test_the_next_entry_of_a_full_log_fails_when_nobody_is_behind_any_more(
    streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    stream = streaming(max_bytes=BOUND)
    slow = sink(high_water=0)
    reader = attach(stream, slow)
    fill(stream)
    for _ in range(3):
        slow.drain()
        reader.resume()
    slow.high_water = None
    stream.append([BIG], 0)
    assert stream.state is State.FAILED


def test_a_log_does_not_grow_past_its_bound_a_read_at_a_time(
    streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    """A reader that catches up, and falls behind again by the very next read, must not buy another read each time."""
    stream = streaming(max_bytes=BOUND)
    slow = sink(high_water=0)
    reader = attach(stream, slow)
    fill(stream)
    held = stream.log.last
    for _ in range(3):
        slow.drain()
        reader.resume()
    assert reader.live
    stream.append([BIG], 0)
    assert (stream.state, stream.log.last_frame) == (State.FAILED, held + 1)


@pytest.mark.parametrize("behind", [True, False])
def test_an_answer_that_is_whole_is_not_failed_for_its_size(
    streaming: Streaming, source: ScriptedSource, sink: Sinks, behind: bool
) -> None:
    stream = streaming(max_bytes=BOUND)
    reader = sink(high_water=0 if behind else None)
    following = attach(stream, reader)
    frames = [BIG, chat.text("x" * 30_000), chat.finish(), chat.DONE]
    stream.append(frames, 0)
    assert (stream.state, source.calls) == (State.COMPLETED, ["abort"])
    reader.drain()
    following.resume()
    assert (reader.data, reader.closed) == (b"".join(frames), True)


@pytest.mark.parametrize("how", ["leaves", "is let go", "finishes"])
def test_a_reader_that_is_behind_and_goes_lets_the_upstream_go_on(
    clock: ManualClock, streaming: Streaming, source: ScriptedSource, sink: Sinks, how: str
) -> None:
    stream = streaming(max_bytes=BOUND, heartbeat=1e6)
    slow = sink(high_water=0)
    attach(stream, sink())
    reader = attach(stream, slow)
    fill(stream)
    assert source.paused
    if how == "leaves":
        reader.leave()
    elif how == "finishes":
        reader.finish()
    else:
        clock.advance(61)
    assert (source.calls, reader.over) == (["pause", "resume"], True)


def test_with_no_reader_attached_the_bound_never_pauses(
    streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    stream = streaming(max_bytes=BOUND, linger=float("inf"))
    slow = sink(high_water=0)
    reader = attach(stream, slow)
    fill(stream)
    assert source.paused
    reader.leave()
    assert source.calls == ["pause", "resume"]
    stream.append([BIG], 0)
    assert (stream.state, source.calls) == (State.FAILED, ["pause", "resume", "abort"])


def test_a_held_reader_is_behind(streaming: Streaming, source: ScriptedSource, sink: Sinks) -> None:
    stream = streaming(max_bytes=BOUND)
    reader = stream.attach(sink(), CHAT, ids=False)
    fill(stream)
    assert source.paused
    reader.start()
    assert not source.paused


def test_the_upstream_reads_on_only_when_the_last_reason_is_gone(streaming: Streaming, source: ScriptedSource) -> None:
    stream = streaming()
    stream.pause(Pause.MEMORY)
    stream.pause(Pause.ADMISSION)
    stream.pause(Pause.ADMISSION)
    assert (source.calls, stream.statistics().paused) == (["pause"], "MEMORY|ADMISSION")
    stream.unpause(Pause.MEMORY)
    stream.unpause(Pause.MEMORY)
    assert source.calls == ["pause"]
    stream.unpause(Pause.ADMISSION)
    assert source.calls == ["pause", "resume"]


def test_pausing_a_stream_without_a_source_is_harmless(queued: Streaming, streaming: Streaming) -> None:
    for stream in (queued(), streaming()):
        if stream.source is not None:
            stream.cancel()
        stream.pause(Pause.ADMISSION)
        stream.unpause(Pause.ADMISSION)


def test_a_source_that_has_more_at_hand_may_go_on_within_resume(
    streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    stream = streaming(max_bytes=BOUND)
    slow = sink(high_water=0)
    reader = attach(stream, slow)
    fill(stream)
    source.on_resume = lambda: stream.append([chat.finish(), chat.DONE], 0)
    for _ in range(5):
        slow.drain()
        reader.resume()
    assert slow.data == BIG * 2 + chat.finish() + chat.DONE
    assert slow.closed


def test_a_read_that_fills_the_log_and_loses_the_last_reader_ends_the_stream_once(
    streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    stream = streaming(max_bytes=BOUND, linger=0)
    bad = sink()
    attach(stream, bad)
    bad.raises = RuntimeError("a bug in the sink")
    stream.append([BIG, BIG], 0)
    assert (stream.state, source.calls) == (State.CANCELLED, ["abort"])


def test_packing_makes_room_before_anything_is_paused_or_fails(
    streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    stream = streaming(max_bytes=2 * RUN * 300)
    watching = sink()
    attach(stream, watching)
    frames = [chat.text(f"{number} ") for number in range(10 * RUN)]
    assert sum(map(len, frames)) > 2 * stream.policy.max_bytes
    for frame in frames:
        stream.append([frame], 0)
    assert (stream.terminal, source.calls) == (None, [])
    assert stream.log.statistics().packed_entries > 0
    assert watching.data == b"".join(frames)
