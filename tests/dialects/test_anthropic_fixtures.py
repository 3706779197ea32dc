"""Every recorded stream of Anthropic's: decoded, folded, and encoded again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.anthropic.dialect import DIALECT, Decoder
from tokenwire.dialects.base import Dialect, encode_frames
from tokenwire.dialects.deltas import Delta, Opaque, Started, Usage
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Read = Callable[[Dialect, bytes], list[Delta]]
Fold = Callable[[list[Delta]], Transcript]
Write = Callable[..., bytes]
MODEL = "claude-sonnet-5-5"


def summary(fold: Transcript) -> dict[str, Any]:
    """A transcript in the terms of the expectations."""
    choice = fold.choice()
    return {
        "text": choice.text,
        "reasoning": choice.reasoning or None,
        "refusal": choice.refusal or None,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": json.loads(call.arguments)}
            for call in choice.tool_calls.values()
        ],
        "stop_reason": choice.native_reason,
        # What `message_start` says is provisional: no count, as long as no other came.
        "usage": None if fold.usage is None or fold.usage.output is None else fold.usage.raw,
        "error": None if fold.failed is None else fold.failed.raw,
        "complete": fold.failed is None,
        "citations": [citation.data for citation in choice.citations],
        "signatures": choice.signatures,
    }


def test_recorded_streams_fold_to_what_is_expected(
    anthropic_stream: str,
    body: Callable[[str], bytes],
    expected: Callable[[str], dict[str, Any]],
    read: Read,
    fold: Fold,
) -> None:
    want = expected(anthropic_stream)["expected"]
    deltas = read(DIALECT, body(anthropic_stream))
    got = summary(fold(deltas))
    for name in ("stop_sequence", "stop_details"):  # what only this dialect knows
        if name in want:
            told = [delta.data["delta"][name] for delta in deltas if isinstance(delta, Opaque)]
            assert told == [want.pop(name)]
            if name == "stop_details":  # what it says in words is the refusal
                want["refusal"] = told[0]["explanation"]
    if want["usage"] is not None:
        assert got["usage"].items() >= want.pop("usage").items()  # what the start said besides is kept
    assert {name: got[name] for name in want} == want
    started = next(delta for delta in deltas if isinstance(delta, Started))
    assert (started.id, started.model) == ("msg_01ExampleAbCdEfGhIjKlMnOp", MODEL)


@pytest.mark.untraced
def test_recorded_streams_decode_alike_wherever_they_are_cut(
    anthropic_stream: str, body: Callable[[str], bytes], read: Read
) -> None:
    wire = body(anthropic_stream)
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
    assert deltas + decoder.close() == read(DIALECT, wire)


def test_a_copied_decoder_goes_on_like_the_first(
    anthropic_stream: str, body: Callable[[str], bytes], read: Read
) -> None:
    wire = body(anthropic_stream)
    decoder = Decoder()
    deltas: list[Delta] = []
    for event in sse.Decoder().feed(wire):
        abandoned, decoder = decoder, decoder.copy()
        deltas += decoder.feed(event)
        for odd in ("content_block_stop", "message_delta", "error", "message_stop"):
            abandoned.feed(sse.Event(data=f'{{"type":"{odd}","index":0,"delta":{{"stop_reason":"max_tokens"}}}}'))
    assert deltas + decoder.close() == read(DIALECT, wire)


def comparable(fold: Transcript) -> Any:
    """What encoding and decoding must keep: all but the provider's id and the failure's raw object."""
    failed = fold.failed
    return (
        [(choice.index, list(choice.deltas())) for choice in fold.choices.values()],
        fold.usage,
        None if failed is None else (failed.code, failed.message, failed.retryable),
        fold.opaque,
    )


def test_encoded_again_a_stream_folds_to_the_same(
    anthropic_stream: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write
) -> None:
    deltas = read(DIALECT, body(anthropic_stream))
    wire = write(DIALECT.encoder("st_1", 1794000000.5, MODEL), deltas)
    assert comparable(fold(read(DIALECT, wire))) == comparable(fold(deltas))
    assert b'"id":"msg_1"' in wire


def test_what_is_encoded_again_is_the_recording_but_for_masks_and_pings(
    anthropic_stream: str, body: Callable[[str], bytes], read: Read, write: Write
) -> None:
    """Event for event: a reader cannot tell the two apart."""

    def plain(wire: bytes) -> list[Any]:
        events = [json.loads(event.data) for event in sse.Decoder().feed(wire)]
        for event in events:
            event.pop("request_id", None)
            if event["type"] == "message_start":
                event["message"].pop("stop_details", None)
                event["message"]["id"] = ""
            elif event["type"] == "content_block_start":
                event["content_block"].pop("citations", None)
                event["content_block"].pop("caller", None)
            elif event["type"] == "message_delta":
                event["usage"] = event["usage"]["output_tokens"]
        return [event for event in events if event["type"] != "ping"]

    wire = body(anthropic_stream)
    again = write(DIALECT.encoder("st_1", 1.0, MODEL), read(DIALECT, wire))
    got = plain(again)
    if "tool-call" in anthropic_stream:  # without arguments, the empty object is told in so many words
        got = [event for event in got if event.get("delta", {}).get("partial_json") != "{}"]
    assert got == plain(wire)


def test_a_late_joiner_is_in_the_same_state_at_every_point(
    anthropic_stream: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write
) -> None:
    deltas = read(DIALECT, body(anthropic_stream))
    live = write(DIALECT.encoder("st_1", 1.0, "m"), deltas)
    for joined in range(len(deltas) + 1):
        encoder = DIALECT.encoder("st_1", 1.0, "m")
        encoder.feed(Usage(input=1))  # forgotten
        prefix = encoder.prefix(fold(deltas[:joined]))
        wire = b"".join(sse.encode(frame.data, event=frame.event) for frame in prefix)
        wire += write(encoder, deltas[joined:], deltas)
        late, all_along = fold(read(DIALECT, wire)), fold(read(DIALECT, live))
        assert summary(late) == summary(all_along)
        blocks = [json.loads(event.data) for event in sse.Decoder().feed(wire)]
        indices = [event["index"] for event in blocks if event["type"] == "content_block_start"]
        assert indices == list(range(len(indices)))


def test_condensed_frames_say_the_same_in_fewer(
    anthropic_stream: str, body: Callable[[str], bytes], read: Read, fold: Fold
) -> None:
    """Whoever joins in the midst goes on with the provider's own frames: every number must fit."""
    assert DIALECT.condense is not None
    wire = body(anthropic_stream)
    frames = [frame + b"\n\n" for frame in wire.split(b"\n\n")[:-1]]
    for joined in range(len(frames) + 1):
        condensed = DIALECT.condense(frames[:joined])
        rest = b"".join(frames[joined:])
        late = fold(read(DIALECT, encode_frames(condensed) + rest))
        assert comparable(late) == comparable(fold(read(DIALECT, wire)))
        kinds = [frame.event for frame in condensed]
        assert "ping" not in kinds
        starts = [json.loads(frame.data)["index"] for frame in condensed if frame.event == "content_block_start"]
        assert starts == list(range(len(starts)))
        assert kinds.count("content_block_delta") <= 3 * len(starts)


def test_resuming_is_folding_silently_and_going_on(
    anthropic_stream: str, body: Callable[[str], bytes], read: Read
) -> None:
    deltas = read(DIALECT, body(anthropic_stream))
    encoder = DIALECT.encoder("st_1", 1.0, "m")
    for delta in deltas:
        twin = encoder.copy()
        assert encoder.feed(delta) == twin.feed(delta)
    assert encoder.copy().prefix(Transcript()) == []


def test_a_folded_stream_is_an_answer_that_decodes_to_the_same(
    anthropic_stream: str, body: Callable[[str], bytes], read: Read, fold: Fold
) -> None:
    streamed = fold(read(DIALECT, body(anthropic_stream)))
    if streamed.failed is not None:  # a failure has no answer: `error_body` tells it
        return
    answer = DIALECT.fold_response(streamed, "st_1", 1.0, MODEL)
    assert summary(fold(DIALECT.decode_response(answer))) == summary(streamed)


@pytest.mark.parametrize("other", ["native", "openai.chat"])
def test_readers_of_another_dialect_get_the_same_answer(
    anthropic_stream: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write, other: str
) -> None:
    deltas = read(DIALECT, body(anthropic_stream))
    dialect = dialects.get(other)
    wire = write(dialect.encoder("st_1", 1.0, "m"), deltas)
    first, second = fold(deltas), fold(read(dialect, wire))
    for told in ("text", "reasoning", "refusal", "signatures"):
        assert getattr(second.choice(), told) == getattr(first.choice(), told)
    calls = [(call.id, call.name, call.arguments, call.ended) for call in first.choice().tool_calls.values()]
    assert [(call.id, call.name, call.arguments, call.ended) for call in second.choice().tool_calls.values()] == calls
    reason = first.choice().reason
    assert second.choice().reason == reason
    assert (second.failed is None) == (first.failed is None)
    if first.usage is not None and first.usage.output is not None:
        assert second.usage is not None
        assert (second.usage.input, second.usage.output) == (first.usage.input, first.usage.output)


def test_the_recorded_error_before_the_stream_is_described(
    body: Callable[[str], bytes], expected: Callable[[str], dict[str, Any]]
) -> None:
    want = expected("anthropic/error-before-stream.json")
    failure = DIALECT.describe_error(body("anthropic/error-before-stream.json"), want["http"]["status"])
    assert failure.raw == want["expected"]["error"]
    assert (failure.code, failure.upstream_status, failure.retryable) == ("overloaded_error", 529, True)
    assert json.loads(DIALECT.error_body(failure, 529)) == {"type": "error", "error": want["expected"]["error"]}
