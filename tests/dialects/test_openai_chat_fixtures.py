"""Every recorded stream of OpenAI and the compatible servers: decoded, folded, and encoded again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.dialects.base import Dialect
from tokenwire.dialects.deltas import Delta
from tokenwire.dialects.openai_chat.dialect import DIALECT, Decoder
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Read = Callable[[Dialect, bytes], list[Delta]]
Fold = Callable[[list[Delta]], Transcript]
Write = Callable[..., bytes]


def arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def summary(fold: Transcript) -> dict[str, Any]:
    """A transcript in the terms of the expectations."""
    choice = fold.choice()
    logprobs = choice.logprobs
    return {
        "text": choice.text,
        "reasoning": choice.reasoning or None,
        "refusal": choice.refusal or None,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": arguments(call.arguments)}
            for call in choice.tool_calls.values()
        ],
        "stop_reason": choice.native_reason,
        "usage": None if fold.usage is None else fold.usage.raw,
        "error": None if fold.failed is None else fold.failed.raw,
        "complete": fold.failed is None,
        "choices": [
            {"index": index, "text": choice.text, "stop_reason": choice.native_reason}
            for index, choice in sorted(fold.choices.items())
        ],
        "citations": [citation.data["url_citation"]["url"] for citation in choice.citations],
        "signatures": choice.signatures,
        "logprobs": []
        if logprobs is None
        else [[entry["token"], entry["logprob"]] for entry in logprobs.content or []],
    }


def test_recorded_streams_fold_to_what_is_expected(
    chat_stream: str, body: Callable[[str], bytes], expected: Callable[[str], dict[str, Any]], read: Read, fold: Fold
) -> None:
    want = expected(chat_stream)["expected"]
    want.pop("native_stop_reason", None)  # OpenRouter's second word for it: opaque
    got = summary(fold(read(DIALECT, body(chat_stream))))
    assert {name: got[name] for name in want} == want


@pytest.mark.untraced
def test_recorded_streams_decode_alike_wherever_they_are_cut(
    chat_stream: str, body: Callable[[str], bytes], read: Read
) -> None:
    wire = body(chat_stream)
    whole = sse.Decoder().feed(wire)
    for cut in range(1, len(wire)):  # a decoder sees events only: where they are the same, so are the deltas
        parser = sse.Decoder()
        assert parser.feed(wire[:cut]) + parser.feed(wire[cut:]) == whole
    parser, decoder = sse.Decoder(), Decoder()
    deltas = [
        delta
        for position in range(len(wire))
        for event in parser.feed(wire[position : position + 1])
        for delta in decoder.feed(event)
    ]
    for event in parser.close(lenient=True):
        deltas += decoder.feed(event)
    assert deltas + decoder.close() == read(DIALECT, wire)


def test_a_copied_decoder_goes_on_like_the_first(chat_stream: str, body: Callable[[str], bytes], read: Read) -> None:
    wire = body(chat_stream)
    parser, decoder = sse.Decoder(), Decoder()
    deltas: list[Delta] = []
    for event in parser.feed(wire) + parser.close(lenient=True):
        abandoned, decoder = decoder, decoder.copy()
        deltas += decoder.feed(event)
        abandoned.feed(sse.Event(data='{"choices":[{"delta":{"content":"x"},"finish_reason":"length"}]}'))
    assert deltas + decoder.close() == read(DIALECT, wire)


def comparable(fold: Transcript) -> Any:
    """What encoding and decoding must keep: all but the failure's raw object, and the provider's id."""
    failed = fold.failed
    return (
        [(choice.index, list(choice.deltas())) for choice in fold.choices.values()],
        fold.usage,
        None if failed is None else (failed.code, failed.message, failed.retryable),
    )


def without_words(fold: Transcript) -> Transcript:
    """Normalised reasons have one word each in OpenAI's own set."""
    words = {"stop": "stop", "refusal": "stop", "length": "length", "tool_use": "tool_calls"}
    for choice in fold.choices.values():
        choice.native_reason = words.get(choice.reason or "", choice.reason)
    return fold


def test_encoded_again_a_stream_folds_to_the_same(
    chat_stream: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write
) -> None:
    deltas = read(DIALECT, body(chat_stream))
    again = read(DIALECT, write(DIALECT.encoder("st_1", 1794000000.5, "m"), deltas))
    first, second = fold(deltas), fold(again)
    if first.failed is not None:  # a failure takes the place of the finish chunk that says "error"
        for choice in first.choices.values():
            choice.reason = choice.native_reason = None
    assert comparable(without_words(second)) == comparable(without_words(first))
    assert second.opaque == first.opaque


def test_a_late_joiner_is_in_the_same_state_at_every_point(
    chat_stream: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write
) -> None:
    deltas = read(DIALECT, body(chat_stream))
    live = write(DIALECT.encoder("st_1", 1.0, "m"), deltas)
    for joined in range(len(deltas) + 1):
        encoder = DIALECT.encoder("st_1", 1.0, "m")
        prefix = encoder.prefix(fold(deltas[:joined]))
        assert all(frame.event is None for frame in prefix)
        wire = b"".join(sse.encode(frame.data) for frame in prefix) + write(encoder, deltas[joined:], deltas)
        late, all_along = fold(read(DIALECT, wire)), fold(read(DIALECT, live))
        assert summary(late) == summary(all_along)


def test_resuming_is_folding_silently_and_going_on(chat_stream: str, body: Callable[[str], bytes], read: Read) -> None:
    deltas = read(DIALECT, body(chat_stream))
    encoder = DIALECT.encoder("st_1", 1.0, "m")
    for delta in deltas:
        twin = encoder.copy()
        assert encoder.feed(delta) == twin.feed(delta)
    twin = encoder.copy()
    assert twin.prefix(Transcript()) == []


def test_recorded_errors_before_the_stream_are_described(
    chat_error: str, body: Callable[[str], bytes], expected: Callable[[str], dict[str, Any]]
) -> None:
    want = expected(chat_error)
    failure = DIALECT.describe_error(body(chat_error), want["http"]["status"])
    assert failure.raw == want["expected"]["error"]
    assert failure.code == want["expected"]["error"]["code"]
    assert failure.upstream_status == want["http"]["status"]
    assert failure.retryable is (want["http"]["status"] == 429)
    assert json.loads(DIALECT.error_body(failure, want["http"]["status"])) == {"error": failure.raw}


@pytest.mark.parametrize("case", ["openai-chat/tool-call.sse", "openai-chat/refusal.sse", "deepseek/reasoning.sse"])
def test_a_folded_stream_is_an_answer_that_decodes_to_the_same(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold
) -> None:
    streamed = fold(read(DIALECT, body(case)))
    answer = DIALECT.fold_response(streamed, "st_1", 1.0, "m")
    assert summary(fold(DIALECT.decode_response(answer))) == summary(streamed)
