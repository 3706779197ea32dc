"""Prompts of other dialects, written as generateContent requests, which are read back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenwire import dialects
from tokenwire.dialects.gemini.prompt import PROMPTS
from tokenwire.dialects.gemini.request import parse_request
from tokenwire.dialects.prompt.fit import check
from tokenwire.dialects.prompt.vocabulary import (
    Call,
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


def write(prompt: Prompt, model: str = "gemini-3-pro") -> dict[str, Any]:
    """The body; read again, nothing is left over."""
    assert PROMPTS.write is not None
    wire = PROMPTS.write(prompt, model, True)
    assert PROMPTS.read(parse_request(wire, model=model, stream=True)).rest == {}
    body: dict[str, Any] = json.loads(wire)
    return body


def conversation(*parts: Any, signed: str | None = None, dialect: str = "") -> Prompt:
    """A question; an answer that calls two tools; what they gave back."""
    calls = [
        Call(id="a", name="f", arguments='{"x":1}', signature=signed, dialect=dialect),
        Call(id="b", name="g", arguments="[1]"),
    ]
    return Prompt(turns=[
        Turn(role="system", parts=[Said(text="Be kind.")]), Turn(role="user", parts=[Said(text="Hi")]),
        Turn(role="assistant", parts=[*parts, *calls]),
        Turn(role="tool", parts=[Result(call_id="a", name="f", parts=[
            Said(text="1"), Media(kind="image", data="AA==", mime="image/png"), Said(text="2")])]),
        Turn(role="tool", parts=[Result(call_id="b", parts=[Said(text="no")], error=True)]),
        Turn(role="system", parts=[Said(text="Be brief.")]),
    ])  # fmt: skip


SKIP = "skip_thought_signature_validator"


def test_a_conversation_is_written() -> None:
    body = write(conversation(Said(text="So."), Refused(text="No."), Said(text="")))
    assert body["systemInstruction"] == {"parts": [{"text": "Be kind."}, {"text": "Be brief."}]}
    user, model, tool = body["contents"]
    assert user == {"role": "user", "parts": [{"text": "Hi"}]}
    assert model == {"role": "model", "parts": [
        {"text": "So."}, {"text": "No."},
        {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}, "thoughtSignature": SKIP},
        {"functionCall": {"id": "b", "name": "g", "args": {"INVALID_JSON": "[1]"}}},
    ]}  # fmt: skip
    assert tool == {"role": "user", "parts": [
        {"functionResponse": {"id": "a", "name": "f", "response": {"output": "1\n2"}}},
        {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
        {"functionResponse": {"id": "b", "name": "g", "response": {"error": "no"}}},
    ]}  # fmt: skip


def signatures(body: dict[str, Any]) -> list[Any]:
    return [
        part.get("thoughtSignature")
        for content in body["contents"]
        for part in content["parts"]
        if "functionCall" in part
    ]


@pytest.mark.parametrize("model", ["gemini-2.5-pro", "gemini-1.5-flash", "models/gemini-2.0-flash", "gemma-3"])
def test_models_before_gemini_3_need_no_word_in_place_of_a_signature(model: str) -> None:
    assert signatures(write(conversation(), model)) == [None, None]


def test_calls_from_before_the_users_last_word_need_none_either() -> None:
    prompt = conversation()
    prompt.turns.append(Turn(role="user", parts=[Said(text="And?")]))
    assert signatures(write(prompt)) == [None, None]


def test_signatures_go_back_to_their_makers_only() -> None:
    assert signatures(write(conversation(signed="c2ln", dialect="gemini"))) == ["c2ln", None]
    assert signatures(write(conversation(signed="c2ln", dialect="anthropic"))) == [SKIP, None]
    own = Thought(text="hm", signature="MQ==", dialect="gemini")
    body = write(conversation(own))  # clients of other dialects give a call's signature back as a thought's
    assert signatures(body) == ["MQ==", None]
    assert body["contents"][1]["parts"][0] == {"text": "hm", "thought": True}
    body = write(conversation(own, signed="c2ln", dialect="gemini"))
    assert signatures(body) == ["c2ln", None]
    assert body["contents"][1]["parts"][1] == {"text": "", "thoughtSignature": "MQ=="}
    torn = Prompt(turns=[Turn(role="assistant", parts=[Call(id="a", name="f", arguments='{"a')])])
    assert write(torn)["contents"][0]["parts"][0]["functionCall"]["args"] == {"INVALID_JSON": '{"a'}
    behind = conversation()
    behind.turns[2].parts.insert(1, Thought(signature="MQ==", dialect="gemini"))
    assert signatures(write(behind)) == ["MQ==", None]
    foreign = [Thought(text="x", signature="MQ==", dialect="anthropic"), Thought(text="y")]
    assert len(write(conversation(*foreign))["contents"][1]["parts"]) == 2
    last = Prompt(turns=[Turn(role="assistant", parts=[Said(text="a"), own])])
    parts = write(last)["contents"][0]["parts"]
    assert parts == [{"text": "a"}, {"text": "hm", "thought": True}, {"text": "", "thoughtSignature": "MQ=="}]


def test_settings_are_written() -> None:
    schema = {"type": "object"}
    prompt = Prompt(
        tools=[Tool(name="f", description="d", parameters=schema), Tool(name="g")], n=2, max_tokens=7, temperature=0.0,
        top_p=0.5, top_k=3, seed=0, frequency_penalty=0.5, presence_penalty=0.25, stop=["x"], logprobs=2,
        tool_choice=ToolChoice(mode="required", names=["f"]), output=Output(schema=schema, name="ignored"),
        reasoning=Reasoning(budget=100, show=True),
    )  # fmt: skip
    assert write(prompt) == {
        "contents": [],
        "tools": [{"functionDeclarations": [
            {"name": "f", "description": "d", "parametersJsonSchema": schema}, {"name": "g"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "temperature": 0.0, "topP": 0.5, "topK": 3, "candidateCount": 2, "maxOutputTokens": 7,
            "stopSequences": ["x"], "seed": 0, "presencePenalty": 0.25, "frequencyPenalty": 0.5,
            "responseLogprobs": True, "logprobs": 2, "responseMimeType": "application/json",
            "responseJsonSchema": schema, "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 100},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "reasoning", "config"),
    [
        ("gemini-3-pro", Reasoning(effort="medium"), {"thinkingLevel": "MEDIUM"}),
        ("gemini-3-pro", Reasoning(effort="max"), {"thinkingLevel": "HIGH"}),
        ("gemini-flash-latest", Reasoning(effort="none"), {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro", Reasoning(budget=0), {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro", Reasoning(budget=-1), {"thinkingBudget": -1}),
        ("gemini-2.5-flash", Reasoning(effort="medium"), {"thinkingBudget": 8192}),
        ("gemini-2.5-flash", Reasoning(budget=0, show=False), {"includeThoughts": False, "thinkingBudget": 0}),
        ("gemini-2.5-pro", Reasoning(effort="none"), {"thinkingBudget": 128}),
        ("gemini-3-pro", Reasoning(), None),
    ],
)
def test_how_much_to_think_is_said_in_the_models_words(model: str, reasoning: Reasoning, config: Any) -> None:
    assert write(Prompt(reasoning=reasoning), model).get("generationConfig", {}).get("thinkingConfig") == config


@pytest.mark.parametrize(
    ("media", "part"),
    [
        (Media(kind="image", data="iVBORw0KGgo="), {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}),
        (Media(kind="image", url="https://a.example/b.PNG?x=1"),
         {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/b.PNG?x=1"}}),
        (Media(kind="video", url="https://a.example/b"),
         {"fileData": {"mimeType": "video/mp4", "fileUri": "https://a.example/b"}}),
        (Media(kind="file", file_id="files/1", vendor="gemini", mime="text/csv"),
         {"fileData": {"mimeType": "text/csv", "fileUri": "files/1"}}),
    ],
)  # fmt: skip
def test_files_are_written(media: Media, part: dict[str, Any]) -> None:
    body = write(Prompt(turns=[Turn(role="user", parts=[media])]))
    assert body["contents"] == [{"role": "user", "parts": [part]}]


def test_what_has_no_word_is_noted() -> None:
    assert PROMPTS is dialects.prompts("gemini")
    prompt = Prompt(
        reasoning=Reasoning(effort="xhigh", where="effort"), user="ada", tool_choice=ToolChoice(mode="auto")
    )
    notes = check(prompt, PROMPTS.table, "gemini", PROMPTS.limits(prompt))
    assert [(note.where, note.fate) for note in notes] == [("user", "dropped"), ("effort", "changed")]
    assert write(prompt)["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}
    several = Prompt(tool_choice=ToolChoice(mode="auto", names=["f"]))
    assert write(several)["toolConfig"]["functionCallingConfig"]["mode"] == "VALIDATED"
