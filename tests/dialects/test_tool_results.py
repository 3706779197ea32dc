"""Results of tools in an answer: two turns of a model in one stream, and what each dialect makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.translation.answers import TARGETS, decode, encode, fold

from tokenwire import dialects
from tokenwire.dialects.base import encode_frames
from tokenwire.dialects.deltas import (
    Delta,
    Finished,
    Opaque,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
)
from tokenwire.dialects.native.decode import Decoder
from tokenwire.dialects.transcript import Transcript
from tokenwire.dialects.ui_messages.dialect import dialect_for
from tokenwire.errors import LocalProtocolError
from tokenwire.wire import sse

#: Two calls at once, answered out of order; then another turn with a thought, and a call of its own.
FIRST: list[Delta] = [
    Started("a", "m", 1.0), TextDelta("I look."),
    ToolCallStarted("t1", "weather", block=1), ToolCallDelta('{"city":"Oslo"}', block=1), ToolCallEnded(block=1),
    ToolCallStarted("t2", "clock", block=2), ToolCallDelta("{}", block=2), ToolCallEnded(block=2),
]  # fmt: skip
RESULTS: list[Delta] = [
    ToolResult("t2", "clock", "no clock", True, block=2),
    ToolResult("t1", "weather", '{"c":5}', block=1),
]
SECOND: list[Delta] = [
    Started("b", "m", 2.0), ReasoningDelta("Hm.", block=3), ToolCallStarted("t3", "clock", block=4),
    ToolCallEnded(block=4), ToolResult("t3", "clock", "12:00", block=4),
    Started("c", "m", 3.0), TextDelta("Noon.", block=5), Finished("stop"),
]  # fmt: skip
DELTAS = [*FIRST, *RESULTS, *SECOND]


def results(transcript: Transcript) -> list[Any]:
    calls = transcript.choice().tool_calls.values()
    return [None if call.result is None else (call.result.content, call.result.error) for call in calls]


def told(name: str) -> list[dict[str, Any]]:
    frames = [
        line[6:] for line in encode(dialects.get(name), DELTAS).decode().splitlines() if line.startswith("data: ")
    ]
    return [json.loads(frame) for frame in frames if frame != "[DONE]"]


def test_the_transcript_keeps_results_with_their_calls_and_in_their_place() -> None:
    transcript = fold(DELTAS)
    assert results(transcript) == [('{"c":5}', False), ("no clock", True), ("12:00", False)]
    assert results(transcript.copy()) == results(transcript)
    kept = [delta for delta in transcript.deltas() if isinstance(delta, ToolResult | TextDelta)]
    assert kept == [delta for delta in DELTAS if isinstance(delta, ToolResult | TextDelta)]
    transcript.apply(ToolResult("t3", "clock", "13:00", block=4))
    assert results(transcript)[-1] == ("12:00", False)  # the model was told the first
    assert transcript.choice().told == sum(not isinstance(d, ToolResult | Started | Finished) for d in DELTAS) - 3
    with pytest.raises(LocalProtocolError, match="no tool call in block 9"):
        transcript.apply(ToolResult("x", "f", "", block=9))


@pytest.mark.parametrize("target", TARGETS)
def test_a_dialect_without_results_tells_the_same_answer_without_them(target: str) -> None:
    dialect = dialects.get(target)
    plain = [delta for delta in DELTAS if not isinstance(delta, ToolResult)]
    bodies = [encode(dialect, each) for each in (DELTAS, plain)]
    assert (bodies[0] == bodies[1]) is ("tool results" in dialect.loses)
    again = fold(decode(dialect, [bodies[0]]))
    assert again.choice().text == "I look.Noon."
    assert [call.name for call in again.choice().tool_calls.values()] == ["weather", "clock", "clock"]
    assert results(again) == (results(fold(DELTAS)) if bodies[0] != bodies[1] else [None] * 3)


def test_ui_messages_begin_a_new_step_after_results_as_the_ai_sdks_server_does() -> None:
    parts = told("ui-messages")
    assert [part["type"] for part in parts] == [
        "start", "start-step", "text-start", "text-delta", "text-end",
        "tool-input-start", "tool-input-delta", "tool-input-available",
        "tool-input-start", "tool-input-delta", "tool-input-available",
        "tool-output-error", "tool-output-available",
        "finish-step", "start-step", "reasoning-start", "reasoning-delta", "reasoning-end",
        "tool-input-start", "tool-input-available", "tool-output-available",
        "finish-step", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish",
    ]  # fmt: skip
    assert parts[11:13] == [
        {"type": "tool-output-error", "toolCallId": "t2", "errorText": "no clock"},
        {"type": "tool-output-available", "toolCallId": "t1", "output": {"c": 5}},
    ]
    assert parts[20]["output"] == "12:00"


def test_a_result_settles_a_call_that_nobody_could_read() -> None:
    call: list[Delta] = [ToolCallStarted("t", "f"), ToolCallDelta("{"), ToolCallEnded()]
    for version, kind in [(5, "tool-output-error"), (6, "tool-input-error")]:
        dialect = dialect_for(version)
        body = encode(dialect, [*call, ToolResult("t", "f", "no JSON", True)])
        kinds = [json.loads(line[6:])["type"] for line in body.decode().splitlines() if '"toolCallId"' in line]
        assert kinds == ["tool-input-start", "tool-input-delta", kind, "tool-output-error"]
        assert results(fold(decode(dialect, [body]))) == [("no JSON", True)]
        assert results(fold(decode(dialect, [encode(dialect, call)]))) == [None]


def test_agui_has_messages_of_results_and_later_calls_belong_to_later_messages() -> None:
    events = told("agui")
    found = [event for event in events if event["type"] == "TOOL_CALL_RESULT"]
    assert found == [
        {"type": "TOOL_CALL_RESULT", "messageId": "msg_1_1", "toolCallId": "t2", "content": "no clock", "role": "tool",
         "metadata": {"tokenwire": {"error": True}}},
        {"type": "TOOL_CALL_RESULT", "messageId": "msg_1_2", "toolCallId": "t1", "content": '{"c":5}', "role": "tool"},
        {"type": "TOOL_CALL_RESULT", "messageId": "msg_1_5", "toolCallId": "t3", "content": "12:00", "role": "tool"},
    ]  # fmt: skip
    parents = [event["parentMessageId"] for event in events if event["type"] == "TOOL_CALL_START"]
    assert parents == ["msg_1_0", "msg_1_0", "msg_1_4"]


@pytest.mark.parametrize("name", ["ui-messages", "agui"])
def test_an_answer_that_is_not_streamed_has_the_results(name: str) -> None:
    dialect = dialects.get(name)
    body = dialect.fold_response(fold(DELTAS), "st_1", 1.0, "m")
    assert results(fold(dialect.decode_response(body))) == results(fold(DELTAS))


@pytest.mark.parametrize("name", ["native", "ui-messages", "agui"])
def test_a_late_joiner_sees_them(name: str) -> None:
    dialect = dialects.get(name)
    for joined in range(len(DELTAS) + 1):
        encoder = dialect.encoder("st_1", 1.0, "m")
        frames = encoder.prefix(fold(DELTAS[:joined]))
        frames += [frame for delta in DELTAS[joined:] for frame in encoder.copy().feed(delta) and encoder.feed(delta)]
        late = fold(decode(dialect, [encode_frames(frames)]))
        assert results(late) == results(fold(DELTAS)), joined
    again = dialect.encoder("st_1", 1.0, "m")
    fed = [frame for delta in [*DELTAS, *RESULTS] for frame in again.feed(delta)]
    assert results(fold(decode(dialect, [encode_frames(fed)]))) == results(fold(DELTAS))


def test_a_native_result_is_of_a_call_that_began_and_may_leave_its_names_to_it() -> None:
    decoder = Decoder()
    result = sse.Event("tool_result", '{"content":"5"}')
    assert decoder.feed(result) == [Opaque("native", {"content": "5"}, "tool_result")]
    decoder.feed(sse.Event("tool_call", '{"id":"i","name":"f"}'))
    assert decoder.copy().feed(result) == [ToolResult("i", "f", "5")]
