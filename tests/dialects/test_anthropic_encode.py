"""Deltas of any dialect -> Messages events: the order that the SDKs rely on, numbers without gaps, honest ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.anthropic.dialect import DIALECT, Encoder
from tokenwire.dialects.base import encode_frames
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Logprobs,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import LocalProtocolError
from tokenwire.wire import sse

DONE = Terminal("completed")


def encoder() -> Encoder:
    return Encoder("st_abc", 1794000000.5, "claude")


def events_of(*deltas: Delta, terminal: Terminal | None = DONE) -> list[dict[str, Any]]:
    made = encoder()
    frames = [frame for delta in deltas for frame in made.feed(delta)]
    frames += made.close(terminal) if terminal is not None else []
    events = [json.loads(frame.data) for frame in frames]
    assert [frame.event for frame in frames] == [event["type"] for event in events]
    return events


def legal(events: list[dict[str, Any]]) -> None:
    """Blocks one after the other, numbered from 0, each delta within its own (reference, section 5.2)."""
    assert events[0]["type"] == "message_start"
    here: int | None = None
    following = 0
    for event in events[1:]:
        kind = event["type"]
        if kind == "content_block_start":
            assert (here, event["index"]) == (None, following)
            here, following = following, following + 1
        elif kind.startswith("content_block"):
            assert event["index"] == here
            here = None if kind == "content_block_stop" else here
        else:
            assert here is None or kind == "error"


def short(events: list[dict[str, Any]]) -> list[Any]:
    """The blocks as lists: their type, and what their deltas said."""
    blocks: list[Any] = []
    for event in events:
        if event["type"] == "content_block_start":
            blocks.append([event["content_block"]["type"]])
        elif event["type"] == "content_block_delta":
            kind, *said = event["delta"].values()
            blocks[-1] += [said[0]] if kind != "input_json_delta" or said[0] else []
    return blocks


def test_the_empty_answer_is_a_message() -> None:
    events = events_of()
    assert [event["type"] for event in events] == ["message_start", "message_delta", "message_stop"]
    assert events[0]["message"] == {
        "id": "msg_abc", "type": "message", "role": "assistant", "model": "claude", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0},
    }  # fmt: skip
    assert events[1] == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None},
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def test_a_message_starts_once_and_at_once() -> None:
    made = encoder()
    assert [frame.event for frame in made.feed(Started("c", "m", 1.0))] == ["message_start"]
    assert made.feed(Started("c", "m", 1.0)) == []
    assert [frame.event for frame in made.feed(TextDelta("a"))] == ["content_block_start", "content_block_delta"]


def test_runs_become_blocks() -> None:
    events = events_of(
        ReasoningDelta("th"), ReasoningDelta("ink"), ReasoningSignature("sig"), TextDelta("a", block=1),
        TextDelta("b", block=1), ToolCallStarted("t1", "f", block=2), ToolCallDelta('{"x"', block=2),
        ToolCallDelta(":1}", block=2), ToolCallEnded(block=2), TextDelta("c", block=3), Finished("stop", "stop"),
    )  # fmt: skip
    legal(events)
    assert short(events) == [
        ["thinking", "th", "ink", "sig"],
        ["text", "a", "b"],
        ["tool_use", '{"x"', ":1}"],
        ["text", "c"],
    ]
    assert events[9]["type"] == "content_block_stop"
    start = next(event["content_block"] for event in events if event.get("content_block", {}).get("id"))
    assert start == {"type": "tool_use", "id": "t1", "name": "f", "input": {}}


def test_a_call_without_arguments_has_one_empty_fragment() -> None:
    events = events_of(ToolCallStarted("t", "f"), ToolCallEnded())
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert deltas == [{"type": "input_json_delta", "partial_json": ""}]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_calls_that_come_in_turns_are_sent_one_after_the_other() -> None:
    """Arguments of two calls interleave in chat, and never here; what waits is sent as soon as it may be."""
    made = encoder()
    script: list[tuple[Delta, list[str]]] = [
        (ToolCallStarted("a", "f", block=0), ["message_start", "content_block_start", "content_block_delta"]),
        (ToolCallDelta('{"a":', block=0), ["content_block_delta"]),
        (ToolCallStarted("b", "g", block=1), []),
        (ToolCallDelta('{"b":2}', block=1), []),
        (TextDelta("meanwhile", block=2), []),
        (
            ToolCallDelta("1}", block=0),
            [
                "content_block_delta",
                "content_block_stop",
                "content_block_start",
                "content_block_delta",
                "content_block_delta",
                "content_block_stop",
                "content_block_start",
                "content_block_delta",
            ],
        ),
        (ToolCallEnded(block=0), []),
        (ToolCallDelta(" ", block=1), []),  # it is over here
        (TextDelta(" on", block=2), ["content_block_delta"]),
    ]
    for delta, wanted in script:
        assert [frame.event for frame in made.feed(delta)] == wanted
        copy = made.copy()
        assert copy.close(DONE) == made.copy().close(DONE)


def test_a_call_that_never_ends_keeps_nothing_back_for_good() -> None:
    events = events_of(
        ToolCallStarted("a", "f"), ToolCallDelta('{"a'), ToolCallStarted("b", "g", block=1),
        ToolCallDelta("{}", block=1), ToolCallEnded(block=1), Finished("length", "length"),
    )  # fmt: skip
    legal(events)
    assert short(events) == [["tool_use", '{"a'], ["tool_use", "{}"]]
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("delta", [ToolCallDelta("{}"), ToolCallEnded()])
def test_arguments_of_no_call_are_our_own_mistake(delta: Delta) -> None:
    with pytest.raises(LocalProtocolError, match="no tool call in block 0"):
        encoder().feed(delta)


def test_late_signatures_open_no_block_after_text() -> None:
    """Gemini's come on the last part, without a thought (claude-code-router#1275)."""
    assert short(events_of(TextDelta("a"), ReasoningSignature("late", block=1))) == [["text", "a"]]
    late: list[Delta] = [
        ReasoningDelta("t"),
        ToolCallStarted("a", "f", block=1),
        ToolCallEnded(block=1),
        ReasoningSignature("late"),
    ]
    assert short(events_of(*late)) == [["thinking", "t"], ["tool_use"]]
    assert short(events_of(ReasoningSignature("alone"))) == [["thinking", "alone"]]  # thoughts that are not shown
    between: list[Delta] = [
        ToolCallStarted("a", "f"),
        ToolCallEnded(),
        ReasoningSignature("s", block=1),
        TextDelta("b", block=2),
    ]
    assert short(events_of(*between)) == [["tool_use"], ["thinking", "s"], ["text", "b"]]


@pytest.mark.parametrize("end", [[Finished("refusal", "stop")], [Finished("stop")], []])
def test_a_refusal_is_explained_at_the_end(end: list[Delta]) -> None:
    events = events_of(RefusalDelta("I can"), RefusalDelta("not"), *end)
    legal(events)
    assert short(events) == []
    assert events[-2]["delta"]["stop_reason"] == "refusal"
    assert events[-2]["delta"]["stop_details"] == {"type": "refusal", "category": None, "explanation": "I cannot"}


def test_citations_stand_in_the_block_of_their_text() -> None:
    first, second, third = ({"type": "t", "n": n} for n in range(3))
    events = events_of(
        TextDelta("a"), Citation(first), TextDelta("b", block=1), Citation(second), Citation(third, block=2),
        TextDelta("c", block=2),
    )  # fmt: skip
    legal(events)
    assert short(events) == [["text", "a", first], ["text", "b", second], ["text", third, "c"]]
    called: list[Delta] = [TextDelta("a"), ToolCallStarted("t", "f", block=1), ToolCallEnded(block=1), Citation(first)]
    assert short(events_of(*called)) == [["text", "a"], ["tool_use"], ["text", first]]


def test_a_prefix_has_citations_with_their_text() -> None:
    fold = Transcript()
    first, second, third = ({"type": "t", "n": n} for n in range(3))
    for delta in (
        Started(), TextDelta("a"), Citation(first), TextDelta("b", block=1), TextDelta("c", block=1),
        Citation(second, block=1), Citation(third, block=5), TextDelta("other", choice=1), Usage(input=7, output=2),
    ):  # fmt: skip
        fold.apply(delta)
    made = encoder()
    events = [json.loads(frame.data) for frame in made.prefix(fold)]
    assert short(events) == [["text", "a", first], ["text", "bc", second]]  # the third waits for its text
    assert events[0]["message"]["usage"] == {"input_tokens": 7, "output_tokens": 2}
    fold.apply(Finished("stop", "stop"))
    ended = encoder()
    events = [json.loads(frame.data) for frame in ended.prefix(fold) + ended.close(DONE)]
    legal(events)
    assert short(events) == [["text", "a", first], ["text", "bc", second], ["text", third]]


@pytest.mark.parametrize(
    ("reason", "native", "word"),
    [
        ("stop", "stop", "end_turn"), ("stop", "stop_sequence", "stop_sequence"), ("length", "length", "max_tokens"),
        ("context_window", None, "model_context_window_exceeded"), ("tool_use", "tool_calls", "tool_use"),
        ("content_filter", "content_filter", "refusal"), ("pause", "compaction", "compaction"),
        ("pause", None, "pause_turn"), ("unknown", "new", "end_turn"), ("error", None, "end_turn"),
        ("stop", "max_tokens", "end_turn"),
    ],
)  # fmt: skip
def test_reasons(reason: Any, native: str | None, word: str) -> None:
    assert events_of(Finished(reason, native))[-2]["delta"]["stop_reason"] == word
    ended = Terminal("completed", reason=reason, native_reason=native)
    assert events_of(terminal=ended)[-2]["delta"]["stop_reason"] == word


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (Usage(input=100, output=5), {"input_tokens": 100, "output_tokens": 5}),
        (
            Usage(input=100, output=5, cached_input=60, cache_write=10, reasoning=2),
            {
                "input_tokens": 30, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 60,
                "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 2},
            },
        ),
        (Usage(input=5, cached_input=9), {"input_tokens": 0, "cache_read_input_tokens": 9, "output_tokens": 0}),
        (Usage(output=5, raw={"completion_tokens": 5}), {"input_tokens": 0, "output_tokens": 5}),
        (
            Usage(output=5, raw={"output_tokens": 1, "speed": "fast"}),
            {"input_tokens": 0, "output_tokens": 5, "speed": "fast"},
        ),
        (Usage(input=3, raw={"input_tokens": 3}), {"input_tokens": 3, "output_tokens": 0}),
        (
            Usage(input=3, output=2, raw={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}),
            {"input_tokens": 3, "output_tokens": 2},
        ),
    ],
)  # fmt: skip
def test_usage_is_told_at_the_end(usage: Usage, told: dict[str, Any]) -> None:
    """There, input is without what was cached: the sum of three is the whole."""
    assert events_of(usage)[-2]["usage"] == told
    assert events_of(terminal=Terminal("completed", usage=usage))[-2]["usage"] == told


def test_usage_adds_up_field_by_field() -> None:
    events = events_of(Usage(input=9, cached_input=4), Started(), TextDelta("a"), Usage(output=7))
    assert events[0]["message"]["usage"] == {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 0}
    assert events[-2]["usage"] == {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 7}


@pytest.mark.parametrize(
    ("terminal", "error"),
    [
        (Terminal("failed", error=Failed("upstream_timeout", "late")), ("timeout_error", "late", "upstream_timeout")),
        (
            Terminal("failed", error=Failed("rate_limit_exceeded", "slow", True, 429)),
            ("rate_limit_error", "slow", "rate_limit_exceeded"),
        ),
        (Terminal("failed", error=Failed("overloaded_error", "o", True, 529)), ("overloaded_error", "o", None)),
        (Terminal("cancelled"), ("api_error", "the stream was cancelled", "cancelled")),
        (Terminal("expired"), ("api_error", "the stream took longer", "expired")),
        (Terminal("failed", error=Failed("shutting_down", "bye")), ("overloaded_error", "bye", "shutting_down")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [[], [TextDelta("a")]])
def test_other_ends_are_errors(before: list[Delta], terminal: Terminal, error: tuple[str, str, str | None]) -> None:
    kind, message, code = error
    told = events_of(*before, terminal=terminal)[-1]
    assert told["type"] == "error"
    assert told["error"]["type"] == kind
    assert told["error"]["message"].startswith(message)
    assert told["error"].get("details", {}).get("error_code") == code
    assert "message_stop" not in str(events_of(*before, terminal=terminal))


def test_what_only_another_dialect_knows_has_no_place() -> None:
    deltas: list[Delta] = [
        Logprobs([{"token": "a"}]), Opaque("openai.chat", {"x": 1}), TextDelta("b", choice=1), Failed("x", "y"),
        Opaque("anthropic", "text"),
    ]  # fmt: skip
    assert short(events_of(*deltas)) == []


def test_what_only_this_dialect_knows_has_its_place_again() -> None:
    """After a failover, say: under the numbers of the message that it is part of now."""
    use = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    opaque = [
        ("content_block_start", {"type": "content_block_start", "index": 5, "content_block": use}),
        ("content_block_delta", {"index": 5, "delta": {"type": "input_json_delta", "partial_json": "{}"}}),
        ("content_block_stop", {"index": 5}),
        ("content_block_delta", {"index": 5, "delta": {"type": "new"}}),  # of no block that there is
        ("content_block_start", {"content_block": "odd"}),
        ("something_new", {"type": "something_new", "x": 1}),
        ("message_delta", {"type": "message_delta", "delta": {"stop_sequence": "X"}, "context_management": {"n": 1}}),
        ("message_delta", {"type": "message_delta", "delta": {"container": {"id": "c"}}}),
        (None, {"x": 1}),
    ]
    deltas = [Opaque("anthropic", data, event) for event, data in opaque]
    events = events_of(TextDelta("a"), *deltas, Finished("stop", "stop_sequence"))
    assert [event.get("index") for event in events[1:9]] == [0, 0, 0, 1, 1, 1, 2, None]
    assert events[4]["content_block"] == use
    assert events[8] == {"type": "something_new", "x": 1}
    assert events[-2]["delta"] == {
        "stop_reason": "stop_sequence", "stop_sequence": "X", "stop_details": None, "container": {"id": "c"}
    }  # fmt: skip
    assert events[-2]["context_management"] == {"n": 1}


TOOLS = st.lists(
    st.one_of(
        st.builds(TextDelta, st.text(max_size=3), block=st.integers(0, 5)),
        st.builds(ReasoningDelta, st.text(max_size=3), block=st.integers(0, 5)),
        st.builds(ReasoningSignature, st.text(max_size=3), block=st.integers(0, 5)),
        st.builds(Citation, st.just({"url": "u"}), block=st.integers(0, 5)),
        st.builds(RefusalDelta, st.text(max_size=3), block=st.integers(0, 5)),
        st.builds(ToolCallStarted, st.just("t"), st.just("f"), block=st.integers(10, 13)),
        st.builds(ToolCallDelta, st.sampled_from(["{", "}", '"a"', " "]), block=st.integers(10, 13)),
        st.builds(ToolCallEnded, block=st.integers(10, 13)),
        st.builds(Finished, st.just("stop")),
        st.builds(Usage, input=st.integers(0, 9), output=st.integers(0, 9)),
    ),
    max_size=25,
)


@pytest.mark.untraced
@given(TOOLS, st.integers(0, 25))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_the_events_are_legal_and_text_is_kept(deltas: list[Delta], copied: int) -> None:
    made = encoder()
    started: set[int] = set()
    frames = []
    text = ""
    for number, delta in enumerate(deltas):
        if number == copied:
            made = made.copy()
        if isinstance(delta, ToolCallStarted):
            if delta.block in started:
                continue
            started.add(delta.block)
        elif isinstance(delta, ToolCallDelta | ToolCallEnded) and delta.block not in started:
            continue
        text += delta.text if isinstance(delta, TextDelta) else ""
        frames += made.feed(delta)
    frames += made.close(DONE)
    events = [json.loads(frame.data) for frame in frames]
    legal(events)
    said = "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    assert sorted(said) == sorted(text)  # what waited for a call comes after what did not
    parsed = sse.Decoder().feed(encode_frames(frames))
    decoder = DIALECT.decoder()
    again = [delta for event in parsed for delta in decoder.feed(event)]
    assert not [delta for delta in again if isinstance(delta, Failed | Opaque)]
