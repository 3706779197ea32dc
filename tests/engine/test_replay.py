"""A recorded answer told again: the same entries, at full speed or at its own pace, as a stream like any other."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from tests.translation.answers import STREAMS, Case

from tokenwire import dialects
from tokenwire.dialects.deltas import Failed, Usage
from tokenwire.engine import replay
from tokenwire.engine.hub import Hub
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.recording import OVERHEAD, Recording, record
from tokenwire.engine.replay import Repeated, Replay
from tokenwire.engine.states import Pause, Policy
from tokenwire.engine.stream import Stream
from tokenwire.measure.worker import Worker
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

MOST = 16 * 1024 * 1024
ANSWER = chat.answer("one", " two", " three", with_usage=True)
BODY = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}'


def completed(stream: Stream, *frames: bytes, clock: ManualClock | None = None, gap: float = 0.0) -> Stream:
    """*stream*, which has begun, with these entries, *gap* seconds apart, and its end."""
    for frame in frames:
        stream.append([frame], stream.clock.now_ns())
        if clock is not None:
            clock.advance(gap)
    stream.finish()
    return stream


def recorded_from(stream: Stream) -> Recording:
    found = record(stream, MOST)
    assert found is not None
    return found


def again(hub: Hub, recording: Recording, *, paced: bool = False, **policy: Any) -> Stream:
    """A new stream that is told *recording*."""
    stream = hub.open(
        owner="me", dialect=dialects.get(recording.dialect), model=recording.model, policy=Policy(**policy)
    )
    Replay(stream, recording, paced=paced).start()
    return stream


def frames_of(stream: Stream) -> list[bytes]:
    held = stream.log
    found: list[bytes] = []
    while len(found) < held.last_frame:
        found += held.after(len(found))
    return found


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.path)
def test_every_recorded_answer_that_is_whole_is_told_again_byte_for_byte(
    hub: Hub, streaming: Callable[..., Stream], follow: Callable[..., ScriptedSink], clock: ManualClock, case: Case
) -> None:
    first = streaming(dialects.get(case.dialect))
    ingest = Ingest(first)
    ingest.body(case.body)
    ingest.end()
    recording = record(first, MOST)
    terminal = first.terminal
    assert terminal is not None
    if recording is None:
        assert terminal.state != "completed" or terminal.reason in ("content_filter", "pause", "error", "unknown", None)
        return
    second = again(hub, recording)
    live = follow(second, case.dialect)
    clock.advance(0)
    assert frames_of(second) == frames_of(first)
    assert second.log.notable == first.log.notable
    assert second.log.done_seq == first.log.done_seq
    assert live.data == follow(first, case.dialect).data
    end = second.settled
    assert end is not None
    assert (end.state, end.reason, end.native_reason) == ("completed", terminal.reason, terminal.native_reason)
    assert said(second) == said(first)


def said(stream: Stream) -> tuple[Any, ...]:
    fold = stream.transcript()
    choices = [
        (
            choice.text,
            choice.reasoning,
            choice.refusal,
            [(c.id, c.name, c.arguments) for c in choice.tool_calls.values()],
        )
        for choice in fold.choices.values()
    ]
    return choices, fold.usage, fold.events, fold.opaque


def test_a_short_answer_is_told_at_once(hub: Hub, streaming: Callable[..., Stream]) -> None:
    stream = again(hub, recorded_from(completed(streaming(), *ANSWER)))
    assert stream.terminal is not None, "in the turn of the request"
    assert stream.generated_ns == stream.created_ns
    assert hub.statistics().completed == 2


def test_it_shares_the_frames_with_the_log_that_it_was_taken_from(streaming: Callable[..., Stream]) -> None:
    first = completed(streaming(), chat.role(), *[chat.text("abcd")] * 200, *ANSWER[1:])
    recording = recorded_from(first)
    assert recording.runs == first.log.packed
    assert sum(map(len, recording.runs)) == first.log.last_frame == len(recording.arrivals_ns)
    assert list(recording.frames()) == frames_of(first)
    assert recording.size == OVERHEAD + sum(run.size for run in recording.runs) + 8 * first.log.last_frame


def test_a_long_one_is_told_in_portions_and_whoever_reads_gets_all_of_it(
    hub: Hub, streaming: Callable[..., Stream], follow: Callable[..., ScriptedSink], clock: ManualClock
) -> None:
    texts = [chat.text(f"{n} ") for n in range(1000)]
    first = streaming()
    first.append([chat.role(), *texts, *ANSWER[-3:]], clock.now_ns())  # one read, one run
    first.finish()
    stream = again(hub, recorded_from(first))
    assert (stream.log.last, stream.terminal) == (replay.FIRST, None)
    raw, native = follow(stream), follow(stream, "native", ids=True)
    clock.advance(0)
    assert stream.terminal is not None
    assert raw.data == follow(first).data
    assert native.data.count(b"event: text\n") == len(texts)
    assert native.data.endswith(b"\n\n")
    assert raw.closed


def test_its_usage_is_that_of_the_first_and_it_costs_nothing(hub: Hub, streaming: Callable[..., Stream]) -> None:
    first = streaming()
    first.meter = Paid()
    recording = recorded_from(completed(first, *chat.answer("one")))  # no usage was told
    assert recording.usage == Usage(input=7, output=8, cost_usd=0.5, estimated=True)
    stream = again(hub, recording)
    assert stream.settled is not None
    assert stream.settled.usage == Usage(input=7, output=8, cost_usd=0.0, estimated=True)
    assert stream.estimates is False


class Paid(Repeated):
    """Estimates, and a price."""

    def __init__(self) -> None:
        super().__init__(None)

    def settle(self, *args: Any, **options: Any) -> Usage:
        return Usage(input=7, output=8, cost_usd=0.5, estimated=True)


def test_one_that_is_stopped_has_used_what_it_has_said_and_paid_nothing(
    hub: Hub, streaming: Callable[..., Stream], clock: ManualClock
) -> None:
    texts = [chat.text("word ") for _ in range(500)]
    first = completed(streaming(), chat.role(), *texts, chat.finish(), chat.usage(12, 500), chat.DONE)
    stream = again(hub, recorded_from(first))
    assert stream.cancel()
    clock.advance(1)
    assert stream.log.last == replay.FIRST + 1, "nothing comes after the end"
    assert stream.settled is not None
    usage = stream.settled.usage
    assert usage is not None
    assert (usage.input, usage.cost_usd, usage.estimated) == (12, 0.0, True)
    assert usage.output is not None
    assert 8 <= usage.output <= 40


def test_while_it_is_told_its_usage_is_known(hub: Hub) -> None:
    meter = Repeated(Usage(input=12, output=500, cost_usd=0.3))
    worker = Worker()
    assert meter.prompt(len, worker) == 12
    assert Repeated(None).prompt(len, worker) is None
    assert meter.priced(Usage(output=3), 0.0) == Usage(output=3, cost_usd=0.0)
    worker.close()


def test_one_body_is_told_as_one_body(
    hub: Hub, queued: Callable[..., Stream], source: ScriptedSource, follow: Callable[..., ScriptedSink]
) -> None:
    first = queued()
    first.connecting(source)
    first.begin(unary=True)
    first.append_unary(BODY, first.clock.now_ns())
    first.finish()
    stream = again(hub, recorded_from(first), paced=True)
    assert stream.unary
    assert (stream.log.frame(1), stream.terminal is not None) == (BODY, True)
    assert b'"content":"hi"' in follow(stream).data


def test_what_is_not_whole_is_not_recorded(
    streaming: Callable[..., Stream], queued: Callable[..., Stream], source: ScriptedSource
) -> None:
    running = streaming()
    running.append(ANSWER[:2], 1)
    assert record(running, MOST) is None
    failed, cancelled, cut = streaming(), streaming(), streaming()
    for stream in (failed, cancelled, cut):
        stream.append(ANSWER[:2], stream.clock.now_ns())
    failed.fail(Failed("upstream_closed", "gone"))
    cancelled.cancel()
    cut.finish()
    silent = queued()
    silent.connecting(source)
    silent.begin()
    completed(silent, chat.role(), chat.finish(), chat.DONE)
    filtered = completed(streaming(), chat.role(), chat.text("one"), chat.finish("content_filter"), chat.DONE)
    for stream in (failed, cancelled, cut, silent, filtered):
        assert stream.terminal is not None
        assert record(stream, MOST) is None
    assert [stream.state.value for stream in (failed, cancelled, cut)] == ["failed", "cancelled", "failed"]


def test_what_was_trimmed_or_is_too_large_is_not_recorded(hub: Hub, streaming: Callable[..., Stream]) -> None:
    texts = [chat.text("abcd") for _ in range(300)]
    trimmed = streaming()
    trimmed.append([chat.role(), *texts], 1)
    trimmed.append(texts, 2)
    assert trimmed.trim(1000)
    completed(trimmed, *ANSWER[-3:])
    assert record(trimmed, MOST) is None
    large = completed(streaming(), chat.role(), *texts, *ANSWER[-3:])
    assert record(large, 5000) is None, "before it is packed"
    size = recorded_from(large).size
    assert record(large, size) is not None
    assert record(large, size - 1) is None


# ---- at its own pace ----


def test_paced_it_comes_as_it_came(
    hub: Hub, streaming: Callable[..., Stream], follow: Callable[..., ScriptedSink], clock: ManualClock
) -> None:
    clock.advance(5.0)  # the first token took its time
    recording = recorded_from(completed(streaming(), *ANSWER, clock=clock, gap=0.1))
    stream = again(hub, recording, paced=True)
    assert stream.log.last == 2, "the role and the first token, at once"
    reader = follow(stream)
    seen = []
    for _ in range(6):
        seen.append(len(reader.writes))
        clock.advance(0.1)
    assert seen == sorted(seen)
    assert len(set(seen)) >= 4, "one after another"
    assert reader.data == b"".join(ANSWER)
    assert stream.terminal is not None
    times = [each - stream.created_ns for each in stream.timeline]
    assert times[1] == 0
    assert 0.5e9 <= times[-1] <= 0.7e9


def test_a_long_silence_is_not_told_again() -> None:
    second = 1_000_000_000
    arrivals = array("q", [0, 9 * second, 10 * second, 100 * second, 100 * second + 5])
    recording = Recording(
        dialect="openai.chat", model="up/m", unary=False, runs=(), arrivals_ns=arrivals, opened=2, usage=None,
        notes="", size=0,
    )  # fmt: skip
    assert list(recording.times(second)) == [0, 0, second, 2 * second, 2 * second + 5]


@pytest.mark.parametrize("paced", [True, False])
def test_a_pause_holds_it_and_it_goes_on_where_it_stopped(
    hub: Hub, streaming: Callable[..., Stream], clock: ManualClock, paced: bool
) -> None:
    texts = [chat.text(f"{n} ") for n in range(200)]
    recording = recorded_from(completed(streaming(), chat.role(), *texts, *ANSWER[-3:], clock=clock, gap=0.05))
    stream = again(hub, recording, paced=paced)
    if paced:
        clock.advance(1.0)
    stream.pause(Pause.ADMISSION)
    stream.pause(Pause.MEMORY)
    before = stream.log.last
    clock.advance(60.0)
    assert stream.log.last == before
    stream.unpause(Pause.MEMORY)
    clock.advance(60.0)
    assert stream.log.last == before
    stream.unpause(Pause.ADMISSION)
    if paced:
        clock.advance(1.0)
        assert before < stream.log.last <= before + 25, "it does not make up for the time"
    clock.advance(30.0)
    assert stream.terminal is not None
    assert stream.state.value == "completed"


def test_a_source_that_is_over_stays_over(hub: Hub, streaming: Callable[..., Stream], clock: ManualClock) -> None:
    texts = [chat.text("abcd") for _ in range(200)]
    recording = recorded_from(completed(streaming(), chat.role(), *texts, *ANSWER[-3:]))
    stream = hub.open(owner="me", dialect=dialects.get("openai.chat"), model="m", policy=Policy())
    source = Replay(stream, recording)
    source.start()
    source.pause()
    source.pause()
    source.abort()
    source.abort()
    source.resume()
    source.resume()
    clock.advance(1)
    assert stream.log.last == replay.FIRST
    stream.cancel()


# ---- who reads it ----


def test_a_slow_reader_gets_all_of_it(
    hub: Hub, streaming: Callable[..., Stream], sink: Callable[..., ScriptedSink], clock: ManualClock
) -> None:
    texts = [chat.text(f"{n} ") for n in range(2000)]
    first = completed(streaming(), chat.role(), *texts, *ANSWER[-3:])
    stream = again(hub, recorded_from(first))
    slow = sink(4096)
    reader = stream.attach(slow, dialects.get("openai.chat"), ids=False)
    reader.start()
    clock.advance(0)
    assert stream.terminal is not None, "nobody holds it up"
    got = b""
    while not slow.closed or slow.writes:
        got += slow.take()
        slow.drain()
        reader.resume()
    assert got == b"".join(frames_of(first))


def test_it_can_be_resumed_by_id(
    hub: Hub, streaming: Callable[..., Stream], follow: Callable[..., ScriptedSink], clock: ManualClock
) -> None:
    texts = [chat.text(f"{n} ") for n in range(500)]
    stream = again(hub, recorded_from(completed(streaming(), chat.role(), *texts, *ANSWER[-3:])))
    clock.advance(0)
    whole = follow(stream, ids=True).data
    rest = follow(stream, ids=True, after="1-300").data
    assert whole.endswith(rest)
    assert whole[: -len(rest)].count(b"id: ") == 300
    for after, first in (("1-300", 299), ("1-0", 0)):  # runs of text come as one event to who is behind
        data = follow(stream, "native", ids=True, after=after).data.decode()
        said = [json.loads(line[6:]).get("t", "") for line in data.split("\n") if line.startswith("data: ")]
        assert "".join(said) == "".join(f"{n} " for n in range(first, 500))


def test_its_reader_leaving_stops_it(hub: Hub, streaming: Callable[..., Stream], clock: ManualClock) -> None:
    texts = [chat.text("abcd") for _ in range(200)]
    recording = recorded_from(completed(streaming(), chat.role(), *texts, *ANSWER[-3:]))
    stream = again(hub, recording, linger=0.0)
    reader = stream.attach(ScriptedSink(), dialects.get("openai.chat"), ids=False)
    reader.start()
    reader.leave()
    clock.advance(1)
    assert stream.state.value == "cancelled"
    assert stream.log.last == replay.FIRST + 1
