"""What a dialect declares that it has no words for is what it loses, no more and no less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from tests.translation.answers import TARGETS, address, calls_of, decode, encode, fold, logprobs, signatures

from tokenwire import dialects
from tokenwire.dialects.base import Aspect
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Finished,
    FinishReason,
    Logprobs,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
    Usage,
)
from tokenwire.dialects.transcript import Transcript

CALL: list[Delta] = [ToolCallStarted("call_1", "f", 0, 1), ToolCallDelta('{"a":1}', 0, 1), ToolCallEnded(0, 1)]
TEXT: list[Delta] = [TextDelta("Hello.", 0, 1)]
THOUGHT: list[Delta] = [ReasoningDelta("Hm.", 0, 0)]
SOURCE = {"type": "url_citation", "url_citation": {"url": "https://example.com/a", "title": "A"}}
TOKEN = {"token": "Hello.", "logprob": -0.5, "bytes": [72], "top_logprobs": []}


def answer(*said: Delta, reason: FinishReason = "stop") -> list[Delta]:
    return [Started("id", "m", 1.0), *said, Finished(reason, None)]


def _usage(member: str) -> Callable[[Transcript], Any]:
    return lambda end: getattr(end.usage, member, None)


#: For each aspect answers that have it, and what of an answer it is.
ASPECTS: dict[Aspect, tuple[list[list[Delta]], Callable[[Transcript], Any]]] = {
    "several answers": (
        [[*answer(*TEXT), Started("id", "m", 1.0, 1), TextDelta("Hi.", 1), Finished("length", None, 1)]],
        lambda end: [end.choice(index).text for index in end.choices],
    ),
    "reasoning": ([answer(*THOUGHT, *TEXT)], lambda end: end.choice().reasoning),
    "signature": (
        [
            answer(*THOUGHT, ReasoningSignature("c2ln", 0, 0, "another"), *TEXT),
            answer(*THOUGHT, *TEXT, ReasoningSignature("c2ln", 0, 1, "gemini")),  # Gemini's come late
        ],
        lambda end: signatures(end.choice()),
    ),
    "call signature": (
        [answer(*CALL[:2], ReasoningSignature("c2ln", 0, 1, "gemini"), CALL[2], reason="tool_use")],
        lambda end: signatures(end.choice(), of_calls=True),
    ),
    "call ids": (
        [answer(*CALL, reason="tool_use")],
        lambda end: [call.id for call in end.choice().tool_calls.values()],
    ),
    "tool results": (
        [
            answer(*CALL, ToolResult("call_1", "f", said, failed, 0, 1), TextDelta("So.", 0, 2))
            for said, failed in [("5", False), ('{"b":[1,"x"]}', False), ("{", False), ("", False), ("E: no", True)]
        ],
        lambda end: [
            None if call.result is None else (call.result.content, call.result.error)
            for call in end.choice().tool_calls.values()
        ],
    ),
    "refusal": ([answer(RefusalDelta("No.", 0, 1))], lambda end: end.choice().refusal),
    "citations": (
        [answer(*TEXT, Citation(SOURCE, 0, 1))],
        lambda end: [address(each.data) for each in end.choice().citations],
    ),
    "logprobs": ([answer(*TEXT, Logprobs([TOKEN]))], lambda end: logprobs(end.choice())),
    "usage": (
        [answer(*TEXT, Usage(10, 20)), answer(*TEXT, Usage(10)), answer(*TEXT)],
        lambda end: None if end.usage is None else (end.usage.input, end.usage.output),
    ),
    "cached input": ([answer(*TEXT, Usage(10, 20, cached_input=4))], _usage("cached_input")),
    "cache writes": ([answer(*TEXT, Usage(10, 20, cache_write=3))], _usage("cache_write")),
    "reasoning tokens": ([answer(*TEXT, Usage(10, 20, reasoning=5))], _usage("reasoning")),
}


def test_every_aspect_is_tried() -> None:
    assert set(ASPECTS) == set(get_args(Aspect))


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_dialect_loses_what_it_declares_and_nothing_else(target: str, aspect: Aspect) -> None:
    dialect = dialects.get(target)
    answers, of = ASPECTS[aspect]
    kept = all(of(fold(decode(dialect, [encode(dialect, deltas)]))) == of(fold(deltas)) for deltas in answers)
    assert kept is (aspect not in dialect.loses)


@pytest.mark.parametrize("reason", get_args(FinishReason))
@pytest.mark.parametrize("target", TARGETS)
def test_a_reason_becomes_what_the_dialect_declares(target: str, reason: FinishReason) -> None:
    dialect = dialects.get(target)
    calls = CALL if reason == "tool_use" else []
    again = fold(decode(dialect, [encode(dialect, answer(*TEXT, *calls, reason=reason))]))
    if again.failed is not None:  # where the dialect says it with an error
        assert reason in ("error", "cancelled")
        return
    assert again.choice().reason == dialect.reasons.get(reason, reason)
    assert [name for name, _ in calls_of(again.choice())] == (["f"] if calls else [])


@pytest.mark.parametrize("target", TARGETS)
def test_a_declaration_says_what_becomes_of_it(target: str) -> None:
    dialect = dialects.get(target)
    assert all(dialect.loses.values())
    assert all(reason != becomes for reason, becomes in dialect.reasons.items())
