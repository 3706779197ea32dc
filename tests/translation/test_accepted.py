"""Whole conversations, translated: what the simulated vendors say of them, who are as strict as the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.translation.samples import PNG, SCHEMA

from tokenwire.simulator.vendors.anthropic import requests as messages
from tokenwire.simulator.vendors.anthropic import rules
from tokenwire.simulator.vendors.openai import requests as chat

Across = Callable[..., Any]

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "What is this, and how warm is it in Oslo and in Kraków?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "high"}},
        ]},
        {"role": "assistant", "content": "Let me see.", "reasoning_content": "Two calls.", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
            {"id": "fn:2", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Kraków"}'}},
        ]},
        {"role": "tool", "tool_call_id": "fn:2", "content": "12"},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "3"}]},
        {"role": "user", "content": "", "name": "ada"},
        {"role": "user", "content": "Well?"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "weather", "parameters": SCHEMA, "strict": True}},
        {"type": "function", "function": {"name": "clock"}},
    ],
    "tool_choice": "auto", "parallel_tool_calls": False, "temperature": 0.2, "stop": "END", "seed": 3,
    "stream": True, "stream_options": {"include_usage": True},
}  # fmt: skip

MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 900,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "How warm is it in Oslo?"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "A call.", "signature": "sig"},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": [
                {"type": "text", "text": "a map"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ]},
            {"type": "text", "text": "Well?"},
        ]},
    ],
    "tools": [{"name": "weather", "description": "d", "input_schema": SCHEMA}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
    "stop_sequences": ["END"], "stream": True, "metadata": {"user_id": "ada"},
}  # fmt: skip


def test_a_conversation_in_chat_is_one_that_anthropic_takes(across: Across) -> None:
    body, notes = across("openai.chat", "anthropic", CHAT)
    rules.check(messages.parse(json.dumps(body).encode(), messages.MessagesRequest))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    kinds = [block["type"] for block in body["messages"][2]["content"]]
    assert kinds == ["tool_result", "tool_result", "text"]
    assert [(note.where, note.fate) for note in notes] == [
        ("messages.1.content.1", "dropped"),
        ("messages.2", "dropped"),
        ("messages.5.name", "dropped"),
        ("seed", "dropped"),
    ]


def test_a_conversation_with_anthropic_is_one_that_chat_takes(across: Across) -> None:
    body, notes = across("anthropic", "openai.chat", MESSAGES, "gpt-5.6-mini")
    request = chat.parse(json.dumps(body).encode())
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "tool", "user", "user"]
    assert body["messages"][3]["content"] == "Error: a map"
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    assert (body["max_completion_tokens"], body["reasoning_effort"]) == (900, "low")
    assert [(note.where, note.fate) for note in notes] == [
        ("messages.1.content.0", "dropped"),
        ("messages.2.content.0", "changed"),
        ("messages.2.content.0.content.1", "changed"),
        ("system.0.cache_control", "dropped"),
    ]


def test_a_conversation_that_went_there_and_back_is_the_same(across: Across) -> None:
    there, _ = across("openai.chat", "anthropic", CHAT)
    back, notes = across("anthropic", "openai.chat", there)
    assert notes == []
    again, _ = across("openai.chat", "anthropic", back)
    assert again == there
