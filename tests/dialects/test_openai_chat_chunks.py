"""What servers do to chunks (reference, Q16 to Q29), one test for each thing that once broke somebody's parser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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
    TextDelta,
    Usage,
)
from tokenwire.dialects.transcript import Transcript

Feed = Callable[..., list[Delta]]
Chunk = Callable[..., dict[str, Any]]
Fold = Callable[[list[Delta]], Transcript]


def said(deltas: list[Delta]) -> list[Delta]:
    return [delta for delta in deltas if not isinstance(delta, Started)]


def kinds(deltas: list[Delta]) -> list[type]:
    return [type(delta) for delta in said(deltas)]


def test_q16_the_same_thought_in_two_fields_is_taken_once(feed: Feed, chunk: Chunk, fold: Fold) -> None:
    twice = [chunk({"reasoning": text, "reasoning_content": text}) for text in ("Hm", "\n", "\n")]
    assert fold(feed(*twice)).choice().reasoning == "Hm\n\n"


def test_runs_of_one_kind_are_blocks(feed: Feed, chunk: Chunk) -> None:
    deltas = said(
        feed(*(chunk({name: name}) for name in ("reasoning", "reasoning", "content", "reasoning", "refusal")), "[DONE]")
    )
    assert [getattr(delta, "block", None) for delta in deltas[:-1]] == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("choices", [[], None, "missing", "x", [None]])
def test_q17_no_choices_is_no_error(feed: Feed, choices: Any) -> None:
    value = {"id": "", "object": "", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    if choices != "missing":
        value["choices"] = choices
    assert kinds(feed(value, "[DONE]")) == [Usage]


@pytest.mark.parametrize("delta", [{}, {"delta": None}, {"delta": []}])
def test_q18_delta_missing_or_null(feed: Feed, delta: dict[str, Any]) -> None:
    filters = {"hate": {"filtered": False}}
    value = {"choices": [{"index": 0, "finish_reason": None, "content_filter_results": filters, **delta}]}
    kept = {"choices": [{"index": 0, "content_filter_results": filters}]}
    assert said(feed(value, "[DONE]")) == [Opaque("openai.chat", kept), Finished("unknown")]


def test_q19_the_first_id_that_is_not_empty_counts(feed: Feed, chunk: Chunk) -> None:
    empty = {"id": "", "model": "", "created": 0, "object": "", "choices": [{"index": 0, "delta": {"content": ""}}]}
    deltas = feed(empty, chunk({"content": "a"}), {**chunk({"content": "b"}), "id": "c2"}, "[DONE]")
    starts = [delta for delta in deltas if isinstance(delta, Started)]
    assert starts == [Started(), Started("c1", "m", 1)]


@pytest.mark.parametrize(
    "delta",
    [
        {"content": None},
        {"content": []},
        {"role": ""},
        {"refusal": False},
        {"refusal": None, "content": ""},
        {"tool_calls": None},
    ],
)
def test_q20_null_false_and_empty_are_not_text(feed: Feed, chunk: Chunk, delta: dict[str, Any]) -> None:
    assert said(feed(chunk(delta), "[DONE]")) == [Finished("unknown")]


def test_content_of_another_type_is_opaque(feed: Feed, chunk: Chunk) -> None:
    deltas = said(feed(chunk({"content": 5, "reasoning": {"text": "x"}}), "[DONE]"))
    delta = {"content": 5, "reasoning": {"text": "x"}}
    assert deltas[0] == Opaque("openai.chat", {"choices": [{"index": 0, "delta": delta}]})


def test_q21_the_role_in_every_chunk_starts_one_answer(feed: Feed, chunk: Chunk) -> None:
    deltas = feed(*(chunk({"role": "assistant", "content": text}) for text in "ab"), "[DONE]")
    assert [type(delta) for delta in deltas] == [Started, TextDelta, TextDelta, Finished]


def test_q22_content_in_the_chunk_of_the_finish_reason_comes_first(feed: Feed, chunk: Chunk) -> None:
    assert said(feed(chunk({"content": "a"}, finish_reason="length"))) == [TextDelta("a"), Finished("length", "length")]


def test_q23_the_first_of_two_finish_reasons_counts_and_the_usage_of_the_second(feed: Feed, chunk: Chunk) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    second = {**chunk({"content": ""}, finish_reason="length"), "usage": usage}
    deltas = said(feed(chunk(finish_reason="stop"), second, chunk(finish_reason=""), "[DONE]"))
    assert deltas == [Finished("stop", "stop"), Usage(1, 2, raw=usage)]


def test_q24_content_after_the_finish_chunk_is_accepted(feed: Feed, chunk: Chunk) -> None:
    assert said(feed(chunk(finish_reason="stop"), chunk({"content": "a"}))) == [
        Finished("stop", "stop"),
        TextDelta("a"),
    ]


def test_q25_usage_wherever_it_stands_and_the_last_good_one_wins(feed: Feed, chunk: Chunk, fold: Fold) -> None:
    def usage(count: int) -> dict[str, Any]:
        return {"prompt_tokens": 9, "completion_tokens": count}

    inside = chunk({"content": "a"}, usage=usage(1))
    groq = {**chunk(), "x_groq": {"id": "r", "usage": usage(2)}}
    top = {**chunk(finish_reason="stop"), "x_groq": {"usage": usage(0)}, "usage": usage(3)}
    empty: list[Any] = [None, {}, {"prompt_tokens": None}, {"trafficType": "X"}, []]
    erased = [{"choices": [], "usage": it} for it in empty]
    folds = [fold(feed(*some)).usage for some in ([inside], [inside, groq], [inside, groq, top], [top, *erased])]
    assert [use and use.output for use in folds] == [1, 2, 3, 3]
    assert folds[-1] is not None
    assert folds[-1].raw == usage(3)


@pytest.mark.parametrize("finish", [{"finish_reason": ""}, {"finish_reason": None}, {}])
def test_q26_empty_null_and_absent_finish_reasons_are_none(feed: Feed, chunk: Chunk, finish: dict[str, Any]) -> None:
    value = chunk({"content": "a"})
    value["choices"][0].pop("finish_reason")
    value["choices"][0] |= finish
    assert isinstance(feed(value)[-1], Failed)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"), ("length", "length"), ("model_length", "length"), ("content_filter", "content_filter"),
        ("tool_calls", "tool_use"), ("function_call", "tool_use"), ("eos", "stop"), ("end_turn", "stop"),
        ("STOP", "stop"), ("novelty", "unknown"),
    ],
)  # fmt: skip
def test_q27_finish_reasons_are_mapped_and_kept(feed: Feed, chunk: Chunk, word: str, reason: str) -> None:
    assert said(feed(chunk(finish_reason=word))) == [Finished(reason, word)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "code", "status"),
    [
        ("error", "upstream_error", None), ("abort", "abort", None),
        ("insufficient_system_resource", "insufficient_system_resource", 503),
    ],
)  # fmt: skip
def test_q27_finish_reasons_that_mean_failure(
    feed: Feed, chunk: Chunk, word: str, code: str, status: int | None
) -> None:
    finished, failure = said(feed(chunk(finish_reason=word), "[DONE]"))
    assert finished == Finished("error", word)
    assert failure == Failed(code, f"the provider ended the answer with finish_reason {word!r}", True, status)


def test_a_refusal_makes_an_ordinary_end_a_refusal(feed: Feed, chunk: Chunk) -> None:
    deltas = said(feed(chunk({"refusal": "No."}, finish_reason="stop")))
    assert deltas == [RefusalDelta("No."), Finished("refusal", "stop")]


def test_q28_ids_that_change_key_nothing(feed: Feed, chunk: Chunk, fold: Fold) -> None:
    deltas = feed(*({**chunk({"content": str(n)}), "id": f"c{n}", "created": n} for n in (1, 2, 3)), "[DONE]")
    assert fold(deltas).choice().text == "123"


def test_q29_several_choices_in_one_chunk_out_of_order(feed: Feed) -> None:
    choices = [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]
    finish = [{"finish_reason": "stop"}, {"finish_reason": "length"}]  # no index: the place in the list
    deltas = feed({"choices": choices}, {"choices": finish})
    assert deltas == [
        Started(choice=1), TextDelta("b", 1), Started(choice=0), TextDelta("a", 0),
        Finished("stop", "stop", 0), Finished("length", "length", 1),
    ]  # fmt: skip


def test_logprobs_follow_their_text(feed: Feed, chunk: Chunk) -> None:
    entry = {"token": "a", "logprob": -0.5}
    empty = chunk({"content": ""}, logprobs={"content": [], "refusal": None})
    deltas = said(feed(empty, chunk({"content": "a"}, logprobs={"content": [entry], "refusal": None}), "[DONE]"))
    assert deltas == [TextDelta("a"), Logprobs([entry]), Finished("unknown")]


def test_logprobs_of_another_form_are_opaque(feed: Feed, chunk: Chunk) -> None:
    old = {"tokens": ["a"], "token_logprobs": [-1.0]}
    assert said(feed(chunk({"content": "a"}, logprobs=old), "[DONE]"))[1] == Opaque(
        "openai.chat", {"choices": [{"index": 0, "logprobs": old}]}
    )


def test_unknown_members_are_opaque_where_they_stood_and_said_once(feed: Feed, chunk: Chunk) -> None:
    value = {**chunk({"content": "a", "audio": {"id": "x"}}, token_ids=[1]), "moderation": {"m": 1}}
    deltas = said(
        feed(value, {**value, "choices": [{"index": 0, "delta": {"content": "b"}, "token_ids": [1]}]}, "[DONE]")
    )
    inner = {"index": 0, "token_ids": [1], "delta": {"audio": {"id": "x"}}}
    assert deltas == [
        TextDelta("a"), Opaque("openai.chat", {"choices": [inner]}), Opaque("openai.chat", {"moderation": {"m": 1}}),
        TextDelta("b"), Finished("unknown"),
    ]  # fmt: skip


def test_unknown_parts_of_a_delta_are_said_each_time(feed: Feed, chunk: Chunk) -> None:
    deltas = said(feed(*[chunk({"speech": "\n"})] * 2, "[DONE]"))
    assert [type(delta) for delta in deltas] == [Opaque, Opaque, Finished]


def test_one_detail_that_is_no_list(feed: Feed, chunk: Chunk) -> None:
    deltas = said(feed(chunk({"reasoning_details": {"type": "reasoning.text", "text": "Hm"}}), "[DONE]"))
    assert deltas[0] == ReasoningDelta("Hm")


def test_a_late_signature_belongs_to_the_thought_and_opens_nothing(feed: Feed, chunk: Chunk) -> None:
    detail = {"reasoning_details": [{"type": "reasoning.text", "signature": "S"}]}
    deltas = said(feed(chunk({"reasoning": "Hm"}), chunk({"content": "a"}), chunk(detail), chunk({"content": "b"})))
    assert deltas[:4] == [
        ReasoningDelta("Hm"), TextDelta("a", block=1), ReasoningSignature("S", dialect="openai.chat"),
        TextDelta("b", block=1),
    ]  # fmt: skip


def test_a_signature_without_thought_has_a_block_of_its_own(feed: Feed, chunk: Chunk) -> None:
    detail = {"reasoning_details": [{"type": "reasoning.text", "signature": "S"}]}
    deltas = said(feed(chunk(detail), chunk({"content": "a"}), "[DONE]"))
    assert deltas[:2] == [ReasoningSignature("S", dialect="openai.chat"), TextDelta("a", block=1)]


def test_annotations_and_lists_of_addresses_are_citations(feed: Feed, chunk: Chunk) -> None:
    note = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
    listed: dict[str, Any] = {**chunk(), "citations": ["https://b.example", {"url": "https://c.example"}, 7, {}]}
    deltas = said(feed(chunk({"content": "x", "annotations": [{"index": 0, **note}, 1]}), listed, listed, "[DONE]"))
    cited = [delta.data for delta in deltas if isinstance(delta, Citation)]
    assert cited == [note] + [
        {"type": "url_citation", "url_citation": {"url": url}} for url in ("https://b.example", "https://c.example")
    ]


def test_one_address_that_is_no_list(feed: Feed) -> None:
    deltas = said(feed({"choices": [], "citations": "https://b.example"}, "[DONE]"))
    assert isinstance(deltas[0], Citation)
