"""Responses events as deltas: calls, thoughts, what is unknown, what is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dialects.responses_wire import STOP, args, call, done, ev, run, text

from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Opaque,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.openai_responses.dialect import DIALECT, Decoder
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Fold = Callable[[list[Delta]], Transcript]


def test_calls_at_one_index_are_as_many_as_their_ids(fold: Fold) -> None:
    deltas = run(
        call(id="a"), args('{"a":1}'), call(id="b"), args('{"b":2}'), call(step="done", id="b", arguments='{"b":2}'),
        call(id="c"), call(step="done", id="d", arguments="{}"), done(),
    )  # fmt: skip
    calls = fold(deltas).choice().tool_calls.values()
    assert [(each.id, each.arguments, each.ended) for each in calls] == [
        ("a", '{"a":1}', True), ("b", '{"b":2}', True), ("c", "{}", True)
    ]  # fmt: skip


def test_a_call_without_an_id_gets_one_and_repeated_ids_are_made_unique(fold: Fold) -> None:
    started = ev("created", response={"id": "resp_1"})
    nameless = {"type": "function_call", "arguments": "{}"}
    deltas = run(started, ev("output_item.done", output_index=0, item=nameless), call(1), call(2), done())
    ids = [delta.id for delta in deltas if isinstance(delta, ToolCallStarted)]
    assert len(set(ids)) == 3
    assert ids[1] == "call_1"


def test_a_call_whose_end_was_left_out_ends_with_the_response_if_it_is_whole(fold: Fold) -> None:
    whole = fold(run(call(), args('{"a":1}'), done())).choice()
    assert [each.ended for each in whole.tool_calls.values()] == [True]
    cut = fold(run(call(), args('{"a":'), done())).choice()
    assert [each.ended for each in cut.tool_calls.values()] == [False]
    assert cut.reason == "tool_use"
    late = fold(run(call(status="in_progress"), call(step="done", status="in_progress", arguments="{}"), done()))
    assert [each.ended for each in late.choice().tool_calls.values()] == [True]


def test_a_stream_that_breaks_off_in_a_call_never_ends_it() -> None:
    deltas = run(call(), args('{"a":1}'))
    assert [type(delta) for delta in deltas] == [ToolCallStarted, ToolCallDelta, Failed]


def test_a_call_of_a_custom_tool_is_no_functions_call_but_it_is_a_call() -> None:
    item = {"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "sql", "input": "SELECT 1"}
    events = [
        ev("output_item.added", output_index=0, item=item),
        ev("custom_tool_call_input.delta", output_index=0, delta="SELECT 1"),
        ev("output_item.done", output_index=0, item=item),
    ]
    deltas = run(*events, done(output=[item]))
    assert deltas == [
        *(Opaque("openai.responses", event, event["type"]) for event in events), Finished("tool_use", "completed")
    ]  # fmt: skip


def test_arguments_after_the_end_of_a_call_are_ignored() -> None:
    before = [call(), call(step="done", arguments="{}")]
    late = [args("{}"), ev("function_call_arguments.done", output_index=0, arguments="{}{}")]
    assert run(*before, *late, done()) == run(*before, done())


# ---------------------------------------------------------------------------------------------- the rest


def test_thoughts_and_their_summaries_are_paragraphs() -> None:
    deltas = run(
        ev("reasoning_summary_part.added", output_index=0, summary_index=0, part={"type": "summary_text", "text": ""}),
        ev("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="A"),
        ev("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="B"),
        ev("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="C"),
        ev("reasoning_text.done", output_index=1, content_index=0, text="D"),
        done(),
    )
    assert deltas == [
        ReasoningDelta("A"), ReasoningDelta("\n\nB"), ReasoningDelta("C"), ReasoningDelta("D", 0, 1), STOP
    ]  # fmt: skip


def test_a_refusal_without_words_is_a_refusal() -> None:
    part = {"type": "refusal", "refusal": ""}
    assert run(ev("content_part.added", part=part), done()) == [Finished("refusal", "completed")]
    assert run(done(output=[{"type": "message", "content": [part]}])) == [Finished("refusal", "completed")]
    assert run(ev("refusal.delta", delta="No"), done()) == [RefusalDelta("No"), Finished("refusal", "completed")]


def test_an_event_may_lack_its_type_if_it_has_a_name() -> None:
    decoder = Decoder()
    named = sse.Event("response.output_text.delta", '{"output_index":0,"delta":"a"}')
    assert decoder.feed(named) == [TextDelta("a")]


def test_halves_of_characters_are_joined_or_replaced(fold: Fold) -> None:
    events = [
        '{"type":"response.output_text.delta","output_index":0,"delta":"a\\ud83c"}',
        '{"type":"response.output_text.delta","output_index":0,"delta":"\\udf0a"}',
        '{"type":"response.output_text.delta","output_index":0,"delta":"\\ud83c"}',
    ]
    assert fold(run(*events)).choice().text == "a🌊\ufffd"
    assert fold(run(*events, done())).choice().text == "a🌊\ufffd"
    final = '{"type":"response.output_text.done","output_index":0,"text":"a\\ud83c\\udf0a\\ud83c\\udf0a"}'
    assert fold(run(*events, final, done())).choice().text == "a🌊🌊"
    torn = '{"type":"error","code":"x","message":"\\ud83c"}'
    (failure,) = run(torn)
    assert isinstance(failure, Failed)
    assert failure.message == "\ufffd"
    (ended,) = run('{"type":"response.failed","response":{"error":{"code":"x","message":"\\ud83c"}}}')
    assert isinstance(ended, Failed)
    assert ended.message == "\ufffd"


def test_azures_filters_are_told_if_they_found_something() -> None:
    clean = {"blocked": False, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}
    hit = {"blocked": False, "content_filter_results": {"hate": {"filtered": True, "severity": "high"}}}
    blocked = {"blocked": True}
    assert run(done(content_filters=[clean])) == [STOP]
    (opaque, _) = run(done(content_filters=[clean, hit, blocked, None]))
    assert opaque == Opaque(
        "openai.responses", {"response": {"content_filters": [hit, blocked]}}, "response.completed"
    )  # fmt: skip


def test_unknown_events_items_and_parts_are_passed_on_whole() -> None:
    for event in (
        ev("mcp_call.failed", output_index=2, item_id="mcp_1", error="not ours"),
        ev("something.new", data=[1]),
        ev("output_item.added", output_index=0),
        ev("output_item.done", output_index=0, item={"type": "compaction", "encrypted_content": "x"}),
        ev("content_part.added", output_index=0, part={"type": "hologram"}),
        ev("audio.delta", delta="UklGRg=="),
    ):
        assert run(event, closed=False) == [Opaque("openai.responses", event, event["type"])]
    assert run([1, 2], closed=False) == [Opaque("openai.responses", [1, 2])]
    assert run({}, "null", "", closed=False) == []


def test_usage_counts_what_was_cached_and_what_was_thought() -> None:
    raw = {
        "input_tokens": 80, "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 3},
        "output_tokens": 44.0, "output_tokens_details": {"reasoning_tokens": 20}, "total_tokens": 124,
    }  # fmt: skip
    (usage, _) = run(done(usage=raw))
    assert usage == Usage(80, 44, 64, 3, 20, raw)
    assert run(done(usage={"input_tokens": -1, "output_tokens": True})) == [STOP]


def test_a_citation_before_its_text_has_the_texts_block() -> None:
    deltas = run(ev("output_text.annotation.added", annotation={"url": "u"}), text("a"), done())
    assert deltas == [Citation({"url": "u"}), TextDelta("a"), STOP]
    assert run(ev("output_text.annotation.added", annotation=None), done()) == [STOP]


def test_bodies_that_are_no_answer_are_failures_and_those_that_go_on_are_not() -> None:
    (failure,) = DIALECT.decode_response(b'{"error":{"message":"x","type":"server_error"}}')
    assert isinstance(failure, Failed)
    for odd in (b"", b"<html>", b"[]", b"[" * 100_000, b'{"output":1}'):
        assert isinstance(DIALECT.decode_response(odd)[0], Failed)
    queued = DIALECT.decode_response(b'{"id":"resp_1","object":"response","status":"queued","output":[]}')
    assert queued == [Started("resp_1"), Finished("unknown", "queued")]


def test_deep_nesting_is_opaque() -> None:
    deep = '{"type":"response.x","a":' + "[" * 100_000 + "]" * 100_000 + "}"
    assert isinstance(run(deep, closed=False)[0], Opaque)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "id", "text"]), inner),
    max_leaves=4,
)
_KINDS = [
    "created", "completed", "incomplete", "failed", "output_item.added", "output_item.done", "content_part.added",
    "content_part.done", "reasoning_summary_part.done", "output_text.delta", "output_text.done", "refusal.delta",
    "reasoning_summary_text.delta", "reasoning_text.done", "output_text.annotation.added",
    "function_call_arguments.delta", "function_call_arguments.done",
]  # fmt: skip
_TYPES = ["message", "reasoning", "function_call", "custom_tool_call", "web_search_call"]
_ITEMS = _VALUES | st.fixed_dictionaries({"type": st.sampled_from(_TYPES)}, optional={
    "id": _VALUES, "call_id": _VALUES, "name": _VALUES, "arguments": _VALUES, "status": _VALUES, "summary": _VALUES,
    "content": _VALUES, "encrypted_content": _VALUES,
})  # fmt: skip
_EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(_KINDS).map(lambda kind: f"response.{kind}")},
    optional={
        "output_index": _VALUES, "content_index": _VALUES, "summary_index": _VALUES, "delta": _VALUES, "text": _VALUES,
        "arguments": _VALUES, "part": _VALUES, "item": _ITEMS, "annotation": _VALUES, "logprobs": _VALUES,
        "response": _VALUES
        | st.fixed_dictionaries({"output": st.lists(_ITEMS, max_size=3), "status": _VALUES, "usage": _VALUES}),
    },
)  # fmt: skip


@pytest.mark.untraced
@given(st.lists(_EVENTS, max_size=8))
def test_no_event_makes_the_decoder_raise_or_say_what_does_not_fold(events: list[Any]) -> None:
    fold = Transcript()
    for delta in run(*events):
        fold.apply(delta)
    encoder = DIALECT.encoder("st_1", 1.0, "m")
    for delta in run(*events):
        encoder.feed(delta)
