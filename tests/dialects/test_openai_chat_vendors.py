"""The servers that are compatible with OpenAI's chat (reference, section 7), and what each does in its own way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.dialects.base import Dialect, Mark
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    Started,
    TextDelta,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.openai_chat.dialect import DIALECT
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Feed = Callable[..., list[Delta]]
Chunk = Callable[..., dict[str, Any]]
Fold = Callable[[list[Delta]], Transcript]
Make = Callable[..., dict[str, Any]]
Body = Callable[[str], bytes]
Read = Callable[[Dialect, bytes], list[Delta]]


def said(deltas: list[Delta]) -> list[Delta]:
    return [delta for delta in deltas if not isinstance(delta, Started)]


def test_q16_three_fields_one_of_them_a_list(feed: Feed, chunk: Chunk) -> None:
    details = [{"type": "reasoning.text", "text": "Hm", "signature": "S", "index": 0}]
    deltas = said(feed(chunk({"reasoning_content": "", "reasoning": "Hm", "reasoning_details": details}), "[DONE]"))
    assert deltas[:-1] == [ReasoningDelta("Hm"), ReasoningSignature("S", dialect="openai.chat")]


def test_reasoning_that_is_only_in_the_details(feed: Feed, chunk: Chunk) -> None:
    details = [
        {"type": "reasoning.summary", "summary": "Short", "format": "x", "index": 0},
        {"type": "reasoning.encrypted", "data": "abc", "id": "e1"},
    ]
    deltas = said(feed(chunk({"reasoning": None, "reasoning_details": details}), "[DONE]"))
    opaque = {"choices": [{"index": 0, "delta": {"reasoning_details": [details[1]]}}]}
    assert deltas[:-1] == [ReasoningDelta("Short"), Opaque("openai.chat", opaque)]


def test_litellm_thinking_blocks_bring_the_signature(feed: Feed, chunk: Chunk) -> None:
    block = {"type": "thinking", "thinking": "Hm", "signature": "S"}
    deltas = said(feed(chunk({"reasoning_content": "Hm", "thinking_blocks": [block]}), "[DONE]"))
    assert deltas[:-1] == [ReasoningDelta("Hm"), ReasoningSignature("S", dialect="openai.chat")]


def test_q17_azures_first_chunk_is_opaque(feed: Feed) -> None:
    value = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{"a": 1}]}
    assert feed(value, "[DONE]") == [Opaque("openai.chat", {"prompt_filter_results": [{"a": 1}]})]


def test_q20_mistrals_arrays_mixed_with_text(feed: Feed, chunk: Chunk, fold: Fold) -> None:
    thinking = {
        "type": "thinking",
        "thinking": [{"type": "text", "text": "Hm"}, {"type": "reference", "reference_ids": [1]}],
    }
    signed = {"type": "thinking", "thinking": "ok", "signature": "S", "closed": True}
    image = {"type": "image_url", "image_url": "x"}
    odd = {"type": "thinking", "thinking": [], "budget": 3}
    text = {"type": "text", "text": "a"}
    deltas = feed(chunk({"content": [thinking, signed, text, image, odd, "?"]}), chunk({"content": "b"}), "[DONE]")
    choice = fold(deltas).choice()
    assert (choice.reasoning, choice.text, choice.signatures) == ("Hmok", "ab", ["S"])
    assert [citation.data for citation in choice.citations] == [{"type": "reference", "reference_ids": [1]}]
    (opaque,) = [delta for delta in deltas if isinstance(delta, Opaque)]
    assert opaque.data["choices"][0]["delta"] == {"content": [image, odd, "?"]}


def test_filter_results_are_kept_when_they_say_something(feed: Feed, chunk: Chunk) -> None:
    safe = {"hate": {"filtered": False, "severity": "safe"}, "jailbreak": {"detected": False}}
    hit = {**safe, "violence": {"filtered": True}}
    broken = {"error": {"code": "content_filter_error"}}
    deltas = feed(*(chunk({"content": "a"}, content_filter_results=it) for it in (safe, hit, broken, 5)), "[DONE]")
    kept = [delta.data["choices"][0]["content_filter_results"] for delta in deltas if isinstance(delta, Opaque)]
    assert kept == [hit, broken, 5]


def test_openrouters_error_chunk_finishes_and_fails(feed: Feed, chunk: Chunk) -> None:
    value = {**chunk({"content": ""}, finish_reason="error"), "error": {"code": 502, "message": "it broke"}}
    deltas = said(feed(chunk({"content": "a"}), value))
    assert deltas[1:] == [
        Finished("error", "error"), Failed("server_error", "it broke", True, 502, value["error"]),
    ]  # fmt: skip


# ---------------------------------------------------------------------- Azure


def test_azures_asynchronous_filter_speaks_late_and_changes_nothing(body: Body, read: Read, fold: Fold) -> None:
    """Chunks without a delta, an id or a model, the last of them after the finish chunk."""
    deltas = read(DIALECT, body("azure/async-filter.sse"))
    filters = [delta for delta in deltas if isinstance(delta, Opaque)]
    assert [list(delta.data) for delta in filters] == [["prompt_filter_results"], ["choices"], ["choices"]]
    offsets = [delta.data["choices"][0]["content_filter_offsets"]["check_offset"] for delta in filters[1:]]
    assert offsets == [44, 506]
    folded = fold(deltas)
    assert folded.started is not None
    assert (folded.started.model, folded.choice().text, folded.choice().reason) == ("gpt-5.4", "Quick", "stop")


def test_azures_words_for_a_blocked_prompt_and_for_its_gateway() -> None:
    blocked = {"code": "content_filter", "param": "prompt", "status": 400, "innererror": {"code": "Responsible"}}
    failure = DIALECT.describe_error(json.dumps({"error": blocked}).encode(), 400)
    assert (failure.code, failure.retryable, failure.raw) == ("content_filter", False, blocked)
    busy = DIALECT.describe_error(b'{"error":{"code":"429","message":"later"}}', 429)
    assert (busy.code, busy.message, busy.retryable) == ("rate_limit_exceeded", "later", True)
    gone = DIALECT.describe_error(b'{"statusCode":404,"message":"Resource not found"}', 404)
    assert (gone.code, gone.message) == ("not_found", "Resource not found")


# ---------------------------------------------------------------------- Groq


def test_groqs_error_in_its_corner_stops_the_stream(feed: Feed, chunk: Chunk) -> None:
    """``x_groq.error`` is a string beside an ordinary chunk, which OpenAI's SDK does not raise."""
    value = {**chunk({"content": "a"}), "x_groq": {"id": "req_1", "error": "over capacity"}}
    deltas = said(feed(value, "[DONE]"))
    assert deltas == [
        TextDelta("a"),
        Failed("upstream_error", "over capacity", True, None, "over capacity"),
    ]
    wire = b"data: " + json.dumps({**chunk({}), "x_groq": {"error": "over capacity"}}).encode() + b"\n\n"
    assert DIALECT.scan(wire) & Mark.SWALLOWED


def test_groqs_executed_tools_and_thoughts(feed: Feed, chunk: Chunk, fold: Fold) -> None:
    tool = {"index": 0, "type": "search", "arguments": "{}", "output": "x"}
    deltas = feed(
        chunk({"reasoning": "Hm"}), chunk({"executed_tools": [tool]}), chunk({"content": "<think>a"}), "[DONE]"
    )
    assert [delta.data["choices"][0]["delta"] for delta in deltas if isinstance(delta, Opaque)] == [
        {"executed_tools": [tool]}
    ]
    choice = fold(deltas).choice()
    assert (choice.reasoning, choice.text, choice.tool_calls) == ("Hm", "<think>a", {})


def test_groqs_times_stand_in_its_usage_and_the_usage_in_two_places(body: Body, read: Read, fold: Fold) -> None:
    usage = fold(read(DIALECT, body("groq/reasoning-usage.sse"))).usage
    assert usage is not None
    assert (usage.input, usage.output) == (45, 12)
    assert usage.raw is not None
    assert usage.raw["queue_time"] == 0.021


def test_groqs_error_event_says_its_status_inside() -> None:
    error = {"message": "bad call", "type": "invalid_request_error", "code": "tool_use_failed", "status_code": 400}
    (failure,) = DIALECT.decoder().feed(sse.Event("error", json.dumps({"error": error})))
    assert isinstance(failure, Failed)
    assert (failure.code, failure.upstream_status, failure.retryable) == ("tool_use_failed", 400, False)


# ---------------------------------------------------------------------- vLLM, SGLang


def test_sglangs_abort_is_a_failure(feed: Feed, chunk: Chunk) -> None:
    deltas = said(feed(chunk({"content": "a"}), chunk(finish_reason="abort"), "[DONE]"))
    assert deltas[1] == Finished("error", "abort")
    assert isinstance(deltas[2], Failed)


def test_vllms_continuous_usage_counts_up(body: Body, read: Read) -> None:
    deltas = read(DIALECT, body("vllm/tool-call-continuous-usage.sse"))
    assert [delta.output for delta in deltas if isinstance(delta, Usage)] == [0, 5, 8, 11, 11]


def test_vllms_own_members_are_nothing_while_null_and_kept_when_not(feed: Feed, chunk: Chunk) -> None:
    null = chunk({"content": "a"}, token_ids=None, stop_reason=None)
    stopped = chunk({}, finish_reason="stop", stop_reason="###")
    deltas = said(feed(null, stopped, "[DONE]"))
    stop_text = Opaque("openai.chat", {"choices": [{"index": 0, "stop_reason": "###"}]})
    assert deltas == [TextDelta("a"), Finished("stop", "stop"), stop_text]


def test_vllms_done_after_an_error_makes_nothing_whole(body: Body, read: Read) -> None:
    deltas = said(read(DIALECT, body("vllm/error-mid-stream.sse")))
    assert [type(delta) for delta in deltas] == [TextDelta, Failed]


# ---------------------------------------------------------------------- llama.cpp


def test_llamacpps_timings_are_kept_and_its_pings_are_not(body: Body, read: Read) -> None:
    wire = body("llamacpp/reasoning-timings-pings.sse")
    assert wire.endswith(b"data: [DONE]\n")  # nor has it a blank line in the end
    deltas = read(DIALECT, wire)
    assert [list(delta.data) for delta in deltas if isinstance(delta, Opaque)] == [["timings"]]
    assert not any(isinstance(delta, Failed) for delta in deltas)


def test_llamacpps_progress_and_timings_in_each_chunk_are_said_again_as_they_change(feed: Feed, chunk: Chunk) -> None:
    chunks = [{**chunk({"content": text}), "timings": {"predicted_n": n}} for text, n in (("a", 1), ("b", 1), ("c", 2))]
    deltas = said(feed({**chunk({}), "prompt_progress": {"total": 9}}, *chunks, "[DONE]"))
    told = [delta.data for delta in deltas if isinstance(delta, Opaque)]
    assert told == [{"prompt_progress": {"total": 9}}, {"timings": {"predicted_n": 1}}, {"timings": {"predicted_n": 2}}]


# ---------------------------------------------------------------------- OpenRouter


def test_openrouters_details_keep_their_signature_and_their_comments_say_nothing(body: Body, read: Read) -> None:
    deltas = said(read(DIALECT, body("openrouter/reasoning-details-comments.sse")))
    assert deltas[:4] == [
        ReasoningDelta("Let me"), ReasoningDelta(" see"), ReasoningSignature("SigOR==", dialect="openai.chat"),
        TextDelta("Yes", block=1),
    ]  # fmt: skip


def test_openrouters_second_finish_with_its_usage(feed: Feed, chunk: Chunk, fold: Fold) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.1}
    first = chunk({"role": "assistant", "content": ""}, finish_reason="tool_calls", native_finish_reason="tool_use")
    second = {**chunk({"role": "assistant", "content": ""}, finish_reason="stop"), "usage": usage}
    folded = fold(feed(chunk({"content": "a"}), first, second, "[DONE]"))
    assert (folded.choice().reason, folded.choice().native_reason) == ("tool_use", "tool_calls")
    assert folded.usage is not None
    assert (folded.usage.output, folded.usage.raw) == (4, usage)


def test_openrouters_error_before_any_token_comes_with_status_200(feed: Feed) -> None:
    error = {"code": 402, "message": "no credits", "metadata": {"provider_name": "X"}}
    (failure,) = feed({"error": error})
    assert isinstance(failure, Failed)
    assert (failure.code, failure.upstream_status, failure.retryable) == ("billing_error", 402, False)


# ---------------------------------------------------------------------- DeepSeek


def test_deepseeks_two_members_of_which_one_is_null(body: Body, read: Read) -> None:
    deltas = read(DIALECT, body("deepseek/reasoning.sse"))
    blocks = [(type(delta), delta.block) for delta in deltas if isinstance(delta, TextDelta | ReasoningDelta)]
    assert set(blocks) == {(ReasoningDelta, 0), (TextDelta, 1)}


def test_deepseeks_cache_counts(feed: Feed, chunk: Chunk, fold: Fold) -> None:
    counts = {
        "prompt_tokens": 30,
        "completion_tokens": 2,
        "prompt_cache_hit_tokens": 20,
        "prompt_cache_miss_tokens": 10,
    }
    usage = fold(feed({**chunk(finish_reason="stop"), "usage": counts}, "[DONE]")).usage
    assert usage is not None
    assert (usage.input, usage.cached_input) == (30, 20)


# ---------------------------------------------------------------------- Mistral


def test_mistrals_name_comes_late_and_empty_again(feed: Feed, chunk: Chunk, call: Make, fold: Fold) -> None:
    entries = [call(0, "null", "", ""), call(0, "c1", "f", '{"x"'), call(0, "null", "", ":1}")]
    folded = fold(feed(*(chunk({"tool_calls": [entry]}) for entry in entries), chunk(finish_reason="tool_calls")))
    (only,) = folded.choice().tool_calls.values()
    assert (only.id, only.name, only.arguments, only.ended) == ("c1", "f", '{"x":1}', True)


def test_mistrals_calls_without_type_or_index_in_the_finish_chunk(body: Body, read: Read, fold: Fold) -> None:
    choice = fold(read(DIALECT, body("mistral/tool-call.sse"))).choice()
    calls = [(call.id, call.name, call.ended) for call in choice.tool_calls.values()]
    assert calls == [("mExampl01", "weather", True), ("mExampl02", "now", True)]


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b'{"object":"error","message":"no","type":"invalid","param":null,"code":"3051"}', 400, "invalid", "no"),
        (b'{"detail":[{"loc":["body"],"msg":"field required"}]}', 422, "upstream_error", "field required"),
        (b'{"message":"Unauthorized","request_id":"r"}', 401, "invalid_api_key", "Unauthorized"),
    ],
)
def test_mistrals_errors_before_the_stream(body: bytes, status: int, code: str, message: str) -> None:
    failure = DIALECT.describe_error(body, status)
    assert (failure.code, failure.retryable) == (code, False)
    assert message in failure.message


# ---------------------------------------------------------------------- xAI


def test_xais_reasoning_is_counted_beside_its_output_and_its_citations_once(body: Body, read: Read, fold: Fold) -> None:
    folded = fold(read(DIALECT, body("xai/reasoning-tool-call.sse")))
    assert folded.usage is not None
    assert (folded.usage.input, folded.usage.output, folded.usage.reasoning) == (310, 190, 166)
    assert [citation.data["url_citation"]["url"] for citation in folded.choice().citations] == ["https://example.com/x"]
    assert folded.choice().reason == "tool_use"


def test_xais_error_is_two_sentences(feed: Feed) -> None:
    value = {"code": "The service is down", "error": "upstream timed out"}
    (failure,) = feed(value)
    assert failure == Failed("upstream_error", "upstream timed out", True, None, value)


# ---------------------------------------------------------------------- Gemini through /v1beta/openai


def test_geminis_signature_of_a_call_belongs_to_the_call(feed: Feed, chunk: Chunk, call: Make) -> None:
    """No index, no id, the call whole, and a signature that must come back with it."""
    entries = [
        {**call(None, "", name, '{"x":1}'), "extra_content": {"google": {"thought_signature": sig}}}
        for name, sig in (("f", "S1"), ("g", "S2"))
    ]
    for more in ({}, {"moderation": 1}):  # a plain chunk, and one that is read in full
        value = {**chunk({"role": "assistant", "tool_calls": entries}), **more}
        deltas = feed(value, chunk(finish_reason="stop"), "[DONE]")
        signed = [delta for delta in deltas if isinstance(delta, ReasoningSignature)]
        assert signed == [ReasoningSignature("S1", 0, 0, "gemini"), ReasoningSignature("S2", 0, 1, "gemini")]
        assert [delta for delta in deltas if isinstance(delta, Finished)] == [Finished("tool_use", "stop")]
        assert not any(isinstance(delta, Opaque) for delta in deltas if not more)


def test_geminis_signature_may_come_before_the_name_and_after_the_call(feed: Feed, chunk: Chunk, call: Make) -> None:
    extra = {"extra_content": {"google": {"thought_signature": "S"}}}
    early = [{**call(0, "a"), **extra}, call(0, None, "f", "{}")]
    late = [call(0, "a", "f", "{}"), {**call(0), **extra}, {**call(0), **extra}]
    for entries in (early, late):
        deltas = said(feed(*(chunk({"tool_calls": [entry]}) for entry in entries), "[DONE]"))
        assert deltas.count(ReasoningSignature("S", 0, 0, "gemini")) == 1
        assert deltas[0] == ToolCallStarted("a", "f")
    deltas = said(feed(chunk({"tool_calls": late[:1]}), chunk(finish_reason="stop"), chunk({"tool_calls": late[1:]})))
    assert deltas[-1] == ReasoningSignature("S", 0, 0, "gemini")


def test_geminis_thoughts_and_their_signature_in_extra_content(feed: Feed, chunk: Chunk) -> None:
    thought = {"content": "Hm", "extra_content": {"google": {"thought": True}}}
    signed = {"content": "a", "extra_content": {"google": {"thought_signature": "S"}}}
    odd = {"content": "b", "extra_content": {"google": {"thought_signature": 7}}}
    deltas = said(feed(chunk(thought), chunk(signed), chunk(odd), chunk({"extra_content": 5}), "[DONE]"))
    assert deltas[:4] == [
        ReasoningDelta("Hm"), TextDelta("a", block=1), ReasoningSignature("S", 0, 0, "gemini"), TextDelta("b", block=1),
    ]  # fmt: skip
    kept = [delta.data["choices"][0]["delta"] for delta in deltas if isinstance(delta, Opaque)]
    assert kept == [{"extra_content": {"google": {"thought_signature": 7}}}, {"extra_content": 5}]


def test_geminis_errors_are_wrapped_in_an_array(feed: Feed) -> None:
    error = {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}
    for failure in (*feed([{"error": error}]), DIALECT.describe_error(json.dumps([{"error": error}]).encode(), 429)):
        assert isinstance(failure, Failed)
        assert (failure.code, failure.message, failure.retryable) == ("RESOURCE_EXHAUSTED", "slow down", True)


# ---------------------------------------------------------------------- bridges (LiteLLM)


def test_litellms_bridges_count_calls_from_1_and_send_arguments_as_objects(
    feed: Feed, chunk: Chunk, fold: Fold
) -> None:
    entry = {"index": 1, "id": "c1", "type": None, "function": {"name": "f", "arguments": {"x": 1}}}
    folded = fold(feed(chunk({"tool_calls": [entry], "role": "assistant"}), chunk(finish_reason="stop"), "[DONE]"))
    (only,) = folded.choice().tool_calls.values()
    assert (only.id, only.arguments, folded.choice().reason) == ("c1", '{"x":1}', "tool_use")
