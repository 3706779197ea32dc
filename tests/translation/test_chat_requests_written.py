"""Chat requests, written: what compatible servers and OpenAI's own want, member by member."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from tests.translation.samples import PNG, WAV

from tokenwire import dialects
from tokenwire.dialects.prompt.fit import check
from tokenwire.dialects.prompt.vocabulary import (
    Call,
    Media,
    Part,
    Prompt,
    Reasoning,
    Result,
    Said,
    Tool,
    ToolChoice,
    Turn,
)
from tokenwire.errors import RequestRefused

Read = Callable[..., Prompt]
Write = Callable[..., dict[str, Any]]
Across = Callable[..., Any]

NAME = "openai.chat"
USER = {"role": "user", "content": "Hi."}
PROMPT = Turn(role="user", parts=[Said(text="Hi.")])


@pytest.mark.parametrize(
    ("model", "member"),
    [
        ("gpt-5.6-mini", "max_completion_tokens"), ("openai/gpt-4o", "max_completion_tokens"),
        ("o3", "max_completion_tokens"), ("chatgpt-4o-latest", "max_completion_tokens"),
        ("gpt-oss-120b", "max_tokens"), ("openai/gpt-oss-20b", "max_tokens"), ("llama-4", "max_tokens"),
        ("deepseek-chat", "max_tokens"), ("olmo-2", "max_tokens"),
    ],
)  # fmt: skip
def test_each_server_is_bounded_in_the_word_that_it_knows(write: Write, model: str, member: str) -> None:
    body = write(NAME, Prompt(turns=[PROMPT], max_tokens=5), model)
    assert {name: body[name] for name in body if "max" in name} == {member: 5}


def test_a_stream_tells_its_usage_and_defaults_are_not_said(write: Write) -> None:
    prompt = Prompt(turns=[PROMPT], n=1, parallel_tools=True)
    messages = [{"role": "user", "content": "Hi."}]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    assert write(NAME, prompt) == {"model": "m", "messages": messages, **options}
    assert write(NAME, prompt, stream=False) == {"model": "m", "messages": messages}


def test_texts_are_strings_unless_there_is_more(write: Write) -> None:
    said: list[Any] = [Said(text="a"), Said(text="b")]
    picture = Media(kind="image", data=PNG)
    turns = [Turn(role=role, parts=[*said]) for role in ("system", "user", "assistant")]
    turns.append(Turn(role="user", parts=[*said, picture]))
    messages = write(NAME, Prompt(turns=turns))["messages"]
    assert [each["content"] for each in messages[:3]] == ["a\n\nb", "a\n\nb", "ab"]
    assert messages[3]["content"][2] == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


def test_files_have_names(write: Write, read: Read) -> None:
    files: list[Any] = [
        Media(kind="file", data="JVBERi0="),
        Media(kind="file", file_id="file-1", vendor=NAME),
        Media(kind="audio", data=WAV, mime="audio/mp3"),
    ]
    messages = write(NAME, Prompt(turns=[Turn(role="user", parts=files)]))["messages"]
    assert messages[0]["content"] == [
        {"type": "file", "file": {"filename": "file", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": WAV, "format": "mp3"}},
    ]


def test_nothing_stands_between_calls_and_their_results(write: Write) -> None:
    picture = Media(kind="image", url="https://example.com/a")
    turn = Turn(
        role="tool",
        parts=[
            Result(call_id="c1", parts=[Said(text="a map"), picture], error=True),
            Result(call_id="x" * 41, parts=[Said(text="b")]),
        ],
    )
    messages = write(NAME, Prompt(turns=[turn]))["messages"]
    assert [each["role"] for each in messages] == ["tool", "tool", "user"]
    assert messages[0]["content"] == "Error: a map"
    assert messages[1]["tool_call_id"] == "call_" + hashlib.sha256(b"x" * 41).hexdigest()[:24]
    assert messages[2]["content"][0]["image_url"] == {"url": "https://example.com/a"}


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        (Reasoning(budget=-1), None), (Reasoning(budget=0), "none"), (Reasoning(budget=1024), "minimal"),
        (Reasoning(budget=4096), "low"), (Reasoning(budget=16384), "medium"), (Reasoning(budget=16385), "high"),
        (Reasoning(effort="xhigh", budget=1), "xhigh"), (Reasoning(show=True), None),
    ],
)  # fmt: skip
def test_a_budget_becomes_the_nearest_effort(write: Write, thinking: Reasoning, effort: str | None) -> None:
    assert write(NAME, Prompt(turns=[PROMPT], reasoning=thinking)).get("reasoning_effort") == effort


def test_a_choice_of_one_that_is_not_forced_allows_it(write: Write) -> None:
    choice = ToolChoice(mode="auto", names=["f"])
    body = write(NAME, Prompt(turns=[PROMPT], tools=[Tool(name="f")], tool_choice=choice))
    allowed = [{"type": "function", "function": {"name": "f"}}]
    assert body["tool_choice"] == {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": allowed}}


def test_long_users_and_foreign_tiers_are_noted(across: Across) -> None:
    fields = {"max_tokens": 5, "messages": [USER], "metadata": {"user_id": "u" * 65}, "service_tier": "standard_only"}
    body, notes = across("anthropic", NAME, fields)
    assert body["user"] == hashlib.sha256(b"u" * 65).hexdigest()
    assert "service_tier" not in body
    assert [(note.where, note.fate) for note in notes] == [("metadata.user_id", "changed"), ("service_tier", "dropped")]


@pytest.mark.parametrize(
    "part",
    [
        Media(kind="audio", data="AA", mime="audio/flac", where="w"),
        Media(kind="audio", data="AA", where="w"),
        Media(kind="file", file_id="file_1", vendor="anthropic", where="w"),
        Result(call_id="c", parts=[Media(kind="audio", data="AA", mime="audio/flac", where="w")]),
    ],
)
def test_media_that_no_server_takes_are_refused_by_name(part: Part) -> None:
    prompts = dialects.prompts(NAME)
    prompt = Prompt(turns=[Turn(role="user", parts=[part])])
    with pytest.raises(RequestRefused) as caught:
        check(prompt, prompts.table, NAME, prompts.limits(prompt))
    assert caught.value.param == "w"


def test_a_signature_that_is_not_geminis_is_left_out_with_a_note(write: Write) -> None:
    call = Call(id="c", name="f", arguments="{}", signature="s", dialect="another", where="w")
    prompt = Prompt(turns=[Turn(role="assistant", parts=[call])])
    assert "extra_content" not in write(NAME, prompt)["messages"][0]["tool_calls"][0]
    prompts = dialects.prompts(NAME)
    assert [(it.where, it.fate) for it in check(prompt, prompts.table, NAME, prompts.limits(prompt))] == [
        ("w", "dropped")
    ]


def test_an_answer_without_a_stream_says_nothing_of_one(write: Write) -> None:
    assert "stream" not in write(NAME, Prompt(turns=[PROMPT], logprobs=2), stream=False)
