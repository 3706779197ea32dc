"""Chat requests, read: what clients of OpenAI and of the compatible servers may ask, member by member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.translation.samples import PNG, SCHEMA, WAV, parts

from tokenwire.dialects.prompt.vocabulary import (
    Call,
    Foreign,
    Media,
    Output,
    Prompt,
    Reasoning,
    Refused,
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
Write = Callable[..., dict[str, Any]]
Across = Callable[..., Any]

NAME = "openai.chat"
USER = {"role": "user", "content": "Hi."}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
PROMPT = Turn(role="user", parts=[Said(text="Hi.")])


def message(read: Read, *messages: Any) -> Prompt:
    return read(NAME, {"model": "m", "messages": list(messages)})


def first(read: Read, *content: Any) -> Any:
    """The first part of a user's message."""
    return message(read, {"role": "user", "content": list(content)}).turns[0].parts[0]


# ------------------------------------------------------------------------------------------------------- messages


def test_developer_and_system_are_the_system(read: Read) -> None:
    prompt = message(
        read, {"role": "developer", "content": "A."}, {"role": "system", "content": "B.", "name": "s"}, USER
    )
    assert [turn.role for turn in prompt.turns] == ["system", "system", "user"]
    assert [turn.name for turn in prompt.turns] == [None, "s", None]
    assert prompt.turns[0] == Turn(
        role="system", parts=[Said(text="A.", where="messages.0.content")], where="messages.0"
    )


@pytest.mark.parametrize(("role", "content"), [("user", ""), ("assistant", None), ("user", [])])
def test_a_message_without_a_content_is_a_turn_without_parts(read: Read, role: str, content: Any) -> None:
    assert message(read, {"role": role, "content": content}).turns[0].parts == []


def test_a_picture_is_an_address_or_its_data(read: Read) -> None:
    shown = {"url": "https://example.com/a", "detail": "low"}
    assert first(read, {"type": "image_url", "image_url": shown}) == Media(
        kind="image", url="https://example.com/a", detail="low", where="messages.0.content.0"
    )
    held = first(read, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}})
    assert (held.mime, held.data, held.url) == ("image/png", PNG, None)
    assert first(read, {"type": "image_url", "image_url": "https://example.com/b"}).url == "https://example.com/b"


def test_sound_and_files_are_media(read: Read) -> None:
    sound = first(read, {"type": "input_audio", "input_audio": {"data": WAV, "format": "mp3"}})
    assert (sound.kind, sound.mime, sound.data) == ("audio", "audio/mpeg", WAV)
    assert first(read, {"type": "input_audio", "input_audio": {"data": "AA", "format": "flac"}}).mime == "audio/flac"
    held = first(read, {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"}})
    assert (held.kind, held.mime, held.data, held.name) == ("file", "application/pdf", "AA", "a.pdf")
    assert first(read, {"type": "file", "file": {"file_data": "AA"}}).data == "AA"
    kept = first(read, {"type": "file", "file": {"file_id": "file-1"}})
    assert (kept.file_id, kept.vendor) == ("file-1", NAME)
    assert first(read, {"type": "file", "file": {"file_data": "https://example.com/a.pdf"}}).url is not None
    film = first(read, {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}})
    assert (film.kind, film.url) == ("video", "https://example.com/a.mp4")
    assert first(read, {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA"}}).mime == "video/mp4"


@pytest.mark.parametrize("kind", ["video_url", "input_audio", "file", "hologram"])
def test_a_part_that_is_not_understood_is_foreign(read: Read, kind: str) -> None:
    part = {"type": kind, "more": 1}
    assert first(read, part) == Foreign(kind=kind, data=part, where="messages.0.content.0")


def test_results_of_one_round_are_one_turn_and_know_their_names(read: Read) -> None:
    other = {**CALL, "id": "call_2", "function": {"name": "g", "arguments": ""}}
    prompt = message(
        read,
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL, other]},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "two"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
    )
    assert [turn.role for turn in prompt.turns] == ["user", "assistant", "tool"]
    assert [call.arguments for call in parts(prompt, Call)] == ['{"a": 1}', "{}"]
    results = parts(prompt, Result)
    assert [(each.call_id, each.name, each.parts[0].text) for each in results] == [
        ("call_2", "g", "two"), ("call_1", "f", "one"),
    ]  # fmt: skip


def test_functions_of_old_are_tools(read: Read) -> None:
    prompt = read(NAME, {
        "functions": [{"name": "f", "parameters": SCHEMA}],
        "function_call": {"name": "f"},
        "messages": [
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "done"},
            {"role": "function", "name": "g", "content": "done, too"},
        ],
    })  # fmt: skip
    assert prompt.tools == [Tool(name="f", parameters=SCHEMA, where="functions.0")]
    assert prompt.tool_choice == ToolChoice(mode="required", names=["f"], where="function_call")
    call, results = parts(prompt, Call)[0], parts(prompt, Result)
    assert [each.call_id for each in results] == [call.id, "call_g"]
    assert [each.name for each in results] == ["f", "g"]


@pytest.mark.parametrize(("word", "mode"), [("auto", "auto"), ("none", "none")])
def test_a_function_choice_of_old_may_be_a_word(read: Read, word: str, mode: str) -> None:
    prompt = read(NAME, {"messages": [USER], "function_call": word})
    assert prompt.tool_choice == ToolChoice(mode=mode, where="function_call")  # type: ignore[arg-type]


def test_a_custom_call_is_foreign(read: Read) -> None:
    call = {"id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    prompt = message(read, USER, {"role": "assistant", "tool_calls": [call]})
    assert [part.where for part in parts(prompt, Foreign)] == ["messages.1.tool_calls.0"]


def test_a_signed_call_is_geminis(read: Read) -> None:
    signed = {**CALL, "extra_content": {"google": {"thought_signature": "sig"}}, "index": 0}
    prompt = message(read, USER, {"role": "assistant", "tool_calls": [signed]})
    assert [(call.signature, call.dialect) for call in parts(prompt, Call)] == [("sig", "gemini")]
    assert set(prompt.rest) == {"messages.1.tool_calls.0.index"}


def test_refusals_are_given_back(read: Read) -> None:
    said = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}, {"type": "text", "text": "But."}]}
    prompt = message(read, USER, said, {"role": "assistant", "content": None, "refusal": "Never."})
    assert [part.text for part in parts(prompt, Refused, Said)] == ["Hi.", "No.", "But.", "Never."]


# ------------------------------------------------------------------------------------------------------- thoughts


def thoughts(read: Read, **members: Any) -> list[tuple[str, str | None, str, bool]]:
    prompt = message(read, USER, {"role": "assistant", "content": "A.", **members})
    return [(it.text, it.signature, it.dialect, it.redacted) for it in parts(prompt, Thought)]


def test_a_thought_without_details_has_no_signature(read: Read) -> None:
    assert thoughts(read, reasoning_content="Hm.") == [("Hm.", None, "", False)]
    assert thoughts(read, reasoning="Hm.", reasoning_content=None) == [("Hm.", None, "", False)]


def test_a_wrapped_signature_is_its_makers_again(read: Read) -> None:
    details = [{"type": "reasoning.text", "signature": wrap("sig", "anthropic", NAME), "index": 0}]
    assert thoughts(read, reasoning_content="Hm.", reasoning_details=details) == [("Hm.", "sig", "anthropic", False)]


def test_details_with_their_own_text_are_not_told_twice(read: Read) -> None:
    details = [
        {"type": "reasoning.text", "text": "H", "index": 0, "format": "anthropic-claude-v1"},
        {"type": "reasoning.text", "text": "m.", "signature": "sig", "index": 0},
        {"type": "reasoning.summary", "summary": "So.", "id": "rs_1"},
        {"type": "reasoning.encrypted", "data": "xyz", "index": 2},
    ]
    assert thoughts(read, reasoning="Hm.So.", reasoning_details=details) == [
        ("Hm.", "sig", NAME, False),
        ("So.", None, "", False),
        ("", "xyz", NAME, True),
    ]


def test_one_text_of_several_signatures_belongs_to_none(read: Read) -> None:
    details = [{"type": "reasoning.text", "signature": sig, "index": i} for i, sig in enumerate(("a", "b"))]
    assert thoughts(read, reasoning_content="Hm.", reasoning_details=details) == [("Hm.", None, "", False)]


def test_own_thoughts_go_back_as_details(read: Read, write: Write) -> None:
    parts: list[Any] = [
        Thought(text="Hm.", signature="s", dialect=NAME, id="r"),
        Thought(signature="x", redacted=True, dialect=NAME),
        Thought(text="theirs", signature="t", dialect="anthropic"),
        Thought(text="unsigned"),
        Said(text="A."),
    ]
    said = write(NAME, Prompt(turns=[PROMPT, Turn(role="assistant", parts=parts)]))["messages"][1]
    assert said["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm.", "signature": "s", "id": "r", "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
    ]
    assert thoughts(read, **said) == [("Hm.", "s", NAME, False), ("", "x", NAME, True)]


# -------------------------------------------------------------------------------------------------------- members


def members(read: Read, **fields: Any) -> Prompt:
    return read(NAME, {"messages": [USER], **fields})


def test_what_is_the_relays_own_is_no_member(read: Read) -> None:
    fields = {"model": "m", "stream": True, "stream_options": {"include_usage": True}, "logit_bias": {}, "user": None}
    prompt = members(read, **fields, verbosity="medium", modalities=["text"], n=1)
    assert prompt.rest == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("logit_bias", {"1": 2}), ("verbosity", "low"), ("modalities", ["text", "audio"]), ("web_search_options", {})],
)
def test_what_changes_the_answer_and_is_not_known_stands_in_the_rest(read: Read, name: str, value: Any) -> None:
    assert members(read, **{name: value}).rest == {name: value}


def test_the_newer_name_of_a_bound_counts(read: Read) -> None:
    prompt = members(read, max_tokens=5, max_completion_tokens=7)
    assert (prompt.max_tokens, prompt.where["max_tokens"]) == (7, "max_completion_tokens")
    assert members(read, user="a", safety_identifier="b").user == "b"


def test_stop_is_a_text_or_several(read: Read) -> None:
    assert members(read, stop="X").stop == ["X"]
    assert members(read, stop=["X", "Y"]).stop == ["X", "Y"]
    assert members(read, stop=None).stop == []


def test_log_probabilities_are_asked_for_with_or_without_alternatives(read: Read) -> None:
    assert members(read, logprobs=True).logprobs == 0
    assert members(read, logprobs=True, top_logprobs=3).logprobs == 3
    assert members(read, logprobs=False, top_logprobs=0).logprobs is None


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({"reasoning_effort": "xhigh"}, Reasoning(effort="xhigh", show=True, where="reasoning_effort")),
        ({"reasoning": {"max_tokens": 9, "exclude": True}}, Reasoning(budget=9, show=False, where="reasoning")),
        ({"reasoning": {"effort": "low"}}, Reasoning(effort="low", where="reasoning")),
        ({"reasoning": {"enabled": False}}, Reasoning(budget=0, where="reasoning")),
        ({"thinking": {"type": "disabled"}}, Reasoning(budget=0, where="thinking")),
        ({"thinking": {"type": "enabled"}}, Reasoning(budget=-1, where="thinking")),
        (
            {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
            Reasoning(effort="high", show=True, where="reasoning_effort"),
        ),
    ],
)
def test_thinking_is_asked_for_in_several_ways(read: Read, fields: dict[str, Any], reasoning: Reasoning) -> None:
    assert members(read, **fields).reasoning == reasoning


@pytest.mark.parametrize(
    ("choice", "mode", "names"),
    [
        ("any", "required", []),
        ({"type": "function", "function": {"name": "f"}}, "required", ["f"]),
        ({"type": "function", "name": "f"}, "required", ["f"]),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"function": {"name": "f"}}]}},
            "auto",
            ["f"],
        ),
        ({"type": "allowed_tools", "allowed_tools": {"tools": [{"name": "f"}, {"name": "g"}]}}, "auto", ["f", "g"]),
    ],
)
def test_tools_are_chosen_by_word_or_by_name(read: Read, choice: Any, mode: Any, names: list[str]) -> None:
    assert members(read, tool_choice=choice).tool_choice == ToolChoice(mode=mode, names=names, where="tool_choice")


def test_forms_of_the_answer(read: Read) -> None:
    assert members(read, response_format={"type": "text"}).output is None
    assert members(read, response_format={"type": "json_object"}).output == Output(where="response_format")
    described = {"name": "n", "schema": SCHEMA, "strict": True, "description": "d"}
    assert members(read, response_format={"type": "json_schema", "json_schema": described}).output == Output(
        schema=SCHEMA, name="n", description="d", strict=True, where="response_format"
    )


def test_tools_that_a_server_runs_stand_in_the_rest(read: Read) -> None:
    custom = {"type": "custom", "custom": {"name": "sql"}}
    prompt = members(read, tools=[custom, {"type": "function", "function": {"name": "f", "strict": True}}])
    assert prompt.tools == [Tool(name="f", strict=True, where="tools.1")]
    assert list(prompt.rest) == ["tools.0"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": ["hi"]}, "messages.0"),
        ({"messages": [{"content": "hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "robot"}]}, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "c", "content": [{"type": "refusal", "refusal": "x"}]}]},
            "messages.0.content.0",
        ),
        ({"temperature": "hot"}, "temperature"),
        ({"seed": True}, "seed"),
        ({"stop": [1]}, "stop"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
    ],
)
def test_what_is_not_as_the_dialect_has_it_is_refused_by_name(read: Read, fields: Any, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        read(NAME, {"messages": [USER], **fields})
    assert (caught.value.status, caught.value.param) == (400, param)
