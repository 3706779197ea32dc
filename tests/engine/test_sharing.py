"""Several streams, one upstream: each is told all of it, none is the others' affair, and it is paid for once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.deltas import Failed, Usage
from tokenwire.engine.hub import Hub
from tokenwire.engine.log import Attempt
from tokenwire.engine.sharing import PORTION, Share
from tokenwire.engine.states import Pause, Policy
from tokenwire.engine.stream import Stream
from tokenwire.measure.prices import Price, Seller
from tokenwire.measure.usage import Meter
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

ANSWER = chat.answer("one", " two", " three", with_usage=True)
GONE = Failed("upstream_closed", "gone", retryable=True)
SELLER = Seller(None, None, (("*", Price(input=1, output=1)),), "up")


@pytest.fixture
def origin(hub: Hub, source: ScriptedSource) -> Stream:
    """It asks the upstream, whose answer has not begun."""
    stream = hub.open(owner="-", dialect=dialects.get("openai.chat"), model="up/m", policy=Policy(linger=0.0))
    stream.meter = Meter(b'{"messages":[{"role":"user","content":"hello"}]}', SELLER, "m")
    stream.connecting(source)
    stream.sent = True
    return stream


@pytest.fixture
def shared(hub: Hub) -> Callable[..., Stream]:
    """One more stream that is told what *origin* says."""

    def build(origin: Stream, dialect: str = "openai.chat", **policy: Any) -> Stream:
        stream = hub.open(owner="me", dialect=dialects.get(dialect), model="up/m", policy=Policy(**policy))
        Share(stream, origin).start()
        return stream

    return build


def say(origin: Stream, *frames: bytes) -> None:
    for frame in frames:
        origin.append([frame], origin.clock.now_ns())


def test_all_are_told_the_same_from_the_start_and_it_is_gone_afterwards(
    hub: Hub, origin: Stream, shared: Callable[..., Stream], follow: Callable[..., ScriptedSink], clock: ManualClock
) -> None:
    first = shared(origin)
    second = shared(origin)
    readers = [follow(first), follow(second, "native")]
    origin.begin()
    say(origin, *ANSWER[:2])
    late = shared(origin)
    readers.append(follow(late))
    say(origin, *ANSWER[2:])
    origin.finish()
    assert readers[0].data == readers[2].data == b"".join(ANSWER)
    assert readers[1].data.count(b"event: text\n") == 3
    for stream in (first, second, late):
        assert stream.state.value == "completed"
        assert stream.settled is not None
        assert stream.settled.usage is not None
        assert (stream.settled.usage.input, stream.settled.usage.output) == (3, 5)
    assert [stream.id for stream in hub.mine("-")] == []
    assert len({first.id, second.id, late.id}) == 3
    assert late.generated_ns is not None
    assert late.generated_ns >= late.created_ns


def test_the_cost_is_told_once(
    origin: Stream, shared: Callable[..., Stream], follow: Callable[..., ScriptedSink]
) -> None:
    streams = [shared(origin) for _ in range(3)]
    origin.begin()
    say(origin, *ANSWER)
    origin.finish()
    costs = [stream.settled.usage.cost_usd for stream in streams if stream.settled and stream.settled.usage]
    assert costs == [pytest.approx(8e-6), 0.0, 0.0]


def test_who_stops_stops_for_itself(
    origin: Stream, shared: Callable[..., Stream], source: ScriptedSource, follow: Callable[..., ScriptedSink]
) -> None:
    first, second = shared(origin, linger=0.0), shared(origin)
    reader = follow(second)
    origin.begin()
    say(origin, *ANSWER[:3])
    assert first.cancel()
    assert source.calls == [], "the other one reads on"
    say(origin, *ANSWER[3:])
    origin.finish()
    assert reader.data == b"".join(ANSWER)
    assert [stream.state.value for stream in (first, second)] == ["cancelled", "completed"]
    usage = [stream.settled.usage for stream in (first, second) if stream.settled and stream.settled.usage]
    assert [each.cost_usd for each in usage] == [0.0, pytest.approx(8e-6)], "who stays pays"
    assert usage[0].estimated


def test_when_the_last_one_leaves_the_upstream_is_stopped(
    hub: Hub, origin: Stream, shared: Callable[..., Stream], source: ScriptedSource
) -> None:
    first, second = shared(origin), shared(origin)
    origin.begin()
    say(origin, *ANSWER[:3])
    first.cancel()
    second.cancel()
    assert source.calls == ["abort"]
    assert origin.state.value == "cancelled"
    assert list(hub.mine("-")) == []
    costs = [stream.settled.usage.cost_usd for stream in (first, second) if stream.settled and stream.settled.usage]
    assert costs[0] == 0.0
    assert costs[1] is not None
    assert costs[1] > 0, "what was generated is paid for, by the last one"


def test_the_last_one_leaving_a_whole_answer_waits_for_its_usage_and_pays(
    hub: Hub, origin: Stream, shared: Callable[..., Stream], clock: ManualClock
) -> None:
    only = shared(origin, linger=0.0)
    origin.begin()
    say(origin, chat.role(), chat.text("one"), chat.finish())
    only.cancel()
    assert origin.terminal is None
    assert only.settled is not None
    assert only.settled.usage is not None
    assert only.settled.usage.cost_usd is not None
    assert only.settled.usage.cost_usd > 0
    clock.advance(3.0)
    assert origin.state.value == "completed"
    assert list(hub.mine("-")) == []


def test_a_failure_is_everybodys(origin: Stream, shared: Callable[..., Stream]) -> None:
    first, second = shared(origin), shared(origin)
    origin.meta |= {"refused": "its words", "upstream": "up"}
    origin.attempt_failed(GONE)
    for stream in (first, second):
        assert stream.terminal is not None
        assert stream.terminal.error == GONE
        assert stream.meta["refused"] == "its words"
        assert stream.generated_ns is None


def test_an_error_among_the_entries_ends_each(
    hub: Hub, origin: Stream, shared: Callable[..., Stream], follow: Callable[..., ScriptedSink]
) -> None:
    first, second = shared(origin), shared(origin)
    readers = [follow(first), follow(second)]
    origin.begin()
    say(origin, *ANSWER[:2], chat.error())
    for stream, reader in zip((first, second), readers, strict=True):
        assert stream.state.value == "failed"
        assert reader.data == b"".join([*ANSWER[:2], chat.error()])
    assert list(hub.mine("-")) == []


def test_another_upstream_may_answer_in_the_end(
    origin: Stream, shared: Callable[..., Stream], follow: Callable[..., ScriptedSink]
) -> None:
    """The first attempt was on trial, and the next one speaks another dialect."""
    stream = shared(origin)
    reader = follow(stream, "native")

    class Again:
        def again(self, failed: Failed) -> bool:
            origin.take_back()
            return True

        def settled(self) -> None: ...

    origin.on_trial(Again())
    origin.begin()
    say(origin, chat.role())
    origin.attempt_failed(GONE)
    origin.speaks(dialects.get("ollama"))
    origin.rename("other/m2")
    origin.meta["upstream"] = "other"
    origin.begin(attempt=2)
    origin.append([b'{"message":{"role":"assistant","content":"hi"},"done":false}\n'], origin.clock.now_ns())
    origin.append([b'{"message":{"content":""},"done":true,"done_reason":"stop"}\n'], origin.clock.now_ns())
    origin.finish()
    assert (stream.dialect.name, stream.model, stream.meta["upstream"]) == ("ollama", "other/m2", "other")
    assert stream.log.attempts == [Attempt(1, 2, "ollama")]
    assert b'{"t":"hi"}' in reader.data
    assert b'"model":"other/m2"' in reader.data
    assert stream.state.value == "completed"


def test_one_body(origin: Stream, shared: Callable[..., Stream]) -> None:
    first, second = shared(origin), shared(origin)
    origin.begin(unary=True)
    body = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
    origin.append_unary(body, origin.clock.now_ns())
    origin.finish()
    for stream in (first, second):
        assert (stream.unary, stream.log.frame(1), stream.state.value) == (True, body, "completed")


def test_who_comes_late_is_told_in_portions(
    origin: Stream, shared: Callable[..., Stream], follow: Callable[..., ScriptedSink], clock: ManualClock
) -> None:
    first = shared(origin)
    origin.begin()
    texts = [chat.text(f"{n} ") for n in range(300)]
    say(origin, chat.role(), *texts)
    late = shared(origin)
    assert late.log.last == PORTION
    reader = follow(late)
    say(origin, chat.text("more"))
    assert late.log.last == 2 * PORTION, "in order"
    clock.advance(0)
    assert late.log.last == 302
    late_again = shared(origin)
    say(origin, chat.finish(), chat.DONE)
    origin.finish()
    assert first.state.value == "completed"
    assert late_again.terminal is None, "it is told the rest first"
    clock.advance(0)
    assert late_again.state.value == "completed"
    assert reader.data == b"".join([chat.role(), *texts, chat.text("more"), chat.finish(), chat.DONE])
    assert late_again.log.last == late.log.last == 305


def test_a_stream_that_is_full_holds_up_nobody_else(
    origin: Stream, shared: Callable[..., Stream], source: ScriptedSource, clock: ManualClock
) -> None:
    first, second = shared(origin), shared(origin)
    origin.begin()
    say(origin, *ANSWER[:2])
    first.pause(Pause.MEMORY)
    say(origin, *ANSWER[2:3])
    assert (first.log.last, second.log.last) == (2, 3)
    assert source.calls == []
    first.unpause(Pause.MEMORY)
    assert first.log.last == 3
    first.pause(Pause.MEMORY)
    say(origin, *ANSWER[3:])
    origin.finish()
    assert (first.terminal, second.state.value) == (None, "completed")
    first.unpause(Pause.MEMORY)
    assert first.state.value == "completed"
    assert first.log.last == second.log.last


def test_one_that_is_left_while_it_catches_up(
    origin: Stream, shared: Callable[..., Stream], clock: ManualClock
) -> None:
    first = shared(origin)
    origin.begin()
    say(origin, chat.role(), *[chat.text("abcd")] * 200)
    late = shared(origin)
    late.cancel()
    clock.advance(0)
    assert late.log.last == PORTION + 1
    assert first.log.last == 201
    assert len(origin.readers) == 1


def test_the_usage_while_it_grows(hub: Hub, origin: Stream, shared: Callable[..., Stream]) -> None:
    first, second = shared(origin), shared(origin)
    origin.begin()
    say(origin, chat.role(), *[chat.text("abcd")] * 50)
    said = [hub.live.watch(stream).usage(stream) for stream in (first, second)]
    assert said[0].input == said[1].input
    assert said[0].input
    assert said[0].cost_usd is not None
    assert said[0].cost_usd > 0
    assert said[1].cost_usd == 0.0


def test_without_a_meter_nothing_is_known(hub: Hub, origin: Stream, shared: Callable[..., Stream]) -> None:
    origin.meter = None
    stream = shared(origin)
    origin.begin()
    say(origin, chat.role(), chat.text("abcd"))
    assert hub.live.watch(stream).usage(stream) == Usage(output=0, cost_usd=0.0, estimated=True)
    stream.cancel()
    assert stream.settled is not None


def test_news_and_the_figures_are_of_each_stream(
    hub: Hub, origin: Stream, shared: Callable[..., Stream], follow: Callable[..., ScriptedSink]
) -> None:
    stream = shared(origin)
    reader = follow(stream, "native")
    origin.begin()
    say(origin, *ANSWER[:2])
    hub.notice("shutting_down", seconds=3)
    assert reader.data.count(b"event: notice\n") == 1
    figures = origin.statistics()
    assert (figures.readers, figures.live_readers, figures.furthest_lag, figures.unsent) == (1, 1, 0, 0)
    stream.cancel()
