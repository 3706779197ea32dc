"""What the encoder makes of deltas: ends, usage, sources, errors; and that joining late changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.base import Dialect, Frame, encode_frames
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
from tokenwire.dialects.gemini.dialect import ARRAY, DIALECT, Decoder
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse


def events(*deltas: Delta, terminal: Terminal | None = None) -> list[Any]:
    """The values of the events that *deltas* make, with the end."""
    encoder = DIALECT.encoder("st_1", 1.0, "m")
    frames = [frame for delta in deltas for frame in encoder.feed(delta)]
    return [json.loads(frame.data) for frame in [*frames, *encoder.close(terminal or Terminal("completed"))]]


def end(*deltas: Delta, terminal: Terminal | None = None) -> dict[str, Any]:
    """The first candidate of the last event."""
    candidate: dict[str, Any] = events(*deltas, terminal=terminal)[-1]["candidates"][0]
    return candidate


def read(frames: list[Frame]) -> Transcript:
    """What a client knows in the end."""
    fold, decoder = Transcript(), Decoder()
    for event in sse.Decoder().feed(encode_frames(frames)):
        for delta in decoder.feed(event):
            fold.apply(delta)
    for delta in decoder.close():
        fold.apply(delta)
    return fold


@pytest.mark.parametrize(
    ("reason", "native", "word"),
    [
        ("stop", "end_turn", "STOP"), ("tool_use", "STOP", "STOP"), ("length", None, "MAX_TOKENS"),
        ("context_window", None, "MAX_TOKENS"), ("content_filter", None, "SAFETY"), ("pause", None, "STOP"),
        ("content_filter", "RECITATION", "RECITATION"), ("length", "CONTINUATION", "CONTINUATION"),
        ("unknown", None, "OTHER"), ("unknown", "OTHER", "OTHER"), ("stop", "SAFETY", "STOP"),
        ("refusal", None, "SAFETY"),
    ],
)  # fmt: skip
def test_words_for_reasons(reason: Any, native: str | None, word: str) -> None:
    assert end(TextDelta("a"), Finished(reason, native))["finishReason"] == word


def test_an_unknown_reason_comes_back_as_one() -> None:
    encoder = DIALECT.encoder("st_1", 1.0, "m")
    frames = [*encoder.feed(TextDelta("a")), *encoder.feed(Finished("unknown")), *encoder.close(Terminal("completed"))]
    fold = read(frames)
    assert (fold.choice().reason, fold.failed) == ("unknown", None)


def test_a_refusal_is_text_and_ends_as_one() -> None:
    first, last = events(RefusalDelta("No."), Finished("stop"))
    assert first["candidates"][0]["content"]["parts"] == [{"text": "No."}]
    assert (last["candidates"][0]["finishReason"], "finishMessage" in last["candidates"][0]) == ("SAFETY", True)
    assert "finishMessage" not in end(TextDelta("a"), Finished("content_filter"))


def test_an_end_that_nobody_told_is_made_good() -> None:
    assert end()["finishReason"] == "STOP"
    assert end(terminal=Terminal("completed", reason="length"))["finishReason"] == "MAX_TOKENS"
    assert end(ToolCallStarted("c", "f"), ToolCallEnded())["finishReason"] == "STOP"


def test_the_first_reason_counts() -> None:
    assert end(Finished("length"), Finished("stop"))["finishReason"] == "MAX_TOKENS"


def test_a_blocked_prompt_is_told_as_googles_own() -> None:
    blocked = Finished("content_filter", "promptFeedback:SAFETY")
    (last,) = events(Started("r", "m"), blocked, Usage(input=3))
    assert last == {
        "promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3},
        "modelVersion": "m", "responseId": "1",
    }  # fmt: skip
    assert end(TextDelta("a"), blocked)["finishReason"] == "SAFETY"  # something was said


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (Usage(1, 2), {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}),
        (Usage(1), {"promptTokenCount": 1}),
        (Usage(output=5, reasoning=7), {"candidatesTokenCount": 0, "thoughtsTokenCount": 7}),
        (Usage(input=9, cached_input=4, cache_write=2), {"promptTokenCount": 9, "cachedContentTokenCount": 4}),
        (Usage(1, 2, raw={"promptTokenCount": 1, "serviceTier": "x"}), {"promptTokenCount": 1, "serviceTier": "x"}),
        (Usage(cache_write=2), None),
        (Usage(1, 2, estimated=True), None),
    ],
)
def test_usage_is_told_in_the_last_event(usage: Usage, told: Any) -> None:
    assert events(TextDelta("a"), Finished("stop"), usage)[-1].get("usageMetadata") == told
    assert events(TextDelta("a"), terminal=Terminal("completed", usage=usage))[-1].get("usageMetadata") == told


@pytest.mark.parametrize("state", ["failed", "cancelled", "orphaned", "expired"])
def test_other_ends_are_errors_after_what_is_known(state: Any) -> None:
    cited = Citation({"url": "https://a.example"})
    _, sources, counts, error = events(TextDelta("a"), cited, Usage(input=3), terminal=Terminal(state))
    assert "finishReason" not in sources["candidates"][0]
    assert "groundingMetadata" in sources["candidates"][0]
    assert counts["usageMetadata"] == {"promptTokenCount": 3}
    assert isinstance(error["error"]["code"], int)
    if state != "failed":
        assert error["error"]["details"][0]["reason"] == state
    assert next(iter(error)) == "error"


def test_an_answer_that_google_gave_up_keeps_its_word_before_the_error() -> None:
    failure = Failed("MALFORMED_FUNCTION_CALL", "bad", True)
    told = events(Finished("error", "MALFORMED_FUNCTION_CALL"), terminal=Terminal("failed", error=failure))
    assert told[0]["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert told[1]["error"]["message"] == "bad"
    assert len(events(Finished("error", "error"), terminal=Terminal("failed", error=failure))) == 1


@pytest.mark.parametrize(
    ("failure", "status", "error"),
    [
        (Failed("x", "m"), None, (500, "INTERNAL", "x")),
        (Failed("x", "m"), 418, (418, "INVALID_ARGUMENT", "x")),
        (Failed("insufficient_quota", "m"), None, (429, "RESOURCE_EXHAUSTED", "insufficient_quota")),
        (Failed("UNAVAILABLE", "m", upstream_status=503), None, (503, "UNAVAILABLE", None)),
        (Failed("upstream_timeout", "m"), None, (504, "DEADLINE_EXCEEDED", "upstream_timeout")),
    ],
)
def test_error_objects(failure: Failed, status: int | None, error: tuple[Any, ...]) -> None:
    from tokenwire.dialects.gemini.errors import error_object

    told = error_object(failure, status)
    assert (told["code"], told["status"], told.get("details", [{"reason": None}])[0]["reason"]) == error
    again = DIALECT.describe_error(json.dumps({"error": told}).encode(), told["code"])
    assert (again.code, again.message) == (failure.code, failure.message)


def test_sources_of_every_dialect() -> None:
    whole = {"webSearchQueries": ["q"], "groundingChunks": [{"web": {"uri": "u"}}, {"maps": {"uri": "v"}}]}
    own = [
        Citation({"url": "u", "groundingChunk": {"web": {"uri": "u"}}, "groundingMetadata": whole}),
        Citation({"url": "v", "groundingChunk": {"maps": {"uri": "v"}}}),
    ]
    assert end(*own)["groundingMetadata"] == whole
    foreign = [
        Citation({"type": "web_search_result_location", "url": "a", "title": None, "cited_text": "c"}),
        Citation({"type": "file_citation", "filename": "f", "url_citation": 3}), Citation({}),
        Citation({"groundingChunk": {"web": {"uri": "x"}}}),  # without the first of its kind
    ]  # fmt: skip
    assert end(*foreign)["groundingMetadata"]["groundingChunks"] == [
        {"web": {"uri": "a"}}, {"retrievedContext": {"title": "f"}}, {"retrievedContext": {}}, {"web": {"uri": "x"}}
    ]  # fmt: skip
    odd = Citation({"groundingMetadata": {"groundingChunks": 7}})
    assert end(odd)["groundingMetadata"] == {"groundingChunks": []}


def test_log_probabilities_of_others() -> None:
    entries = [{"token": "a", "logprob": -1.0, "token_id": 3}, 7]
    result = events(Logprobs(entries, [{"token": "b", "logprob": -2.0}]))[0]["candidates"][0]["logprobsResult"]
    assert result == {"chosenCandidates": [
        {"token": "a", "logProbability": -1.0, "tokenId": 3}, {"token": "b", "logProbability": -2.0}]}  # fmt: skip


def test_whose_signature_nobody_knows_is_still_base64() -> None:
    import base64

    for maker in ("", "anthropic", "gemini"):
        told = events(ReasoningSignature("c2ln", dialect=maker))[0]["candidates"][0]["content"]["parts"][0]
        base64.b64decode(told["thoughtSignature"], validate=True)
        assert told["thought"] is True


def test_no_event_holds_what_ends_a_line_for_python() -> None:
    odd = "a\x85b\u2028c\u2029d\x0b\x0c\x1c\r\n"
    told = events(TextDelta(odd), ToolCallStarted("c", odd, block=1), ToolCallEnded(block=1), Citation({"url": odd}))
    assert told[0]["candidates"][0]["content"]["parts"][0]["text"] == odd
    encoder = DIALECT.encoder("st_1", 1.0, odd)
    frames = [
        *encoder.feed(TextDelta(odd)),
        *encoder.feed(Citation({"url": odd})),
        *encoder.close(Terminal("completed")),
    ]
    assert all(len(frame.data.splitlines()) == 1 for frame in frames)


words = st.text(st.sampled_from("ab\u2028é🌊 \n"), max_size=3)
blocks = st.integers(0, 3)
choices = st.integers(0, 1)
signatures = st.builds(
    ReasoningSignature, st.just("c2ln"), choices, blocks, st.sampled_from(["gemini", "anthropic", ""])
)
said: st.SearchStrategy[Delta] = st.one_of(
    st.builds(TextDelta, words, choices, st.just(10)),
    st.builds(ReasoningDelta, words, choices, st.just(11)),
    st.builds(RefusalDelta, words, choices, st.just(12)),
    signatures,
    st.builds(ToolCallStarted, st.uuids().map(str), st.just("f"), choices, blocks),
    st.builds(ToolCallDelta, st.sampled_from(['{"a"', ":1", "}", "{}", "x"]), choices, blocks),
    st.builds(ToolCallEnded, choices, blocks),
    st.builds(Citation, st.fixed_dictionaries({"url": words}), choices),
    st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
    st.builds(Finished, st.sampled_from(["stop", "tool_use", "length", "refusal"]), st.none(), choices),
    st.builds(Opaque, st.just("openai.chat"), st.just({})),
    st.builds(Opaque, st.just("gemini"), st.just({"candidates": [{"index": 0, "new": 1}]})),
)


def legal(deltas: list[Delta]) -> list[Delta]:
    """*deltas* without fragments of calls that never began, beginnings of those that did, and what follows an end; a
    call has one signature, while it lasts, and its block holds nothing before it."""
    begun: set[tuple[int, int]] = set()
    over: set[tuple[int, int]] = set()
    signed: set[tuple[int, int]] = set()
    thought: set[tuple[int, int]] = set()
    kept: list[Delta] = []
    for delta in deltas:
        if isinstance(delta, ToolCallStarted | ToolCallDelta | ToolCallEnded):
            place = delta.choice, delta.block
            if (place in begun) == isinstance(delta, ToolCallStarted) or place in over | thought:
                continue
            begun.add(place)
            if isinstance(delta, ToolCallEnded):
                over.add(place)
        elif isinstance(delta, ReasoningSignature) and (place := (delta.choice, delta.block)) in begun:
            if place in over | signed:
                continue
            signed.add(place)
        elif isinstance(delta, ReasoningSignature):
            thought.add((delta.choice, delta.block))
        kept.append(delta)
    return kept


def known(frames: list[Frame]) -> Any:
    """The final state of a client that puts together what belongs together, as those of this dialect do."""
    fold = read(frames)
    return (
        fold.usage,
        fold.failed,
        {
            index: (
                choice.text, choice.reasoning, choice.reason, [each.data.get("url") for each in choice.citations],
                sorted((call.id, call.arguments) for call in choice.tool_calls.values()), sorted(choice.signatures),
            )
            for index, choice in fold.choices.items()
            if choice.segments() or choice.citations or choice.reason is not None
        },
    )  # fmt: skip


def parsed(dialect: Dialect, frames: list[Frame]) -> list[Frame]:
    """The events of what is written in *dialect*."""
    if dialect is DIALECT:
        return frames
    return [Frame(None, json.dumps(value)) for value in json.loads("".join(frame.data for frame in frames))]


@pytest.mark.untraced
@pytest.mark.parametrize("dialect", [DIALECT, ARRAY], ids=["sse", "array"])
@settings(deadline=None)
@given(deltas=st.lists(said, max_size=12).map(legal), state=st.sampled_from(["completed", "failed"]))
def test_joining_at_any_point_tells_the_same(dialect: Dialect, deltas: list[Delta], state: Any) -> None:
    terminal = Terminal(state)
    live = dialect.encoder("st_1", 1.0, "m")
    whole = [frame for delta in deltas for frame in live.feed(delta)] + live.close(terminal)
    want = known(parsed(dialect, whole))
    silent, fold = dialect.encoder("st_1", 1.0, "m"), Transcript()
    for joined in range(len(deltas) + 1):
        joiner = dialect.encoder("st_1", 1.0, "m")
        joiner.feed(TextDelta("forgotten"))
        prefix = joiner.prefix(fold)
        for tail in (silent.copy(), joiner):
            rest = [frame for delta in deltas[joined:] for frame in tail.feed(delta)] + tail.close(terminal)
            assert known(parsed(dialect, [*prefix, *rest])) == want
        if joined < len(deltas):
            silent.feed(deltas[joined])
            fold.apply(deltas[joined])
