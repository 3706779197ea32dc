"""Deltas as Responses events: items in order, what is not whole, what ends an answer, what is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.base import Encoder, Frame, encode_frames
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
from tokenwire.dialects.openai_responses.dialect import DIALECT
from tokenwire.dialects.signatures import wrap
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import LocalProtocolError

Fold = Callable[[list[Delta]], Transcript]
DONE = Terminal("completed")


def encoder() -> Encoder:
    return DIALECT.encoder("st_ab", 1794000000.9, "gpt")


def said(*deltas: Delta, end: Terminal = DONE) -> list[dict[str, Any]]:
    each = encoder()
    frames = [frame for delta in deltas for frame in each.feed(delta)] + each.close(end)
    assert all(frame.event == json.loads(frame.data)["type"] for frame in frames)
    return [json.loads(frame.data) for frame in frames]


def response(*deltas: Delta, end: Terminal = DONE) -> dict[str, Any]:
    last: dict[str, Any] = said(*deltas, end=end)[-1]["response"]
    return last


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_an_empty_answer_is_a_response_without_output() -> None:
    events = said()
    assert kinds(events) == ["created", "in_progress", "completed"]
    assert [event["sequence_number"] for event in events] == [0, 1, 2]
    last = events[-1]["response"]
    assert (last["id"], last["created_at"], last["model"]) == ("resp_ab", 1794000000, "gpt")
    assert (last["status"], last["output"], last["usage"], last["completed_at"]) == ("completed", [], None, None)
    assert response(end=Terminal("completed", e2e_ms=2500.0))["completed_at"] == 1794000003


def test_items_overlap_only_where_calls_do() -> None:
    events = said(
        ToolCallStarted("c", "f"), TextDelta("a", 0, 1), ToolCallDelta("{}"), ReasoningDelta("t", 0, 2),
        ToolCallEnded(), Finished("tool_use"),
    )  # fmt: skip
    assert kinds(events)[2:] == [
        "output_item.added", "output_item.added", "content_part.added", "output_text.delta",
        "function_call_arguments.delta", "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "function_call_arguments.done", "output_item.done", "reasoning_summary_text.done",
        "reasoning_summary_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [item["id"] for item in events[-1]["response"]["output"]] == ["fc_ab0000", "msg_ab0001", "rs_ab0002"]
    done = [event for event in events if event["type"] == "response.output_item.done"]
    output = events[-1]["response"]["output"]
    assert [event["item"] for event in done] == [output[1], output[0], output[2]]


def test_texts_in_a_row_are_parts_of_one_message() -> None:
    (message,) = response(TextDelta("a"), TextDelta("b", 0, 1), RefusalDelta("no", 0, 2), TextDelta("c", 0, 3))[
        "output"
    ]
    assert [part.get("text", part.get("refusal")) for part in message["content"]] == ["a", "b", "no", "c"]


def test_a_call_that_is_not_whole_is_incomplete_and_never_done() -> None:
    cut: list[Delta] = [ToolCallStarted("c", "f"), ToolCallDelta('{"a":')]
    for end in (Terminal("completed", "length"), DONE, Terminal("failed", error=Failed("x", "y"))):
        events = said(*cut, end=end)
        assert not {"function_call_arguments.done", "output_item.done"} & set(kinds(events))
        last = events[-1]["response"]
        assert last["status"] == ("failed" if end.state == "failed" else "incomplete")
        assert [(item["status"], item["arguments"]) for item in last["output"]] == [("incomplete", '{"a":')]


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None), ("pause", "completed", None), ("unknown", "completed", None),
        ("length", "incomplete", "max_output_tokens"), ("context_window", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)  # fmt: skip
def test_reasons(reason: Any, status: str, why: str | None) -> None:
    for end in (Terminal("completed", reason), DONE):
        last = response(ReasoningDelta("a"), *([Finished(reason)] if end is DONE else []), end=end)
        assert last["status"] == last["output"][0]["status"] == status
        assert (last["incomplete_details"] or {}).get("reason") == why


def test_a_refusal_without_words_is_an_empty_one() -> None:
    last = response(TextDelta("Well."), Finished("refusal"))
    assert [part["type"] for part in last["output"][0]["content"]] == ["output_text", "refusal"]
    told = response(RefusalDelta("No."), Finished("refusal"))
    assert told["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_a_failure_is_an_error_and_a_response_that_failed() -> None:
    raw = {"type": "server_error", "code": "server_error", "message": "x", "param": None}
    open_items: list[Delta] = [ReasoningDelta("t"), ReasoningSignature("s", dialect="openai.responses")]
    events = said(*open_items, Usage(1, 2), end=Terminal("failed", error=Failed("server_error", "x", raw=raw)))
    assert kinds(events)[-2:] == ["error", "failed"]
    assert events[-2] == {
        "type": "error", "code": "server_error", "message": "x", "param": None, "error": raw,
        "sequence_number": len(events) - 2,
    }  # fmt: skip
    last = events[-1]["response"]
    assert (last["status"], last["error"]) == ("failed", {"code": "server_error", "message": "x"})
    assert (last["output"][0]["status"], last["output"][0]["encrypted_content"]) == ("incomplete", "s")
    assert last["usage"]["total_tokens"] == 3
    text = said(TextDelta("a"), end=Terminal("failed", error=Failed("server_error", "x")))
    assert text[-1]["response"]["output"][0]["content"][0]["text"] == "a"
    assert kinds(said(end=Terminal("orphaned"))) == ["error", "failed"]  # in the midst of another's frames, too


def test_other_ends_than_the_providers_say_which() -> None:
    cancelled = said(TextDelta("a"), end=Terminal("cancelled", error=Failed("x", "the reader left", raw={"a": 1})))
    assert (cancelled[-2]["code"], cancelled[-2]["message"]) == ("cancelled", "the reader left")
    gave_up = said(TextDelta("a"), Finished("error", "MALFORMED"), end=Terminal("completed", "error", "MALFORMED"))
    assert gave_up[-1]["response"]["error"] == {
        "code": "MALFORMED", "message": "the provider ended the answer: MALFORMED"
    }  # fmt: skip
    assert said(Finished("cancelled"))[-2]["code"] == "cancelled"


def test_signatures_travel_with_their_makers_name() -> None:
    def proofs(*deltas: Delta) -> list[Any]:
        return [(item["summary"], item.get("encrypted_content")) for item in response(*deltas)["output"]]

    told = [{"type": "summary_text", "text": "ab"}]
    foreign, own = ReasoningSignature("s", dialect="anthropic"), ReasoningSignature("o", dialect="openai.responses")
    assert proofs(ReasoningDelta("a"), foreign, ReasoningDelta("b")) == [
        (told, wrap("s", "anthropic", "openai.responses"))
    ]  # fmt: skip
    assert proofs(own) == [([], "o")]
    assert proofs(ReasoningDelta("ab"), own, own) == [(told, "o"), ([], "o")]
    late = response(ReasoningDelta("ab"), TextDelta("x", 0, 1), own)["output"]
    assert [item["type"] for item in late] == ["reasoning", "message", "reasoning"]
    call: list[Delta] = [ToolCallStarted("c", "f"), ReasoningSignature("s", dialect="gemini"), ToolCallEnded()]
    assert [item["type"] for item in response(*call)["output"]] == ["function_call"]


def test_citations_become_annotations_with_all_their_members() -> None:
    nested = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A", "start_index": 1}}
    found = {"type": "web_search_result_location", "url": "https://b", "title": None, "cited_text": "x"}
    own = {"type": "url_citation", "url": "https://c", "title": "C", "start_index": 3, "end_index": 4}
    file = {"type": "char_location", "document_index": 0}
    sources = [Citation(data) for data in (nested, found, own, file, {"uri": "https://d"})]
    notes = response(TextDelta("abc"), *sources)["output"][0]["content"][0]["annotations"]
    plain = {"type": "url_citation", "start_index": 0, "end_index": 0, "title": ""}
    assert notes == [
        {**plain, "start_index": 1, "title": "A", "url": "https://a"}, {**plain, "url": "https://b"}, own, file,
        {**plain, "url": "https://d"},
    ]  # fmt: skip


def test_citations_wait_for_their_text_and_come_late() -> None:
    events = said(
        Citation({"uri": "1"}, 0, 5), Citation({"uri": "9"}, 0, 9), TextDelta("a"), TextDelta("b", 0, 5),
        ToolCallStarted("c", "f", 0, 6), Citation({"uri": "2"}, 0, 5), Logprobs([{"token": "b"}]), ToolCallEnded(0, 6),
    )  # fmt: skip
    added = [event for event in events if event["type"].endswith("annotation.added")]
    assert [(event["content_index"], event["annotation_index"], event["annotation"]["url"]) for event in added] == [
        (1, 0, "1"), (1, 1, "2"), (1, 2, "9")
    ]  # fmt: skip
    part = events[-1]["response"]["output"][0]["content"][1]
    assert [note["url"] for note in part["annotations"]] == ["1", "2", "9"]
    assert part["logprobs"] == [{"token": "b", "bytes": [], "top_logprobs": []}]
    bare = response(Citation({"uri": "1"}))["output"]
    assert [part["text"] for part in bare[0]["content"]] == [""]


def test_logprobs_come_behind_their_text_and_wait_for_one() -> None:
    one = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -2, "bytes": None}]}
    events = said(Logprobs([one, 3]), TextDelta("a"), Logprobs([one]), Logprobs(None, [one]))
    want = {**one, "top_logprobs": [{"token": "b", "logprob": -2, "bytes": []}]}
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [(event["delta"], event["logprobs"]) for event in deltas] == [("", [want]), ("a", []), ("", [want])]
    (done,) = [event for event in events if event["type"] == "response.output_text.done"]
    assert done["logprobs"] == [want, want]
    assert kinds(said(Logprobs([one]))) == ["created", "in_progress", "completed"]


def test_usage_is_the_providers_own_where_it_has_this_form() -> None:
    raw = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "more": {}}
    assert response(Usage(1, 2, raw=raw))["usage"] == raw
    chat = Usage(10, 20, 3, 4, 5, raw={"prompt_tokens": 10})
    assert response(chat)["usage"] == {
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 4},
        "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 30,
    }  # fmt: skip
    bare = response(end=Terminal("completed", usage=Usage(output=2)))["usage"]
    assert (bare["input_tokens"], bare["input_tokens_details"], bare["output_tokens_details"]) == (0, {}, {})
    assert response(Usage(1, 2, estimated=True))["usage"] is None


def test_what_has_no_place_here_is_left_out() -> None:
    events = said(
        TextDelta("a", 1), Opaque("openai.responses", {"type": "x"}, "x"), Failed("x", "y"), Started("id", choice=1)
    )  # fmt: skip
    assert kinds(events) == ["created", "in_progress", "completed"]


def test_arguments_need_a_call_and_are_over_with_it() -> None:
    for delta in (ToolCallDelta("{}"), ToolCallEnded()):
        with pytest.raises(LocalProtocolError, match="ToolCallStarted is missing"):
            encoder().feed(delta)
    each = encoder()
    each.feed(ToolCallStarted("c", "f"))
    each.feed(ToolCallEnded())
    assert each.feed(ToolCallDelta("{}")) == each.feed(ToolCallEnded()) == []


_PIECES = st.one_of(
    st.builds(TextDelta, st.text(max_size=2), st.just(0), st.integers(0, 2)),
    st.builds(ReasoningDelta, st.text(max_size=2), st.just(0), st.integers(3, 4)),
    st.builds(RefusalDelta, st.text(max_size=2), st.just(0), st.integers(5, 5)),
    st.builds(ReasoningSignature, st.just("s"), st.just(0), st.integers(3, 4), st.just("anthropic")),
    st.builds(lambda block: Citation({"uri": "u"}, 0, block), st.integers(0, 2)),
    st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
    st.builds(Started, st.just("id"), st.just("m"), st.just(1.0)),
    st.builds(lambda step: (step,), st.sampled_from(["start", "args", "end"])),
)


def _with_calls(pieces: list[Any]) -> list[Delta]:
    """Calls begin, go on and end in this order, the newest first."""
    deltas: list[Delta] = []
    newest = 9
    open_: list[int] = []
    for piece in pieces:
        if not isinstance(piece, tuple):
            deltas.append(piece)
        elif piece == ("start",):
            newest += 1
            open_.append(newest)
            deltas.append(ToolCallStarted(f"call_{newest}", "f", 0, newest))
        elif open_:
            deltas.append(ToolCallDelta("1", 0, open_[-1]) if piece == ("args",) else ToolCallEnded(0, open_.pop()))
    return deltas


def _tail(encoder: Encoder, deltas: list[Delta]) -> list[Frame]:
    return [frame for delta in deltas for frame in encoder.feed(delta)]


@pytest.mark.untraced
@given(st.lists(_PIECES, max_size=12).map(_with_calls), st.integers(0, 12))
@settings(max_examples=1000, deadline=None)
def test_whoever_joins_anywhere_goes_on_with_the_same_events(deltas: list[Delta], at: int) -> None:
    live, late, fold = encoder(), encoder(), Transcript()
    for delta in deltas[:at]:
        fold.apply(delta)
        live = live.copy()
        live.feed(delta)
    prefix = late.prefix(fold)
    assert len(prefix) <= 2 or live.copy().close(DONE)  # the copy is of no consequence
    tail = _tail(live, deltas[at:])
    assert tail == _tail(late, deltas[at:])
    numbers = [json.loads(frame.data)["sequence_number"] for frame in prefix + tail]
    assert numbers == sorted(set(numbers))
    ends = [json.loads(each.close(DONE)[-1].data) for each in (live, late)]
    assert ends[0] == ends[1]


def test_copies_are_independent(fold: Fold) -> None:
    each = encoder()
    for delta in (TextDelta("a"), Citation({"uri": "u"}, 0, 7), ToolCallStarted("c", "f", 0, 1)):
        each.feed(delta)
        other = each.copy()
        for more in (TextDelta("?", 0, 3), ReasoningDelta("?", 0, 4), ToolCallStarted("x", "y", 0, 5)):
            other.feed(more)
    want = response(TextDelta("a"), Citation({"uri": "u"}, 0, 7), ToolCallStarted("c", "f", 0, 1))
    assert json.loads(each.close(DONE)[-1].data)["response"] == want
    assert encoder().prefix(fold([])) == []
    assert encode_frames(each.copy().prefix(fold([Usage(1, 2)]))) == b""
