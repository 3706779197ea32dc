"""Deltas of any dialect, as Chat Completions chunks: what is on the wire, to the byte where clients look."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenwire.dialects.base import Frame
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    FinishReason,
    Logprobs,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Started,
    Terminal,
    TerminalState,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)  # fmt: skip
from tokenwire.dialects.openai_chat.dialect import Encoder, fold_response
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import LocalProtocolError

DONE = Frame(None, "[DONE]")


def encoder(**options: Any) -> Encoder:
    return Encoder("st_abc", 1763600000.9, "openai/gpt", **options)


def choices(frames: list[Frame]) -> list[Any]:
    """The choices of all frames that are chunks."""
    return [
        choice for frame in frames if frame.data != "[DONE]" for choice in json.loads(frame.data).get("choices", ())
    ]


def told(*deltas: Delta) -> list[Any]:
    """The deltas that a fresh encoder writes for these, less the role chunk."""
    made = encoder()
    return [choice["delta"] for choice in choices([frame for delta in deltas for frame in made.feed(delta)])][1:]


def test_a_chunk_is_what_openai_sends() -> None:
    role, text = encoder().feed(TextDelta("Hé\n"))
    assert text.event is None
    assert text.data == (
        '{"id":"chatcmpl-abc","object":"chat.completion.chunk","created":1763600000,"model":"openai/gpt",'
        '"choices":[{"index":0,"delta":{"content":"Hé\\n"},"logprobs":null,"finish_reason":null}]}'
    )
    assert choices([role])[0]["delta"] == {"role": "assistant", "content": ""}


def test_the_role_comes_once_for_each_choice() -> None:
    made = encoder()
    frames = [frame for index in (0, 1, 0, 1) for frame in made.feed(TextDelta("a", index))] + made.feed(
        Started(choice=1)
    )
    assert [(choice["index"], "role" in choice["delta"]) for choice in choices(frames)] == [
        (0, True), (0, False), (1, True), (1, False), (0, False), (1, False),
    ]  # fmt: skip


def test_choices_are_opened_in_order() -> None:
    """OpenAI's helper takes an index for a place in its list, and fails if the first that it sees is 1."""
    frames = encoder().feed(TextDelta("a", 2))
    assert [(choice["index"], list(choice["delta"])) for choice in choices(frames)] == [
        (0, ["role", "content"]), (1, ["role", "content"]), (2, ["role", "content"]), (2, ["content"]),
    ]  # fmt: skip
    assert len(encoder().feed(TextDelta("a", 10**9))) == 130


def test_each_kind_of_text_has_its_member() -> None:
    assert told(ReasoningDelta("a"), TextDelta("b"), RefusalDelta("c")) == [
        {"reasoning_content": "a"}, {"content": "b"}, {"refusal": "c"},
    ]  # fmt: skip


def test_tool_calls_are_counted_from_0_whatever_their_blocks() -> None:
    assert told(
        ToolCallStarted("a", "f", 0, 3), ToolCallDelta("{", 0, 3), ToolCallStarted("b", "g", 0, 7),
        ToolCallDelta("}", 0, 3), ToolCallDelta("", 0, 7), ToolCallEnded(0, 3), ToolCallEnded(0, 7),
    ) == [
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},  # a call without parameters ends as {}
    ]  # fmt: skip


@pytest.mark.parametrize("delta", [ToolCallDelta("{}"), ToolCallEnded()])
@pytest.mark.parametrize("begun", [True, False])
def test_arguments_of_a_call_that_never_began_are_a_bug(delta: Delta, begun: bool) -> None:
    made = encoder()
    if begun:
        made.feed(TextDelta("a"))
    with pytest.raises(LocalProtocolError):
        made.feed(delta)


def test_signatures_citations_and_logprobs() -> None:
    own = {"type": "url_citation", "url_citation": {"url": "https://a.example"}}
    foreign = {"type": "web_search_result_location", "url": "https://b.example", "title": "B", "cited_text": "x"}
    grounding = {"uri": "https://c.example"}
    nowhere = {"type": "page_location", "document_index": 0}
    assert told(
        ReasoningSignature("S"),
        ReasoningSignature("T"),
        Citation(own),
        Citation(foreign),
        Citation(grounding),
        Citation(nowhere),
    ) == [
        {"reasoning_details": [{"type": "reasoning.text", "signature": "S", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.text", "signature": "T", "index": 1}]},
        {"annotations": [{"index": 0, **own}]},
        {
            "annotations": [
                {"index": 1, "type": "url_citation", "url_citation": {"url": "https://b.example", "title": "B"}}
            ]
        },
        {"annotations": [{"index": 2, "type": "url_citation", "url_citation": {"url": "https://c.example"}}]},
        {"annotations": [{"index": 3, **nowhere}]},
    ]
    (_, chunk) = choices(encoder().feed(Logprobs([{"token": "a"}])))
    assert (chunk["delta"], chunk["logprobs"]) == ({}, {"content": [{"token": "a"}], "refusal": None})


def test_what_only_this_dialect_knows_goes_back_to_its_place() -> None:
    entries = [{"index": 1, "extra_content": {"s": 1}}, {"index": 0, "function": {"arguments": "again"}}, "?"]
    data = {
        "choices": [{"index": 2, "audio": 1, "delta": {"tool_calls": entries, "function_call": {"name": "f"}}}],
        "m": 1,
    }
    (frame,) = encoder().feed(Opaque("openai.chat", data))
    chunk = json.loads(frame.data)
    assert (chunk["id"], chunk["m"]) == ("chatcmpl-abc", 1)
    # OpenAI's helper fails for an entry without a function.
    kept = [{"index": 1, "extra_content": {"s": 1}, "function": {"arguments": ""}}]
    assert chunk["choices"] == [{"finish_reason": None, "index": 2, "audio": 1, "delta": {"tool_calls": kept}}]
    (frame,) = encoder().feed(Opaque("openai.chat", {"choices": [{"index": 0, "delta": {"tool_calls": entries[1:]}}]}))
    assert choices([frame]) == [{"finish_reason": None, "index": 0, "delta": {}}]
    odd = {"choices": ["x", {"index": 1, "delta": []}], "object": "thread.run", "id": "theirs"}
    (frame,) = encoder().feed(Opaque("openai.chat", odd))
    assert json.loads(frame.data)["object"] == "chat.completion.chunk"
    assert choices([frame]) == [{"finish_reason": None, "index": 1, "delta": {}}]
    (frame,) = encoder().feed(Opaque("openai.chat", {"choices": 5}))
    assert choices([frame]) == []


@pytest.mark.parametrize(
    "delta", [Opaque("anthropic", {"a": 1}), Opaque("openai.chat", [1]), Failed("x", "y"), Usage(1, 2)]
)
def test_what_has_no_chunk(delta: Delta) -> None:
    assert encoder().feed(delta) == []


WORDS: list[tuple[FinishReason, str | None]] = [
    ("stop", "stop"), ("length", "length"), ("context_window", "length"), ("tool_use", "tool_calls"),
    ("content_filter", "content_filter"), ("refusal", "content_filter"), ("pause", "stop"), ("unknown", "stop"),
    ("error", None), ("cancelled", None),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "word"), WORDS)
def test_every_reason_has_its_word_or_is_told_by_the_error(reason: FinishReason, word: str | None) -> None:
    made = encoder()
    made.feed(TextDelta("a"))
    frames = made.feed(Finished(reason))
    assert [(choice["delta"], choice["finish_reason"]) for choice in choices(frames)] == ([({}, word)] if word else [])
    assert made.feed(Finished("length")) == [] or word is None  # only the first counts


def test_a_refusal_that_was_told_stops() -> None:
    made = encoder()
    made.feed(RefusalDelta("No."))
    assert choices(made.feed(Finished("refusal")))[0]["finish_reason"] == "stop"


def test_the_usage_chunk_is_the_last_before_done() -> None:
    made = encoder()
    deltas: list[Delta] = [
        Usage(input=5),
        TextDelta("a"),
        Usage(output=7, cached_input=2, reasoning=3),
        Finished("stop"),
    ]
    for delta in deltas:
        made.feed(delta)
    usage, done = made.close(Terminal("completed"))
    chunk = json.loads(usage.data)
    assert done == DONE
    assert chunk["choices"] == []
    assert chunk["usage"] == {
        "prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 3},
    }  # fmt: skip


def test_usage_is_not_told_unless_asked_for_and_only_as_far_as_known() -> None:
    silent = encoder(include_usage=False)
    silent.feed(Usage(1, 2))
    assert [frame.data for frame in silent.close(Terminal("completed"))][-1:] == ["[DONE]"]
    assert not any("usage" in frame.data for frame in silent.copy().close(Terminal("completed")))
    usage = json.loads(encoder().close(Terminal("completed", usage=Usage(output=2)))[-2].data)["usage"]
    assert usage == {"completion_tokens": 2}


def test_an_unfinished_choice_is_finished_by_the_terminal() -> None:
    made = encoder()
    made.feed(TextDelta("a"))
    made.feed(ToolCallStarted("a", "f", 1))
    cut = choices(made.copy().close(Terminal("completed", reason="length")))
    assert [choice["finish_reason"] for choice in cut] == ["length", "length"]
    frames = made.close(Terminal("completed"))
    assert [(choice["index"], choice["finish_reason"]) for choice in choices(frames)] == [
        (0, "stop"),
        (1, "tool_calls"),
    ]


def test_an_empty_answer_has_a_choice_all_the_same() -> None:
    role, finish, done = encoder().close(Terminal("completed"))
    assert [choice["finish_reason"] for choice in choices([role, finish])] == [None, "stop"]
    assert done == DONE


@pytest.mark.parametrize("state", ["cancelled", "orphaned", "expired"])
def test_other_ends_are_an_error_with_the_state_as_code(state: TerminalState) -> None:
    (frame,) = encoder().close(Terminal(state))
    error = json.loads(frame.data)["error"]
    assert (error["code"], error["type"], error["param"]) == (state, state, None)
    assert error["message"]
    (frame,) = encoder().close(Terminal(state, error=Failed("x", "said by the engine")))
    assert json.loads(frame.data)["error"]["message"] == "said by the engine"


def test_a_failure_is_an_error_with_its_code_and_no_done() -> None:
    failure = Failed("overloaded_error", "Overloaded", True, 529, {"type": "overloaded_error", "message": "Overloaded"})
    (frame,) = encoder().close(Terminal("failed", error=failure))
    assert frame.event is None
    assert json.loads(frame.data) == {
        "error": {"message": "Overloaded", "type": "server_error", "param": None, "code": "overloaded_error"}
    }


def test_the_providers_own_error_object_is_kept() -> None:
    raw: dict[str, Any] = {
        "message": "m",
        "type": "tokens",
        "param": None,
        "code": "rate_limit_exceeded",
        "innererror": {},
    }
    (frame,) = encoder().close(Terminal("failed", error=Failed("rate_limit_exceeded", "m", True, 429, raw)))
    assert json.loads(frame.data) == {"error": raw}


def test_a_prefix_is_one_chunk_for_each_run() -> None:
    fold = Transcript()
    deltas: list[Delta] = [
        Started("x", "m", 1.0), ReasoningDelta("a"), ReasoningDelta("b"), TextDelta("c", block=1),
        TextDelta("d", block=1),
        ToolCallStarted("i", "f", block=2), ToolCallDelta("{", block=2), ToolCallDelta("}", block=2),
        ToolCallEnded(block=2),
        Finished("tool_use"), Usage(1, 2),
    ]  # fmt: skip
    for delta in deltas:
        fold.apply(delta)
    made = encoder()
    made.feed(TextDelta("something else"))
    frames = made.prefix(fold)
    assert [list(choice["delta"]) for choice in choices(frames)] == [
        ["role", "content"], ["reasoning_content"], ["content"], ["tool_calls"], ["tool_calls"], [],
    ]  # fmt: skip
    assert [json.loads(frame.data)["usage"]["prompt_tokens"] for frame in made.close(Terminal("completed"))[:1]] == [1]


def test_a_copy_is_independent() -> None:
    made = encoder()
    made.feed(ToolCallStarted("a", "f"))
    twin = made.copy()
    twin.feed(ToolCallStarted("b", "g", block=1))
    assert choices(made.feed(ToolCallStarted("c", "h", block=2)))[0]["delta"]["tool_calls"][0]["index"] == 1


def test_the_same_deltas_give_the_same_bytes() -> None:
    deltas: list[Delta] = [TextDelta("a"), ToolCallStarted("i", "f", block=1), ToolCallEnded(block=1), Finished("stop")]
    assert (
        len({tuple(frame for delta in deltas for frame in made.feed(delta)) for made in (encoder(), encoder())})
        == 2 - 1
    )


def test_a_response_that_is_not_streamed() -> None:
    fold = Transcript()
    note = {"url": "https://a.example"}
    deltas: list[Delta] = [
        ReasoningDelta("Hm"), ReasoningSignature("S"), ToolCallStarted("i", "f", block=1), Citation(note),
        Logprobs([{"token": "a"}]), Finished("tool_use", "tool_use"), TextDelta("b", 1), RefusalDelta("No.", 1, 1),
        Finished("refusal", None, 1), Usage(1, 2),
    ]  # fmt: skip
    for delta in deltas:
        fold.apply(delta)
    body = json.loads(fold_response(fold, "st_abc", 5.5, "m"))
    assert body == {
        "id": "chatcmpl-abc", "object": "chat.completion", "created": 5, "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant", "content": None, "refusal": None, "reasoning_content": "Hm",
                    "reasoning_details": [{"type": "reasoning.text", "signature": "S", "index": 0}],
                    "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                    "annotations": [{"type": "url_citation", "url_citation": note}],
                },
                "logprobs": {"content": [{"token": "a"}], "refusal": None},
                "finish_reason": "tool_calls",
            },
            {
                "index": 1, "message": {"role": "assistant", "content": "b", "refusal": "No."}, "logprobs": None,
                "finish_reason": "stop",
            },
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }  # fmt: skip


def test_an_empty_response_has_a_choice_all_the_same() -> None:
    (choice,) = json.loads(fold_response(Transcript(), "st_abc", 5.5, "m"))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")
    refused = Transcript()
    refused.apply(Finished("refusal"))
    (choice,) = json.loads(fold_response(refused, "st_abc", 5.5, "m"))["choices"]
    assert choice["finish_reason"] == "content_filter"
