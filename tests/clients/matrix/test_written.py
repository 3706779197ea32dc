"""The clients of the two page protocols on streams written by hand: the AI SDK's chat, and AG-UI's agent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import pytest
from tests.clients.matrix.driver import Kind
from tests.clients.matrix.everyone import CLIENTS
from tests.clients.matrix.outcome import Call, Failure, Outcome
from tests.clients.matrix.player import playing
from tests.clients.matrix.tasks import TOOLS

pytestmark = pytest.mark.slow

CHATS = [kind for kind in CLIENTS if kind.dialect == "ui-messages"]
[AGENT] = [kind for kind in CLIENTS if kind.dialect == "agui"]
Ask = Callable[[Kind, str, Sequence[dict[str, Any]]], Outcome]


@pytest.fixture
def ask() -> Iterator[Ask]:
    """ask(kind, path, events) -> what the client makes of them, answered at that path."""
    with ExitStack() as stack:

        def answer(kind: Kind, path: str, events: Sequence[dict[str, Any]]) -> Outcome:
            content = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
            url = stack.enter_context(playing({path: ("text/event-stream", content.encode())}))
            client = stack.enter_context(closing(kind.make(url)))
            return client.ask(TOOLS, "any")

        yield answer


def chat(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "start", "messageId": "m1"}, {"type": "start-step"}, *events]


@pytest.mark.parametrize("kind", CHATS, ids=lambda kind: kind.name)
def test_a_chat_with_thoughts_text_and_calls(ask: Ask, kind: Kind) -> None:
    calls = [
        event
        for number, city in enumerate(("Oslo", "Kyoto"))
        for event in (
            {"type": "tool-input-start", "toolCallId": f"c{number}", "toolName": "get_weather"},
            {"type": "tool-input-delta", "toolCallId": f"c{number}", "inputTextDelta": f'{{"city":"{city}"}}'},
            {"type": "tool-input-available", "toolCallId": f"c{number}", "toolName": "get_weather",
             "input": {"city": city}},
        )
    ]  # fmt: skip
    outcome = ask(kind, "/api/chat", chat(
        {"type": "reasoning-start", "id": "r"}, {"type": "reasoning-delta", "id": "r", "delta": "Hm. "},
        {"type": "reasoning-delta", "id": "r", "delta": "So."}, {"type": "reasoning-end", "id": "r"},
        {"type": "text-start", "id": "t"}, {"type": "text-delta", "id": "t", "delta": "I'll "},
        {"type": "text-delta", "id": "t", "delta": "look."}, {"type": "text-end", "id": "t"},
        *calls, {"type": "finish-step"}, {"type": "finish", "finishReason": "tool-calls"},
    ))  # fmt: skip
    assert (outcome.reasoning, outcome.text, outcome.finish) == ("Hm. So.", "I'll look.", "tool_use")
    assert outcome.calls == [Call("get_weather", {"city": city}) for city in ("Oslo", "Kyoto")]
    assert outcome.error is None


@pytest.mark.parametrize("kind", CHATS, ids=lambda kind: kind.name)
def test_a_chat_that_fails(ask: Ask, kind: Kind) -> None:
    half = [{"type": "text-start", "id": "t"}, {"type": "text-delta", "id": "t", "delta": "so far"}]
    outcome = ask(kind, "/api/chat", chat(*half, {"type": "error", "errorText": "too much to do"}))
    assert (outcome.text, outcome.error) == ("so far", Failure("error", "too much to do"))
    cut = ask(kind, "/api/chat", chat(*half, {"type": "abort"}))
    assert (cut.text, cut.error) == ("so far", Failure("abort", ""))
    wrong = ask(kind, "/api/chat", chat({"type": "text-delta", "id": "t", "delta": "of nothing"}))
    assert wrong.error is not None


def run(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "RUN_STARTED", "threadId": "t", "runId": "r"}, *events]


def said(text: str) -> list[dict[str, Any]]:
    return [
        {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": text},
    ]


def test_a_run_with_thoughts_text_and_calls(ask: Ask) -> None:
    calls = [
        event
        for number, city in enumerate(("Oslo", "Kyoto"))
        for event in (
            {"type": "TOOL_CALL_START", "toolCallId": f"c{number}", "toolCallName": "get_weather",
             "parentMessageId": "m"},
            {"type": "TOOL_CALL_ARGS", "toolCallId": f"c{number}", "delta": f'{{"city":"{city}"}}'},
            {"type": "TOOL_CALL_END", "toolCallId": f"c{number}"},
        )
    ]  # fmt: skip
    usage = [{"inputTokens": 12, "outputTokens": 34}]
    outcome = ask(AGENT, "/agui", run(
        {"type": "REASONING_START", "messageId": "h"},
        {"type": "REASONING_MESSAGE_START", "messageId": "h", "role": "reasoning"},
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "h", "delta": "Hm."},
        {"type": "REASONING_MESSAGE_END", "messageId": "h"}, {"type": "REASONING_END", "messageId": "h"},
        *said("I'll look."), {"type": "TEXT_MESSAGE_END", "messageId": "m"}, *calls,
        {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "usage": usage},
    ))  # fmt: skip
    assert (outcome.reasoning, outcome.text, outcome.usage) == ("Hm.", "I'll look.", (12, 34))
    assert outcome.calls == [Call("get_weather", {"city": city}) for city in ("Oslo", "Kyoto")]
    assert outcome.error is None


def test_a_run_that_fails(ask: Ask) -> None:
    outcome = ask(AGENT, "/agui", run(*said("so far"), {"type": "RUN_ERROR", "message": "too much to do"}))
    assert (outcome.text, outcome.error) == ("so far", Failure("RUN_ERROR", "too much to do"))
    wrong = ask(AGENT, "/agui", run({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "of nothing"}))
    assert wrong.error is not None
