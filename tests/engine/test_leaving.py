"""engine/leaving: what readers' leaving does to generation, and what stopping does, at any moment."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import EventId
from tokenwire.engine.reader import Reader
from tokenwire.engine.states import State
from tokenwire.engine.stream import Stream
from tokenwire.engine.timers import GRANULARITY_NS
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

CHAT = dialects.get("openai.chat")
GRANULE = GRANULARITY_NS / 1e9
FOREVER = float("inf")
Streaming = Callable[..., Stream]
Sinks = Callable[..., ScriptedSink]

#: How far a stream has come before its reader leaves.
MOMENTS = ("queued", "connecting", "begun", "opened", "in the midst")


def attach(stream: Stream, sink: ScriptedSink, dialect: str = "openai.chat") -> Reader:
    reader = stream.attach(sink, dialects.get(dialect), ids=False)
    reader.start()
    return reader


def bring_to(stream: Stream, source: ScriptedSource, moment: str) -> None:
    steps: list[Callable[[], object]] = [
        lambda: stream.connecting(source),
        stream.begin,
        lambda: stream.append([chat.role()], 0),
        lambda: stream.append([chat.text("a"), chat.text("b")], 0),
    ]
    for step in steps[: MOMENTS.index(moment)]:
        step()


def error_of(stream: Stream) -> str:
    assert stream.terminal is not None
    assert stream.terminal.error is not None
    return stream.terminal.error.code


# -- the three policies


@pytest.mark.parametrize("moment", MOMENTS)
def test_cancel_ends_generation_in_the_same_turn(
    queued: Streaming, source: ScriptedSource, sink: Sinks, moment: str
) -> None:
    stream = queued(linger=0)
    reader = attach(stream, sink())
    bring_to(stream, source, moment)
    assert stream.state is not State.CANCELLED
    reader.leave()
    assert (stream.state, error_of(stream)) == (State.CANCELLED, "client_left")
    assert source.calls == ([] if moment == "queued" else ["abort"])


@pytest.mark.parametrize("moment", MOMENTS)
def test_linger_waits_for_a_reader_and_then_ends_generation(
    clock: ManualClock, queued: Streaming, source: ScriptedSource, sink: Sinks, moment: str
) -> None:
    stream = queued(linger=15)
    reader = attach(stream, sink())
    bring_to(stream, source, moment)
    reader.leave()
    clock.advance(14.9)
    assert stream.terminal is None
    clock.advance(0.1 + GRANULE)
    assert (stream.state, error_of(stream)) == (State.CANCELLED, "client_left")
    assert source.calls == ([] if moment == "queued" else ["abort"])


@pytest.mark.untraced
def test_finish_runs_to_the_end_without_readers(clock: ManualClock, queued: Streaming, sink: Sinks) -> None:
    """A stream for each moment, and half an hour for all of them; after an hour of silence they would expire."""
    left: dict[str, tuple[Stream, ScriptedSource]] = {}
    for moment in MOMENTS:
        stream, source = queued(linger=FOREVER), ScriptedSource()
        reader = attach(stream, sink())
        bring_to(stream, source, moment)
        reader.leave()
        left[moment] = stream, source
    clock.advance(1800)
    for moment, (stream, source) in left.items():
        assert (stream.terminal, source.aborted) == (None, False), moment


def test_a_reader_that_comes_within_the_linger_keeps_the_stream(
    clock: ManualClock, streaming: Streaming, sink: Sinks
) -> None:
    stream = streaming(linger=15)
    for _ in range(5):  # each time the linger begins anew, and what was left of the one before is forgotten
        reader = attach(stream, sink())
        clock.advance(0.5)
        reader.leave()
        clock.advance(14)
    last = sink()
    reader = stream.attach(last, CHAT, ids=False)  # attached is enough: its response may be held
    clock.advance(100)
    assert stream.terminal is None
    reader.leave()
    clock.advance(16)
    assert stream.state is State.CANCELLED


def test_only_the_last_reader_that_leaves_counts(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = streaming(linger=0)
    readers = [attach(stream, sink()) for _ in range(3)]
    for reader in readers[:2]:
        reader.leave()
    assert stream.terminal is None
    readers[0].leave()  # again: it counts once
    assert stream.terminal is None
    readers[2].leave()
    assert stream.state is State.CANCELLED


def test_a_started_stream_that_nobody_follows_lingers_too(
    clock: ManualClock, streaming: Streaming, sink: Sinks
) -> None:
    stream = streaming(linger=15)
    stream.expect_reader()
    clock.advance(16)
    assert stream.state is State.CANCELLED
    followed = streaming(linger=15)
    attach(followed, sink())
    followed.expect_reader()
    clock.advance(16)
    assert followed.terminal is None


# -- leaving a finished answer


@pytest.mark.parametrize("linger", [0.0, 15.0, FOREVER])
@pytest.mark.parametrize("marker", ["finish", "done"])
@pytest.mark.parametrize("dialect", ["openai.chat", "native"])
def test_leaving_after_the_finish_marker_cancels_nothing_and_waits_for_the_usage(
    clock: ManualClock,
    streaming: Streaming,
    source: ScriptedSource,
    sink: Sinks,
    linger: float,
    marker: str,
    dialect: str,
) -> None:
    stream = streaming(linger=linger)
    reader = attach(stream, sink(), dialect)
    stream.append([chat.role(), chat.text("a"), chat.finish(), *([chat.DONE] if marker == "done" else [])], 0)
    reader.leave()
    clock.advance(1)
    assert (stream.terminal, source.aborted) == (None, False)
    if marker == "finish":
        stream.append([chat.usage(3, 4)], clock.now_ns())
    clock.advance(1 + 2 * GRANULE)
    assert stream.state is State.COMPLETED
    assert stream.terminal is not None
    assert (stream.terminal.error, stream.terminal.usage is None) == (None, marker == "done")
    assert source.aborted  # an upstream that does not end its body is not waited for


def test_the_end_of_the_body_need_not_be_waited_for_once_the_answer_is_whole(
    clock: ManualClock, streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    stream = streaming()
    watching = sink()
    attach(stream, watching)
    stream.append(chat.answer("a"), clock.now_ns())
    clock.advance(1.9)
    assert (stream.terminal, watching.closed) == (None, True)
    clock.advance(0.1 + GRANULE)
    assert (stream.state, source.aborted) == (State.COMPLETED, True)


def test_a_reader_that_comes_during_the_drain_sees_the_natural_end(
    clock: ManualClock, streaming: Streaming, sink: Sinks
) -> None:
    stream = streaming(linger=0)
    reader = attach(stream, sink())
    stream.append([chat.role(), chat.text("a"), chat.finish()], 0)
    reader.leave()
    clock.advance(1)
    late = sink()
    attach(stream, late)
    clock.advance(5)
    assert stream.terminal is None
    stream.append([chat.usage(), chat.DONE], clock.now_ns())
    assert late.data == b"".join(chat.answer("a", with_usage=True))


def test_a_choice_that_has_not_finished_is_no_finished_answer(
    streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    stream = streaming(linger=0)
    reader = attach(stream, sink())
    stream.append([chat.role(0), chat.text("a", 0), chat.role(1), chat.text("b", 1), chat.finish(index=0)], 0)
    reader.leave()
    assert (stream.state, source.aborted) == (State.CANCELLED, True)


def test_a_choice_that_is_still_to_finish_is_looked_at_again_at_the_end(streaming: Streaming, sink: Sinks) -> None:
    """Asking whether the answer is whole must not change what the end finds."""
    stream = streaming(linger=FOREVER)
    reader = attach(stream, sink())
    stream.append([chat.role(0), chat.text("a", 0), chat.role(1), chat.text("b", 1), chat.finish(index=0)], 0)
    reader.leave()
    stream.finish()
    assert (stream.state, error_of(stream)) == (State.FAILED, "truncated")


def test_leaving_an_ended_stream_changes_nothing(clock: ManualClock, streaming: Streaming, sink: Sinks) -> None:
    stream = streaming(linger=0)
    slow = sink(high_water=0)
    reader = attach(stream, slow)
    stream.append([chat.role()], 0)
    stream.append(chat.answer("a")[1:], 0)
    stream.finish()
    terminal = stream.terminal
    assert (reader.over, stream.readers) == (False, [reader])
    reader.leave()
    clock.advance(100)
    assert (stream.terminal, stream.readers) == (terminal, [])
    stream.expect_reader()
    clock.advance(100)
    assert stream.terminal is terminal


# -- stop


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("readers", [0, 1, 3])
def test_stop_ends_the_stream_for_all_its_readers_at_any_moment(
    queued: Streaming, source: ScriptedSource, sink: Sinks, moment: str, readers: int
) -> None:
    stream = queued()
    sinks = [sink() for _ in range(readers)]
    for one in sinks:
        attach(stream, one)
    bring_to(stream, source, moment)
    assert stream.cancel("enough")
    assert [one.closed for one in sinks] == [True] * readers
    assert all(b'"code":"cancelled"' in one.data for one in sinks)
    assert stream.readers == []
    assert source.calls == ([] if moment == "queued" else ["abort"])


def test_nothing_happens_later_to_a_stream_that_is_over(
    clock: ManualClock, hub: Hub, streaming: Streaming, sink: Sinks
) -> None:
    """Its timers are gone with it."""
    stream = streaming(linger=15)
    attach(stream, sink()).leave()
    stream.append([chat.role(), chat.text("a"), chat.finish()], 0)
    stream.cancel()
    timers = len(hub.wheel)
    clock.advance(100)
    assert (len(hub.wheel), timers) == (1, 1)  # the hub's own
    assert stream.state is State.CANCELLED


def test_an_answer_whose_end_marker_has_come_cannot_be_cancelled(
    hub: Hub, streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    """Its readers were told that it is complete: the record must not say otherwise."""
    stream = streaming(linger=0)
    watching = sink()
    attach(stream, watching)
    stream.append(chat.answer("a"), 0)
    assert (stream.terminal, watching.closed) == (None, True)
    assert not stream.cancel()
    assert (stream.state, source.aborted) == (State.COMPLETED, True)
    assert len(hub.wheel) == 1


# -- a reader in another's place


def test_a_reader_may_begin_where_the_log_ends(streaming: Streaming, sink: Sinks) -> None:
    """What a late joiner does who was sent a prefix."""
    stream = streaming()
    stream.append([chat.role(), chat.text("a")], 0)
    late = sink()
    reader = stream.attach(late, CHAT, ids=True)
    reader.cursor = EventId(1, stream.log.last_frame)
    reader.start(b": prefix\n\n")
    stream.append([chat.text("b")], 0)
    assert late.data == b": prefix\n\n" + chat.text("b")[:-1] + b"id: 1-3\n\n"


def test_who_wants_a_cancel_on_leaving_has_time_to_come(
    clock: ManualClock, streaming: Streaming, source: ScriptedSource, sink: Sinks
) -> None:
    nobody = streaming(linger=0)
    nobody.expect_reader()
    clock.advance(14)
    assert nobody.terminal is None
    clock.advance(2)
    assert error_of(nobody) == "client_left"
    someone = streaming(linger=0)
    someone.expect_reader()
    reader = attach(someone, sink())
    clock.advance(60)
    before = someone.terminal
    assert before is None
    reader.leave()
    assert error_of(someone) == "client_left", "at once"
