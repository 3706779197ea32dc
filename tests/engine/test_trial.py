"""An attempt on trial: readers get all of it or nothing of it, in order and once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire import dialects
from tokenwire.dialects.base import Dialect
from tokenwire.dialects.deltas import Failed
from tokenwire.engine.hub import Hub
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.log import OVERHEAD
from tokenwire.engine.states import Policy, State
from tokenwire.engine.stream import Stream
from tokenwire.engine.trial import MOST_BYTES, MOST_FRAMES
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

FRAMES = chat.answer("one ", "two")
OVERLOADED = b'data: {"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}\n\n'
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
GONE = Failed("upstream_closed", "gone", retryable=True)
WHOLE = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'


class Attempts:
    """``tokenwire.engine.trial.Attempts`` that allows so many repetitions; the next attempt begins at once."""

    def __init__(self, stream: Stream, repeats: int) -> None:
        self.stream = stream
        self.repeats = repeats
        self.failures: list[str] = []
        self.settlements = 0
        stream.connecting(ScriptedSource())
        self.begin()

    def begin(self) -> None:
        self.stream.on_trial(self)
        self.stream.begin(attempt=len(self.failures) + 1)

    def again(self, failed: Failed) -> bool:
        self.failures.append(failed.code)
        if len(self.failures) > self.repeats:
            return False
        self.stream.take_back()
        self.begin()
        return True

    def settled(self) -> None:
        self.settlements += 1


@pytest.fixture
def trying(queued: Callable[..., Stream]) -> Callable[..., tuple[Stream, Attempts]]:
    """``trying(repeats=1)``: a stream whose first attempt has begun, and who makes them. *policy*: as of ``queued``."""

    def build(repeats: int = 1, **policy: float) -> tuple[Stream, Attempts]:
        stream = queued(**policy)
        return stream, Attempts(stream, repeats)

    return build


Trying = Callable[..., tuple[Stream, Attempts]]
Follow = Callable[..., ScriptedSink]


@pytest.mark.parametrize("dialect", ["openai.chat", "native"])
@pytest.mark.parametrize("ids", [False, True])
def test_readers_get_the_second_attempt_only(trying: Trying, follow: Follow, dialect: str, ids: bool) -> None:
    stream, attempts = trying()
    live = follow(stream, dialect, ids=ids)
    stream.append([chat.role().replace(b"{", b'{"user":"first",', 1)], 1)
    stream.attempt_failed(GONE)
    assert (live.data, stream.log.size) == (b"", 0)
    assert stream.state is State.STREAMING  # the second has begun
    for frame in FRAMES:
        stream.append([frame], 2)
    stream.finish()
    late = follow(stream, dialect, ids=ids)
    assert live.data == late.data
    assert b"first" not in live.data
    if dialect == "openai.chat" and not ids:
        assert live.data == b"".join(FRAMES)
    assert (attempts.failures, attempts.settlements) == (["upstream_closed"], 1)
    assert [attempt.number for attempt in stream.log.attempts] == [2]


def test_what_was_held_back_has_its_own_times(trying: Trying, follow: Follow) -> None:
    stream, _ = trying()
    live = follow(stream)
    stream.append([FRAMES[0]], 10)
    assert (stream.log.last, live.data, stream.generated_ns) == (0, b"", None)
    assert stream.log.size == len(FRAMES[0])
    stream.append([FRAMES[1], FRAMES[2]], 20)
    assert stream.log.size == sum(map(len, FRAMES[:3])) + 3 * OVERHEAD
    assert list(stream.timeline) == [10, 20, 20]
    assert live.data == b"".join(FRAMES[:3])
    assert stream.generated_ns == 20


def test_after_the_first_token_there_is_no_way_back(trying: Trying) -> None:
    stream, attempts = trying()
    stream.append(FRAMES[:2], 1)
    stream.attempt_failed(GONE)
    assert stream.state is State.FAILED
    assert attempts.failures == []


def test_an_error_in_the_read_of_the_first_token_comes_after_it(trying: Trying, follow: Follow) -> None:
    stream, attempts = trying()
    live = follow(stream)
    stream.append([*FRAMES[:2], OVERLOADED, chat.DONE], 1)
    assert live.data == b"".join([*FRAMES[:2], OVERLOADED])
    assert stream.state is State.FAILED
    assert attempts.failures == []


def test_a_failure_that_is_final_is_told_with_what_came_before_it(trying: Trying, follow: Follow) -> None:
    stream, attempts = trying(repeats=0)
    live = follow(stream)
    stream.append([FRAMES[0]], 1)
    stream.append([OVERLOADED], 2)
    assert live.data == FRAMES[0] + OVERLOADED
    assert stream.state is State.FAILED
    assert attempts.settlements == 1


def test_an_answer_without_a_token_is_an_answer(trying: Trying, follow: Follow) -> None:
    """Role, finish and the end marker; the second part after the drain."""
    stream, attempts = trying()
    live = follow(stream)
    frames = [chat.role(), chat.finish(), chat.DONE]
    stream.append(frames, 1)
    assert live.data == b"".join(frames)
    stream.finish()
    assert stream.state is State.COMPLETED
    assert (attempts.failures, attempts.settlements) == ([], 1)


@pytest.mark.parametrize(("frames", "state"), [([chat.role(), chat.finish()], "completed"), ([chat.role()], "failed")])
def test_an_end_without_a_marker(trying: Trying, frames: list[bytes], state: str) -> None:
    stream, attempts = trying(repeats=0)
    stream.append(frames, 1)
    assert stream.is_whole() is (state == "completed")
    stream.finish()
    assert stream.state.value == state
    assert stream.log.last_frame == len(frames)
    assert attempts.failures == ([] if state == "completed" else ["truncated"])


@pytest.mark.parametrize("size", [10, 50_000])
def test_only_so_much_is_held_back(trying: Trying, follow: Follow, size: int) -> None:
    """Then it counts, though it is nothing that we know."""
    stream, attempts = trying()
    live = follow(stream)
    frame = b'data: {"sound":"%b"}\n\n' % (b"x" * size)
    count = 0
    while not live.data:
        assert attempts.settlements == 0
        stream.append([frame], count)
        count += 1
    assert count == min(MOST_FRAMES, MOST_BYTES // len(frame)) + 1
    assert live.data == frame * count
    stream.append([frame], count)
    assert live.data == frame * (count + 1)
    assert stream.generated_ns is None
    stream.attempt_failed(GONE)
    assert stream.state is State.FAILED
    assert attempts.failures == []


def test_cancelling_settles_it(trying: Trying, follow: Follow) -> None:
    stream, attempts = trying()
    live = follow(stream)
    stream.append([FRAMES[0]], 1)
    assert stream.cancel()
    assert live.data.startswith(FRAMES[0])
    assert live.closed
    assert attempts.settlements == 1


def test_a_last_reader_whose_sink_breaks_at_that_ends_the_stream_once(
    trying: Trying, sink: Callable[..., ScriptedSink]
) -> None:
    stream, attempts = trying(linger=0)
    broken = sink()
    stream.attach(broken, dialects.get("openai.chat"), ids=False).start()
    stream.append([FRAMES[0]], 1)
    broken.raises = RuntimeError("a sink's bug")
    stream.fail(GONE)
    assert stream.state is State.CANCELLED
    assert attempts.settlements == 1


def test_bytes_of_an_attempt_that_was_taken_back_end_no_other(trying: Trying) -> None:
    """The last event lacks its blank line, and is the error for which the attempt is repeated."""
    stream, attempts = trying()
    ingest = Ingest(stream)
    ingest.body(OVERLOADED[:-1])
    ingest.end()
    assert attempts.failures == ["overloaded"]
    assert stream.state is State.STREAMING


def test_a_whole_answer_that_is_an_error_is_taken_back(trying: Trying) -> None:
    stream, attempts = trying()
    assert not stream.append_unary(b'{"error":{"message":"x","type":"server_error"}}', 1)
    assert (stream.log.last, stream.log.notable) == (0, {})
    assert stream.append_unary(WHOLE, 2)
    assert attempts.settlements == 1
    assert stream.log.last == 1


@pytest.mark.parametrize("started", [False, True])
def test_another_model_is_named_to_readers_who_were_there_before(
    trying: Trying, follow: Follow, sink: Callable[..., ScriptedSink], started: bool
) -> None:
    stream, _ = trying()
    made = sink()
    reader = stream.attach(made, dialects.get("native"), ids=True)
    raw = follow(stream)
    if started:
        reader.start()
    stream.append([chat.role()], 1)
    stream.attempt_failed(GONE)
    stream.rename("other/model")
    if not started:
        reader.start()
    stream.append(FRAMES, 2)
    stream.finish()
    assert b'"model":"other/model"' in made.data
    assert b'"model":"m"' not in made.data
    assert raw.data == b"".join(FRAMES)
    assert follow(stream, "native", ids=True).data == made.data


@pytest.mark.untraced
@given(st.data())
def test_whatever_failed_before_readers_see_one_whole_answer(data: st.DataObject) -> None:
    """Any number of attempts, each with any opening, cut anywhere and failing in any way; then a good one."""
    hub = Hub(ManualClock())
    stream = hub.open(owner="me", dialect=dialects.get("openai.chat"), model="m", policy=Policy())
    failed = data.draw(
        st.lists(st.lists(st.sampled_from([chat.role(), chat.usage(), PING, b": hb\n\n"]), max_size=4), max_size=4)
    )
    Attempts(stream, len(failed))
    sinks = [ScriptedSink(), ScriptedSink()]
    for sink, dialect in zip(sinks, ("openai.chat", "native"), strict=True):
        stream.attach(sink, dialects.get(dialect), ids=True).start()
    for opening in failed:
        ingest = Ingest(stream)
        for piece in _cut(b"".join(opening), data):
            ingest.body(piece)
        how = data.draw(st.sampled_from(["lost", "ended", "said so"]))
        if how == "lost":
            ingest.lost("gone")
        elif how == "ended":
            ingest.end()
        else:
            ingest.body(OVERLOADED)
        assert (stream.log.last, stream.log.size, stream.log.notable) == (0, 0, {})
    ingest = Ingest(stream)
    for piece in _cut(b"".join(FRAMES), data):
        ingest.body(piece)
    ingest.end()
    assert stream.state is State.COMPLETED
    assert [stream.log.frame(seq) for seq in range(1, stream.log.last)] == FRAMES
    for sink in sinks:
        late = ScriptedSink()
        stream.attach(late, dialects.get("openai.chat" if sink is sinks[0] else "native"), ids=True).start()
        assert late.data == sink.data
        assert sink.breaches == []
    hub.close()


def _cut(body: bytes, data: st.DataObject) -> list[bytes]:
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    return [body[start:end] for start, end in pairwise([0, *places, len(body)])]


# ---------------------------------------------------------------------- when it last spoke


@pytest.fixture
def pinging() -> Dialect:
    """Chat whose providers ping with events."""
    return replace(dialects.get("openai.chat"), heartbeat=PING)


def test_pings_are_no_tokens(queued: Callable[..., Stream], pinging: Dialect, clock: ManualClock) -> None:
    stream = queued(pinging)
    stream.connecting(ScriptedSource())
    stream.begin()
    assert stream.spoke_ns() == stream.created_ns
    stream.append([PING], 5)
    assert stream.spoke_ns() == stream.created_ns
    stream.append([chat.text("a")], 10)
    assert stream.spoke_ns() == 10
    for number in range(70):  # packed meanwhile
        stream.append([PING], 20 + number)
    assert (stream.spoke_ns(), stream.last_ns) == (10, 89)
    stream.append([chat.text("b")], 100)
    assert stream.spoke_ns() == 100


def test_one_that_pings_without_end_is_not_stalled(queued: Callable[..., Stream], pinging: Dialect) -> None:
    stream = queued(pinging)
    stream.connecting(ScriptedSource())
    stream.begin()
    stream.append([chat.text("a")], 1)
    stream.append([PING] * 1500, 2)
    assert stream.spoke_ns() == 2


def test_where_pings_are_comments_every_event_counts(streaming: Callable[..., Stream]) -> None:
    stream = streaming()
    stream.append([PING], 7)
    assert stream.spoke_ns() == 7
