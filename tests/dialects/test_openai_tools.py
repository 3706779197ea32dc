"""Tool calls in fragments (reference, Q36 to Q47), one test for each way in which servers send them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    Opaque,
    Started,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.dialects.openai_chat.dialect import Decoder
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Feed = Callable[..., list[Delta]]
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def calls(
    feed: Feed, chunk: Make, fold: Callable[[list[Delta]], Transcript]
) -> Callable[..., list[tuple[str, str, str]]]:
    """(id, name, arguments) of the calls in chunks of one entry each, ended with *finish*; ids of ours are ``*``."""

    def run(*entries: Any, finish: str = "tool_calls") -> list[tuple[str, str, str]]:
        chunks = [chunk({"tool_calls": entry if isinstance(entry, list) else [entry]}) for entry in entries]
        folded = fold(feed(*chunks, chunk(finish_reason=finish), "[DONE]"))
        assert folded.failed is None
        assert all(call.ended for call in folded.choice().tool_calls.values())
        assert folded.choice().reason == "tool_use"
        made = "call_"
        return [
            ("*" if call.id.startswith(made) and len(call.id) == 29 else call.id, call.name, call.arguments)
            for call in folded.choice().tool_calls.values()
        ]

    return run


def said(deltas: list[Delta]) -> list[Delta]:
    return [delta for delta in deltas if not isinstance(delta, Started)]


def test_openais_own_way(feed: Feed, chunk: Make, call: Make) -> None:
    entries = [call(0, "a", "f", ""), call(0, args='{"x"'), call(0, args=":1}"), call(1, "b", "g", "{}")]
    deltas = said(
        feed(*(chunk({"tool_calls": [entry]}) for entry in entries), chunk(finish_reason="tool_calls"), "[DONE]")
    )
    assert deltas == [
        ToolCallStarted("a", "f", 0, 0), ToolCallDelta('{"x"', 0, 0), ToolCallDelta(":1}", 0, 0),
        ToolCallStarted("b", "g", 0, 1), ToolCallDelta("{}", 0, 1),
        ToolCallEnded(0, 0), ToolCallEnded(0, 1), Finished("tool_use", "tool_calls"),
    ]  # fmt: skip


def test_fragments_of_parallel_calls_interleave_by_index(calls: Callable[..., Any], call: Make) -> None:
    entries = [call(0, "a", "f", '{"x":'), call(1, "b", "g", '{"y":'), call(0, args="1}"), call(1, args="2}")]
    assert calls(*entries) == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


def test_text_after_a_call_is_a_block_of_its_own(feed: Feed, chunk: Make, call: Make) -> None:
    deltas = said(
        feed(chunk({"content": "a"}), chunk({"tool_calls": [call(0, "x", "f", "{}")]}), chunk({"content": "b"}))
    )
    assert [getattr(delta, "block", None) for delta in deltas[:4]] == [0, 1, 1, 2]


def test_q36_index_missing_by_id_then_by_name_then_the_last(calls: Callable[..., Any], call: Make) -> None:
    entries = [
        call(None, "a", "f", '{"x":'), call(None, args="1}"), call(None, "b", "f", '{"y":'), call(None, "a", args=""),
        call(None, "b", args="2}"), call(None, None, "h", "{}"), call(None, "c"), call(None, "d", "i", "{}"),
    ]  # fmt: skip
    assert calls(*entries) == [("a", "f", '{"x":1}'), ("b", "f", '{"y":2}'), ("*", "h", "{}"), ("d", "i", "{}")]


def test_q36_an_id_alone_begins_a_call_when_the_last_is_whole(calls: Callable[..., Any], call: Make) -> None:
    entries = [call(None, "a", "f", "{}"), call(None, "b"), call(None, None, "g", "{}")]
    assert calls(*entries) == [("a", "f", "{}"), ("b", "g", "{}")]


def test_q36_the_index_comes_late(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(None, "a", "f", '{"x"'), call(0, args=":1}")) == [("a", "f", '{"x":1}')]


def test_q37_index_0_for_all_new_id_and_name(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, "a", "f", "{}"), call(0, "b", "f", "{}")) == [("a", "f", "{}"), ("b", "f", "{}")]


def test_q37_index_0_for_all_calls_without_arguments(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, "a", "f", ""), call(0, "b", "f", "")) == [("a", "f", "{}"), ("b", "f", "{}")]


def test_q37_index_0_for_all_no_ids_other_name(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, None, "f", "{}"), call(0, "", "g", "{}")) == [("*", "f", "{}"), ("*", "g", "{}")]


def test_q37_index_0_for_all_fragments_by_id(calls: Callable[..., Any], call: Make) -> None:
    entries = [call(0, "a", "f", '{"x":'), call(0, "b", "g", '{"y":'), call(0, "a", args="1}"), call(0, "b", args="2}")]
    assert calls(*entries) == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


def test_q38_a_second_object_at_the_same_index_is_a_second_call(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, "a", "f", '{"x":1}'), call(0, args='{"x":2}')) == [
        ("a", "f", '{"x":1}'),
        ("*", "f", '{"x":2}'),
    ]


def test_q38_split_in_the_midst_of_a_fragment(calls: Callable[..., Any], call: Make) -> None:
    entries = [call(0, "a", "f", '{"x":"}{"'), call(0, args='} {"x":[2]}{"'), call(0, args='y":3}\n')]
    assert calls(*entries) == [("a", "f", '{"x":"}{"} '), ("*", "f", '{"x":[2]}'), ("*", "f", '{"y":3}\n')]


def test_q39_the_id_in_every_delta(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, "a", "f", '{"x"'), call(0, "a", args=":1}")) == [("a", "f", '{"x":1}')]


@pytest.mark.parametrize("name", [None, "f"])
def test_q39_an_id_that_changes_within_the_arguments(calls: Callable[..., Any], call: Make, name: str | None) -> None:
    assert calls(call(0, "a", "f", '{"x"'), call(0, "b", name, ":1}")) == [("a", "f", '{"x":1}')]


@pytest.mark.parametrize("id", [None, "", " ", "null", 7])
def test_q39_no_id_to_speak_of(calls: Callable[..., Any], call: Make, id: Any) -> None:
    assert calls(call(0, id, "f", "{}"), call(1, id, "f", "{}")) == [("*", "f", "{}"), ("*", "f", "{}")]


def test_q39_made_ids_are_the_same_each_time_and_others_in_another_answer(feed: Feed, chunk: Make, call: Make) -> None:
    def ids(answer: str) -> list[str]:
        value = {**chunk({"tool_calls": [call(0, None, "f", "{}"), call(1, None, "f", "{}")]}), "id": answer}
        return [delta.id for delta in feed(value) if isinstance(delta, ToolCallStarted)]

    assert ids("c1") == ids("c1")
    assert len({*ids("c1"), *ids("c2")}) == 4


def test_two_calls_with_one_id_get_two(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, "a", "f", "{}"), call(1, "a", "g", "{}")) == [("a", "f", "{}"), ("*", "g", "{}")]


def test_ids_are_unique_over_all_choices(feed: Feed, call: Make) -> None:
    choices = [{"index": index, "delta": {"tool_calls": [call(0, "a", "f", "{}")]}} for index in (0, 1)]
    ids = [delta.id for delta in feed({"choices": choices}, "[DONE]") if isinstance(delta, ToolCallStarted)]
    assert ids[0] == "a"
    assert ids[1] != "a"


def test_q40_the_name_repeated_or_empty_later(calls: Callable[..., Any], call: Make) -> None:
    entries = [call(0, "a", "f", ""), call(0, "a", "f", '{"x"'), call(0, None, "f", ":1}"), call(0, None, "", "")]
    assert calls(*entries) == [("a", "f", '{"x":1}')]


def test_q40_id_and_name_in_different_deltas(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, "a"), call(0, None, "f"), call(0, args="{}")) == [("a", "f", "{}")]
    assert calls(call(0, None, "f"), call(0, "a"), call(0, args="{}")) == [("a", "f", "{}")]


def test_q40_arguments_wait_for_a_late_name(feed: Feed, chunk: Make, call: Make) -> None:
    entries = [call(0, "a", args='{"x"'), call(0, args=":1}"), call(0, None, "f")]
    deltas = said(feed(*(chunk({"tool_calls": [entry]}) for entry in entries), "[DONE]"))
    assert deltas[:2] == [ToolCallStarted("a", "f"), ToolCallDelta('{"x":1}')]


def test_q40_a_name_that_never_comes(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, "a", args="{}")) == [("a", "", "{}")]


def test_q41_the_first_index_is_not_0_and_there_are_gaps(calls: Callable[..., Any], call: Make) -> None:
    entries = [call(1, "a", "f", "{"), call(4, "b", "g", "{"), call(1, args="}"), call(4, args="}")]
    assert calls(*entries) == [("a", "f", "{}"), ("b", "g", "{}")]


def test_q42_two_entries_with_one_index_in_one_chunk(calls: Callable[..., Any], call: Make) -> None:
    assert calls([call(0, "a", "f", '{"x"'), call(0, args=":1}")]) == [("a", "f", '{"x":1}')]


@pytest.mark.parametrize("type", [None, "", "missing"])
def test_q43_the_type_missing_or_empty(calls: Callable[..., Any], call: Make, type: str | None) -> None:
    entry = {**call(0, "a", "f", "{}"), "type": type}
    if type == "missing":
        del entry["type"]
    assert calls(entry) == [("a", "f", "{}")]


@pytest.mark.parametrize(
    ("args", "text"),
    [({"x": "é"}, '{"x":"é"}'), ({}, "{}"), ("", "{}"), (None, "{}"), ([1], "[1]"), ('{"x":1}', '{"x":1}')],
)
def test_q44_arguments_as_object_null_or_nothing(calls: Callable[..., Any], call: Make, args: Any, text: str) -> None:
    entry = call(0, "a", "f")
    entry["function"]["arguments"] = args
    assert calls(entry) == [("a", "f", text)]


@pytest.mark.parametrize("value", [[], None, {}, ""])
def test_q45_empty_tool_calls_are_nothing(feed: Feed, chunk: Make, value: Any) -> None:
    deltas = said(feed(*(chunk({"reasoning": text, "tool_calls": value}) for text in "ab"), "[DONE]"))
    assert [getattr(delta, "block", None) for delta in deltas] == [0, 0, None]


def test_q46_what_parses_so_far_is_not_whole(feed: Feed, chunk: Make, call: Make) -> None:
    deltas = said(feed(chunk({"tool_calls": [call(0, "a", "f", '{"n":1}')]}), chunk({"content": ""})))
    assert not any(isinstance(delta, ToolCallEnded) for delta in deltas)
    assert isinstance(deltas[-1], Failed)


def test_q46_a_number_may_go_on(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, "a", "f", '{"n":1'), call(0, args="2"), call(0, args="}")) == [("a", "f", '{"n":12}')]


def test_q47_stop_after_calls_is_a_tool_use(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, "a", "f", "{}"), finish="stop") == [("a", "f", "{}")]


@pytest.mark.parametrize("word", ["length", "content_filter", "odd"])
def test_calls_do_not_win_over_other_reasons_and_cut_ones_stay_open(
    feed: Feed, chunk: Make, call: Make, fold: Callable[[list[Delta]], Transcript], word: str
) -> None:
    entries = [call(0, "a", "f", "{}"), call(1, "b", "g", '{"x'), call(2, "c", "h")]
    folded = fold(feed(chunk({"tool_calls": entries}), chunk(finish_reason=word), "[DONE]"))
    choice = folded.choice()
    assert choice.reason == ("unknown" if word == "odd" else word)
    assert folded.failed is None
    ended = [(call.arguments, call.ended) for call in choice.tool_calls.values()]
    assert ended == [("{}", True), ('{"x', False), ("", False)]


def test_q11_done_without_a_reason_ends_calls_that_are_whole(feed: Feed, chunk: Make, call: Make) -> None:
    deltas = said(feed(chunk({"tool_calls": [call(0, "a", "f", "{}")]}), "[DONE]"))
    assert deltas[-2:] == [ToolCallEnded(), Finished("tool_use")]


@pytest.mark.parametrize("args", ['{"x":', "", '{"x":"}', '{"a\\', "nul"])
def test_q11_done_without_a_reason_in_the_midst_of_arguments_is_truncated(
    feed: Feed, chunk: Make, call: Make, args: str
) -> None:
    deltas = said(feed(chunk({"tool_calls": [call(0, "a", "f", args)]}), "[DONE]"))
    assert isinstance(deltas[-1], Failed)
    assert deltas[-1].code == "truncated"
    assert not any(isinstance(delta, ToolCallEnded | Finished) for delta in deltas)


def test_a_truncated_stream_tells_the_arguments_that_waited(feed: Feed, chunk: Make, call: Make) -> None:
    deltas = said(feed(chunk({"tool_calls": [call(0, "a", args='{"x"')]})))
    assert deltas[:-1] == [ToolCallStarted("a", ""), ToolCallDelta('{"x"')]


def test_late_calls_after_the_finish_chunk_end_with_the_stream(feed: Feed, chunk: Make, call: Make) -> None:
    late = chunk({"tool_calls": [call(0, "a", "f", "{}"), call(1, "b", "g", "{")]})
    deltas = said(feed(chunk(finish_reason="stop"), late))
    assert deltas[-1] == ToolCallEnded(0, 0)
    assert not any(isinstance(delta, Failed) for delta in deltas)


def test_a_call_repeated_in_a_second_finish_chunk_is_not_executed_twice(feed: Feed, chunk: Make, call: Make) -> None:
    value = chunk({"tool_calls": [call(0, "a", "f", "{}")]}, finish_reason="tool_calls")
    deltas = said(feed(value, value, chunk({"tool_calls": [call(0, "a", "f")]}), "[DONE]"))
    opaque = {"choices": [{"index": 0, "delta": {"tool_calls": [call(0, "a", "f", "{}")]}}]}
    assert deltas[4:] == [Opaque("openai.chat", opaque)]
    assert [type(delta) for delta in deltas[:4]] == [ToolCallStarted, ToolCallDelta, ToolCallEnded, Finished]


def test_a_whole_call_repeated_before_the_end_is_not_executed_twice(calls: Callable[..., Any], call: Make) -> None:
    assert calls(call(0, "a", "f", "{}"), call(0, "a", "f", "{}")) == [("a", "f", "{}")]


def test_custom_tools_take_free_text(feed: Feed, chunk: Make, fold: Callable[[list[Delta]], Transcript]) -> None:
    first = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT {} "}}
    more = {"index": 0, "custom": {"input": "{} FROM"}}
    other = {"index": 0, "id": "b", "type": "custom", "custom": {"name": "sql", "input": ""}}
    folded = fold(feed(*(chunk({"tool_calls": [entry]}) for entry in (first, more, other)), "[DONE]"))
    calls = folded.choice().tool_calls.values()
    assert [(call.id, call.arguments, call.ended) for call in calls] == [
        ("a", "SELECT {} {} FROM", True),
        ("b", "", True),
    ]
    assert folded.failed is None


def test_the_deprecated_function_call(feed: Feed, chunk: Make, fold: Callable[[list[Delta]], Transcript]) -> None:
    deltas = [{"name": "f", "arguments": ""}, {"arguments": '{"x"'}, {"arguments": ":1}"}]
    folded = fold(feed(*(chunk({"function_call": it}) for it in deltas), chunk(finish_reason="function_call")))
    (only,) = folded.choice().tool_calls.values()
    assert (only.name, only.arguments, folded.choice().reason) == ("f", '{"x":1}', "tool_use")


def test_what_is_unknown_of_a_call_is_opaque_at_its_place(feed: Feed, chunk: Make, call: Make) -> None:
    extra = {"extra_content": {"other": {"s": 1}}, "score": 0.5}
    entries = [call(1, "a", "f", "{}"), {**call(2, "b", "g", "{}"), **extra}, "?"]
    rest = [{"index": 1, **extra}, "?"]
    for more in ({}, {"moderation": 1}):  # of a plain chunk, and of one that is read in full
        opaque = [delta for delta in feed({**chunk({"tool_calls": entries}), **more}) if isinstance(delta, Opaque)]
        assert opaque[0] == Opaque("openai.chat", {"choices": [{"index": 0, "delta": {"tool_calls": rest}}]})


def test_an_index_in_digits_and_indices_that_are_none(calls: Callable[..., Any], call: Make) -> None:
    entries = [{**call(0, "a", "f", "{"), "index": "0"}, {**call(0, args="}"), "index": 0}, {**call(0), "index": True}]
    assert calls(*entries) == [("a", "f", "{}")]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("fgh"), st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=3)),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_calls_cut_anywhere_are_put_together_again(
    wanted: list[tuple[str, dict[str, str]]], data: st.DataObject
) -> None:
    """OpenAI's way, with every fragment boundary; and all at index 0, each with an id of its own."""
    flat = data.draw(st.booleans())
    chunks: list[Any] = []
    for position, (name, args) in enumerate(wanted):
        index = 0 if flat else position
        text = json.dumps(args, ensure_ascii=data.draw(st.booleans()))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
        entry: dict[str, Any] = {"index": index, "id": f"id{position}", "function": {"name": name, "arguments": ""}}
        chunks.append(entry)
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            chunks.append({"index": index, "function": {"arguments": text[start:end]}})
    decoder, folded = Decoder(), Transcript()
    for entry in chunks:
        for delta in decoder.feed(sse.Event(data=json.dumps({"choices": [{"delta": {"tool_calls": [entry]}}]}))):
            folded.apply(delta)
    for delta in decoder.feed(sse.Event(data="[DONE]")):
        folded.apply(delta)
    got = [(call.name, json.loads(call.arguments), call.ended) for call in folded.choice().tool_calls.values()]
    assert got == [(name, args, True) for name, args in wanted]
