"""library/answer: one fold of everything that was handed out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.library.conftest import Ask, Asked, paced

import tokenwire
from tokenwire.client import Reset
from tokenwire.dialects.deltas import (
    Failed,
    Finished,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
    Usage,
)
from tokenwire.errors import AnswerFailed, AnswerStopped, CursorLost, ProviderDown, RequestRejected
from tokenwire.library.answer import Answer
from tokenwire.library.failures import failure
from tokenwire.library.output import Output
from tokenwire.library.text import text_of
from tokenwire.simulator import Simulator
from tokenwire.testing.rig import until


def folded(*updates: Any) -> Answer[Any]:
    answer: Answer[Any] = Answer("m", [{"role": "user", "content": "hi"}], Output(None))
    for update in updates:
        answer.apply(update, 1)
    return answer


def test_thoughts_and_refusals_are_told_apart() -> None:
    answer = folded(ReasoningDelta("hm"), RefusalDelta("no", block=1), TextDelta("x", choice=1), Finished("refusal"))
    assert (answer.reasoning, answer.refusal, answer.text, answer.reason) == ("hm", "no", "", "refusal")
    assert answer.cost_usd is None
    assert answer.turns[0].choice(1).text == "x"


def test_the_conversation_goes_on_with_thoughts_and_open_calls() -> None:
    redacted = {"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": "R"}}
    answer = folded(
        ReasoningDelta("hm"),
        ReasoningSignature("S", dialect="anthropic"),
        Opaque("anthropic", redacted, "content_block_start"),
        Opaque("anthropic", {"type": "ping"}, "ping"),
        ToolCallStarted("c1", "f", block=1),
        ToolCallDelta("{}", block=1),
        ToolCallEnded(block=1),
        Finished("tool_use"),
    )
    user, assistant = answer.messages
    assert user == {"role": "user", "content": "hi"}
    assert assistant["tool_calls"][0]["id"] == "c1"
    assert [detail["type"] for detail in assistant["reasoning_details"]] == ["reasoning.text", "reasoning.encrypted"]
    assert folded().messages == [user]


def test_results_begin_another_turn() -> None:
    call = ToolCallStarted("c", "f"), ToolCallDelta("{}"), ToolCallEnded()
    results = ToolResult("c", "f", "1"), TextDelta("b", block=1)
    answer = folded(TextDelta("a", block=5), *call, *results)
    assert [turn.choice().text for turn in answer.turns] == ["a", "b"]
    assert answer.text == "ab"
    assert [call.id for call in answer.tool_calls] == ["c"]


def test_what_was_reset_is_dropped() -> None:
    answer = folded(TextDelta("a"), Usage(output=3), Reset("trimmed"), TextDelta("b"))
    assert answer.text == "b"
    assert answer.usage is not None
    assert answer.usage.output == 3
    with pytest.raises(CursorLost, match="trimmed"):
        text_of(Reset("trimmed", "1-5"))


def test_long_answers_are_kept_in_few_pieces() -> None:
    answer = folded(*[TextDelta("ab")] * 5000)
    assert answer.text == "ab" * 5000
    tail = answer.turns[0].choice()._open._tail
    assert len(tail) < 1100


def test_failures_are_of_a_kind() -> None:
    kinds = {
        ("server_error", 500): ProviderDown,
        ("model_not_found", 404): RequestRejected,
        ("odd", None): AnswerFailed,
        ("shutting_down", None): AnswerStopped,
        ("timeout", 408): ProviderDown,
        ("odd", 302): AnswerFailed,
    }
    for (code, status), kind in kinds.items():
        assert type(failure(Failed(code=code, message="m", upstream_status=status))) is kind


def test_a_start_that_was_cancelled_is_withdrawn_from_the_relay(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        for turns in range(1, 6):
            stream = ask("up/gpt-4o", "hi", request=paced(100_000, 1))
            task = asyncio.ensure_future(stream.final())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await stream.close()
        await until(lambda: not node._tasks)
        await until(lambda: simulator.stats.active == 0)

    asked(main, "relay")


def test_a_relay_that_is_gone_does_not_hold_anybody_up(asked: Asked) -> None:
    async def main(ask: Ask, simulator: Simulator, node: tokenwire.Node) -> None:
        stream = tokenwire.stream("m", "hi", relay="http://127.0.0.1:1", node=node)
        task = asyncio.ensure_future(stream.final())
        await asyncio.sleep(0)
        await stream.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [each async for each in stream] == []

    asked(main)
