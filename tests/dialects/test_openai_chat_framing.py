"""Chat streams from their first event to their end (reference, Q1 to Q15), one test for each thing that once broke
a parser; errors in every shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    Opaque,
    Started,
    TextDelta,
    Usage,
)
from tokenwire.dialects.openai_chat.dialect import DIALECT, Decoder, decode_response
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Feed = Callable[..., list[Delta]]
Chunk = Callable[..., dict[str, Any]]
Fold = Callable[[list[Delta]], Transcript]


def said(deltas: list[Delta]) -> list[Delta]:
    return [delta for delta in deltas if not isinstance(delta, Started)]


def kinds(deltas: list[Delta]) -> list[type]:
    return [type(delta) for delta in said(deltas)]


def test_what_the_parser_mends_is_the_same_to_the_decoder() -> None:
    wire = (
        b'\xef\xbb\xbf: ping\r\n\r\ndata:{"choices":[{"delta":{"content":"a\xe2\x80\xa8b"}}]}\r\n\r\ndata: [DONE]\r\n'
    )
    parser, decoder = sse.Decoder(), Decoder()
    events = parser.feed(wire) + parser.close(lenient=True)
    deltas = [delta for event in events for delta in decoder.feed(event)]
    assert said(deltas) == [TextDelta("a\u2028b"), Finished("unknown")]


def test_q9_a_finish_reason_without_done_is_complete(feed: Feed, chunk: Chunk) -> None:
    assert said(feed(chunk({"content": "a"}), chunk(finish_reason="stop"))) == [
        TextDelta("a"),
        Finished("stop", "stop"),
    ]


def test_q9_one_of_two_choices_unfinished_is_not_complete(feed: Feed, chunk: Chunk) -> None:
    deltas = feed(chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk(finish_reason="stop"))
    assert isinstance(deltas[-1], Failed)
    assert deltas[-1].code == "truncated"


def test_q10_nothing_is_decoded_after_done(feed: Feed, chunk: Chunk) -> None:
    deltas = feed(chunk({"content": "a"}, finish_reason="stop"), "[DONE]", chunk({"content": "b"}), "[DONE]")
    assert said(deltas) == [TextDelta("a"), Finished("stop", "stop")]


def test_q11_done_without_finish_reason_is_complete_and_the_reason_unknown(feed: Feed, chunk: Chunk) -> None:
    assert said(feed(chunk({"content": "a"}), "[DONE]")) == [TextDelta("a"), Finished("unknown")]


@pytest.mark.parametrize("data", ["[DONE]", " [DONE] ", "[DONE]\n"])
def test_done_alone_is_a_complete_and_empty_answer(feed: Feed, data: str) -> None:
    assert feed(data) == []


def test_q12_an_end_without_anything_is_incomplete(feed: Feed) -> None:
    (failure,) = feed()
    assert isinstance(failure, Failed)
    assert (failure.code, failure.retryable) == ("truncated", True)


def test_closing_twice_says_it_once(feed: Feed) -> None:
    decoder = Decoder()
    assert len(decoder.close()) == 1
    assert decoder.close() == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("error: out of memory", "error: out of memory"),
        ("<html><head><title>502 Bad Gateway</title></head><body>x</body></html>", "502 Bad Gateway"),
        ("<p>upstream <b>gone</b></p>", "upstream gone"),
        ('{"choices":[{"delta":', 'malformed JSON from the upstream: {"choices":[{"delta":'),
    ],
)
def test_q15_data_that_is_no_json_is_an_error_text(feed: Feed, data: str, message: str) -> None:
    (failure,) = feed(data)
    assert isinstance(failure, Failed)
    assert (failure.code, failure.message, failure.retryable) == ("upstream_error", message, True)


def test_blank_data_means_nothing(feed: Feed) -> None:
    assert said(feed(" ", "\n", "null", "[DONE]")) == []


@pytest.mark.parametrize(
    "value", [{"type": "ping", "message": "x"}, [1, 2], 5, "text", True, {"object": "thread.run", "message": "x"}]
)
def test_unknown_shapes_are_opaque_whole(feed: Feed, value: Any) -> None:
    assert feed(json.dumps(value), "[DONE]") == [Opaque("openai.chat", value)]


def test_the_event_name_of_an_unknown_shape_is_kept() -> None:
    assert Decoder().feed(sse.Event("ping", '{"a":1}')) == [Opaque("openai.chat", {"a": 1}, "ping")]


MESSAGE = "it broke"


@pytest.mark.parametrize(
    ("value", "code", "status", "retryable"),
    [
        (
            {"error": {"message": MESSAGE, "type": "server_error", "param": None, "code": None}},
            "server_error",
            500,
            True,
        ),
        ({"error": {"message": MESSAGE, "code": "insufficient_quota"}}, "insufficient_quota", 429, False),
        ({"error": {"message": MESSAGE, "code": 429}}, "rate_limit_exceeded", 429, True),
        ({"error": {"message": MESSAGE, "code": "503"}}, "overloaded", 503, True),
        ({"error": {"message": MESSAGE, "type": "X", "status_code": 400}}, "X", 400, False),
        ({"error": {"message": MESSAGE, "status": "UNAVAILABLE", "code": 503}}, "UNAVAILABLE", 503, True),
        ({"error": {"message": MESSAGE, "type": "invalid_whatever"}}, "invalid_whatever", None, False),
        ({"error": MESSAGE}, "upstream_error", None, True),
        ({"code": "A sentence, not a word", "error": MESSAGE}, "upstream_error", None, True),
        ([{"error": {"message": MESSAGE, "code": 404}}], "not_found", 404, False),
        ({"type": "error", "error": {"type": "overloaded_error", "message": MESSAGE}}, "overloaded_error", 529, True),
        ({"type": "error", "message": MESSAGE, "code": None}, "upstream_error", None, True),
        (
            {"object": "error", "message": MESSAGE, "type": "BadRequestError", "code": 400},
            "BadRequestError",
            400,
            False,
        ),
        ({"message": MESSAGE, "request_id": "r"}, "upstream_error", None, True),
        ({"detail": MESSAGE}, "upstream_error", None, True),
        ({"message": MESSAGE, "type": "invalid_request_error"}, "invalid_request_error", 400, False),
        ({"errors": [{"message": MESSAGE, "code": 7001}]}, "upstream_error", None, True),
        (
            {"choices": [{"index": 0, "delta": {}, "error": {"message": MESSAGE, "code": 502}}]},
            "server_error",
            502,
            True,
        ),
        ({"choices": [], "x_groq": {"id": "r", "error": MESSAGE}}, "upstream_error", None, True),
    ],
)
def test_errors_in_midstream_in_every_shape(
    feed: Feed, chunk: Chunk, value: Any, code: str, status: int | None, retryable: bool
) -> None:
    failures = [delta for delta in feed(chunk({"content": "a"}), value) if isinstance(delta, Failed)]
    assert [(f.code, f.message, f.upstream_status, f.retryable) for f in failures] == [
        (code, MESSAGE, status, retryable)
    ]


@pytest.mark.parametrize("error", [None, "", {}, [], False, 0])
def test_a_falsy_error_is_no_error(feed: Feed, chunk: Chunk, error: Any) -> None:
    assert said(feed({**chunk({"content": "a"}), "error": error}, "[DONE]")) == [TextDelta("a"), Finished("unknown")]


def test_an_event_named_error_is_one_whatever_its_data() -> None:
    for data, message in (('{"reason":"x"}', "the upstream gave no reason"), ("null", "the upstream gave no reason")):
        (failure,) = Decoder().feed(sse.Event("error", data))
        assert isinstance(failure, Failed)
        assert failure.message == message


def test_only_the_first_error_is_told_and_done_after_it_makes_nothing_whole(feed: Feed, chunk: Chunk) -> None:
    error = {"error": {"message": MESSAGE, "code": 500}}
    deltas = said(feed(chunk({"content": "a"}), error, error, {"choices": [], "usage": {"prompt_tokens": 3}}, "[DONE]"))
    assert kinds(deltas) == [TextDelta, Failed, Usage]


def test_an_answer_that_was_not_streamed_decodes_like_one_that_was(fold: Fold) -> None:
    tool = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm", "refusal": None, "tool_calls": [tool]}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}]
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
    folded = fold(decode_response(json.dumps(body).encode()))
    choice = folded.choice()
    assert (choice.text, choice.reasoning, choice.reason) == ("Hi", "Hm", "tool_use")
    assert [(call.id, call.arguments, call.ended) for call in choice.tool_calls.values()] == [("call_1", "{}", True)]
    assert folded.usage == Usage(1, 2, raw=usage)
    assert folded.failed is None


@pytest.mark.parametrize("body", [b'{"error":{"message":"it broke"}}', b"it broke", b'{"detail":"it broke"}'])
def test_an_error_with_status_200_is_a_failure(body: bytes) -> None:
    (failure,) = decode_response(body)
    assert isinstance(failure, Failed)
    assert failure.message == MESSAGE


def test_the_dialect_is_registered() -> None:
    assert (DIALECT.name, DIALECT.framing, DIALECT.ids, DIALECT.heartbeat) == ("openai.chat", "sse", False, b": hb\n\n")
    assert ("obfuscation",) in DIALECT.holes
    assert not any("usage" in hole or "logprobs" in hole for hole in DIALECT.holes)
