"""AG-UI events read back: the encoder's inverse, and what other servers of the protocol send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.agui.dialect import DIALECT, Decoder
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    Opaque,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse


def deltas_of(*events: Any, end: bool = True) -> list[Delta]:
    decoder = Decoder()
    told = [*events, *[{"type": "RUN_FINISHED"}] * end]
    return [delta for event in told for delta in decoder.feed(sse.Event(data=json.dumps(event)))] + decoder.close()


def test_what_other_servers_send() -> None:
    assert deltas_of(
        {"type": "RUN_STARTED", "threadId": "t", "runId": "r"},
        {"type": "TEXT_MESSAGE_START", "messageId": "m"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "hi"},
        {"type": "TEXT_MESSAGE_END", "messageId": "m"},
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "f"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{}"},
        {"type": "TOOL_CALL_END", "toolCallId": "c"},
        {"type": "RUN_FINISHED", "usage": [{"inputTokens": 1, "outputTokens": 2}]},
        end=False,
    ) == [
        Started("r"), TextDelta("hi"), ToolCallStarted("c", "f", block=1), ToolCallDelta("{}", block=1),
        ToolCallEnded(block=1), Usage(input=1, output=2), Finished("unknown"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        {"type": "TEXT_MESSAGE_START", "messageId": 1},
        {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "user"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "x"},
        {"type": "TEXT_MESSAGE_END", "messageId": "m"},
        {"type": "TOOL_CALL_START", "toolCallId": "c"}, {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "x"},
        {"type": "TOOL_CALL_END", "toolCallId": "c"}, {"type": "CUSTOM", "name": "x", "value": {}},
        {"type": "REASONING_ENCRYPTED_VALUE", "subtype": "message", "entityId": "m", "encryptedValue": "x"},
        {"type": "STATE_SNAPSHOT", "snapshot": {}}, {"type": {}}, [], None,
    ],
)  # fmt: skip
def test_what_is_out_of_place_is_opaque(event: Any) -> None:
    assert [type(delta) for delta in deltas_of(event)] == [Opaque, Finished]


def test_only_the_end_of_the_run_ends_a_stream() -> None:
    (failure,) = deltas_of(end=False)
    assert isinstance(failure, Failed)
    assert failure.code == "truncated"
    assert deltas_of({"type": "RUN_ERROR", "message": "boom"}) == [Failed("upstream_error", "boom")]


NAMES = (
    "type", "messageId", "role", "delta", "toolCallId", "toolCallName", "metadata", "tokenwire", "usage", "entityId",
    "subtype", "encryptedValue", "name", "value", "code", "message", "runId", "inputTokens",
)  # fmt: skip
WORDS = (
    "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "TOOL_CALL_START", "TOOL_CALL_ARGS", "citation",
    "TOOL_CALL_END", "REASONING_ENCRYPTED_VALUE", "CUSTOM", "RUN_FINISHED", "RUN_ERROR", "a", "tool-call",
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.integers() | st.sampled_from(WORDS),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=5) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@pytest.mark.untraced
@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6), max_size=6))
def test_the_decoder_bears_anything(values: list[Any]) -> None:
    decoder = Decoder()
    fold = Transcript()
    for value in values:
        for delta in decoder.copy().feed(sse.Event(data=json.dumps(value))):
            fold.apply(delta)
        decoder.feed(sse.Event(data=json.dumps(value)))
    decoder.feed(sse.Event(data="{"))
    assert len(decoder.close()) == (not decoder.done)
    assert DIALECT.decode_response(json.dumps({"messages": values}).encode())
