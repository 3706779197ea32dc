"""Responses requests in the common vocabulary, there and back; what the SDK itself sends."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from pydantic import BaseModel

from tokenwire import dialects
from tokenwire.dialects.openai_responses.request import parse_request
from tokenwire.dialects.prompt.fit import check, translate
from tokenwire.dialects.prompt.vocabulary import (
    Call,
    Foreign,
    Media,
    Output,
    Part,
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

NAME = "openai.responses"
PROMPTS = dialects.prompts(NAME)
PNG = "iVBORw0KGgo="
PICTURE = Media(kind="image", url="https://example.com/b.png", detail="auto")


def read(**fields: Any) -> Prompt:
    return PROMPTS.read(parse_request(json.dumps({"model": "m", "input": "Hi", **fields}).encode()))


def written(prompt: Prompt, *, stream: bool = True) -> dict[str, Any]:
    assert PROMPTS.write is not None
    body: dict[str, Any] = json.loads(PROMPTS.write(prompt, "gpt", stream))
    return body


def again(prompt: Prompt) -> Prompt:
    return read(**{name: value for name, value in written(prompt).items() if name != "model"})


def parts_of(*items: Any) -> list[Any]:
    return [part for turn in read(input=list(items)).turns for part in turn.parts]


def ask(part: Part) -> Prompt:
    return Prompt(turns=[Turn(role="tool" if isinstance(part, Result) else "user", parts=[part])])


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def without_places(value: Any) -> Any:
    """*value* as plain data, without what is only the caller's name of it."""
    if isinstance(value, dict):
        return {name: without_places(each) for name, each in value.items() if name != "where"}
    return [without_places(each) for each in value] if isinstance(value, list) else value


def same(one: Prompt, two: Prompt) -> bool:
    return bool(without_places(msgspec.to_builtins(one)) == without_places(msgspec.to_builtins(two)))


def test_a_plain_question() -> None:
    prompt = read()
    assert prompt.turns == [Turn(role="user", parts=[Said(text="Hi", where="input")], where="input")]
    assert prompt.rest == {}
    body = written(prompt)
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    assert body == {"model": "gpt", "input": [message], "stream": True, "store": False}
    assert "stream" not in written(prompt, stream=False)


def test_everything_there_and_back() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    prompt = Prompt(
        turns=[
            Turn(role="system", parts=[Said(text="Be kind.")]),
            Turn(
                role="user",
                parts=[
                    Said(text="Look."),
                    Media(kind="image", mime="image/png", data=PNG, detail="low"),
                    Media(kind="image", url="https://example.com/a.png", detail="auto"),
                    Media(kind="image", file_id="file-1", vendor=NAME, detail="auto"),
                    Media(kind="file", mime="application/pdf", data="JVBE", name="a.pdf"),
                    Media(kind="file", url="https://example.com/a.pdf"),
                    Media(kind="file", file_id="file-2", vendor=NAME),
                    Media(kind="audio", mime="audio/mpeg", data="UklG"),
                ],
            ),
            Turn(
                role="assistant",
                parts=[
                    Thought(text="Hm.", signature="E", dialect=NAME, id="rs_1"),
                    Thought(signature="F", dialect=NAME),
                    Said(text="Well."),
                    Refused(text="No."),
                    Call(id="call_1", name="f", arguments='{"a":1}'),
                    Call(id="call_2", name="g", arguments="{}"),
                ],
            ),
            Turn(
                role="tool",
                parts=[
                    Result(call_id="call_1", name="f", parts=[Said(text="one")]),
                    Result(call_id="call_2", name="g", parts=[Said(text="two"), PICTURE]),
                ],
            ),
            Turn(role="system", parts=[Said(text="Be brief.")]),
            Turn(role="user", parts=[Said(text="Go on.")]),
        ],
        tools=[Tool(name="f", description="d", parameters=schema, strict=True), Tool(name="g", strict=False)],
        tool_choice=ToolChoice(mode="auto", names=["f", "g"]),
        parallel_tools=False,
        output=Output(schema=schema, name="n", description="d", strict=True),
        reasoning=Reasoning(effort="high", show=True),
        max_tokens=7,
        temperature=0.5,
        top_p=0.25,
        logprobs=3,
        user="ada",
        metadata={"run": "7"},
        service_tier="flex",
    )  # fmt: skip
    back = again(prompt)
    assert back.rest == {}
    back.where = {}
    assert same(back, prompt)
    assert written(prompt)["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert check(prompt, PROMPTS.table, NAME, PROMPTS.limits(prompt)) == []


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ("auto", ToolChoice(mode="auto")), ("none", ToolChoice(mode="none")), ("required", ToolChoice(mode="required")),
        ({"type": "function", "name": "f"}, ToolChoice(mode="required", names=["f"])),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}, {"name": "g"}]},
            ToolChoice(mode="required", names=["f", "g"]),
        ),
    ],
)  # fmt: skip
def test_choices_of_tools(given: Any, choice: ToolChoice) -> None:
    prompt = read(tool_choice=given)
    choice.where = "tool_choice"
    assert prompt.tool_choice == choice
    assert again(prompt).tool_choice == choice


@pytest.mark.parametrize(
    ("thinking", "said"),
    [
        (Reasoning(budget=0), {"effort": "none"}), (Reasoning(budget=-1), None), (Reasoning(budget=1024), "minimal"),
        (Reasoning(budget=4096), "low"), (Reasoning(budget=16384), "medium"), (Reasoning(budget=99999), "high"),
        (Reasoning(effort="low", budget=99999), "low"), (Reasoning(effort="none"), {"effort": "none"}),
        (Reasoning(show=True), {"summary": "auto"}), (Reasoning(show=False, effort="max"), "max"),
    ],
)  # fmt: skip
def test_how_much_to_think(thinking: Reasoning, said: Any) -> None:
    body = written(Prompt(reasoning=thinking))
    assert body.get("reasoning") == ({"effort": said} if isinstance(said, str) else said)
    thinks = said != {"effort": "none"}
    assert body.get("include") == (["reasoning.encrypted_content"] if thinks else None)


def test_thoughts_come_back_to_whoever_thought_them() -> None:
    foreign = {"type": "reasoning", "summary": [], "encrypted_content": wrap("S", "anthropic", NAME)}
    open_weight = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "a"}],
                   "content": [{"type": "reasoning_text", "text": "b"}]}  # fmt: skip
    found = parts_of(foreign, open_weight)
    assert found == [
        Thought(signature="S", dialect="anthropic", where="input.0"),
        Thought(text="a\n\nb", id="rs", where="input.1"),
    ]
    assert written(Prompt(turns=[Turn(role="assistant", parts=found)]))["input"] == []


def test_messages_in_all_their_forms() -> None:
    output = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "commentary",
              "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]}  # fmt: skip
    easy = {"role": "assistant", "content": "b"}
    prompt = read(input=[{"role": "developer", "content": "c"}, user(), output, easy, {"role": "user", "content": ""}])
    assert [(turn.role, [part.text for part in turn.parts if isinstance(part, Said)]) for turn in prompt.turns] == [
        ("system", ["c"]), ("user", []), ("assistant", ["a", "b"]), ("user", [])
    ]  # fmt: skip
    assert set(prompt.rest) == {
        "input.2.phase", "input.2.content.0.annotations", "input.2.content.0.logprobs"
    }  # fmt: skip
    assert all("*." + name.rpartition(".")[2] in PROMPTS.harmless for name in prompt.rest)


def test_what_only_this_dialect_knows_is_named() -> None:
    items = [
        {"type": "web_search_call", "id": "ws", "status": "completed"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "x"},
        {"type": "item_reference", "id": "msg_1"},
        user({"type": "hologram", "depth": 3}),
    ]
    found = parts_of(*items)
    assert [(part.kind, part.where) for part in found] == [
        ("web_search_call", "input.0"), ("custom_tool_call_output", "input.1"), ("item_reference", "input.2"),
        ("hologram", "input.3.content.0"),
    ]  # fmt: skip
    assert [part.data for part in found if isinstance(part, Foreign)][3] == {"type": "hologram", "depth": 3}
    prompt = read(input=items, tools=[{"type": "web_search", "filters": {}}, {"type": "function", "name": "f"}])
    assert list(prompt.rest) == ["tools.0 (web_search)"]
    assert [tool.name for tool in prompt.tools] == ["f"]
    with pytest.raises(RequestRefused, match="tools"):
        translate(
            parse_request(b'{"model":"m","input":"a","tools":[{"type":"web_search"}]}'), PROMPTS, PROMPTS, "x", "m"
        )


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "background"])
def test_what_openai_would_have_to_keep_is_refused_saying_why(name: str) -> None:
    with pytest.raises(RequestRefused, match="kept") as caught:
        read(**{name: True if name == "background" else "resp_1"})
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_parameter", name)
    assert read(**{name: False if name == "background" else None}).rest == {}


def test_what_does_not_touch_the_answer_is_left_over_and_what_is_usual_is_not() -> None:
    usual = read(
        store=False, truncation="disabled", text={"verbosity": "medium", "format": {"type": "text"}}, include=[],
        reasoning={"mode": "standard", "context": "auto"}, stream_options={"include_obfuscation": False},
    )  # fmt: skip
    assert (usual.rest, usual.output, usual.reasoning) == ({}, None, None)
    prompt = read(
        store=True, truncation="auto", text={"verbosity": "low"}, include=["file_search_call.results"],
        reasoning={"context": "all_turns"}, max_tool_calls=3, prompt_cache_key="k",
    )  # fmt: skip
    assert set(prompt.rest) <= PROMPTS.harmless
    assert len(prompt.rest) == 7
    pro = read(reasoning={"mode": "pro"}, top_logprobs=2, moderation={}, text={"format": {"type": "text", "x": 1}})
    assert set(pro.rest) == {"reasoning.mode", "top_logprobs", "moderation", "text.format.x"}
    assert not set(pro.rest) & PROMPTS.harmless


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"instructions": 3}, "instructions"),
        ({"input": [3]}, "input.0"),
        ({"input": [{"role": "nobody"}]}, "input.0.role"),
        ({"input": [{"content": "a"}]}, "input.0.role"),
        ({"input": [user({"text": "a"})]}, "input.0.content.0.type"),
        ({"input": [user({"type": "input_image"})]}, "input.0.content.0.image_url"),
        ({"input": [user({"type": "input_file"})]}, "input.0.content.0.file_data"),
        ({"input": [user({"type": "input_audio"})]}, "input.0.content.0.input_audio"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input.0.call_id"),
        ({"input": [{"type": "function_call_output", "output": "a"}]}, "input.0.call_id"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "refusal"}]}]},
            "input.0.output.0",
        ),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"type": "mcp"}]}}, "tool_choice.tools.0"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"reasoning": {"effort": "some"}}, "reasoning.effort"),
    ],
)
def test_what_is_not_as_the_dialect_has_it_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        read(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("prompt", "fate"),
    [
        (ask(Media(kind="audio", mime="audio/flac", data="a", where="w")), "refused"),
        (ask(Media(kind="audio", data="a", where="w")), "refused"),
        (ask(Media(kind="file", file_id="f", vendor="gemini", where="w")), "refused"),
        (ask(Result(call_id="c", parts=[Media(kind="image", file_id="f", vendor="x", where="w")])), "refused"),
        (Prompt(user="a" * 65, where={"user": "w"}), "changed"),
        (Prompt(service_tier="standard_only", where={"service_tier": "w"}), "dropped"),
        (Prompt(metadata={"a": 1}, where={"metadata": "w"}), "changed"),
    ],
)  # fmt: skip
def test_values_that_the_dialect_has_no_words_for(prompt: Prompt, fate: str) -> None:
    assert [(where, verdict.fate) for where, verdict in PROMPTS.limits(prompt)] == [("w", fate)]


def test_long_names_are_shortened_the_same_every_time() -> None:
    calls = [Call(id="c" * 99, name="f", arguments=""), Call(id="call_1", name="f", arguments="{}")]
    results = [Result(call_id="c" * 99, parts=[Said(text="no")], error=True)]
    results.append(Result(call_id="call_1", parts=[Media(kind="image", url="u")], error=True))
    turns = [Turn(role="assistant", parts=[*calls]), Turn(role="tool", parts=[*results])]
    first, second, one, two = written(Prompt(turns=turns))["input"]
    assert first["call_id"] == one["call_id"]
    assert len(first["call_id"]) == 64
    assert (first["arguments"], second["call_id"]) == ("{}", "call_1")
    assert one["output"] == "Error: no"
    assert two["output"][0] == {"type": "input_text", "text": "Error:"}
    body = written(Prompt(user="a" * 65, metadata={"a": 1}, service_tier="batch", output=Output()))
    assert len(body["safety_identifier"]) == 64
    assert "metadata" not in body
    assert "service_tier" not in body
    assert body["text"] == {"format": {"type": "json_object"}}
    assert read(text=body["text"]).output == Output(where="text.format")


class Answer(BaseModel):
    city: str


def test_the_sdks_own_requests_are_read() -> None:
    """What openai-python sends for its typed forms, an answer's items given back among them."""
    seen: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.read())
        return httpx2.Response(500, json={"error": {"message": "enough"}})

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    with openai.OpenAI(api_key="k", base_url="http://relay.test/v1", http_client=transport, max_retries=0) as sdk:
        items: Any = [
            {"role": "user", "content": [
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "detail": "high", "image_url": f"data:image/png;base64,{PNG}"},
            ]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "E", "status": None},
            {"type": "function_call", "call_id": "c", "id": "x", "name": "f", "arguments": "", "status": "completed"},
            {"type": "function_call_output", "call_id": "c", "output": "3"},
        ]  # fmt: skip
        calls: list[Any] = [
            lambda: sdk.responses.create(
                model="m", input=items, instructions="Be kind.", store=False, include=["reasoning.encrypted_content"],
                reasoning={"effort": "low", "summary": "auto"}, max_output_tokens=5, stream=True,
                tools=[{"type": "function", "name": "f", "parameters": {}, "strict": True}],
            ),
            lambda: sdk.responses.parse(model="m", input="Where?", text_format=Answer),
            lambda: sdk.responses.stream(model="m", input="Hi", tool_choice="auto").__enter__(),
        ]  # fmt: skip
        for each in calls:
            with pytest.raises(openai.InternalServerError):
                each()
    first, second, third = (PROMPTS.read(parse_request(body)) for body in seen)
    assert [turn.role for turn in first.turns] == ["system", "user", "assistant", "tool"]
    assert first.turns[1].parts[1] == Media(
        kind="image", mime="image/png", data=PNG, detail="high", where="input.0.content.1"
    )
    assert first.turns[3].parts == [
        Result(call_id="c", name="f", parts=[Said(text="3", where="input.3.output")], where="input.3")
    ]
    assert first.rest == {}
    assert second.output is not None
    assert second.output.schema is not None
    assert (second.output.name, second.output.strict) == ("Answer", True)
    assert third.tool_choice == ToolChoice(mode="auto", where="tool_choice")
    assert second.rest == third.rest == {}
