"""Errors, answers that are not streamed, and requests, in Anthropic's dialect."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.dialects.anthropic.dialect import DIALECT
from tokenwire.dialects.anthropic.request import parse_count, parse_request, rewrite
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import RequestRefused

Fold = Callable[[list[Delta]], Transcript]


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "invalid_request_error", False), (401, "authentication_error", False), (402, "billing_error", False),
        (403, "permission_error", False), (404, "not_found_error", False), (409, "conflict_error", True),
        (413, "request_too_large", False), (422, "invalid_request_error", False), (429, "rate_limit_error", True),
        (500, "api_error", True), (502, "api_error", True), (503, "overloaded_error", True),
        (504, "timeout_error", True), (529, "overloaded_error", True),
    ],
)  # fmt: skip
def test_each_status_has_its_type(status: int, kind: str, retryable: bool) -> None:
    body = json.loads(DIALECT.error_body(Failed("a_code", "words"), status))
    assert body == {"type": "error", "error": {"type": kind, "message": "words", "details": {"error_code": "a_code"}}}
    told = json.dumps({"type": "error", "error": {"type": kind, "message": "words"}}).encode()
    failure = DIALECT.describe_error(told, status)
    assert (failure.code, failure.message, failure.upstream_status) == (kind, "words", status)
    assert failure.retryable is retryable
    in_stream = DIALECT.describe_error(told, 200)
    assert in_stream.upstream_status in (status, *([400] if status == 422 else [500] if status == 502 else [529]))


def test_the_providers_own_words_are_kept() -> None:
    raw = {"type": "invalid_request_error", "message": "no", "details": {"error_code": "compaction_unavailable"}}
    assert json.loads(DIALECT.error_body(Failed("x", "y", raw=raw), 400))["error"] == raw


@pytest.mark.parametrize(
    "raw", [None, "text", {"type": "invalid_request_error", "message": "m", "param": None, "code": "x"}, {"type": "x"}]
)
def test_others_words_are_put_into_ours(raw: Any) -> None:
    assert json.loads(DIALECT.error_body(Failed("invalid_request_error", "m", raw=raw), 400)) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "m"},
    }


# ---------------------------------------------------------------------- whole answers

WHOLE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "Hello", "citations": [{"type": "char_location"}]},
        {"type": "text", "text": " there", "citations": None},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, 2]}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
    ],
    "stop_reason": "tool_use", "stop_sequence": "X",
    "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 5},
}  # fmt: skip


def test_a_whole_answer_is_the_deltas_of_a_stream() -> None:
    start = {"type": "content_block_start", "index": 1, "content_block": WHOLE["content"][1]}
    assert DIALECT.decode_response(json.dumps(WHOLE).encode()) == [
        Started("msg_1", "claude"),
        ReasoningDelta("hm", 0, 0),
        ReasoningSignature("sig", 0, 0, "anthropic"),
        Opaque("anthropic", start, "content_block_start"),
        Opaque("anthropic", {"type": "content_block_stop", "index": 1}, "content_block_stop"),
        TextDelta("Hello", 0, 2),
        Citation({"type": "char_location"}, 0, 2),
        TextDelta(" there", 0, 3),
        ToolCallStarted("toolu_1", "f", 0, 4),
        ToolCallDelta('{"a":[1,2]}', 0, 4),
        ToolCallEnded(0, 4),
        ToolCallStarted("toolu_2", "g", 0, 5),
        ToolCallDelta("{}", 0, 5),
        ToolCallEnded(0, 5),
        Opaque("anthropic", {"type": "message_delta", "delta": {"stop_sequence": "X"}}, "message_delta"),
        Usage(7, 5, 4, None, None, WHOLE["usage"]),
        Finished("tool_use", "tool_use"),
    ]  # fmt: skip


def test_half_characters_of_a_whole_answer_are_mended() -> None:
    body = b'{"type":"message","content":[{"type":"text","text":"a\\ud83c"},{"type":"text","text":"\\ud83c\\udf0a"}]}'
    deltas = DIALECT.decode_response(body)
    assert [delta.text for delta in deltas if isinstance(delta, TextDelta)] == ["a", "\ufffd", "🌊"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"type":"error","error":{"type":"api_error","message":"broken"}}', "broken"),
        (b"<html><title>Bad Gateway</title>", "Bad Gateway"),
        (b"", "no reason"),
        (b'{"type":"message"}', "message"),
        (b'{"id":"chatcmpl-1","choices":[]}', "chatcmpl"),
        (b"[" * 100_000, "["),
    ],
)
def test_what_is_no_answer_is_a_failure(body: bytes, words: str) -> None:
    (failure,) = DIALECT.decode_response(body)
    assert isinstance(failure, Failed)
    assert words in failure.message


def folded(fold: Fold, *deltas: Delta) -> Any:
    return json.loads(DIALECT.fold_response(fold(list(deltas)), "st_abc", 1.0, "claude"))


def test_a_stream_of_any_dialect_folds_to_an_answer(fold: Fold) -> None:
    source = {"type": "char_location"}
    answer = folded(
        fold, ReasoningSignature("hidden"), ReasoningDelta("hm", block=1), ReasoningSignature("sig", block=1),
        TextDelta("a", block=2), TextDelta("b", block=2), Citation(source, block=2),
        ReasoningSignature("late", block=7),
        ToolCallStarted("t", "f", block=3), ToolCallDelta('{"x":1}', block=3), ToolCallEnded(block=3),
        ToolCallStarted("u", "g", block=4), RefusalDelta("no", block=5), Citation({"url": "u"}, block=9),
        Finished("stop", "stop"), Usage(input=9, output=4),
    )  # fmt: skip
    cited = {"type": "web_search_result_location", "url": "u", "title": None, "encrypted_index": "", "cited_text": ""}
    assert answer == {
        "id": "msg_abc", "type": "message", "role": "assistant", "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "", "signature": "hidden"},
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "ab", "citations": [source]},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "u", "name": "g", "input": {}},
            {"type": "text", "text": "", "citations": [cited]},
        ],
        "stop_reason": "refusal", "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 4},
        "stop_details": {"type": "refusal", "category": None, "explanation": "no"},
    }  # fmt: skip


@pytest.mark.parametrize("arguments", ['{"a": "b', "[1]", "[" * 5000])
def test_arguments_that_are_no_object_are_given_as_they_are(fold: Fold, arguments: str) -> None:
    answer = folded(fold, ToolCallStarted("t", "f"), ToolCallDelta(arguments))
    assert answer["content"][0]["input"] == {"INVALID_JSON": arguments}
    assert answer["stop_reason"] == "tool_use"


def test_nothing_folds_to_an_empty_answer(fold: Fold) -> None:
    answer = folded(fold)
    assert (answer["content"], answer["stop_reason"]) == ([], "end_turn")
    assert answer["usage"] == {"input_tokens": 0, "output_tokens": 0}


# ---------------------------------------------------------------------- requests


def test_a_request_goes_up_as_it_came() -> None:
    body = (
        b'{"model":"up/claude","max_tokens":5, "messages":[{"role":"user","content":"\\u00e9"}], "stream":true,"x":1.0}'
    )
    request = parse_request(body)
    assert (request.model, request.stream, request.include_usage) == ("up/claude", True, True)
    assert rewrite(request, model="claude", include_usage=False) == (
        b'{"model":"claude","max_tokens":5,"messages":[{"role":"user","content":"\\u00e9"}],"stream":true,"x":1.0}'
    )
    assert not parse_request(b'{"model":"m","max_tokens":5,"messages":[]}').stream
    assert not parse_count(b'{"model":"m","messages":[],"stream":true}').stream


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b'{"max_tokens":5,"messages":[]}', "missing_required_parameter", "model"),
        (b'{"model":"m","messages":[]}', "missing_required_parameter", "max_tokens"),
        (b'{"model":"m","max_tokens":5}', "missing_required_parameter", "messages"),
        (b'{"model":"","max_tokens":5,"messages":[]}', "invalid_request", "model"),
        (b'{"model":"m","max_tokens":5,"messages":"hi"}', "invalid_request", "messages"),
        (b'{"model":"m","max_tokens":5,"messages":[],"stream":1}', "invalid_request", "stream"),
        (b"[]", "invalid_request", None),
        (b"{", "invalid_json", None),
    ],
)
def test_a_bad_request_is_told_what_was_wrong(body: bytes, code: str, param: str | None) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_request(body)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)
