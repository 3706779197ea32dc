"""engine/stream: the state machine, and exactly one terminal whatever races with it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product

import pytest

from tokenwire import dialects
from tokenwire.dialects.deltas import Failed, TerminalState, Usage
from tokenwire.engine.hub import Hub
from tokenwire.engine.states import MOVES, State
from tokenwire.engine.stream import Stream
from tokenwire.errors import LocalProtocolError, StreamClosed
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

ENDS = {State.COMPLETED, State.FAILED, State.CANCELLED, State.ORPHANED, State.EXPIRED}
CHAT = dialects.get("openai.chat")

#: How each state that the engine can bring about is reached.
PATHS: dict[State, Callable[[Stream], object]] = {
    State.QUEUED: lambda stream: None,
    State.CONNECTING: lambda stream: stream.connecting(ScriptedSource()),
    State.STREAMING: lambda stream: (stream.connecting(ScriptedSource()), stream.begin()),  # type: ignore[func-returns-value]
    State.COMPLETED: lambda stream: complete(stream),
    State.FAILED: lambda stream: stream.fail(Failed(code="broken", message="it broke")),
    State.CANCELLED: lambda stream: stream.cancel(),
}


def complete(stream: Stream) -> None:
    stream.connecting(ScriptedSource())
    stream.begin()
    stream.append(chat.answer("a"), stream.clock.now_ns())
    stream.finish()


# -- the table


def test_the_table_has_every_state_and_its_ends_lead_nowhere() -> None:
    assert set(MOVES) == set(State)
    assert {state for state, moves in MOVES.items() if not moves} == ENDS
    assert MOVES[State.QUEUED] == {State.CONNECTING} | ENDS
    assert MOVES[State.CONNECTING] == {State.STREAMING} | ENDS
    assert MOVES[State.STREAMING] == ENDS
    assert {state.value for state in ENDS} == set(TerminalState.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("state", PATHS, ids=lambda state: state.value)
def test_a_source_may_connect_only_where_the_table_says_so(queued: Callable[..., Stream], state: State) -> None:
    stream = queued()
    PATHS[state](stream)
    assert stream.state is state
    moves: list[tuple[State, Callable[[], None]]] = [
        (State.CONNECTING, lambda: stream.connecting(ScriptedSource())),
        (State.STREAMING, stream.begin),
    ]
    for to, move in moves:
        if to in MOVES[state]:
            continue
        with pytest.raises(StreamClosed if state in ENDS else LocalProtocolError) as caught:
            move()
        assert state.value in str(caught.value)
        assert stream.state is state


@pytest.mark.parametrize(
    ("state", "end"),
    list(product((State.QUEUED, State.CONNECTING, State.STREAMING), (State.FAILED, State.CANCELLED))),
    ids=lambda state: state.value,
)
def test_every_running_state_may_fail_or_be_cancelled(queued: Callable[..., Stream], state: State, end: State) -> None:
    stream = queued()
    PATHS[state](stream)
    PATHS[end](stream)
    assert stream.state is end
    assert stream.terminal is not None
    assert stream.terminal.state == end.value


@pytest.mark.parametrize("end", [State.COMPLETED, State.FAILED, State.CANCELLED], ids=lambda state: state.value)
def test_the_first_terminal_wins_and_nothing_follows_it(queued: Callable[..., Stream], end: State) -> None:
    stream = queued()
    PATHS[end](stream)
    terminal, last = stream.terminal, stream.log.last
    stream.finish()
    stream.fail(Failed(code="late", message="too late"))
    assert stream.cancel() is False
    stream.append([chat.text("late")], 0)
    stream.append([chat.text("late")], 0)
    stream.append_unary(b"{}", 0)
    stream.expect_reader()
    assert (stream.state, stream.terminal, stream.log.last) == (end, terminal, last)


def test_cancelling_is_idempotent_says_whether_it_did_anything_and_aborts_the_source_once(
    streaming: Callable[..., Stream], source: ScriptedSource
) -> None:
    stream = streaming()
    assert stream.cancel("enough") is True
    assert stream.cancel() is False
    assert source.calls == ["abort"]
    assert stream.terminal is not None
    assert stream.terminal.error == Failed(code="cancelled", message="enough")


def test_a_stream_is_cancelled_before_its_source_has_connected(queued: Callable[..., Stream]) -> None:
    stream = queued()
    assert stream.cancel()
    assert stream.log.last == 1  # the terminal is an entry, also without any other
    source = ScriptedSource()
    with pytest.raises(StreamClosed, match="cancelled"):
        stream.connecting(source)
    assert not source.aborted


@pytest.mark.parametrize("order", list(permutations(["cancel", "finish", "fail", "leave", "lapse"], 3)))
@pytest.mark.parametrize("whole", [True, False])
def test_whatever_ends_a_stream_first_there_is_one_terminal(
    clock: ManualClock, hub: Hub, streaming: Callable[..., Stream], sink: Callable[..., ScriptedSink],
    order: tuple[str, ...], whole: bool,
) -> None:  # fmt: skip
    ended: list[str] = []
    stream = streaming(linger=1.0)
    stream.on_end.append(lambda: ended.append(stream.state.value))
    watching = sink()
    reader = stream.attach(watching, CHAT, ids=False)
    reader.start()
    stream.append(chat.answer("a") if whole else [chat.role(), chat.text("a")], clock.now_ns())
    acts: dict[str, Callable[[], object]] = {
        "cancel": stream.cancel,
        "finish": stream.finish,
        "fail": lambda: stream.fail(Failed(code="broken", message="it broke")),
        "leave": reader.leave,
        "lapse": lambda: clock.advance(3),
    }
    for act in order:
        acts[act]()
    stream.cancel()
    assert ended == [first_end(order, whole)]
    assert stream.log.last == stream.log.last_frame + 1
    statistics = hub.statistics()
    assert (statistics.running, statistics.completed + statistics.failed + statistics.cancelled) == (0, 1)


def first_end(order: tuple[str, ...], whole: bool) -> str:
    """The state that the first act in *order* brings about which ends the stream at all."""
    left = False
    for act in order:
        left = left or act == "leave"
        if whole and act != "leave":  # the end marker has come: whatever ends it now, it is complete
            return "completed"
        if act == "cancel" or (act == "lapse" and left):  # the linger
            return "cancelled"
        if act in ("fail", "finish"):
            return "failed"
    return "cancelled"


# -- what the terminal says


def test_a_clean_end_carries_reason_usage_and_times(clock: ManualClock, streaming: Callable[..., Stream]) -> None:
    stream = streaming()
    clock.advance(0.25)
    stream.append([chat.role()], clock.now_ns())
    assert stream.generated_ns is None
    clock.advance(0.25)
    stream.append([chat.text("a")], clock.now_ns())
    clock.advance(1)
    stream.append([chat.finish("length"), chat.usage(7, 9), chat.DONE], clock.now_ns())
    stream.finish()
    terminal = stream.terminal
    assert terminal is not None
    assert (terminal.state, terminal.reason, terminal.native_reason, terminal.error) == (
        "completed",
        "length",
        "length",
        None,
    )
    assert (terminal.ttft_ms, terminal.e2e_ms) == (500.0, 1500.0)
    assert isinstance(terminal.usage, Usage)
    assert (terminal.usage.input, terminal.usage.output) == (7, 9)
    assert stream.ended_ns == clock.now_ns()


def test_a_stream_without_a_generated_event_has_no_times(streaming: Callable[..., Stream]) -> None:
    stream = streaming()
    stream.append([chat.role()], stream.clock.now_ns())
    stream.cancel()
    assert stream.terminal is not None
    assert (stream.terminal.ttft_ms, stream.terminal.e2e_ms) == (None, None)
    assert stream.generated_ns is None


def test_the_end_of_the_bytes_without_an_end_marker_is_a_failure(streaming: Callable[..., Stream]) -> None:
    stream = streaming()
    stream.append([chat.role(), chat.text("a")], 0)
    stream.finish()
    assert stream.terminal is not None
    assert stream.terminal.error is not None
    assert (stream.state, stream.terminal.error.code) == (State.FAILED, "truncated")


@pytest.mark.parametrize(("end", "state"), [('"}', State.COMPLETED), ("", State.FAILED)])
def test_a_call_that_is_whole_is_not_cut_though_its_beginning_is_all_that_was_looked_at(
    streaming: Callable[..., Stream], end: str, state: State
) -> None:
    """What is generated first is decoded, arguments that follow are not. Nobody says why the answer ended (Q11)."""
    stream = streaming()
    opening = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":'}}
    rest = [{"index": 0, "function": {"arguments": part}} for part in ('"Os', "lo" + end)]
    stream.append([chat.role(), *(chat.chunk({"tool_calls": [part]}) for part in [opening, *rest])], 0)
    stream.append([chat.DONE], 0)
    stream.finish()
    assert stream.terminal is not None
    assert stream.state is state
    assert stream.terminal.reason == ("tool_use" if end else None)


def test_a_finish_reason_for_every_choice_is_a_clean_end_too(streaming: Callable[..., Stream]) -> None:
    stream = streaming()
    stream.append([chat.role(), chat.text("a"), chat.finish()], 0)
    stream.finish()
    assert stream.state is State.COMPLETED


def test_a_choice_that_was_cut_makes_it_no_clean_end_though_another_finished(streaming: Callable[..., Stream]) -> None:
    """The cut choice consists of plain text only: nothing about it is notable."""
    stream = streaming()
    stream.append([chat.role(0), chat.text("a", 0)], 0)
    stream.append([chat.role(1), chat.text("b", 1)], 0)
    stream.append([chat.finish(index=0)], 0)
    stream.finish()
    assert stream.state is State.FAILED


def test_a_provider_error_ends_the_stream_with_what_it_said(
    streaming: Callable[..., Stream], source: ScriptedSource
) -> None:
    stream = streaming()
    stream.append([chat.role(), chat.text("a"), chat.error("overheated"), chat.text("never")], 0)
    assert stream.terminal is not None
    assert stream.terminal.error is not None
    assert (stream.state, stream.terminal.error.message) == (State.FAILED, "overheated")
    assert source.aborted
    assert stream.log.last_frame == 3  # as if the rest had come in a read of its own


def test_what_comes_after_the_end_marker_is_logged_and_says_nothing(streaming: Callable[..., Stream]) -> None:
    stream = streaming()
    stream.append([*chat.answer("a"), chat.error("ignored")], 0)
    stream.append([chat.text("late")], 0)
    stream.append([chat.DONE], 0)
    stream.finish()
    assert (stream.state, stream.log.done_seq, stream.log.last_frame) == (State.COMPLETED, 4, 7)


# -- callbacks


def test_on_open_is_called_once_at_the_first_generated_event(streaming: Callable[..., Stream]) -> None:
    stream = streaming()
    opened: list[int] = []
    stream.on_open.append(lambda: opened.append(stream.log.last))
    stream.append([chat.role()], 0)
    assert opened == []
    stream.append([chat.text("a"), chat.text("b")], 0)
    stream.append([chat.text("c")], 0)
    stream.cancel()
    assert opened == [3]  # its frame is in the log by then


def test_on_open_is_called_at_the_terminal_if_nothing_was_generated(queued: Callable[..., Stream]) -> None:
    stream = queued()
    seen: list[str] = []
    stream.on_open.append(lambda: seen.append(f"open {stream.state.value}"))
    stream.on_end.append(lambda: seen.append(f"end {stream.state.value}"))
    stream.cancel()
    assert seen == ["open cancelled", "end cancelled"]


# -- answers that come whole


def test_a_whole_answer_is_one_entry_and_a_clean_end(
    streaming: Callable[..., Stream], queued: Callable[..., Stream]
) -> None:
    stream = queued()
    stream.connecting(ScriptedSource())
    stream.begin(unary=True)
    opened: list[int] = []
    stream.on_open.append(lambda: opened.append(1))
    message = {"role": "assistant", "content": "Hello"}
    body = chat.event({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})[6:-2]
    stream.append_unary(body, 5)
    assert (stream.unary, opened, stream.log.last, stream.generated_ns) == (True, [1], 1, 5)
    stream.finish()
    assert stream.state is State.COMPLETED
    assert stream.transcript().choice().text == "Hello"


def test_a_whole_answer_that_is_an_error_fails(queued: Callable[..., Stream]) -> None:
    stream = queued()
    stream.connecting(ScriptedSource())
    stream.begin(unary=True)
    stream.append_unary(b'{"error":{"message":"no","type":"server_error"}}', 0)
    stream.finish()
    assert stream.terminal is not None
    assert stream.terminal.error is not None
    assert (stream.state, stream.terminal.error.message) == (State.FAILED, "no")


# -- questions


def test_the_transcript_is_the_fold_of_all_entries_or_of_the_first(streaming: Callable[..., Stream]) -> None:
    stream = streaming()
    stream.append([*chat.answer("Hel", "lo", with_usage=True), chat.text("never")], 0)
    stream.finish()
    fold = stream.transcript()
    assert (fold.choice().text, fold.choice().reason, fold.usage is not None) == ("Hello", "stop", True)
    assert [stream.transcript(upto).choice().text for upto in (0, 1, 2, 3, 99)] == ["", "", "Hel", "Hello", "Hello"]


def test_the_timeline_has_the_arrival_of_each_entry(clock: ManualClock, streaming: Callable[..., Stream]) -> None:
    stream = streaming()
    assert stream.last_ns == stream.created_ns
    for _ in range(3):
        clock.advance(1)
        stream.append([chat.text("a")], clock.now_ns())
    assert [now - stream.created_ns for now in stream.timeline] == [1_000_000_000, 2_000_000_000, 3_000_000_000]
    assert stream.last_ns == clock.now_ns()
