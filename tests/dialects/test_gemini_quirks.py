"""What Gemini and its gateways do to events (reference, section 12), one test for each thing that broke a parser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Logprobs,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.gemini.dialect import DIALECT, Decoder, decode_response
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse


def read(*datas: Any, kind: str = "message") -> list[Delta]:
    """The deltas of a stream given as JSON values, or as text where it is none; closed; without what begins it."""
    decoder = Decoder()
    deltas: list[Delta] = []
    for data in datas:
        deltas += decoder.feed(sse.Event(data=data if isinstance(data, str) else json.dumps(data), event=kind))
    return [delta for delta in deltas + decoder.close() if not isinstance(delta, Started)]


def event(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}]}


def text(words: str, **more: Any) -> dict[str, Any]:
    return event({"text": words}, **more)


STOP = event(finishReason="STOP")
STOPPED = Finished("stop", "STOP")


def test_q56_a_signature_on_an_empty_last_part_is_that_of_the_text() -> None:
    deltas = read(text("a"), event({"text": "", "thoughtSignature": "c2ln"}, finishReason="STOP"))
    assert deltas == [TextDelta("a"), ReasoningSignature("c2ln", dialect="gemini"), STOPPED]


@pytest.mark.parametrize("part", [{"text": "", "thoughtSignature": "c2ln"}, {"thoughtSignature": "c2ln"}])
def test_q56_a_signature_before_any_text_opens_none(part: dict[str, Any]) -> None:
    deltas = read(event(part), text("a", finishReason="STOP"))
    assert deltas == [ReasoningSignature("c2ln", dialect="gemini"), TextDelta("a", block=1), STOPPED]


def test_q56_a_signature_stays_with_the_thought_or_the_text_that_it_stands_on() -> None:
    thought = {"text": "t", "thought": True, "thoughtSignature": "MQ=="}
    deltas = read(event(thought, {"text": "a", "thoughtSignature": "Mg=="}), STOP)
    assert deltas == [
        ReasoningDelta("t"), ReasoningSignature("MQ==", dialect="gemini"),
        TextDelta("a", block=1), ReasoningSignature("Mg==", block=1, dialect="gemini"), STOPPED,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [
        {"candidates": []}, {"candidates": None}, {"candidates": [None, 1]}, {"candidates": [{}]},
        {"candidates": [{"content": {}}]}, {"candidates": [{"content": {"role": "model"}}]},
        {"candidates": [{"content": {"parts": None}, "index": 0}]}, {"candidates": [{"content": {"parts": [1, {}]}}]},
        {"candidates": [{"content": None, "finishReason": ""}]}, {"candidates": "x"}, {},
        {"candidates": [{"finishReason": "FINISH_REASON_UNSPECIFIED"}]}, {"usageMetadata": {}},
        {"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}}, {"promptFeedback": {"safetyRatings": []}},
        {"modelVersion": "m", "responseId": "r"}, None, [], "", "[DONE]",
    ],
)  # fmt: skip
def test_q57_what_says_nothing_says_nothing(odd: Any) -> None:
    first = {"candidates": [{"content": {"parts": [{"text": "a"}]}}]}  # Vertex leaves out index 0
    assert read(odd, first, odd, STOP, odd) == [TextDelta("a"), STOPPED]


def test_q58_counts_that_are_missing_keep_the_earlier_ones() -> None:
    counts: list[dict[str, Any]] = [
        {"promptTokenCount": 5, "toolUsePromptTokenCount": 2, "cachedContentTokenCount": 1}, {},
        {"trafficType": "ON_DEMAND"}, {"thoughtsTokenCount": 3, "promptTokenCount": None},
        {"candidatesTokenCount": 4.0},
    ]  # fmt: skip
    deltas = read(*({**text("a"), "usageMetadata": each} for each in counts), {**STOP, "usageMetadata": {}})
    told = [delta for delta in deltas if isinstance(delta, Usage)]
    assert told[0] == Usage(input=7, cached_input=1)  # of the output nothing, as long as it grows
    raw = {**counts[0], "thoughtsTokenCount": 3, "candidatesTokenCount": 4.0}
    assert told[1:] == [Usage(input=7, output=7, cached_input=1, reasoning=3, raw=raw)]


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", None, []])
def test_counts_that_are_none_are_missing(count: Any) -> None:
    assert read({**STOP, "usageMetadata": {"promptTokenCount": count}}) == [STOPPED]


def test_usage_after_the_end_counts() -> None:
    late = {"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2}}
    assert read(text("a"), STOP, late)[-1] == Usage(input=1, output=2, raw=late["usageMetadata"])


def test_q59_parallel_calls_in_events_of_their_own_are_several() -> None:
    call = {"functionCall": {"name": "f", "args": {"a": 1}}}
    deltas = read({**event(call), "responseId": "r"}, {**event(call), "responseId": "r"}, STOP)
    started = [delta for delta in deltas if isinstance(delta, ToolCallStarted)]
    assert [(each.name, each.block) for each in started] == [("f", 0), ("f", 1)]
    assert started[0].id.startswith("call_")
    assert started[0].id != started[1].id
    assert [delta.block for delta in deltas if isinstance(delta, ToolCallEnded)] == [0, 1]
    assert deltas[-1] == Finished("tool_use", "STOP")


def test_an_id_that_comes_twice_is_made_unique() -> None:
    call = {"functionCall": {"id": "x", "name": "f"}}
    ids = [delta.id for delta in read(event(call, call), STOP) if isinstance(delta, ToolCallStarted)]
    assert ids[0] == "x"
    assert ids[1] != "x"


@pytest.mark.parametrize("args", [{}, None, "missing"])
def test_a_call_without_arguments_is_one_of_an_empty_object(args: Any) -> None:
    call = {"name": "f", "args": args} if args != "missing" else {"name": "f"}
    deltas = read(event({"functionCall": call}), STOP)
    assert deltas[1:] == [ToolCallDelta("{}"), ToolCallEnded(), Finished("tool_use", "STOP")]


def test_a_call_whose_arguments_are_text_keeps_them() -> None:
    assert ToolCallDelta('{"a": 1}') in read(event({"functionCall": {"name": "f", "args": '{"a": 1}'}}), STOP)


def grounding(*addresses: str, query: str = "q") -> dict[str, Any]:
    return {
        "webSearchQueries": [query],
        "groundingChunks": [{"web": {"uri": each, "title": "T"}} for each in addresses],
    }


@pytest.mark.parametrize("place", ["before", "with", "after"])
def test_q60_grounding_may_come_before_with_or_after_the_end(place: str) -> None:
    found = grounding("https://a.example", "https://b.example")
    events = {
        "before": [text("a", groundingMetadata=found), text("b", groundingMetadata={}), STOP],
        "with": [text("a"), text("b", groundingMetadata=found, finishReason="STOP")],
        "after": [text("a"), text("b", finishReason="STOP"), event(groundingMetadata=found)],
    }[place]
    deltas = read(*events)
    cited = [delta.data for delta in deltas if isinstance(delta, Citation)]
    assert [(each["url"], each["title"]) for each in cited] == [("https://a.example", "T"), ("https://b.example", "T")]
    assert cited[0]["groundingMetadata"] == found
    assert STOPPED in deltas


def test_q60_the_last_grounding_counts_and_no_source_is_told_twice() -> None:
    first, last = grounding("https://a.example"), grounding("https://a.example", "https://b.example", query="r")
    deltas = read(text("a", groundingMetadata=first), text("b", groundingMetadata=last, finishReason="STOP"),
                  event(groundingMetadata=last))  # fmt: skip
    assert [delta.data["url"] for delta in deltas if isinstance(delta, Citation)] == [
        "https://a.example", "https://b.example"
    ]  # fmt: skip


def test_grounding_without_sources_is_passed_on_whole() -> None:
    found = {"webSearchQueries": ["q"]}
    (kept,) = [
        delta for delta in read(text("a", groundingMetadata=found, finishReason="STOP")) if isinstance(delta, Opaque)
    ]
    assert kept.data == {"candidates": [{"index": 0, "groundingMetadata": found}]}


def test_a_source_of_an_unknown_kind_is_still_one() -> None:
    found = {"groundingChunks": [{"future": {"uri": "https://a.example"}}, 7]}
    (cited,) = [each for each in read(text("a", groundingMetadata=found), STOP) if isinstance(each, Citation)]
    assert cited.data["groundingChunk"] == found["groundingChunks"][0]


def test_an_id_that_comes_late_is_told_late() -> None:
    decoder = Decoder()
    for value in (text("a"), {"modelVersion": "m", "responseId": "r"}):
        last = decoder.feed(sse.Event(data=json.dumps(value)))
    assert last == [Started("r", "m")]


def test_a_prompt_blocked_after_the_end_changes_nothing() -> None:
    deltas = read(text("a"), STOP, {"promptFeedback": {"blockReason": "SAFETY"}, "modelStatus": {"stage": "x"}})
    assert deltas == [TextDelta("a"), STOPPED, Opaque("gemini", {"modelStatus": {"stage": "x"}})]


@pytest.mark.parametrize("name", ["citations", "citationSources"])
def test_quoted_sources_are_told_once(name: str) -> None:
    quote = {"startIndex": 0, "endIndex": 4, "uri": "https://a.example", "license": "mit"}
    deltas = read(text("a", citationMetadata={name: [quote]}), text("b", citationMetadata={name: [quote, 7]}), STOP)
    assert [delta for delta in deltas if isinstance(delta, Citation)] == [Citation(quote)]


def test_q61_a_result_of_code_without_output_is_kept_as_it_is() -> None:
    part = {"codeExecutionResult": {"outcome": "OUTCOME_OK"}}
    (kept, end) = read(event(part), STOP)
    assert kept == Opaque("gemini", {"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}]})
    assert end == STOPPED


def test_unknown_members_of_a_part_are_kept_beside_what_is_known() -> None:
    deltas = read(event({"text": "a", "partMetadata": {"k": 1}}), STOP)
    content = {"role": "model", "parts": [{"partMetadata": {"k": 1}}]}
    assert deltas == [TextDelta("a"), Opaque("gemini", {"candidates": [{"index": 0, "content": content}]}), STOPPED]


@pytest.mark.parametrize("whole", [False, True])
def test_q63_an_empty_answer_is_legal(whole: bool) -> None:
    value = {**STOP, "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 0}}
    deltas = decode_response(json.dumps(value).encode())[1:] if whole else read(value)
    assert deltas == [STOPPED, Usage(input=3, output=0, raw=value["usageMetadata"])]


REASONS = {
    "MAX_TOKENS": "length", "CONTINUATION": "length", "SAFETY": "content_filter", "RECITATION": "content_filter",
    "LANGUAGE": "content_filter", "BLOCKLIST": "content_filter", "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter", "IMAGE_SAFETY": "content_filter", "MODEL_ARMOR": "content_filter", "NEW_ONE": "unknown",
    "MALFORMED_FUNCTION_CALL": "error", "UNEXPECTED_TOOL_CALL": "error", "TOO_MANY_TOOL_CALLS": "error",
    "MALFORMED_RESPONSE": "error", "MISSING_THOUGHT_SIGNATURE": "error", "NO_IMAGE": "error", "OTHER": "unknown",
}  # fmt: skip


@pytest.mark.parametrize(("word", "reason"), REASONS.items())
def test_reasons(word: str, reason: Any) -> None:
    deltas = read(text("a"), event({"functionCall": {"name": "f"}}, finishReason=word))
    assert Finished(reason, word) in deltas  # a call does not change a reason that is none of success
    assert any(isinstance(delta, Failed) for delta in deltas) == (reason == "error")


def test_an_end_for_other_reasons_without_a_word_is_a_failure() -> None:
    deltas = read(event(finishReason="OTHER", finishMessage="No idea."))
    assert deltas[0] == Finished("error", "OTHER")
    assert Failed("OTHER", "No idea.", True) in deltas


def test_a_malformed_call_fails_in_the_providers_words() -> None:
    deltas = read(event(finishReason="MALFORMED_FUNCTION_CALL", finishMessage="Malformed function call: f("))
    assert Failed("MALFORMED_FUNCTION_CALL", "Malformed function call: f(", True) in deltas


def test_a_message_beside_the_end_is_kept() -> None:
    deltas = read(text("a"), event(finishReason="SAFETY", finishMessage="Blocked."))
    assert Opaque("gemini", {"candidates": [{"index": 0, "finishMessage": "Blocked."}]}) in deltas


def test_the_first_end_counts() -> None:
    assert [d for d in read(STOP, event(finishReason="SAFETY")) if isinstance(d, Finished)] == [STOPPED]


def test_one_of_two_candidates_unfinished_is_not_complete() -> None:
    deltas = read(text("a"), {"candidates": [{"content": {"parts": [{"text": "b"}]}, "index": 1}]}, STOP)
    assert isinstance(deltas[-1], Failed)


def test_a_blocked_prompt_is_told_with_its_ratings() -> None:
    feedback = {"blockReason": "SAFETY", "safetyRatings": [{"category": "X", "blocked": True}]}
    assert read({"promptFeedback": feedback}, {"promptFeedback": feedback}) == [
        Finished("content_filter", "promptFeedback:SAFETY"), Opaque("gemini", {"promptFeedback": feedback})
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "code", "status"),
    [
        ({"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}, "UNAVAILABLE", 503),
        ([{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}], "RESOURCE_EXHAUSTED", 429),
        ({"error": {"message": "x", "status": "INVALID_ARGUMENT"}}, "INVALID_ARGUMENT", 400),
        ({"error": {"message": "x", "status": "CANCELLED"}}, "CANCELLED", 499),
        ({"error": "x"}, "upstream_error", None),
        ({**text("b"), "error": {"message": "x"}}, "upstream_error", None),
        ({"message": "x"}, "upstream_error", None),
        ("<html><title>x</title>", "upstream_error", None),
    ],
)
def test_errors_in_every_shape(data: Any, code: str, status: int | None) -> None:
    deltas = read(text("a"), data, {"error": {"message": "another"}}, STOP)
    (failed,) = [delta for delta in deltas if isinstance(delta, Failed)]
    assert (failed.code, failed.message, failed.upstream_status) == (code, "x", status)


def test_an_event_named_error_is_one() -> None:
    assert isinstance(read({"reason": "x"}, kind="error")[0], Failed)
    assert read({"reason": "x"}, kind="news")[0] == Opaque("gemini", {"reason": "x"}, "news")


def test_a_limit_per_day_is_not_worth_waiting_for() -> None:
    violation = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}
    details = [7, {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [3, violation]}]
    body = {"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED", "details": details}}
    assert not DIALECT.describe_error(json.dumps(body).encode(), 429).retryable
    body["error"]["details"] = []
    assert DIALECT.describe_error(json.dumps([body]).encode(), 429).retryable


def test_halves_of_a_character_in_two_events_are_joined() -> None:
    halves = [
        '{"candidates":[{"content":{"parts":[{"text":"a\\ud83c"}]}}]}',
        '{"candidates":[{"content":{"parts":[{"text":"\\udf0a"}]}}]}',
    ]
    assert read(*halves, STOP) == [TextDelta("a"), TextDelta("🌊"), STOPPED]
    assert read(halves[0], STOP) == [TextDelta("a"), TextDelta("\ufffd"), STOPPED]
    lone = '{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f\\ud83c","args":{"\\ud83c":"\\udf0a"}}}]}}]}'
    deltas = read(lone, STOP)
    assert isinstance(deltas[0], ToolCallStarted)
    assert (deltas[0].name, deltas[1]) == ("f\ufffd", ToolCallDelta('{"\ufffd":"\ufffd"}'))
    found = (
        '{"candidates":[{"groundingMetadata":{"groundingChunks":[{"web":{"uri":"\\ud83c"}}]},"finishReason":"STOP"}]}'
    )
    assert isinstance(read(found)[0], Citation)


def test_log_probabilities_are_in_the_shape_that_everybody_has() -> None:
    result = {
        "chosenCandidates": [{"token": "a", "tokenId": 7, "logProbability": -0.5}, 3, {"token": "b"}],
        "topCandidates": [
            {"candidates": [{"token": "a", "logProbability": -0.5}, {"token": "c", "logProbability": -1}]}
        ],
    }
    (logprobs,) = [delta for delta in read(text("ab", logprobsResult=result), STOP) if isinstance(delta, Logprobs)]
    assert logprobs.content is not None
    first = {"token": "a", "logprob": -0.5, "bytes": None, "token_id": 7}
    assert logprobs.content[0].items() >= first.items()
    assert [each["token"] for each in logprobs.content[0]["top_logprobs"]] == ["a", "c"]
    assert logprobs.content[1] == {"token": "b", "logprob": 0.0, "bytes": None, "top_logprobs": []}


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>busy</html>", b'{"usageMetadata":{}}', b"nonsense"])
def test_a_whole_answer_that_is_none_is_a_failure(body: bytes) -> None:
    assert any(isinstance(delta, Failed) for delta in decode_response(body))


def test_a_whole_answer_that_does_not_say_why_it_ended_is_complete() -> None:
    deltas = decode_response(json.dumps([text("a"), event({"functionCall": {"name": "f"}})]).encode())
    assert deltas[-1] == Finished("tool_use", None)
    assert decode_response(json.dumps(text("a")).encode())[-1] == Finished("unknown", None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([
            "candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name", "args",
            "partialArgs", "jsonPath", "stringValue", "willContinue", "finishReason", "index", "usageMetadata", "error",
            "groundingMetadata", "groundingChunks", "web", "uri", "citationMetadata", "citations", "promptFeedback",
            "blockReason", "logprobsResult", "chosenCandidates", "promptTokenCount", "safetyRatings", "details",
        ]), inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.untraced
@settings(deadline=None)
@given(st.lists(json_values, max_size=4), st.lists(json_values, max_size=3))
def test_nothing_that_is_said_raises(values: list[Any], parts: list[Any]) -> None:
    decoder, fold, encoder = Decoder(), Transcript(), DIALECT.encoder("st_1", 1.0, "m")
    for value in [*values, {"candidates": values}, event(*parts), {"candidates": [{"content": {"parts": values}}]}]:
        for delta in decoder.feed(sse.Event(data=json.dumps(value))):
            fold.apply(delta)
            encoder.feed(delta)
    for delta in decoder.close():
        fold.apply(delta)
    DIALECT.encoder("st_1", 1.0, "m").prefix(fold)
    decode_response(json.dumps(values).encode())


def test_an_event_nested_too_deep_is_passed_on() -> None:
    assert isinstance(read("[" * 100_000)[0], Opaque | Failed)
