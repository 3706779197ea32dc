"""Messages requests, written: turns that alternate, blocks that are accepted, numbers in their bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from tests.translation.samples import PDF, PNG, SCHEMA

from tokenwire.dialects.prompt.media import of_text
from tokenwire.dialects.prompt.vocabulary import (
    Call,
    Media,
    Part,
    Prompt,
    Reasoning,
    Refused,
    Result,
    Role,
    Said,
    Thought,
    Tool,
    ToolChoice,
    Turn,
)
from tokenwire.errors import RequestRefused

Write = Callable[..., dict[str, Any]]
Across = Callable[..., Any]

NAME = "anthropic"
CHAT = "openai.chat"


def turn(role: Role, *given: Part | str) -> Turn:
    return Turn(role=role, parts=[Said(text=part) if isinstance(part, str) else part for part in given])


def messages(write: Write, *turns: Turn) -> list[Any]:
    """Role and blocks of each message; a text as itself."""
    return [
        (each["role"], [block.get("text", block) for block in each["content"]])
        for each in write(NAME, Prompt(turns=list(turns)))["messages"]
    ]


def test_neighbours_of_one_role_are_one_turn_with_its_results_in_front(write: Write) -> None:
    call = Call(id="c1", name="f", arguments='{"a": 1.50}')
    result = Result(call_id="c1", parts=[Said(text="done")], error=True)
    said = messages(
        write, turn("user", "A."), turn("user", "B.", ""), turn("assistant", call), turn("assistant", ""),
        turn("user", "C."), turn("system", "Be kind."), turn("tool", result),
    )  # fmt: skip
    assert said == [
        ("user", ["A.", "B."]),
        ("assistant", [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1.5}}]),
        ("user", [
            {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "done"}],
             "is_error": True},
            "C.",
        ]),
    ]  # fmt: skip


def test_the_system_stands_in_one_place(write: Write) -> None:
    prompt = Prompt(turns=[turn("system", "A."), turn("system", "B."), turn("user", "Hi."), turn("system", "C.")])
    assert write(NAME, prompt)["system"] == "A.\n\nB.\n\nC."
    assert "system" not in write(NAME, Prompt(turns=[turn("user", "Hi.")]))


def test_arguments_go_as_they_came_and_broken_ones_whole(write: Write) -> None:
    calls = [Call(id="c", name="f", arguments=text) for text in ("", "[1]", '{"a', '{"a":"\\ud83c"}', '{"n":1e2}')]
    assert [block["input"] for block in messages(write, turn("assistant", *calls))[0][1]] == [
        {}, {"INVALID_JSON": "[1]"}, {"INVALID_JSON": '{"a'}, {"INVALID_JSON": '{"a":"\\ud83c"}'}, {"n": 100.0},
    ]  # fmt: skip


def test_ids_of_others_are_made_to_fit_on_both_sides(write: Write) -> None:
    id_ = "functions.f:0"
    call, result = Call(id=id_, name="f", arguments="{}"), Result(call_id=id_)
    (_, [called]), (_, [answered]) = messages(write, turn("assistant", call), turn("tool", result))
    made = "toolu_" + hashlib.sha256(id_.encode()).hexdigest()[:24]
    assert (called["id"], answered["tool_use_id"]) == (made, made)


def test_only_its_own_thoughts_are_given_back(write: Write) -> None:
    thoughts = [
        Thought(text="Hm.", signature="s", dialect=NAME),
        Thought(signature="x", redacted=True, dialect=NAME),
        Thought(text="Hm?", signature="s", dialect="gemini"),
        Thought(text="Hm!"),
    ]
    assert messages(write, turn("assistant", *thoughts, Refused(text="No."))) == [
        ("assistant", [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "redacted_thinking", "data": "x"},
            "No.",
        ])
    ]  # fmt: skip


def test_files_are_pictures_or_documents(write: Write) -> None:
    files = [
        Media(kind="image", data=PNG),
        Media(kind="image", data="AA", mime="IMAGE/JPEG; q=1"),
        Media(kind="image", url="https://example.com/a"),
        Media(kind="file", data=PDF, name="a.pdf"),
        Media(kind="file", data=of_text("Hé"), mime="text/markdown"),
        Media(kind="file", url="https://example.com/a.pdf"),
    ]
    sources = [block["source"] for block in messages(write, turn("user", *files))[0][1]]
    assert sources == [
        {"type": "base64", "media_type": "image/png", "data": PNG},
        {"type": "base64", "media_type": "image/jpeg", "data": "AA"},
        {"type": "url", "url": "https://example.com/a"},
        {"type": "base64", "media_type": "application/pdf", "data": PDF},
        {"type": "text", "media_type": "text/plain", "data": "Hé"},
        {"type": "url", "url": "https://example.com/a.pdf"},
    ]


@pytest.mark.parametrize(
    ("reasoning", "thinking", "effort", "most"),
    [
        (None, None, None, 4096),
        (Reasoning(effort="none"), {"type": "disabled"}, None, 4096),
        (Reasoning(budget=0, effort="high"), {"type": "disabled"}, None, 4096),
        (Reasoning(budget=2048), {"type": "enabled", "budget_tokens": 2048}, None, 6144),
        (Reasoning(budget=5), {"type": "enabled", "budget_tokens": 1024}, None, 5120),
        (Reasoning(budget=-1, show=False), {"type": "adaptive", "display": "omitted"}, None, 32000),
        (Reasoning(effort="minimal"), {"type": "adaptive"}, "low", 32000),
        (Reasoning(effort="xhigh", show=True), {"type": "adaptive", "display": "summarized"}, "xhigh", 32000),
        (Reasoning(show=True), {"type": "adaptive", "display": "summarized"}, None, 32000),
        (Reasoning(show=False), None, None, 4096),
    ],
)
def test_thinking_has_room(write: Write, reasoning: Any, thinking: Any, effort: str | None, most: int) -> None:
    body = write(NAME, Prompt(turns=[turn("user", "Hi.")], reasoning=reasoning))
    assert (body.get("thinking"), body.get("output_config", {}).get("effort"), body["max_tokens"]) == (
        thinking, effort, most,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "parallel", "written", "tools"),
    [
        (None, None, None, ["f", "g"]),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}, ["f", "g"]),
        (ToolChoice(mode="none"), False, {"type": "none"}, ["f", "g"]),
        (ToolChoice(mode="required"), False, {"type": "any", "disable_parallel_tool_use": True}, ["f", "g"]),
        (ToolChoice(mode="required", names=["f"]), None, {"type": "tool", "name": "f"}, ["f", "g"]),
        (ToolChoice(mode="auto", names=["f"]), None, {"type": "auto"}, ["f"]),
        (ToolChoice(mode="required", names=["f", "g"]), None, {"type": "any"}, ["f", "g"]),
    ],
)
def test_tools_and_their_choice(write: Write, choice: Any, parallel: Any, written: Any, tools: list[str]) -> None:
    given = [Tool(name="f", parameters=SCHEMA, strict=True), Tool(name="g")]
    body = write(NAME, Prompt(turns=[turn("user", "Hi.")], tools=given, tool_choice=choice, parallel_tools=parallel))
    assert (body.get("tool_choice"), [tool["name"] for tool in body["tools"]]) == (written, tools)
    assert body["tools"][0] == {"name": "f", "input_schema": SCHEMA, "strict": True}


def test_without_tools_only_a_choice_that_cannot_be_kept_is_written(write: Write) -> None:
    hi = turn("user", "Hi.")
    assert "tool_choice" not in write(NAME, Prompt(turns=[hi], tool_choice=ToolChoice(mode="auto")))
    asked = write(NAME, Prompt(turns=[hi], tool_choice=ToolChoice(mode="required")))
    assert (asked["tool_choice"], "tools" in asked) == ({"type": "any"}, False)


USER = {"role": "user", "content": "Hi."}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/tiff;base64,AA"}]}]},
         "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "AA"}}]}]},
         "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [
            {"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}]}]}, "messages.0.content.0"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"tools": [{"type": "custom", "custom": {"name": "sql"}}]}, "tools.0"),
        ({"messages": [USER, {"role": "assistant", "content": "x", "audio": {"id": "a"}}]}, "messages.1.audio"),
    ],
)  # fmt: skip
def test_values_without_words_there_are_refused_by_name(across: Across, fields: Any, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        across(CHAT, NAME, {"messages": [USER], **fields})
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"reasoning_effort": "minimal"}, "reasoning_effort"),
        ({"reasoning": {"max_tokens": 9}}, "reasoning"),
        ({"user": "u" * 257}, "user"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strict": False}}},
         "response_format"),
    ],
)  # fmt: skip
def test_values_that_are_bent_to_fit_are_noted(across: Across, fields: Any, where: str) -> None:
    body, notes = across(CHAT, NAME, {"messages": [USER], **fields})
    assert [(note.where, note.fate) for note in notes] == [(where, "changed")]
    assert str(notes[0]).startswith(f"{where} is changed: ")
    if where == "user":
        assert body["metadata"] == {"user_id": hashlib.sha256(b"u" * 257).hexdigest()}


def test_what_is_harmless_is_left_out_with_a_note(across: Across) -> None:
    text = {"type": "text", "text": "Hi.", "cache_control": {"type": "ephemeral"}}
    body, notes = across(CHAT, NAME, {"messages": [{"role": "user", "content": [text]}], "store": True, "seed": 1})
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi."}]}]
    assert [(note.where, note.fate) for note in notes] == [
        ("seed", "dropped"), ("messages.0.content.0.cache_control", "dropped"), ("store", "dropped"),
    ]  # fmt: skip
    assert str(notes[2]) == "store is left out: anthropic has no counterpart"
