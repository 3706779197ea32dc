"""What Responses servers really send (reference, section 12): each test is named after what broke."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.dialects.responses_wire import STOP, args, call, done, ev, message, run, text

from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    Logprobs,
    ReasoningSignature,
    TextDelta,
    ToolCallEnded,
)
from tokenwire.dialects.openai_responses.dialect import DIALECT, Decoder
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Fold = Callable[[list[Delta]], Transcript]


# ---------------------------------------------------------------------------------------------- Q30 to Q35, Q28


@pytest.mark.parametrize("kind", ["keepalive", "response.keep_alive", "response.keepalive", "ping"])
def test_q30_keepalives_say_nothing(kind: str) -> None:
    assert run({"type": kind, "sequence_number": 3}, text("a"), {"type": kind}, done()) == [TextDelta("a"), STOP]


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "code": "server_error", "message": "x", "param": None, "sequence_number": 5},
        {"type": "error", "sequence_number": 2, "error": {"type": "server_error", "code": None, "message": "x"}},
    ],
)
def test_q31_nested_and_flat_errors_are_one_failure_with_the_response_that_failed(error: dict[str, Any]) -> None:
    failed = done("failed", error={"code": "server_error", "message": "again"})
    deltas = run(text("a"), error, failed)
    assert [type(delta) for delta in deltas] == [TextDelta, Failed]
    failure = deltas[1]
    assert isinstance(failure, Failed)
    assert (failure.code, failure.message, failure.retryable, failure.upstream_status) == (
        "server_error", "x", True, 500
    )  # fmt: skip
    assert failure.raw == error.get("error", {name: error[name] for name in error if name != "sequence_number"})


def test_q31_a_response_that_failed_says_why_by_itself_or_not_at_all() -> None:
    (failure,) = run(done("failed", error={"code": "rate_limit_exceeded", "message": "slow down"}))
    assert isinstance(failure, Failed)
    assert (failure.code, failure.upstream_status, failure.retryable) == ("rate_limit_exceeded", 429, True)
    (silent,) = run(done("failed"))
    assert isinstance(silent, Failed)
    assert silent.message == "the response failed, and the upstream gave no reason"
    (stopped,) = run(ev("completed", response={"status": "cancelled"}))
    assert isinstance(stopped, Failed)
    assert (stopped.code, stopped.retryable) == ("cancelled", False)


def test_q31_an_error_that_is_no_json_is_a_failure_too() -> None:
    decoder = Decoder()
    (failure,) = decoder.feed(sse.Event("error", "too bad"))
    assert isinstance(failure, Failed)
    assert failure.message == "too bad"
    (html,) = run("<html><title>502 Bad Gateway</title></html>")
    assert isinstance(html, Failed)
    assert html.message == "502 Bad Gateway"
    (named,) = run({"error": {"message": "no type at all"}})
    assert isinstance(named, Failed)
    assert named.message == "no type at all"


def test_q32_an_incomplete_call_means_length_whatever_the_response_says(fold: Fold) -> None:
    events = [call(), args('{"a":'), call(step="done", status="incomplete", arguments='{"a":')]
    deltas = run(*events, done())
    assert deltas[-1] == Finished("length", "completed")
    assert not any(isinstance(delta, ToolCallEnded) for delta in deltas)
    cut = run(*events, done("incomplete", incomplete_details={"reason": "max_output_tokens"}))
    assert cut[-1] == Finished("length", "incomplete:max_output_tokens")
    whole = [call(), args('{"a":1}'), call(step="done", status="incomplete", arguments='{"a":1}')]
    assert not any(isinstance(delta, ToolCallEnded) for delta in run(*whole, done()))  # it parses: that proves nothing
    assert run(*events, done("incomplete"))[-1] == Finished("length", "incomplete")
    assert run(done("incomplete"))[-1] == Finished("unknown", "incomplete")


def test_q33_numbers_names_and_logprobs_may_be_missing_and_usage_null() -> None:
    deltas = run(
        {"type": "response.created", "response": {"id": "", "model": None}},
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.function_call_arguments.done", "arguments": "{}", "output_index": 7},
        {"type": "response.completed", "response": {"usage": None}},
    )
    assert deltas == [TextDelta("a"), STOP]
    assert run({"type": "response.completed"}) == [STOP]
    assert run(ev("completed", response={"usage": {"input_tokens": None}})) == [STOP]


def test_q33_done_at_the_end_says_nothing() -> None:
    assert run(text("a"), done(), "[DONE]", text("b")) == [TextDelta("a"), STOP]
    *_, last = run(text("a"), "[DONE]")
    assert isinstance(last, Failed)
    assert last.code == "truncated"


def test_q33_chat_chunks_on_a_responses_url_are_a_chat_stream(fold: Fold) -> None:
    def chunk(delta: Any, finish: str | None = None) -> dict[str, Any]:
        return {
            "id": "c",
            "model": "m",
            "created": 1,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }

    chunks = [chunk({"role": "assistant", "content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop")]
    whole = fold(run(*chunks, "[DONE]"))
    assert (whole.choice().text, whole.choice().reason) == ("Hello", "stop")
    decoder = Decoder()
    for each in chunks[:2]:
        decoder = decoder.copy()
        decoder.feed(sse.Event(data=json.dumps(each)))
    assert isinstance(decoder.close()[-1], Failed)
    assert not decoder.done
    answer = {"id": "c", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
    assert fold(DIALECT.decode_response(json.dumps(answer).encode())).choice().text == "Hi"


@pytest.mark.parametrize(
    "events",
    [
        [ev("output_text.done", output_index=0, content_index=0, text="Hello")],
        [ev("content_part.done", output_index=0, content_index=0, part={"type": "output_text", "text": "Hello"})],
        [message("Hello")],
        [done(output=[message("Hello")["item"]])],
        [text("Hel"), ev("output_text.done", output_index=0, content_index=0, text="Hello"), message("Hello")],
        [text("Hello"), message("Hello"), done(output=[message("Hello")["item"]])],
        [text("Hello", at=4), message("Hello", at=4), done(output=[message("Hello")["item"]])],
        [text("Hello"), message("Hello", id="a"), done(output=[message("Hello", id="b")["item"]])],
        [text("Hel"), text("lo", at=0), ev("output_text.done", output_index=0, text="HELLO, WORLD")],
        [text("Hello"), ev("output_text.done", output_index=0, text="Hell")],
    ],
)
def test_q34_text_that_came_late_only_is_filled_in_and_none_is_doubled(fold: Fold, events: list[Any]) -> None:
    assert fold(run(*events, done())).choice().text == "Hello"


def test_q34_everything_else_is_filled_in_too(fold: Fold) -> None:
    note = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1}
    score = {"token": "a", "logprob": -1, "top_logprobs": []}
    part = {"type": "output_text", "text": "a", "annotations": [note, note], "logprobs": [score]}
    output = [
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "S"}],
         "content": [{"type": "reasoning_text", "text": "T"}], "encrypted_content": "E"},
        {"type": "message", "id": "msg", "content": [part, {"type": "refusal", "refusal": "No"}, {"type": "new"}, 3]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": ""},
        {"type": "web_search_call", "id": "ws"},
        "no object",
    ]  # fmt: skip
    late = done(output=output)
    bare = run(late)
    first = ev("output_text.annotation.added", output_index=1, content_index=0, annotation=note)
    began = run(text("a", at=1, logprobs=[score]), first, late)
    for deltas in (bare, began):
        choice = fold(deltas).choice()
        assert (choice.text, choice.refusal, choice.reasoning, choice.signatures) == ("a", "No", "S\n\nT", ["E"])
        assert [each.data for each in choice.citations] == [note, note]
        assert choice.logprobs == Logprobs([{**score, "bytes": None}])
        assert [(each.id, each.arguments, each.ended) for each in choice.tool_calls.values()] == [("c1", "{}", True)]
        assert fold(deltas).opaque == 1
        assert choice.reason == "tool_use"


def test_q28_items_whose_ids_change_are_told_apart_by_their_place(fold: Fold) -> None:
    def item(id: str, step: str) -> dict[str, Any]:
        part = {"type": "output_text", "text": "Hello"}
        fields = {"type": "message", "id": id, "content": [part] if step == "done" else []}
        return ev(f"output_item.{step}", output_index=1, item=fields)

    thought = ev("output_item.done", output_index=0, item={"type": "reasoning", "id": "r2", "encrypted_content": "E"})
    final = [{"type": "reasoning", "id": "r3", "encrypted_content": "F"}, {**item("m4", "done")["item"]}]
    began = ev("output_item.added", output_index=0, item={"type": "reasoning", "id": "r1", "encrypted_content": "D"})
    events = [began, thought, item("m1", "added"), text("Hel", 1, item_id="m2"), text("lo", 1), item("m3", "done")]
    deltas = run(*events, done(output=final))
    assert deltas == [
        ReasoningSignature("E", 0, 0, "openai.responses"), TextDelta("Hel", 0, 1), TextDelta("lo", 0, 1), STOP
    ]  # fmt: skip


def test_q35_a_wrapper_of_parallel_calls_is_passed_on_as_the_call_that_it_is(fold: Fold) -> None:
    uses = '{"tool_uses":[{"recipient_name":"functions.f","parameters":{"a":1}}]}'
    name = "multi_tool_use.parallel"
    deltas = run(call(name=name), args(uses), call(step="done", name=name, arguments=uses), done())
    (only,) = fold(deltas).choice().tool_calls.values()
    assert (only.name, only.arguments, only.ended) == (name, uses, True)
