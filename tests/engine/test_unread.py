"""engine/unread: what an answer may cost while nobody reads it, and that nothing is counted while somebody does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.engine.live import PERIOD, PORTION
from tokenwire.engine.reader import Reader
from tokenwire.engine.states import State
from tokenwire.engine.stream import Stream
from tokenwire.engine.tap import Tap
from tokenwire.measure.prices import Price, seller
from tokenwire.measure.usage import Meter
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink

CHAT = dialects.get("openai.chat")
FOREVER = float("inf")
BODY = json.dumps({"messages": [{"role": "user", "content": "x" * 44_000}]}).encode()
#: A cent for ten tokens; the prompt costs ten dollars.
OURS = (("m", Price(input=1000, output=1000)),)
#: Eleven of them are ten tokens.
WORD = chat.text("abcd")
Streaming = Callable[..., Stream]
Sinks = Callable[..., ScriptedSink]


@pytest.fixture
def unread(streaming: Streaming) -> Callable[..., Stream]:
    """Opens a stream with a price; *policy* as in ``Policy``, by default finish, and 10 cents at most."""

    def build(*, priced: bool = True, **policy: Any) -> Stream:
        stream = streaming(**{"linger": FOREVER, "unread_usd": 0.1, "unread_tokens": 200.0} | policy)
        stream.meter = Meter(BODY, seller("local", "http://127.0.0.1:1/v1", "openai.chat", OURS if priced else ()), "m")
        stream.sent = True
        return stream

    return build


def attach(stream: Stream, sink: ScriptedSink) -> Reader:
    reader = stream.attach(sink, CHAT, ids=False)
    reader.start()
    return reader


def say(stream: Stream, clock: ManualClock, tokens: int) -> None:
    """About so many tokens, and the time to look at them."""
    stream.append([WORD] * (tokens * 11 // 10), clock.now_ns())
    clock.advance(PERIOD * 2)


def error_of(stream: Stream) -> tuple[str, str]:
    assert stream.terminal is not None
    assert stream.terminal.error is not None
    return stream.terminal.error.code, stream.terminal.error.message


def test_what_nobody_reads_ends_when_it_has_cost_enough(
    clock: ManualClock, unread: Streaming, sink: Sinks, source: Any
) -> None:
    stream = unread()
    reader = attach(stream, sink())
    say(stream, clock, 500)
    assert stream.tally is None, "nothing is counted for who reads"
    reader.leave()
    clock.advance(PERIOD * 2)
    say(stream, clock, 90)
    assert stream.terminal is None, "neither what was read nor the prompt counts"
    say(stream, clock, 20)
    assert stream.state is State.CANCELLED
    code, message = error_of(stream)
    assert code == "cost_cap"
    assert "0.1" in message
    assert "limits.unread_cost_usd" in message
    assert source.aborted


def test_a_stream_that_nobody_ever_followed_is_counted_from_its_beginning(
    clock: ManualClock, unread: Streaming
) -> None:
    stream = unread()
    stream.expect_reader()
    clock.advance(PERIOD * 2)
    say(stream, clock, 90)
    assert stream.terminal is None
    say(stream, clock, 20)
    assert error_of(stream)[0] == "cost_cap"


def test_without_a_price_tokens_count(clock: ManualClock, unread: Streaming) -> None:
    stream = unread(priced=False)
    stream.expect_reader()
    clock.advance(PERIOD * 2)
    say(stream, clock, 190)
    assert stream.terminal is None
    say(stream, clock, 30)
    code, message = error_of(stream)
    assert (code, "limits.unread_tokens is 200" in message) == ("cost_cap", True)


def test_a_reader_that_comes_back_stops_the_counting(clock: ManualClock, unread: Streaming, sink: Sinks) -> None:
    stream = unread()
    attach(stream, sink()).leave()
    clock.advance(PERIOD * 2)
    say(stream, clock, 90)
    reader = attach(stream, sink())
    say(stream, clock, 1000)
    assert stream.terminal is None
    assert len(stream.hub.live) == 0
    reader.leave()
    clock.advance(PERIOD * 2)
    say(stream, clock, 90)
    assert stream.terminal is None, "it begins anew"
    say(stream, clock, 20)
    assert error_of(stream)[0] == "cost_cap"


def test_a_tap_is_a_reader(clock: ManualClock, unread: Streaming) -> None:
    stream = unread()
    tap = Tap(stream)
    say(stream, clock, 1000)
    assert stream.terminal is None
    assert tap.ready()
    tap.close()
    clock.advance(PERIOD * 2)
    say(stream, clock, 1000)
    assert error_of(stream)[0] == "cost_cap"


@pytest.mark.parametrize(
    "policy", [{"unread_usd": FOREVER, "unread_tokens": FOREVER}, {"linger": 60.0}], ids=["no bound", "a short linger"]
)
def test_nothing_is_counted_where_there_is_no_bound_or_time_is_one(
    clock: ManualClock, unread: Streaming, sink: Sinks, policy: dict[str, float]
) -> None:
    stream = unread(**policy)
    attach(stream, sink()).leave()
    assert (stream.tally, len(stream.hub.live)) == (None, 0)
    say(stream, clock, 1000)
    assert stream.terminal is None


def test_a_long_linger_is_bounded_too(clock: ManualClock, unread: Streaming, sink: Sinks) -> None:
    stream = unread(linger=3600.0)
    attach(stream, sink()).leave()
    clock.advance(PERIOD * 2)
    say(stream, clock, 110)
    assert error_of(stream)[0] == "cost_cap"


def test_an_answer_that_is_whole_is_not_cut(clock: ManualClock, unread: Streaming, sink: Sinks) -> None:
    """Only its usage is missing: to stop now would save nothing."""
    stream = unread()
    attach(stream, sink()).leave()
    clock.advance(PERIOD * 2)
    stream.append([WORD] * 1000 + [chat.finish()], clock.now_ns())
    clock.advance(PERIOD * 2)
    assert stream.terminal is None
    stream.append([chat.usage(10, 900), chat.DONE], clock.now_ns())
    stream.finish()
    clock.advance(PERIOD * 2)
    assert stream.state is State.COMPLETED


def test_who_tells_the_count_is_believed(clock: ManualClock, unread: Streaming, sink: Sinks) -> None:
    stream = unread()
    attach(stream, sink()).leave()
    clock.advance(PERIOD * 2)
    stream.append([chat.text("a"), chat.usage(10, 101)], clock.now_ns())
    clock.advance(PERIOD * 2)
    assert error_of(stream)[0] == "cost_cap"


def test_many_that_are_left_at_once_are_looked_at_a_portion_at_a_time(
    clock: ManualClock, unread: Streaming, sink: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that restarts cuts all readers in one turn of the loop: no token waits for the counting."""
    streams = [unread() for _ in range(PORTION * 3)]
    readers = [attach(stream, sink()) for stream in streams]
    for stream in streams:
        stream.append([WORD] * 100, clock.now_ns())
    for reader in readers:
        reader.leave()
    looked: list[int] = []
    live = streams[0].hub.live
    monkeypatch.setattr(live, "_look", lambda stream, tally: looked.append(clock.now_ns()))
    clock.advance(PERIOD * 1.5)
    assert len(looked) >= len(streams)
    assert max(looked.count(moment) for moment in set(looked)) <= PORTION
