"""What servers do to chunks (reference, section 12), one test for each thing that once broke somebody's parser."""

from __future__ import annotations

import json
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
from tokenwire.dialects.openai_chat.dialect import DIALECT, Decoder, decode_response
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Feed = Callable[..., list[Delta]]
Chunk = Callable[..., dict[str, Any]]
Fold = Callable[[list[Delta]], Transcript]


def said(deltas: list[Delta]) -> list[Delta]:
    return [delta for delta in deltas if not isinstance(delta, Started)]


def kinds(deltas: list[Delta]) -> list[type]:
    return [type(delta) for delta in said(deltas)]


def test_q1_to_q8_are_the_parsers_and_the_rest_is_the_same() -> None:
    wire = (
        b'\xef\xbb\xbf: ping\r\n\r\ndata:{"choices":[{"delta":{"content":"a\xe2\x80\xa8b"}}]}\r\n\r\ndata: [DONE]\r\n'
    )
    parser, decoder = sse.Decoder(), Decoder()
    events = parser.feed(wire) + parser.close(lenient=True)
    deltas = [delta for event in events for delta in decoder.feed(event)]
    assert said(deltas) == [TextDelta("a\u2028b"), Finished("unknown")]


def test_q9_a_finish_reason_without_done_is_complete(feed: Feed, chunk: Chunk) -> None:
    assert said(feed(chunk({"content": "a"}), chunk(finish_reason="stop"))) == [
        TextDelta("a"),
        Finished("stop", "stop"),
    ]


def test_q9_one_of_two_choices_unfinished_is_not_complete(feed: Feed, chunk: Chunk) -> None:
    deltas = feed(chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk(finish_reason="stop"))
    assert isinstance(deltas[-1], Failed)
    assert deltas[-1].code == "truncated"


def test_q10_nothing_is_decoded_after_done(feed: Feed, chunk: Chunk) -> None:
    deltas = feed(chunk({"content": "a"}, finish_reason="stop"), "[DONE]", chunk({"content": "b"}), "[DONE]")
    assert said(deltas) == [TextDelta("a"), Finished("stop", "stop")]


def test_q11_done_without_finish_reason_is_complete_and_the_reason_unknown(feed: Feed, chunk: Chunk) -> None:
    assert said(feed(chunk({"content": "a"}), "[DONE]")) == [TextDelta("a"), Finished("unknown")]


@pytest.mark.parametrize("data", ["[DONE]", " [DONE] ", "[DONE]\n"])
def test_done_alone_is_a_complete_and_empty_answer(feed: Feed, data: str) -> None:
    assert feed(data) == []


def test_q12_an_end_without_anything_is_incomplete(feed: Feed) -> None:
    (failure,) = feed()
    assert isinstance(failure, Failed)
    assert (failure.code, failure.retryable) == ("truncated", True)


def test_closing_twice_says_it_once(feed: Feed) -> None:
    decoder = Decoder()
    assert len(decoder.close()) == 1
    assert decoder.close() == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("error: out of memory", "error: out of memory"),
        ("<html><head><title>502 Bad Gateway</title></head><body>x</body></html>", "502 Bad Gateway"),
        ("<p>upstream <b>gone</b></p>", "upstream gone"),
        ('{"choices":[{"delta":', 'malformed JSON from the upstream: {"choices":[{"delta":'),
    ],
)
def test_q15_data_that_is_no_json_is_an_error_text(feed: Feed, data: str, message: str) -> None:
    (failure,) = feed(data)
    assert isinstance(failure, Failed)
    assert (failure.code, failure.message, failure.retryable) == ("upstream_error", message, True)


def test_blank_data_means_nothing(feed: Feed) -> None:
    assert said(feed(" ", "\n", "null", "[DONE]")) == []


def test_q16_the_same_thought_in_two_fields_is_taken_once(feed: Feed, chunk: Chunk, fold: Fold) -> None:
    twice = [chunk({"reasoning": text, "reasoning_content": text}) for text in ("Hm", "\n", "\n")]
    assert fold(feed(*twice)).choice().reasoning == "Hm\n\n"


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


def test_q17_azures_first_chunk_is_opaque(feed: Feed) -> None:
    value = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{"a": 1}]}
    assert feed(value, "[DONE]") == [Opaque("openai.chat", {"prompt_filter_results": [{"a": 1}]})]


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


def test_filter_results_are_kept_when_they_say_something(feed: Feed, chunk: Chunk) -> None:
    safe = {"hate": {"filtered": False, "severity": "safe"}, "jailbreak": {"detected": False}}
    hit = {**safe, "violence": {"filtered": True}}
    broken = {"error": {"code": "content_filter_error"}}
    deltas = feed(*(chunk({"content": "a"}, content_filter_results=it) for it in (safe, hit, broken, 5)), "[DONE]")
    kept = [delta.data["choices"][0]["content_filter_results"] for delta in deltas if isinstance(delta, Opaque)]
    assert kept == [hit, broken, 5]


@pytest.mark.parametrize(
    "value", [{"type": "ping", "message": "x"}, [1, 2], 5, "text", True, {"object": "thread.run", "message": "x"}]
)
def test_unknown_shapes_are_opaque_whole(feed: Feed, value: Any) -> None:
    assert feed(json.dumps(value), "[DONE]") == [Opaque("openai.chat", value)]


def test_the_event_name_of_an_unknown_shape_is_kept() -> None:
    assert Decoder().feed(sse.Event("ping", '{"a":1}')) == [Opaque("openai.chat", {"a": 1}, "ping")]


MESSAGE = "it broke"


@pytest.mark.parametrize(
    ("value", "code", "status", "retryable"),
    [
        (
            {"error": {"message": MESSAGE, "type": "server_error", "param": None, "code": None}},
            "server_error",
            500,
            True,
        ),
        ({"error": {"message": MESSAGE, "code": "insufficient_quota"}}, "insufficient_quota", 429, False),
        ({"error": {"message": MESSAGE, "code": 429}}, "rate_limit_exceeded", 429, True),
        ({"error": {"message": MESSAGE, "code": "503"}}, "overloaded", 503, True),
        ({"error": {"message": MESSAGE, "type": "X", "status_code": 400}}, "X", 400, False),
        ({"error": {"message": MESSAGE, "status": "UNAVAILABLE", "code": 503}}, "UNAVAILABLE", 503, True),
        ({"error": {"message": MESSAGE, "type": "invalid_whatever"}}, "invalid_whatever", None, False),
        ({"error": MESSAGE}, "upstream_error", None, True),
        ({"code": "A sentence, not a word", "error": MESSAGE}, "upstream_error", None, True),
        ([{"error": {"message": MESSAGE, "code": 404}}], "not_found", 404, False),
        ({"type": "error", "error": {"type": "overloaded_error", "message": MESSAGE}}, "overloaded_error", 529, True),
        ({"type": "error", "message": MESSAGE, "code": None}, "upstream_error", None, True),
        (
            {"object": "error", "message": MESSAGE, "type": "BadRequestError", "code": 400},
            "BadRequestError",
            400,
            False,
        ),
        ({"message": MESSAGE, "request_id": "r"}, "upstream_error", None, True),
        ({"detail": MESSAGE}, "upstream_error", None, True),
        ({"message": MESSAGE, "type": "invalid_request_error"}, "invalid_request_error", 400, False),
        ({"errors": [{"message": MESSAGE, "code": 7001}]}, "upstream_error", None, True),
        (
            {"choices": [{"index": 0, "delta": {}, "error": {"message": MESSAGE, "code": 502}}]},
            "server_error",
            502,
            True,
        ),
        ({"choices": [], "x_groq": {"id": "r", "error": MESSAGE}}, "upstream_error", None, True),
    ],
)
def test_errors_in_midstream_in_every_shape(
    feed: Feed, chunk: Chunk, value: Any, code: str, status: int | None, retryable: bool
) -> None:
    failures = [delta for delta in feed(chunk({"content": "a"}), value) if isinstance(delta, Failed)]
    assert [(f.code, f.message, f.upstream_status, f.retryable) for f in failures] == [
        (code, MESSAGE, status, retryable)
    ]


@pytest.mark.parametrize("error", [None, "", {}, [], False, 0])
def test_a_falsy_error_is_no_error(feed: Feed, chunk: Chunk, error: Any) -> None:
    assert said(feed({**chunk({"content": "a"}), "error": error}, "[DONE]")) == [TextDelta("a"), Finished("unknown")]


def test_an_event_named_error_is_one_whatever_its_data() -> None:
    for data, message in (('{"reason":"x"}', "the upstream gave no reason"), ("null", "the upstream gave no reason")):
        (failure,) = Decoder().feed(sse.Event("error", data))
        assert isinstance(failure, Failed)
        assert failure.message == message


def test_only_the_first_error_is_told_and_done_after_it_makes_nothing_whole(feed: Feed, chunk: Chunk) -> None:
    error = {"error": {"message": MESSAGE, "code": 500}}
    deltas = said(feed(chunk({"content": "a"}), error, error, {"choices": [], "usage": {"prompt_tokens": 3}}, "[DONE]"))
    assert kinds(deltas) == [TextDelta, Failed, Usage]


def test_openrouters_error_chunk_finishes_and_fails(feed: Feed, chunk: Chunk) -> None:
    value = {**chunk({"content": ""}, finish_reason="error"), "error": {"code": 502, "message": MESSAGE}}
    deltas = said(feed(chunk({"content": "a"}), value))
    assert deltas[1:] == [
        Finished("error", "error"), Failed("server_error", MESSAGE, True, 502, {"code": 502, "message": MESSAGE}),
    ]  # fmt: skip


def test_an_answer_that_was_not_streamed_decodes_like_one_that_was(fold: Fold) -> None:
    tool = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm", "refusal": None, "tool_calls": [tool]}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}]
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
    folded = fold(decode_response(json.dumps(body).encode()))
    choice = folded.choice()
    assert (choice.text, choice.reasoning, choice.reason) == ("Hi", "Hm", "tool_use")
    assert [(call.id, call.arguments, call.ended) for call in choice.tool_calls.values()] == [("call_1", "{}", True)]
    assert folded.usage == Usage(1, 2, raw=usage)
    assert folded.failed is None


@pytest.mark.parametrize("body", [b'{"error":{"message":"it broke"}}', b"it broke", b'{"detail":"it broke"}'])
def test_an_error_with_status_200_is_a_failure(body: bytes) -> None:
    (failure,) = decode_response(body)
    assert isinstance(failure, Failed)
    assert failure.message == MESSAGE


def test_the_dialect_is_registered() -> None:
    assert (DIALECT.name, DIALECT.framing, DIALECT.ids, DIALECT.heartbeat) == ("openai.chat", "sse", False, b": hb\n\n")
    assert ("obfuscation",) in DIALECT.holes
    assert not any("usage" in hole or "logprobs" in hole for hole in DIALECT.holes)
