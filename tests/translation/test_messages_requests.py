"""Messages requests, read: every block and member that a client of Anthropic's may send."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from tests.translation.samples import PDF, PNG, SCHEMA, parts

from tokenwire.dialects.prompt.vocabulary import (
    Call,
    Foreign,
    Media,
    Output,
    Prompt,
    Reasoning,
    Result,
    Said,
    Thought,
    Tool,
    ToolChoice,
    Turn,
)
from tokenwire.dialects.signatures import wrap
from tokenwire.errors import RequestRefused

Read = Callable[..., Prompt]

NAME = "anthropic"
USER = {"role": "user", "content": "Hi."}


def members(read: Read, **fields: Any) -> Prompt:
    return read(NAME, {"model": "m", "max_tokens": 5, "messages": [USER], **fields})


def first(read: Read, block: Any, role: str = "user") -> Any:
    """What a block is."""
    return members(read, messages=[{"role": role, "content": [block]}]).turns[0].parts[0]


def source(read: Read, kind: str, **source: Any) -> Any:
    return first(read, {"type": kind, "source": source})


def test_the_system_speaks_first_as_text_or_blocks(read: Read) -> None:
    turn = Turn(role="system", parts=[Said(text="A.", where="system")], where="system")
    assert members(read, system="A.").turns[0] == turn
    cached = {"type": "text", "text": "B.", "cache_control": {"type": "ephemeral"}}
    prompt = members(read, system=[{"type": "text", "text": "A."}, cached])
    assert [part.text for part in prompt.turns[0].parts if isinstance(part, Said)] == ["A.", "B."]
    assert list(prompt.rest) == ["system.1.cache_control"]
    assert members(read, system="").turns == members(read, system=[]).turns == members(read).turns


def test_a_system_that_speaks_late_has_a_turn(read: Read) -> None:
    prompt = members(read, messages=[USER, {"role": "system", "content": "Be brief."}])
    assert [turn.role for turn in prompt.turns] == ["user", "system"]


def test_pictures_and_documents_have_sources(read: Read) -> None:
    shown = source(read, "image", type="base64", media_type="image/png", data=PNG)
    assert (shown.kind, shown.mime, shown.data) == ("image", "image/png", PNG)
    assert source(read, "image", type="url", url="https://example.com/a").url == "https://example.com/a"
    kept = source(read, "image", type="file", file_id="file_1")
    assert (kept.file_id, kept.vendor) == ("file_1", NAME)
    titled = {
        "type": "document",
        "title": "T",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
    }
    paper = first(read, titled)
    assert (paper.kind, paper.mime, paper.data, paper.name) == ("file", "application/pdf", PDF, "T")
    text = source(read, "document", type="text", media_type="text/plain", data="Zażółć")
    assert (text.mime, base64.b64decode(text.data).decode()) == ("text/plain", "Zażółć")
    assert isinstance(source(read, "document", type="content", content="x"), Foreign)


def test_a_document_to_cite_from_cannot_be_put_elsewhere(read: Read) -> None:
    document = {"type": "document", "source": {"type": "text", "data": "x"}}
    assert isinstance(first(read, {**document, "citations": {"enabled": False}}), Media)
    cited = first(read, {**document, "citations": {"enabled": True}})
    assert (cited.kind, cited.where) == ("document with citations", "messages.0.content.0.citations")


def test_results_come_out_of_the_users_turn_and_know_their_names(read: Read) -> None:
    prompt = members(
        read,
        messages=[
            USER,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": "ł"}}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Here."},
                    {"type": "tool_result", "tool_use_id": "t1", "content": "bad", "is_error": True},
                    {"type": "tool_result", "tool_use_id": "t2"},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}},
                {"type": "text", "text": "x"},
            ]}]},
        ],
    )  # fmt: skip
    assert [turn.role for turn in prompt.turns] == ["user", "assistant", "tool", "user", "tool"]
    assert [call.arguments for call in parts(prompt, Call)] == ['{"a":"ł"}']
    told = [(each.call_id, each.name, each.error, len(each.parts)) for each in parts(prompt, Result)]
    assert told == [("t1", "f", True, 1), ("t2", "", False, 0), ("t1", "f", False, 2)]
    assert prompt.rest == {}


def test_what_no_other_dialect_knows_of_a_result_stands_beside_it(read: Read) -> None:
    reference = {"type": "tool_reference", "tool_name": "f"}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [reference]}
    prompt = members(read, messages=[{"role": "user", "content": [result]}])
    assert [turn.role for turn in prompt.turns] == ["tool", "user"]
    assert parts(prompt, Foreign) == [
        Foreign(kind="tool_reference", data=reference, where="messages.0.content.0.content.0")
    ]


def test_thoughts_have_the_signatures_of_their_makers(read: Read) -> None:
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "thinking", "thinking": "Hm?", "signature": wrap("other", "gemini", NAME)},
        {"type": "thinking", "thinking": "Hm!", "signature": ""},
        {"type": "redacted_thinking", "data": "xyz"},
    ]
    found = parts(members(read, messages=[{"role": "assistant", "content": content}]), Thought)
    assert [(it.text, it.signature, it.dialect, it.redacted) for it in found] == [
        ("Hm.", "sig", NAME, False), ("Hm?", "other", "gemini", False), ("Hm!", None, "", False),
        ("", "xyz", NAME, True),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["server_tool_use", "web_search_tool_result", "search_result", "container_upload"])
def test_blocks_of_anthropics_own_are_foreign(read: Read, kind: str) -> None:
    block = {"type": kind, "id": "x"}
    assert first(read, block, "assistant") == Foreign(kind=kind, data=block, where="messages.0.content.0")


def test_an_earlier_answer_comes_back_with_what_stood_in_it(read: Read) -> None:
    content = [
        {"type": "text", "text": "A.", "citations": [{"type": "char_location"}]},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}},
    ]
    prompt = members(read, messages=[{"role": "assistant", "content": content}])
    assert list(prompt.rest) == ["messages.0.content.0.citations", "messages.0.content.1.caller"]


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, Reasoning(budget=2048, show=True, where="thinking")),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            Reasoning(budget=-1, show=True, where="thinking"),
        ),
        ({"thinking": {"type": "disabled"}}, Reasoning(budget=0, where="thinking")),
        ({"output_config": {"effort": "max"}}, Reasoning(effort="max", where="output_config.effort")),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}},
            Reasoning(effort="low", show=False, where="output_config.effort"),
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "low"}},
            Reasoning(effort="low", budget=1024, show=True, where="thinking"),
        ),
    ],
)
def test_thinking_and_effort_are_read_together(read: Read, fields: dict[str, Any], reasoning: Reasoning) -> None:
    assert members(read, **fields).reasoning == reasoning


def test_thinking_of_an_unknown_kind_stands_in_the_rest(read: Read) -> None:
    assert members(read, thinking={"type": "between_tools"}).rest == {"thinking.type": "between_tools"}


@pytest.mark.parametrize("fields", [
    {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    {"output_format": {"type": "json_schema", "schema": SCHEMA}},
])  # fmt: skip
def test_the_form_of_the_answer_has_two_names(read: Read, fields: dict[str, Any]) -> None:
    output = members(read, **fields).output
    assert isinstance(output, Output)
    assert (output.schema, output.strict) == (SCHEMA, True)


@pytest.mark.parametrize(
    ("choice", "found", "parallel"),
    [
        ({"type": "auto"}, ToolChoice(mode="auto", where="tool_choice"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice(mode="required", where="tool_choice"), False),
        ({"type": "tool", "name": "f"}, ToolChoice(mode="required", names=["f"], where="tool_choice"), None),
        ({"type": "none"}, ToolChoice(mode="none", where="tool_choice"), None),
    ],
)
def test_a_choice_of_tools(read: Read, choice: Any, found: ToolChoice, parallel: bool | None) -> None:
    prompt = members(read, tool_choice=choice)
    assert (prompt.tool_choice, prompt.parallel_tools, prompt.rest) == (found, parallel, {})


def test_tools_are_the_callers_or_anthropics(read: Read) -> None:
    tools = [
        {"name": "f", "description": "d", "input_schema": SCHEMA, "strict": True, "type": "custom"},
        {"type": "web_search_20250305", "name": "web_search"},
        {"name": "g", "input_schema": {}, "allowed_callers": ["direct"], "defer_loading": False},
        {"name": "h", "input_schema": {}, "allowed_callers": ["code_execution_20260120"], "defer_loading": True},
    ]
    prompt = members(read, tools=tools)
    assert prompt.tools[0] == Tool(name="f", description="d", parameters=SCHEMA, strict=True, where="tools.0")
    assert [tool.name for tool in prompt.tools] == ["f", "g", "h"]
    assert list(prompt.rest) == ["tools.1", "tools.3.defer_loading", "tools.3.allowed_callers"]


def test_the_plain_members(read: Read) -> None:
    prompt = members(
        read, temperature=1, top_p=0.5, top_k=3, stop_sequences=["X"], service_tier="auto", metadata={"user_id": "ada"}
    )
    assert (prompt.max_tokens, prompt.temperature, prompt.top_p, prompt.top_k) == (5, 1, 0.5, 3)
    assert (prompt.stop, prompt.service_tier, prompt.user) == (["X"], "auto", "ada")
    assert members(read, container="c", metadata={"x": 1}).rest == {"metadata.x": 1, "container": "c"}


def test_half_a_character_in_a_request_is_replaced(read: Read) -> None:
    prompt = read(NAME, b'{"messages":[{"role":"user","content":"a\\ud83c"}]}')
    assert parts(prompt, Said)[0].text == "a\ufffd"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages.0.content.0.source"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
            "messages.0.content.0.tool_use_id",
        ),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {}}, "thinking.type"),
        ({"thinking": "on"}, "thinking"),
        ({"output_config": {"effort": "extreme"}}, "output_config.effort"),
        ({"max_tokens": 1.5}, "max_tokens"),
    ],
)
def test_what_is_not_as_the_dialect_has_it_is_refused_by_name(read: Read, fields: Any, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        members(read, **fields)
    assert (caught.value.status, caught.value.param) == (400, param)
