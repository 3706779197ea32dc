"""Every recorded stream of Gemini's: decoded, folded, and encoded again; and everybody else's, through Gemini."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Dialect, encode_frames
from tokenwire.dialects.deltas import Delta, Failed, Opaque, Started, Terminal, Usage
from tokenwire.dialects.gemini.dialect import ARRAY, DIALECT, Decoder
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Read = Callable[[Dialect, bytes], list[Delta]]
Fold = Callable[[list[Delta]], Transcript]
Write = Callable[..., bytes]
MODEL = "gemini-3.5-flash"
FIXTURES = Path(__file__).parent.parent / "fixtures"
STREAMS = sorted(f"gemini/{path.name}" for path in (FIXTURES / "gemini").glob("*.sse"))
FOREIGN = sorted(
    f"{path.parent.name}/{path.name}"
    for path in FIXTURES.glob("*/*.sse")
    if path.parent.name not in ("gemini", "openai-responses")
)

gemini_streams = pytest.mark.parametrize("case", STREAMS)


def summary(fold: Transcript) -> dict[str, Any]:
    """A transcript in the terms of the expectations."""
    choice = fold.choice()
    grounding = [each.data["groundingMetadata"] for each in choice.citations if "groundingMetadata" in each.data]
    return {
        "text": choice.text,
        "reasoning": choice.reasoning or None,
        "refusal": choice.refusal or None,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": json.loads(call.arguments)}
            for call in choice.tool_calls.values()
            if call.ended
        ],
        "stop_reason": choice.native_reason,
        "usage": None if fold.usage is None else fold.usage.raw,
        "error": None if fold.failed is None else fold.failed.raw,
        "complete": fold.failed is None,
        "grounding": grounding[0] if grounding else None,
        "signatures": choice.signatures,
    }


def plain(fold: Transcript) -> dict[int, Any]:
    """What of a transcript must survive, whatever the dialects."""
    return {
        index: (
            choice.text + choice.refusal,
            choice.reasoning,
            [(each.id, each.name, json.loads(each.arguments)) for each in choice.tool_calls.values() if each.ended],
            # A failure has no word here unless it is Google's: the error says it.
            None if fold.failed is not None else DIALECT.reasons.get(choice.reason or "unknown", choice.reason),
        )
        for index, choice in fold.choices.items()
        if choice.segments() or choice.reason not in (None, "error")
    }


def counts(usage: Usage | None) -> Any:
    return None if usage is None else (usage.input, usage.output, usage.cached_input, usage.reasoning)


@gemini_streams
def test_recorded_streams_fold_to_what_is_expected(
    case: str, body: Callable[[str], bytes], expected: Callable[[str], dict[str, Any]], read: Read, fold: Fold
) -> None:
    want = expected(case)["expected"]
    deltas = read(DIALECT, body(case))
    got = summary(fold(deltas))
    assert {name: got[name] for name in want} == want
    started = next(delta for delta in deltas if isinstance(delta, Started))
    assert (started.id, started.model) == ("kX9taZ2mHd-example", MODEL)


@gemini_streams
def test_recorded_streams_decode_alike_wherever_they_are_cut(
    case: str, body: Callable[[str], bytes], read: Read
) -> None:
    wire = body(case)
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


@gemini_streams
def test_a_stream_that_breaks_off_anywhere_fails(case: str, body: Callable[[str], bytes], read: Read) -> None:
    events = sse.Decoder().feed(body(case))
    for kept in range(len(events)):
        decoder = Decoder()
        deltas = [delta for event in events[:kept] for delta in decoder.feed(event)] + decoder.close()
        failed = [delta for delta in deltas if isinstance(delta, Failed)]
        assert [failure.code for failure in failed] == ["truncated"]
        assert failed[0].retryable
        assert decoder.close() == []


@gemini_streams
def test_a_copied_decoder_goes_on_like_the_first(case: str, body: Callable[[str], bytes], read: Read) -> None:
    wire = body(case)
    decoder = Decoder()
    deltas: list[Delta] = []
    for event in sse.Decoder().feed(wire):
        abandoned, decoder = decoder, decoder.copy()
        deltas += decoder.feed(event)
        for odd in ('{"error":{"code":500}}', '{"candidates":[{"finishReason":"SAFETY"}]}', '{"promptFeedback":{}}'):
            abandoned.feed(sse.Event(data=odd))
    assert deltas + decoder.close() == read(DIALECT, wire)


def comparable(fold: Transcript) -> Any:
    """What encoding and decoding must keep: all but the provider's id and the failure's raw object."""
    failed = fold.failed
    return (
        [(choice.index, list(choice.deltas())) for choice in fold.choices.values()],
        fold.usage,
        None if failed is None else (failed.code, failed.message, failed.retryable),
    )


@gemini_streams
def test_encoded_again_a_stream_folds_to_the_same(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write
) -> None:
    deltas = read(DIALECT, body(case))
    wire = write(DIALECT.encoder("st_1", 1794000000.5, MODEL), deltas)
    first, second = comparable(fold(deltas)), comparable(fold(read(DIALECT, wire)))
    if "error" in case:  # how many tokens the prompt had is told, as far as it is known
        assert second[1].input == first[1].input
        first, second = (first[0], first[2]), (second[0], second[2])
    assert second == first
    assert b'"responseId":"1"' in wire


@gemini_streams
def test_a_late_joiner_is_in_the_same_state_at_every_point(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write
) -> None:
    deltas = read(DIALECT, body(case))
    live = summary(fold(read(DIALECT, write(DIALECT.encoder("st_1", 1.0, "m"), deltas))))
    for joined in range(len(deltas) + 1):
        encoder, silent = DIALECT.encoder("st_1", 1.0, "m"), DIALECT.encoder("st_1", 1.0, "m")
        encoder.feed(Usage(input=1))  # forgotten
        prefix = encode_frames(encoder.prefix(fold(deltas[:joined])))
        for delta in deltas[:joined]:
            silent.feed(delta)
        tail = write(silent, deltas[joined:], deltas)
        assert write(encoder.copy(), deltas[joined:], deltas) == tail  # the prefix leaves its encoder in that state
        assert summary(fold(read(DIALECT, prefix + tail))) == live


@gemini_streams
def test_condensed_frames_say_the_same_in_fewer(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold
) -> None:
    """Whoever joins in the midst goes on with the provider's own frames."""
    assert DIALECT.condense is not None
    wire = body(case)
    frames = [frame + b"\r\n\r\n" for frame in wire.split(b"\r\n\r\n")[:-1]]
    assert len(frames) > 0
    for joined in range(len(frames) + 1):
        condensed = DIALECT.condense(frames[:joined])
        late = fold(read(DIALECT, encode_frames(condensed) + b"".join(frames[joined:])))
        assert comparable(late) == comparable(fold(read(DIALECT, wire)))
        assert len(condensed) <= min(joined, 3)


@gemini_streams
def test_resuming_is_folding_silently_and_going_on(case: str, body: Callable[[str], bytes], read: Read) -> None:
    encoder = DIALECT.encoder("st_1", 1.0, "m")
    for delta in read(DIALECT, body(case)):
        twin = encoder.copy()
        assert encoder.feed(delta) == twin.feed(delta)
    assert encoder.copy().prefix(Transcript()) == []


@gemini_streams
def test_a_folded_stream_is_an_answer_that_decodes_to_the_same(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold
) -> None:
    streamed = fold(read(DIALECT, body(case)))
    if streamed.failed is not None:  # a failure has no answer: `error_body` tells it
        return
    answer = DIALECT.fold_response(streamed, "st_1", 1.0, MODEL)
    assert summary(fold(DIALECT.decode_response(answer))) == summary(streamed)


@gemini_streams
@pytest.mark.parametrize("other", ["native", "openai.chat", "anthropic"])
def test_readers_of_another_dialect_get_the_same_answer(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write, other: str
) -> None:
    deltas = read(DIALECT, body(case))
    dialect = dialects.get(other)
    first, second = fold(deltas), fold(read(dialect, write(dialect.encoder("st_1", 1.0, "m"), deltas)))
    for told in ("text", "reasoning"):
        assert getattr(second.choice(), told) == getattr(first.choice(), told)
    calls = [(call.id, call.name, call.arguments, call.ended) for call in first.choice().tool_calls.values()]
    assert [(call.id, call.name, call.arguments, call.ended) for call in second.choice().tool_calls.values()] == calls
    cited = [citation.data["url"] for citation in first.choice().citations]
    passed = [citation.data.get("url_citation", citation.data)["url"] for citation in second.choice().citations]
    assert passed == cited
    assert (second.failed is None) == (first.failed is None)
    if first.usage is not None and first.usage.output is not None:
        assert counts(second.usage) == counts(first.usage)


@pytest.mark.parametrize("case", FOREIGN)
def test_readers_of_gemini_get_everybodys_answer(
    case: str, body: Callable[[str], bytes], read: Read, fold: Fold, write: Write
) -> None:
    folder = case.partition("/")[0]
    deltas = read(dialects.get("anthropic" if folder == "anthropic" else "openai.chat"), body(case))
    wire = write(DIALECT.encoder("st_1", 1.0, "m"), deltas)
    first, second = fold(deltas), fold(read(DIALECT, wire))
    assert plain(second) == plain(first)
    assert (second.failed is None) == (first.failed is None)
    if first.failed is not None and second.failed is not None:
        assert second.failed.message == first.failed.message
        assert second.failed.retryable == first.failed.retryable
    if first.usage is not None:
        assert counts(second.usage) == counts(first.usage)
    for index, choice in first.choices.items():
        assert len(second.choice(index).citations) == len(choice.citations)
        assert len(second.choice(index).signatures) == len(choice.signatures)
        if choice.logprobs is not None:
            told = second.choice(index).logprobs
            assert told is not None
            wanted = [
                (each["token"], each["logprob"]) for each in choice.logprobs.content or choice.logprobs.refusal or ()
            ]
            assert [(each["token"], each["logprob"]) for each in told.content or ()] == wanted


@pytest.mark.parametrize("case", FOREIGN)
@pytest.mark.parametrize("dialect", [DIALECT, ARRAY], ids=["sse", "array"])
def test_whoever_joins_everybodys_answer_late_has_it_too(
    dialect: Dialect, case: str, body: Callable[[str], bytes], read: Read, fold: Fold
) -> None:
    folder = case.partition("/")[0]
    source = dialects.get("anthropic" if folder == "anthropic" else "openai.chat")
    decoder, silent = source.decoder(), dialect.encoder("st_1", 1.0, "m")
    events = sse.Decoder().feed(body(case))
    batches = [decoder.feed(event) for event in events] + [decoder.close()]
    everything = [delta for batch in batches for delta in batch]
    failure = next((delta for delta in everything if isinstance(delta, Failed)), None)
    terminal = Terminal("failed", error=failure) if failure else Terminal("completed")

    def rest(encoder: Any, joined: int) -> list[Any]:
        left = [frame for batch in batches[joined:] for delta in batch for frame in encoder.feed(delta)]
        return [*left, *encoder.close(terminal)]

    def state(frames: list[Any]) -> Any:
        if dialect is ARRAY:
            values = json.loads("".join(frame.data for frame in frames))
            frames = [type(frames[0])(None, json.dumps(value)) for value in values]
        late = fold(read(DIALECT, encode_frames(frames)))
        return plain(late), counts(late.usage), late.failed

    live = state(rest(silent.copy(), 0))
    sofar: list[Delta] = []
    for joined, batch in enumerate(batches):
        prefix = dialect.encoder("st_1", 1.0, "m").prefix(fold(sofar))
        assert state([*prefix, *rest(silent.copy(), joined)]) == live
        for delta in batch:
            silent.feed(delta)
        sofar += batch


def test_the_recorded_error_before_the_stream_is_described(
    body: Callable[[str], bytes], expected: Callable[[str], dict[str, Any]]
) -> None:
    want = expected("gemini/error-before-stream.json")
    failure = DIALECT.describe_error(body("gemini/error-before-stream.json"), want["http"]["status"])
    assert failure.raw == want["expected"]["error"]
    assert (failure.code, failure.upstream_status, failure.retryable) == ("RESOURCE_EXHAUSTED", 429, True)
    assert json.loads(DIALECT.error_body(failure, 429)) == {"error": want["expected"]["error"]}
    assert json.loads(ARRAY.error_body(failure, 429)) == [{"error": want["expected"]["error"]}]


def test_ratings_that_stopped_an_answer_are_kept_whole(body: Callable[[str], bytes], read: Read) -> None:
    kept = [delta for delta in read(DIALECT, body("gemini/safety-stop.sse")) if isinstance(delta, Opaque)]
    assert len(kept) == 1
    assert kept[0].data["candidates"][0]["safetyRatings"][0]["blocked"] is True
