"""Every recorded stream of OpenAI's Responses: decoded, folded, encoded again, joined at every event."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Dialect, Encoder, encode_frames
from tokenwire.dialects.deltas import Delta, Started
from tokenwire.dialects.openai_responses.dialect import DIALECT, Decoder, sequence_of
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Read = Callable[[Dialect, bytes], list[Delta]]
Fold = Callable[[list[Delta]], Transcript]
Write = Callable[..., bytes]

STREAMS = [
    f"openai-responses/{case}.sse"
    for case in (
        "content-filter", "error-mid-stream", "failed", "parallel-tool-calls", "reasoning-summary", "reasoning-text",
        "refusal", "structured-json", "text", "tool-call", "usage", "web-search-citation",
    )
]  # fmt: skip
FOREIGN = [
    *(f"anthropic/{case}.sse" for case in (
        "citations", "error-mid-stream", "parallel-tool-calls", "refusal", "structured-json", "text", "thinking",
        "tool-call", "usage",
    )),
    *(f"openai-chat/{case}.sse" for case in (
        "content-filter", "error-mid-stream", "logprobs", "multiple-choices", "parallel-tool-calls",
        "reasoning-usage-only", "refusal", "structured-json", "text", "tool-call", "usage",
    )),
    "openrouter/reasoning-details-comments.sse", "mistral/thinking-content-array.sse", "xai/reasoning-tool-call.sse",
    "vllm/reasoning-content-with-finish.sse", "azure/async-filter.sse", "groq/error-mid-stream.sse",
]  # fmt: skip
each_stream = pytest.mark.parametrize("case", STREAMS)


def dialect_of(case: str) -> Dialect:
    folder = case.partition("/")[0]
    return dialects.get({"openai-responses": "openai.responses", "anthropic": "anthropic"}.get(folder, "openai.chat"))


def summary(fold: Transcript) -> dict[str, Any]:
    """A transcript in the terms of the expectations."""
    choice = fold.choice()
    failed = fold.failed
    return {
        "text": choice.text,
        "reasoning": choice.reasoning or None,
        "refusal": choice.refusal or None,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": json.loads(call.arguments)}
            for call in choice.tool_calls.values()
        ],
        "stop_reason": choice.native_reason,
        "usage": None if fold.usage is None else fold.usage.raw,
        "error": None if failed is None else failed.raw,
        "complete": failed is None,
        "citations": [citation.data for citation in choice.citations],
        "reasoning_encrypted": "".join(choice.signatures),
    }


@each_stream
def test_recorded_streams_fold_to_what_is_expected(
    case: str, body: Callable[[str], bytes], expected: Callable[[str], dict[str, Any]], read: Read, fold: Fold
) -> None:
    want = expected(case)["expected"]
    want.pop("reasoning_parts", None)
    if want["stop_reason"] == "failed":  # told by the failure
        want["stop_reason"] = None
    deltas = read(DIALECT, body(case))
    got = summary(fold(deltas))
    assert {name: got[name] for name in want} == want
    started = deltas[0]
    assert isinstance(started, Started)
    assert started == Started("resp_0a41c7d92e5f8b30006b1f2e44d0a081a7", "gpt-5.6-2026-07-15", 1794001000)


@pytest.mark.untraced
@each_stream
def test_recorded_streams_decode_alike_wherever_they_are_cut(case: str, body: Callable[[str], bytes]) -> None:
    wire = body(case)
    whole = sse.Decoder().feed(wire)
    for cut in range(1, len(wire)):  # a decoder sees events only: where they are the same, so are the deltas
        parser = sse.Decoder()
        assert parser.feed(wire[:cut]) + parser.feed(wire[cut:]) == whole


@each_stream
def test_a_copied_decoder_goes_on_like_the_first(case: str, body: Callable[[str], bytes], read: Read) -> None:
    wire = body(case)
    decoder = Decoder()
    deltas: list[Delta] = []
    for event in sse.Decoder().feed(wire):
        abandoned, decoder = decoder, decoder.copy()
        deltas += decoder.feed(event)
        for odd in ("output_text.done", "function_call_arguments.delta", "output_item.done", "incomplete"):
            item = {"type": "function_call", "call_id": "x", "arguments": '{"a":'}
            said = {"type": f"response.{odd}", "output_index": 0, "text": "?" * 999, "delta": "?", "item": item}
            abandoned.feed(sse.Event(data=json.dumps(said)))
    assert deltas + decoder.close() == read(DIALECT, wire)


def comparable(fold: Transcript) -> Any:
    """What encoding and decoding must keep: all but the provider's id, the failure's raw object and what is opaque."""
    failed = fold.failed
    return (
        [list(choice.deltas())[1:] for choice in fold.choices.values()],
        fold.usage,
        None if failed is None else (failed.code, failed.message, failed.retryable),
    )


@each_stream
def test_encoded_again_a_stream_folds_to_the_same(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write
) -> None:
    deltas = read(DIALECT, body(case))
    wire = write(DIALECT.encoder("st_1", 1794000000.5, "gpt-5.6"), deltas)
    assert comparable(fold(read(DIALECT, wire))) == comparable(fold(deltas))
    assert b'"id":"resp_1"' in wire


@each_stream
def test_what_is_encoded_again_is_the_recording_but_for_ids_and_settings(
    case: str, body: Callable[[str], bytes], read: Read, write: Write
) -> None:
    """Event for event: a reader cannot tell the two apart. Failures say more here than the recording does."""
    if case.split("/")[1] in ("error-mid-stream.sse", "failed.sse", "web-search-citation.sse", "reasoning-text.sse"):
        return

    def plain(wire: bytes) -> list[Any]:
        events = [json.loads(event.data) for event in sse.Decoder().feed(wire)]
        for event in events:
            event.pop("obfuscation", None)
            event.pop("item_id", None)
            said = event.get("response")
            if said is not None:
                kept = ("object", "status", "error", "incomplete_details", "output", "usage")
                event["response"] = {name: said[name] for name in kept}
                for item in said["output"]:
                    item["id"] = ""
            if "item" in event:
                event["item"]["id"] = ""
        return events

    def without_thoughts(events: list[Any]) -> list[Any]:
        kept = [event for event in events if "summary" not in event["type"] and "summary" not in event.get("item", ())]
        for event in kept:
            event.pop("sequence_number")
            if "response" in event:
                output = event["response"]["output"]
                event["response"]["output"] = [item for item in output if item["type"] != "reasoning"]
        return kept

    recorded = plain(body(case))
    again = plain(write(DIALECT.encoder("st_1", 1.0, "m"), read(DIALECT, body(case))))
    assert [event["sequence_number"] for event in again] == list(range(len(again)))
    if "reasoning" in case:
        recorded, again = without_thoughts(recorded), without_thoughts(again)
    if "tool-call.sse" in case:  # the thought of the recording has neither words nor a proof: nothing is left of it
        for event in recorded:
            event["output_index"] = 0
        recorded, again = without_thoughts(recorded), without_thoughts(again)
        recorded = [{**event, "output_index": 0} for event in recorded]
        again = [{**event, "output_index": 0} for event in again]
    assert again == recorded


def joined(dialect: Dialect, deltas: list[Delta], at: int, fold: Fold, write: Write) -> tuple[bytes, Encoder]:
    """What a reader gets who joins after the first *at* deltas: a prefix, and the tail of another encoder."""
    live, late = dialect.encoder("st_1", 1.0, "m"), dialect.encoder("st_1", 1.0, "m")
    late.feed(Started())  # forgotten
    for delta in deltas[:at]:
        live.feed(delta)
    prefix = late.prefix(fold(deltas[:at]))
    tail = write(live.copy(), deltas[at:], deltas)
    assert tail == write(late, deltas[at:], deltas)  # the two are in one state, down to the number
    return encode_frames(prefix) + tail, live


@pytest.mark.parametrize("case", [*STREAMS, *FOREIGN])
def test_a_late_joiner_is_in_the_same_state_at_every_point(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write
) -> None:
    deltas = read(dialect_of(case), body(case))
    live = write(DIALECT.encoder("st_1", 1.0, "m"), deltas)
    wanted = fold(read(DIALECT, live))
    last = sse.Decoder().feed(live)[-1]
    for at in range(len(deltas) + 1):
        wire, _ = joined(DIALECT, deltas, at, fold, write)
        got = fold(read(DIALECT, wire))
        assert summary(got) == summary(wanted)
        # A citation that is told late stands where it was told: what it belongs to is in it.
        assert [(choice.segments(), choice.citations) for choice in got.choices.values()] == [
            (choice.segments(), choice.citations) for choice in wanted.choices.values()
        ]
        events = sse.Decoder().feed(wire)
        assert events[-1] == last
        numbers = [json.loads(event.data)["sequence_number"] for event in events]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == len(sse.Decoder().feed(live)) - 1


@each_stream
def test_condensed_frames_say_the_same_in_fewer(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold
) -> None:
    """Whoever joins in the midst goes on with the provider's own frames: every number must fit."""
    assert DIALECT.condense is not None
    wire = body(case)
    frames = [frame + b"\n\n" for frame in wire.split(b"\n\n")[:-1]]
    for at in range(len(frames) + 1):
        condensed = DIALECT.condense(frames[:at])
        late = fold(read(DIALECT, encode_frames(condensed) + b"".join(frames[at:])))
        assert comparable(late) == comparable(fold(read(DIALECT, wire)))
        kinds = [frame.event for frame in condensed]
        assert not any(kind == other and str(kind).endswith(".delta") for kind, other in pairwise(kinds))
        if condensed:
            assert sequence_of(encode_frames(condensed[-1:])) == at - 1


@each_stream
def test_a_folded_stream_is_an_answer_that_decodes_to_the_same(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold
) -> None:
    streamed = fold(read(DIALECT, body(case)))
    if streamed.failed is not None:  # a failure has no answer: `error_body` tells it
        return
    answer = DIALECT.fold_response(streamed, "st_1", 1.0, "m")
    assert summary(fold(DIALECT.decode_response(answer))) == summary(streamed)


@each_stream
def test_the_last_events_response_is_an_answer_that_decodes_to_the_same(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold
) -> None:
    last = json.loads(sse.Decoder().feed(body(case))[-1].data)
    if "response" in last:
        whole = fold(DIALECT.decode_response(json.dumps(last["response"]).encode()))
        assert summary(whole) == summary(fold(read(DIALECT, body(case))))


@pytest.mark.parametrize("case", FOREIGN)
def test_answers_in_other_dialects_are_the_same_through_this_one(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write
) -> None:
    deltas = read(dialect_of(case), body(case))
    first, second = fold(deltas), fold(read(DIALECT, write(DIALECT.encoder("st_1", 1.0, "m"), deltas)))
    one, two = first.choice(), second.choice()
    for told in ("text", "reasoning", "refusal"):
        assert getattr(two, told) == getattr(one, told)
    calls = [(call.id, call.name, call.arguments, call.ended) for call in one.tool_calls.values()]
    assert [(call.id, call.name, call.arguments, call.ended) for call in two.tool_calls.values()] == calls
    assert len(two.signatures) == len(one.signatures)
    assert len(two.citations) == len(one.citations)
    assert (two.logprobs is None) == (one.logprobs is None)
    if one.logprobs is not None and two.logprobs is not None:
        assert two.logprobs.content == one.logprobs.content
    assert (second.failed is None) == (first.failed is None)
    if first.failed is None:
        assert two.reason == DIALECT.reasons.get(one.reason or "unknown", one.reason)
        counts = first.usage
        if counts is not None:
            assert second.usage is not None
            assert (second.usage.input, second.usage.output) == (counts.input or 0, counts.output or 0)
            assert (second.usage.cached_input, second.usage.reasoning) == (counts.cached_input, counts.reasoning)


@each_stream
@pytest.mark.parametrize("other", ["native", "openai.chat", "anthropic"])
def test_readers_of_another_dialect_get_the_same_answer(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write, other: str
) -> None:
    deltas = read(DIALECT, body(case))
    dialect = dialects.get(other)
    first, second = fold(deltas), fold(read(dialect, write(dialect.encoder("st_1", 1.0, "m"), deltas)))
    one, two = first.choice(), second.choice()
    assert (two.text, two.reasoning) == (one.text, one.reasoning)
    assert two.refusal == one.refusal
    calls = [(call.id, call.name, call.arguments, call.ended) for call in one.tool_calls.values()]
    assert [(call.id, call.name, call.arguments, call.ended) for call in two.tool_calls.values()] == calls
    assert (second.failed is None) == (first.failed is None)
    if other == "openai.chat":
        cited = [{"type": "url_citation", **each.data["url_citation"]} for each in two.citations]
        assert cited == [each.data for each in one.citations]
    reason = one.reason
    if other == "anthropic" and reason == "content_filter":
        reason = "refusal"
    assert two.reason == reason
    if first.usage is not None:
        assert second.usage is not None
        assert (second.usage.input, second.usage.output) == (first.usage.input, first.usage.output)


def test_the_recorded_error_before_the_stream_is_described(
    body: Callable[[str], bytes], expected: Callable[[str], dict[str, Any]]
) -> None:
    want = expected("openai-responses/error-before-stream.json")
    failure = DIALECT.describe_error(body("openai-responses/error-before-stream.json"), want["http"]["status"])
    assert failure.raw == want["expected"]["error"]
    assert (failure.code, failure.upstream_status, failure.retryable) == ("unsupported_parameter", 400, False)
    assert json.loads(DIALECT.error_body(failure, 400)) == {"error": want["expected"]["error"]}
