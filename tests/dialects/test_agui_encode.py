"""Deltas of any dialect -> AG-UI events: what the clients' verifier kills a run for is never sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.client_dialects import body_of, fold_of, joined, read, readable, said, streams

from tokenwire.dialects.agui.dialect import DIALECT, Decoder, dialect_for, look, scan
from tokenwire.dialects.agui.encode import CUT_CALL
from tokenwire.dialects.base import Mark
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
from tokenwire.dialects.signatures import unwrap
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import LocalProtocolError

DONE = Terminal("completed")
CALL: list[Delta] = [ToolCallStarted("t1", "f", block=1), ToolCallDelta('{"a":1', block=1)]


def events_of(*deltas: Delta, terminal: Terminal | None = DONE, encoder: Any = None) -> list[Any]:
    made = encoder or dialect_for("th", "ru").encoder("st_abc", 1.0, "m")
    frames = [frame for delta in deltas for frame in made.feed(delta)]
    frames += made.close(terminal) if terminal is not None else []
    assert all(frame.event is None for frame in frames)
    return [json.loads(frame.data) for frame in frames]


def inner(*deltas: Delta) -> list[Any]:
    """The events between the beginning and the end of the run."""
    return events_of(*deltas)[1:-1]


def test_the_empty_answer_is_a_run() -> None:
    assert events_of() == [
        {"type": "RUN_STARTED", "threadId": "th", "runId": "ru"},
        {
            "type": "RUN_FINISHED",
            "threadId": "th",
            "runId": "ru",
            "metadata": {"tokenwire": {"finishReason": "stop"}},
        },
    ]
    assert DIALECT.encoder("st_abc", 1.0, "m").prefix(Transcript()) == []
    assert json.loads(DIALECT.encoder("st_abc", 1.0, "m").feed(Started())[0].data)["runId"] == "run_abc"


def test_what_a_fold_does_not_hold_begins_no_run() -> None:
    """Else whoever joins after it would have no beginning: the tail's encoder has told it."""
    deltas: list[Delta] = [Opaque("x", {}), Failed("a", "b"), Usage(input=1), Logprobs(content=[]), TextDelta("")]
    assert events_of(*deltas, Finished("stop"), Started(choice=1), terminal=None) == []
    assert len(events_of(Started(), Started(), terminal=None)) == 1


def test_a_message_holds_a_text_and_the_calls_after_it() -> None:
    whole: list[Delta] = [*CALL, ToolCallDelta("}", block=1), ToolCallEnded(block=1)]
    events = inner(
        ToolCallStarted("t0", "f", block=9), ToolCallEnded(block=9), TextDelta("a"), TextDelta("b"), *whole,
        ToolCallStarted("t2", "g", block=2), ToolCallEnded(block=2), ToolCallEnded(block=2), TextDelta("c"),
        ReasoningDelta("d", block=3), ToolCallStarted("t3", "g", block=4), ToolCallEnded(block=4),
    )  # fmt: skip
    starts = [(e["type"], e.get("messageId"), e.get("parentMessageId")) for e in events if e["type"].endswith("START")]
    assert starts == [
        ("TOOL_CALL_START", None, "msg_abc_0"),
        ("TEXT_MESSAGE_START", "msg_abc_1", None),
        ("TOOL_CALL_START", None, "msg_abc_1"),
        ("TOOL_CALL_START", None, "msg_abc_1"),
        ("TEXT_MESSAGE_START", "msg_abc_2", None),
        ("REASONING_START", "msg_abc_3", None),
        ("REASONING_MESSAGE_START", "msg_abc_3", None),
        ("TOOL_CALL_START", None, "msg_abc_4"),
    ]
    arguments = [(e["toolCallId"], e["delta"]) for e in events if e["type"] == "TOOL_CALL_ARGS"]
    assert arguments == [("t0", "{}"), ("t1", '{"a":1'), ("t1", "}"), ("t2", "{}"), ("t3", "{}")]


def test_a_thought_is_a_message_of_its_own_with_its_proof() -> None:
    events = inner(ReasoningDelta("hm"), ReasoningSignature("sig", dialect="anthropic"), ReasoningSignature(""))
    assert [event["type"] for event in events] == [
        "REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_END",
        "REASONING_ENCRYPTED_VALUE", "REASONING_END",
    ]  # fmt: skip
    assert events[1] == {"type": "REASONING_MESSAGE_START", "messageId": "msg_abc_0", "role": "reasoning"}
    assert (events[4]["subtype"], events[4]["entityId"]) == ("message", "msg_abc_0")
    assert unwrap(events[4]["encryptedValue"], "agui") == ("sig", "anthropic")


def test_proofs_of_texts_of_calls_and_of_nothing_shown() -> None:
    events = inner(
        TextDelta("a"), ReasoningSignature("s1", dialect="gemini"), *CALL, ToolCallDelta("}", block=1),
        ToolCallEnded(block=1), ReasoningSignature("s2", block=1), ReasoningSignature("s3", block=7),
    )  # fmt: skip
    proofs = [event for event in events if event["type"] == "REASONING_ENCRYPTED_VALUE"]
    assert [(proof["subtype"], proof["entityId"]) for proof in proofs] == [
        ("message", "msg_abc_0"), ("tool-call", "t1"), ("message", "msg_abc_1"),
    ]  # fmt: skip


def test_a_refusal_is_text_that_is_marked() -> None:
    assert inner(RefusalDelta("no"))[0]["metadata"] == {"tokenwire": {"refusal": True}}


def test_sources_are_custom_events_as_they_come() -> None:
    assert inner(Citation({"url": "x"})) == [{"type": "CUSTOM", "name": "citation", "value": {"url": "x"}}]


@pytest.mark.parametrize("state", ["failed", "cancelled", "orphaned", "expired"])
def test_a_cut_call_stays_open_and_the_run_fails(state: Any) -> None:
    events = events_of(TextDelta("a"), *CALL, terminal=Terminal(state))
    assert "TOOL_CALL_END" not in [event["type"] for event in events]
    assert (events[-1]["type"], events[-1]["code"]) == ("RUN_ERROR", state)


def test_an_answer_that_ends_well_within_a_call_is_an_error() -> None:
    """As where its length was reached: the verifier bears no open call at RUN_FINISHED, and it must not be run."""
    events = events_of(*CALL, Finished("length"))
    assert events[-1] == {
        "type": "RUN_ERROR", "message": CUT_CALL.message, "code": "incomplete_tool_call",
        "metadata": {"tokenwire": {"retryable": False}},
    }  # fmt: skip
    cut = DIALECT.fold_response(fold_of([*CALL, Finished("length")]), "st_1", 1.0, "m")
    told = DIALECT.decode_response(cut)[-1]
    assert isinstance(told, Failed)
    assert told.code == CUT_CALL.code


def test_usage_stands_at_the_end_of_the_run() -> None:
    usage = Usage(input=3, output=2, cached_input=1, cache_write=0, reasoning=1, cost_usd=0.5, estimated=True)
    entry = {
        "model": "m", "inputTokens": 3, "outputTokens": 2, "totalTokens": 5, "cachedInputTokens": 1,
        "cacheWriteInputTokens": 0, "reasoningTokens": 1,
    }  # fmt: skip
    finished = events_of(Usage(input=9), usage, Finished("length", "max_tokens"))[-1]
    assert finished["usage"] == [entry]
    assert finished["metadata"]["tokenwire"] == {
        "costUsd": 0.5, "estimated": True, "finishReason": "length", "nativeFinishReason": "max_tokens",
    }  # fmt: skip
    failed = Terminal("failed", error=Failed("x", "y", retryable=True, upstream_status=529), usage=Usage(output=-1))
    error = events_of(terminal=failed)[-1]
    assert error == {
        "type": "RUN_ERROR", "message": "y", "code": "x", "usage": [{"model": "m", "outputTokens": 0}],
        "metadata": {"tokenwire": {"retryable": True, "upstreamStatus": 529}},
    }  # fmt: skip
    assert read(DIALECT, body_of(DIALECT, [], failed))[-1] == Failed("x", "y", retryable=True, upstream_status=529)


def test_arguments_of_a_call_that_never_started_are_a_bug() -> None:
    made = DIALECT.encoder("st_1", 1.0, "m")
    for delta in (ToolCallDelta("{}"), ToolCallEnded()):
        with pytest.raises(LocalProtocolError, match="ToolCallStarted"):
            made.feed(delta)


def test_the_run_of_a_folded_answer_is_the_callers() -> None:
    answer = json.loads(dialect_for("a", "b").fold_response(fold_of([TextDelta("x")]), "st_1", 1.0, "m"))
    assert (answer["threadId"], answer["runId"]) == ("a", "b")
    assert answer["messages"] == [{"id": "msg_1_0", "role": "assistant", "content": "x"}]


def test_errors_before_the_run_are_json() -> None:
    failure = Failed("overloaded", "Too busy", retryable=True, upstream_status=529)
    body = DIALECT.error_body(failure, 529)
    assert json.loads(body)["error"]["upstreamStatus"] == 529
    told = DIALECT.describe_error(body, 529)
    assert (told.code, told.message, told.retryable) == ("overloaded", "Too busy", True)
    assert "upstreamStatus" not in json.loads(DIALECT.error_body(Failed("a", "b"), 500))["error"]
    for body in (b"<html>Busy</html>", b"[" * 100_000, b'{"messages":1}'):
        assert isinstance(DIALECT.decode_response(body)[0], Failed)


def test_marks() -> None:
    assert scan(b'data: {"type":"RUN_STARTED"}\n\n') == Mark.PLAIN
    assert scan(b'data: {"type":"RUN_ERROR","message":"x"}\n\n') == Mark.DONE | Mark.NOTABLE | Mark.ERROR
    assert look(b"data: {", Decoder())[0] == Mark.NOTABLE
    assert scan(b'data: {"type":"RUN_FINISHED"}\n\n') == Mark.DONE | Mark.NOTABLE


@pytest.mark.untraced
@settings(max_examples=150, deadline=None)
@given(streams(), st.data())
def test_any_stream_can_be_joined_anywhere(deltas: list[Delta], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(deltas)))
    late = fold_of(read(DIALECT, joined(DIALECT, deltas, at, DONE)))
    whole = fold_of(read(DIALECT, body_of(DIALECT, deltas, DONE)))
    for fold in (late, whole):
        for call in fold.choice().tool_calls.values():
            call.ended = call.ended and readable(call.arguments)
    assert said(late) == said(whole)
