"""UI message parts read back: the encoder's inverse, and what other servers of the protocol send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from tests.dialects.client_dialects import body_of, fold_of, read, readable, said, streams

from tokenwire.dialects.agui.dialect import DIALECT as AGUI
from tokenwire.dialects.base import Dialect
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Opaque,
    ReasoningSignature,
    RefusalDelta,
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
    Usage,
)
from tokenwire.dialects.transcript import Transcript
from tokenwire.dialects.ui_messages.dialect import DIALECT, Decoder
from tokenwire.wire import sse


def deltas_of(*parts: Any, end: bool = True) -> list[Delta]:
    decoder = Decoder()
    datas = [part if isinstance(part, str) else json.dumps(part) for part in (*parts, *["[DONE]"] * end)]
    return [delta for data in datas for delta in decoder.feed(sse.Event(data=data))] + decoder.close()


def test_what_the_ai_sdks_own_server_sends() -> None:
    preliminary = {"type": "tool-output-available", "toolCallId": "t", "output": 1, "preliminary": True}
    again = {"type": "tool-output-error", "toolCallId": "t", "errorText": "x"}
    assert deltas_of(
        {"type": "start"}, {"type": "start-step"},
        {"type": "tool-input-available", "toolCallId": "t", "toolName": "f", "input": {"a": 1}},
        {"type": "tool-input-available", "toolCallId": "t", "toolName": "f", "input": {"a": 1}},
        preliminary, {"type": "tool-output-available", "toolCallId": "t", "output": {"b": [1]}}, again,
        {"type": "tool-input-available", "toolCallId": "u", "toolName": "g"},
        {"type": "tool-input-error", "toolCallId": "v", "toolName": "g", "input": "{", "errorText": "x"},
        {"type": "text-start", "id": "0"}, {"type": "text-delta", "id": "0", "delta": "hi"},
        {"type": "text-end", "id": "0"},
        {"type": "source-url", "sourceId": "s", "url": "https://a.b", "title": "A"},
        {"type": "finish-step"}, {"type": "finish", "finishReason": "length"},
    ) == [
        Started(), ToolCallStarted("t", "f"), ToolCallDelta('{"a":1}'), ToolCallEnded(),
        Opaque("ui-messages", preliminary, "tool-output-available"), ToolResult("t", "f", '{"b":[1]}'),
        Opaque("ui-messages", again, "tool-output-error"),
        ToolCallStarted("u", "g", block=1), ToolCallDelta("{}", block=1), ToolCallEnded(block=1),
        ToolCallStarted("v", "g", block=2), ToolCallDelta("{", block=2), ToolCallEnded(block=2),
        TextDelta("hi", block=3), Citation({"url": "https://a.b", "title": "A"}), Finished("length", "length"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text-delta", "id": "0", "delta": "x"}, {"type": "text-end", "id": "0"},
        {"type": "tool-input-start", "toolCallId": 1}, {"type": "tool-input-delta", "toolCallId": "x"},
        {"type": "tool-input-available", "toolCallId": "x"}, {"type": "tool-output-error", "toolCallId": "x"},
        {"type": "data-weather", "data": 1}, {"type": []}, {}, [], 1, "null",
    ],
)  # fmt: skip
def test_what_is_out_of_place_is_opaque(part: Any) -> None:
    assert [type(delta) for delta in deltas_of(part)] == [Opaque]


def test_only_the_marker_ends_a_stream() -> None:
    (failure,) = deltas_of(end=False)
    assert isinstance(failure, Failed)
    assert (failure.code, failure.retryable) == ("truncated", True)
    decoder = Decoder()
    decoder.feed(sse.Event(data="[DONE]"))
    assert (decoder.feed(sse.Event(data="{")), decoder.close()) == ([], [])


def test_failures_of_other_servers() -> None:
    assert deltas_of({"type": "error", "errorText": "boom"}, {"type": "error", "errorText": "again"}, end=False) == [
        Failed("upstream_error", "boom")
    ]
    assert deltas_of({"type": "abort", "reason": "stop()"}, end=False) == [Failed("cancelled", "stop()")]


def test_proofs_of_calls_are_told_once() -> None:
    told = {"type": "message-metadata", "messageMetadata": {"signatures": {"t": "s", "unknown": "s"}}}
    deltas = deltas_of({"type": "tool-input-start", "toolCallId": "t", "toolName": "f"}, told, told)
    assert deltas == [ToolCallStarted("t", "f"), ReasoningSignature("s")]
    early = deltas_of(told, {"type": "tool-input-available", "toolCallId": "t", "toolName": "f", "input": {}})
    assert early == [ToolCallStarted("t", "f"), ReasoningSignature("s"), ToolCallDelta("{}"), ToolCallEnded()]


def test_answers_of_anything_else_are_failures() -> None:
    for body in (b"Too busy", b'{"error":{"message":"x","code":"y"}}', b"[" * 100_000, b'{"parts":1}'):
        assert isinstance(DIALECT.decode_response(body)[0], Failed)


def test_an_answer_with_a_cut_call_a_broken_one_and_proofs() -> None:
    deltas: list[Delta] = [
        RefusalDelta("no"), ReasoningSignature("s1", dialect="gemini"), ToolCallStarted("t", "f", block=1),
        ToolCallDelta('{"a":', block=1), ToolCallEnded(block=1), ReasoningSignature("s2", block=1, dialect="gemini"),
        ToolCallStarted("u", "f", block=2), ToolCallEnded(block=2), ReasoningSignature("s3", block=2, dialect="gemini"),
        ToolCallStarted("v", "f", block=3), ToolCallDelta('{"b":', block=3), Usage(input=1, output=2),
        Finished("length"),
    ]  # fmt: skip
    message = json.loads(DIALECT.fold_response(fold_of(deltas), "st_1", 1.0, "m"))
    assert set(message["metadata"]["signatures"]) == {"t", "u"}
    assert [part.get("state") for part in message["parts"]] == [
        None, "done", "output-error", "input-available", "input-streaming",
    ]  # fmt: skip
    back = fold_of(DIALECT.decode_response(json.dumps(message).encode())).choice()
    assert [(call.id, call.arguments, call.ended) for call in back.tool_calls.values()] == [
        ("t", '{"a":', True), ("u", "{}", True), ("v", '{"b":', False),
    ]  # fmt: skip
    assert sorted(back.signatures) == ["s1", "s2", "s3"]
    assert (back.refusal, back.reason) == ("no", "length")


@pytest.mark.untraced
@settings(max_examples=150, deadline=None)
@given(streams())
def test_a_folded_answer_says_what_the_stream_said(deltas: list[Delta]) -> None:
    for dialect in (DIALECT, AGUI):
        streamed = fold_of(read(dialect, body_of(dialect, deltas, Terminal("completed"))))
        if streamed.failed is None:
            answer = dialect.fold_response(fold_of(deltas), "st_1", 1.0, "m")
            assert comparable(fold_of(dialect.decode_response(answer)), dialect) == comparable(streamed, dialect)


def comparable(fold: Transcript, dialect: Dialect) -> Any:
    """Proofs apart from the order: a message's metadata has none."""
    for call in fold.choice().tool_calls.values():
        call.ended = call.ended and readable(call.arguments)
    told = said(fold)
    runs = told.pop("runs")
    proofs = sorted(run for run in runs if "signature" in run[0])
    return (
        told,
        proofs,
        [run[1] for run in runs if "signature" not in run[0]]
        and "".join(text for kind, text in runs if "signature" not in kind),
    )
