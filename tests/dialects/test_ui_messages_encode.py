"""Deltas of any dialect -> UI message parts: what `useChat` throws at is never sent, and nothing is lost silently."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.client_dialects import fold_of, joined, read, readable, said, streams

from tokenwire.dialects.base import Mark, encode_frames
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
from tokenwire.dialects.ui_messages.again import told_again
from tokenwire.dialects.ui_messages.dialect import DIALECT, VERSIONS, Decoder, Encoder, dialect_for, look, scan
from tokenwire.errors import LocalProtocolError
from tokenwire.wire import sse

DONE = Terminal("completed")
CALL: list[Delta] = [ToolCallStarted("t1", "f", block=1), ToolCallDelta('{"a":', block=1), ToolCallDelta("1}", block=1)]


def parts_of(*deltas: Delta, version: int = 5, terminal: Terminal | None = DONE, encoder: Any = None) -> list[Any]:
    made = encoder or VERSIONS[version].encoder("st_abc", 1.0, "m")
    frames = [frame for delta in deltas for frame in made.feed(delta)]
    frames += made.close(terminal) if terminal is not None else []
    assert all(frame.event is None for frame in frames)
    return [frame.data if frame.data == "[DONE]" else json.loads(frame.data) for frame in frames]


def inner(*deltas: Delta, version: int = 5) -> list[Any]:
    """The parts between the head and the end."""
    return parts_of(*deltas, version=version)[2:-3]


def test_the_empty_answer_is_a_message() -> None:
    assert parts_of() == [
        {"type": "start", "messageId": "msg_abc"},
        {"type": "start-step"},
        {"type": "finish-step"},
        {"type": "finish", "messageMetadata": {"finishReason": "stop"}},
        "[DONE]",
    ]
    assert DIALECT.encoder("st_abc", 1.0, "m").prefix(Transcript()) == []


def test_what_a_fold_does_not_hold_begins_no_message() -> None:
    """Else whoever joins after it would have no head: the tail's encoder has told it."""
    deltas: list[Delta] = [
        Opaque("x", {}),
        Failed("a", "b"),
        Usage(input=1),
        Citation({}),
        Logprobs(content=[]),
        TextDelta(""),
    ]
    assert parts_of(*deltas, Finished("stop"), Started(choice=1), terminal=None) == []
    assert len(parts_of(Started(), Started(), terminal=None)) == 2


def test_runs_become_parts() -> None:
    assert inner(
        ReasoningDelta("th"), ReasoningDelta("ink"), TextDelta("a", block=1), TextDelta("", block=1),
        TextDelta("b", block=1), TextDelta("c", block=2),
    ) == [
        {"type": "reasoning-start", "id": "reasoning-0"},
        {"type": "reasoning-delta", "id": "reasoning-0", "delta": "th"},
        {"type": "reasoning-delta", "id": "reasoning-0", "delta": "ink"},
        {"type": "reasoning-end", "id": "reasoning-0"},
        {"type": "text-start", "id": "text-1"},
        {"type": "text-delta", "id": "text-1", "delta": "a"},
        {"type": "text-delta", "id": "text-1", "delta": "b"},
        {"type": "text-end", "id": "text-1"},
        {"type": "text-start", "id": "text-2"},
        {"type": "text-delta", "id": "text-2", "delta": "c"},
        {"type": "text-end", "id": "text-2"},
    ]  # fmt: skip


def test_a_refusal_is_text_that_is_marked() -> None:
    first, *_ = inner(RefusalDelta("no"))
    assert first == {"type": "text-start", "id": "text-0", "providerMetadata": {"tokenwire": {"refusal": True}}}


def test_a_call_is_available_once_it_is_whole() -> None:
    assert inner(TextDelta("x"), *CALL, ToolCallEnded(block=1), ToolCallEnded(block=1))[2:] == [
        {"type": "text-end", "id": "text-0"},
        {"type": "tool-input-start", "toolCallId": "t1", "toolName": "f"},
        {"type": "tool-input-delta", "toolCallId": "t1", "inputTextDelta": '{"a":'},
        {"type": "tool-input-delta", "toolCallId": "t1", "inputTextDelta": "1}"},
        {"type": "tool-input-available", "toolCallId": "t1", "toolName": "f", "input": {"a": 1}},
    ]
    assert inner(*CALL[:1], ToolCallEnded(block=1))[-1]["input"] == {}


def test_calls_whose_arguments_come_in_turns_are_told_as_they_come() -> None:
    parts = inner(
        ToolCallStarted("a", "f", block=0), ToolCallStarted("b", "g", block=1), ToolCallDelta('{"x":', block=0),
        ToolCallDelta("{}", block=1), ToolCallDelta("2}", block=0), ToolCallEnded(block=1), ToolCallEnded(block=0),
    )  # fmt: skip
    assert [(part["toolCallId"], part.get("input")) for part in parts[-2:]] == [("b", {}), ("a", {"x": 2})]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("state", ["failed", "cancelled", "orphaned", "expired", "completed"])
def test_a_cut_call_is_never_available(version: int, state: Any) -> None:
    parts = parts_of(*CALL, version=version, terminal=Terminal(state))
    kinds = [part["type"] for part in parts if isinstance(part, dict)]
    assert not {"tool-input-available", "tool-input-error", "tool-output-error"} & set(kinds)
    assert kinds[-1] == {"cancelled": "abort", "completed": "finish"}.get(state, "error")
    assert ("[DONE]" in parts) == (state == "completed")


@pytest.mark.parametrize("arguments", ['{"a":', "NaN", '{"a":1e999, "b":NaN}', "[" * 100_000, '{"a":1}{"b":2}'])
def test_arguments_that_nobody_can_read_are_an_error(arguments: str) -> None:
    deltas: list[Delta] = [ToolCallStarted("t1", "f"), ToolCallDelta(arguments), ToolCallEnded()]
    error = "the arguments of this call are not valid JSON"
    # ai 5.0 knows no `tool-input-error`, and fails on what it does not know.
    assert inner(*deltas)[-1] == {"type": "tool-output-error", "toolCallId": "t1", "errorText": error}
    whole = {"toolCallId": "t1", "toolName": "f", "input": arguments, "errorText": error}
    assert inner(*deltas, version=6)[-1] == {"type": "tool-input-error", **whole}


@pytest.mark.parametrize(
    "arguments",
    ['{"n":123456789012345678901234567890}', '{"x":1.10}', '{\n"a":\r\n"b"}', '"text"', '{"a":"\\ud83c"}', " "],
)
def test_arguments_arrive_to_the_digit(arguments: str) -> None:
    made = DIALECT.encoder("st_1", 1.0, "m")
    frames = [frame for delta in (*CALL[:1], ToolCallDelta(arguments, block=1)) for frame in made.feed(delta)]
    (frame,) = made.feed(ToolCallEnded(block=1))
    assert frames
    assert "\n" not in frame.data
    assert "\r" not in frame.data
    want = json.loads(arguments) if arguments.strip() else {}
    assert json.loads(frame.data)["input"] == (want if "ud83c" not in arguments else {"a": "\ufffd"})
    if "\n" not in arguments and arguments.strip() and "ud83c" not in arguments:
        assert arguments in frame.data


def test_arguments_of_a_call_that_never_started_are_a_bug() -> None:
    made = DIALECT.encoder("st_1", 1.0, "m")
    for delta in (ToolCallDelta("{}"), ToolCallEnded()):
        with pytest.raises(LocalProtocolError, match="ToolCallStarted"):
            made.feed(delta)


def test_proofs_stand_with_what_they_prove() -> None:
    parts = inner(
        ReasoningDelta("a"), ReasoningSignature("s1", dialect="anthropic"), ReasoningSignature("", dialect="anthropic"),
        TextDelta("b", block=1), ReasoningSignature("s2", block=1, dialect="gemini"),
        ReasoningSignature("s3", block=2, dialect="gemini"), *[ToolCallStarted("t", "f", block=3)],
        ReasoningSignature("s4", block=3, dialect="gemini"),
    )  # fmt: skip
    proofs = [part["providerMetadata"]["tokenwire"]["signature"] for part in parts if "providerMetadata" in part]
    assert [unwrap(proof, "ui-messages") for proof in proofs] == [
        ("s1", "anthropic"), ("s2", "gemini"), ("s3", "gemini"),
    ]  # fmt: skip
    assert [part["type"] for part in parts if "providerMetadata" in part] == [
        "reasoning-end", "text-end", "reasoning-end",
    ]  # fmt: skip
    # A call's may come when the call is told already, and telling it again would run it again.
    (told,) = [part["messageMetadata"]["signatures"] for part in parts if part["type"] == "message-metadata"]
    assert unwrap(told["t"], "ui-messages") == ("s4", "gemini")


def test_sources_come_at_the_end_with_the_vendors_own_object() -> None:
    cited = {"type": "page_location", "document_title": "Birds", "cited_text": "x"}
    chat = {"type": "url_citation", "url_citation": {"url": "https://a.b/c", "title": "C"}}
    web = {"web": {"uri": "https://f.g", "title": "F"}}  # Gemini's
    parts = inner(
        TextDelta("a"), Citation(cited), Citation(chat), Citation({"uri": "https://d.e"}), Citation({}), Citation(web)
    )[3:]
    ours = [part.pop("providerMetadata") for part in parts]
    assert ours[1] == {"tokenwire": {"citation": chat}}
    assert parts == [
        {"type": "source-document", "sourceId": "source-0", "mediaType": "application/pdf", "title": "Birds"},
        {"type": "source-url", "sourceId": "source-1", "url": "https://a.b/c", "title": "C"},
        {"type": "source-url", "sourceId": "source-2", "url": "https://d.e"},
        {"type": "source-document", "sourceId": "source-3", "mediaType": "text/plain", "title": "document"},
        {"type": "source-url", "sourceId": "source-4", "url": "https://f.g", "title": "F"},
    ]


def test_usage_stands_in_the_messages_metadata() -> None:
    usage = Usage(input=3, output=2, cached_input=1, cache_write=0, reasoning=1, cost_usd=0.5, estimated=True)
    told = {
        "inputTokens": 3, "outputTokens": 2, "totalTokens": 5, "cachedInputTokens": 1, "cacheWriteTokens": 0,
        "reasoningTokens": 1, "costUsd": 0.5, "estimated": True,
    }  # fmt: skip
    assert parts_of(Usage(input=9), usage)[-2]["messageMetadata"]["usage"] == told
    cut = parts_of(TextDelta("a"), terminal=Terminal("failed", error=Failed("x", "y"), usage=Usage(output=1)))
    assert cut[-2]["messageMetadata"]["usage"] == {"outputTokens": 1}


@pytest.mark.parametrize("version", VERSIONS)
def test_only_later_versions_are_told_what_the_first_one_fails_on(version: int) -> None:
    finish = parts_of(Finished("length"), version=version)[-2]
    abort = parts_of(version=version, terminal=Terminal("cancelled"))[-1]
    if version == 5:
        assert finish == {"type": "finish", "messageMetadata": {"finishReason": "length"}}
        assert abort == {"type": "abort"}
    else:
        assert finish["finishReason"] == "length"
        assert abort == {"type": "abort", "reason": "the stream was cancelled"}


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("tool_use", "tool-calls"),
        ("refusal", "content-filter"),
        ("pause", "other"),
        ("unknown", "other"),
        (None, "stop"),
    ],
)
def test_reasons_are_the_ai_sdks_words(reason: Any, word: str) -> None:
    deltas: list[Delta] = [] if reason is None else [Finished(reason), Finished("stop")]
    assert parts_of(*deltas, version=7)[-2]["finishReason"] == word
    assert parts_of(*CALL, version=7)[-2]["finishReason"] == "tool-calls"
    assert parts_of(version=7, terminal=Terminal("completed", reason="length"))[-2]["finishReason"] == "length"


def test_a_failure_is_told_in_words_and_in_metadata() -> None:
    failure = Failed("overloaded", "Too busy", retryable=True, upstream_status=529)
    *_, told, error = parts_of(TextDelta("a"), terminal=Terminal("failed", error=failure))
    assert error == {"type": "error", "errorText": "Too busy"}
    assert told["messageMetadata"]["error"] == {
        "code": "overloaded", "message": "Too busy", "retryable": True, "upstreamStatus": 529,
    }  # fmt: skip
    *_, told, _ = parts_of(terminal=Terminal("expired", error=Failed("x", "Too long")))
    assert told["messageMetadata"]["error"]["code"] == "expired"
    assert DIALECT.error_body(failure, 529) == b"Too busy"
    assert DIALECT.describe_error(b"Too busy", 529).message == "Too busy"


def test_an_answer_may_go_on_with_the_message_before_it() -> None:
    made = dialect_for(6, "a1").encoder("st_1", 1.0, "m")
    parts = parts_of(TextDelta("x"), encoder=made)
    assert parts[0]["messageId"] == "a1"
    assert parts[-2]["messageMetadata"] == {"finishReason": "stop", "error": None}  # an earlier failure is over
    assert json.loads(dialect_for(6, "a1").fold_response(Transcript(), "st_1", 1.0, "m"))["id"] == "a1"


def test_marks() -> None:
    frames = {
        Mark.PLAIN: b'data: {"type":"start-step"}\n\n', Mark.DONE: b"data: [DONE]\n\n",
        Mark.NOTABLE: b"data: {\n\n", Mark.NOTABLE | Mark.ERROR: b'data: {"type":"error","errorText":"x"}\n\n',
    }  # fmt: skip
    for mark, frame in frames.items():
        assert scan(frame) == mark
    assert look(b'data: {"type":"start"}', Decoder()) == (Mark.PLAIN, [Started()])


@pytest.mark.untraced
@settings(max_examples=150, deadline=None)
@given(streams(), st.sampled_from(sorted(VERSIONS)), st.data())
def test_any_stream_can_be_joined_anywhere(deltas: list[Delta], version: int, data: st.DataObject) -> None:
    dialect = VERSIONS[version]
    at = data.draw(st.integers(0, len(deltas)))
    late = fold_of(read(dialect, joined(dialect, deltas, at, DONE)))
    whole = fold_of(read(dialect, encode_frames([*_frames(dialect, deltas)])))
    for fold in (late, whole):
        for call in fold.choice().tool_calls.values():
            call.ended = call.ended and readable(call.arguments)
    assert said(late) == said(whole)


def _frames(dialect: Any, deltas: list[Delta]) -> list[Any]:
    made = dialect.encoder("st_1", 1.0, "m")
    return [*[frame for delta in deltas for frame in made.feed(delta)], *made.close(DONE)]


@pytest.mark.untraced
@settings(max_examples=200, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=4), lambda inner: st.dictionaries(
    st.sampled_from(["type", "id", "delta", "toolCallId", "toolName", "input", "messageMetadata", "usage", "errorText",
                     "providerMetadata", "tokenwire", "signature", "signatures", "finishReason", "error", "code"]),
    inner | st.sampled_from(["text-start", "text-delta", "text-end", "tool-input-start", "tool-input-delta", "a",
                             "tool-input-available", "tool-output-error", "finish", "error", "abort", "source-url"]),
    max_size=5), max_leaves=8))  # fmt: skip
def test_the_decoder_bears_anything(value: Any) -> None:
    decoder = DIALECT.decoder()
    for data in (json.dumps(value), json.dumps({"type": "message-metadata", "messageMetadata": value}), "{", "\ud83c"):
        fold_of(decoder.feed(sse.Event(data=data)))
    assert isinstance(decoder.close()[-1:], list)


def test_half_characters_are_joined_nowhere_but_harm_nobody() -> None:
    decoder = DIALECT.decoder()
    decoder.feed(sse.Event(data='{"type":"text-start","id":"1"}'))
    assert decoder.feed(sse.Event(data='{"type":"text-delta","id":"1","delta":"\\ud83c"}')) == [TextDelta("\ufffd")]


def test_a_long_stream_costs_its_length_and_a_copy_costs_nothing() -> None:
    made = Encoder("st_1", 1.0, "m")
    made.feed(ToolCallStarted("t", "f"))
    for number in range(20_000):
        made.feed(ToolCallDelta("x" if number else '{"a":"'))
        if number % 50 == 0:
            made = made.copy()
    (frame,) = made.copy().feed(ToolCallDelta('"}'))
    assert "}" in frame.data
    made.feed(ToolCallDelta('"}'))
    assert len(made.feed(ToolCallEnded())[0].data) > 20_000


def test_what_a_message_holds_is_told_again_before_the_answer() -> None:
    call = {"type": "tool-f", "toolCallId": "t", "input": {"a": 1}}
    message = {
        "parts": [
            {"type": "text", "text": "x"}, {**call, "state": "input-available", "providerExecuted": True}, "odd",
            {**call, "state": "output-denied"}, {"type": "new-part"},
            {**call, "state": "input-streaming", "rawInput": "{"},
        ]
    }  # fmt: skip
    told = [json.loads(frame.data)["type"] for frame in told_again(message, 6)]
    inputs = ["tool-input-start", "tool-input-delta"]
    assert told == [
        "text-start", "text-delta", "text-end", "tool-input-available", *inputs, "tool-output-denied", *inputs,
    ]  # fmt: skip
    assert "tool-output-denied" not in [json.loads(frame.data)["type"] for frame in told_again(message, 5)]
    assert told_again(None, 5) == told_again({"parts": 1}, 5) == ()
    parts = parts_of(TextDelta("y"), encoder=dialect_for(5, "a1", told_again(message, 5)).encoder("st_1", 1.0, "m"))
    assert [part["type"] for part in parts[:3]] == ["start", "text-start", "text-delta"]
    assert dialect_for(6, "a1") is dialect_for(6, "a1")


#: What ai 5.0.0 knows of each part: it fails on any other field (reference, section 2.2).
FIRST: dict[str, set[str]] = {
    "start": {"messageId"}, "start-step": set(), "finish-step": set(), "finish": {"messageMetadata"},
    "text-start": {"id", "providerMetadata"}, "text-delta": {"id", "delta"}, "text-end": {"id", "providerMetadata"},
    "reasoning-start": {"id"}, "reasoning-delta": {"id", "delta"}, "reasoning-end": {"id", "providerMetadata"},
    "tool-input-start": {"toolCallId", "toolName"}, "tool-input-delta": {"toolCallId", "inputTextDelta"},
    "tool-input-available": {"toolCallId", "toolName", "input"}, "tool-output-error": {"toolCallId", "errorText"},
    "tool-output-available": {"toolCallId", "output"},
    "source-url": {"sourceId", "url", "title", "providerMetadata"}, "message-metadata": {"messageMetadata"},
    "source-document": {"sourceId", "mediaType", "title", "providerMetadata"}, "abort": set(), "error": {"errorText"},
}  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(streams(), st.sampled_from(["completed", "failed", "cancelled", "orphaned"]))
def test_version_5_is_told_nothing_that_its_first_release_fails_on(deltas: list[Delta], state: Any) -> None:
    for part in parts_of(*deltas, terminal=Terminal(state)):
        assert part == "[DONE]" or part.keys() - {"type"} <= FIRST[part["type"]]


def test_results_are_told_again_without_running_their_calls() -> None:
    call = {"type": "dynamic-tool", "toolName": "f", "toolCallId": "t", "input": {"a": 1}}
    source = {"type": "source-url", "sourceId": "s", "url": "https://a.b"}
    parts = [
        {"type": "step-start"}, {**call, "state": "output-available", "output": 2},
        {**call, "state": "output-error", "errorText": "no"}, source,
    ]  # fmt: skip
    start = {"type": "tool-input-start", "toolCallId": "t", "toolName": "f", "dynamic": True}
    pieces = {"type": "tool-input-delta", "toolCallId": "t", "inputTextDelta": '{"a": 1}'}
    told = told_again({"parts": parts, "metadata": {"mine": 1}}, 5)
    assert [json.loads(frame.data) for frame in told] == [
        {"type": "start-step"},
        start, pieces, {"type": "tool-output-available", "toolCallId": "t", "output": 2, "dynamic": True},
        start, pieces, {"type": "tool-output-error", "toolCallId": "t", "errorText": "no", "dynamic": True},
        source,
        {"type": "message-metadata", "messageMetadata": {"mine": 1}},
    ]  # fmt: skip


def test_a_prefix_starts_anew_and_tells_a_broken_call_from_its_beginning() -> None:
    """An encoder that is given a prefix forgets what it was fed."""
    made = DIALECT.encoder("st_1", 1.0, "m")
    for delta in (*CALL, TextDelta("x"), Citation({"url": "y"}), Usage(input=1)):
        made.feed(delta)
    fold = fold_of([TextDelta("a"), ToolCallStarted("t", "f", block=1), ToolCallDelta("{", block=1)])
    fold.apply(ToolCallEnded(block=1))
    again = [json.loads(frame.data)["type"] for frame in made.prefix(fold)]
    assert again[2:] == [  # its end is the only news of a broken call: then it must have begun
        "text-start", "text-delta", "text-end", "tool-input-start", "tool-input-delta", "tool-output-error",
    ]  # fmt: skip
    assert made.feed(ToolCallDelta("late", block=1)) == []
    assert [json.loads(frame.data)["type"] for frame in made.close(DONE)[:-1]] == ["finish-step", "finish"]
