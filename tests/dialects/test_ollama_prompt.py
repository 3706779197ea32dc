"""Ollama's requests, read into the common vocabulary and written from it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tokenwire.dialects import prompts
from tokenwire.dialects.ollama import request as chat
from tokenwire.dialects.ollama_generate import request as generate
from tokenwire.dialects.prompt.fit import FEATURES, check, translate
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
from tokenwire.errors import RequestRefused

CHAT, GENERATE = prompts("ollama"), prompts("ollama.generate")
PNG = "iVBORw0KGgoAAAANSUhEUg=="
USER = {"role": "user", "content": "Hi"}


def read(*messages: Any, **members: Any) -> Prompt:
    body = {"model": "m", "messages": list(messages) or [USER], **members}
    return CHAT.read(chat.parse_request(json.dumps(body).encode()))


def read_generate(**members: Any) -> Prompt:
    return GENERATE.read(generate.parse_request(json.dumps({"model": "m", "prompt": "Hi", **members}).encode()))


def write(**members: Any) -> dict[str, Any]:
    assert CHAT.write is not None
    body: dict[str, Any] = json.loads(CHAT.write(Prompt(**members), "their-model", True))
    return body


# -- what the relay must know


@pytest.mark.parametrize("parse", [chat.parse_request, generate.parse_request])
def test_a_request_that_does_not_say_is_for_a_stream(parse: Any) -> None:
    for said, stream in (
        (b"", True),
        (b',"stream":null', True),
        (b',"stream":true', True),
        (b',"stream":false', False),
    ):
        request = parse(b'{"model":"m","messages":[],"prompt":"p"%b}' % said)
        assert (request.stream, request.model, request.include_usage) == (stream, "m", True)
    for wrong in (b'{"messages":[]}', b'{"model":"","messages":[]}', b'{"model":"m","messages":[],"stream":1}', b"["):
        with pytest.raises(RequestRefused):
            parse(wrong)


def test_messages_are_an_array_and_only_for_chat() -> None:
    for body in (b'{"model":"m"}', b'{"model":"m","messages":"hi"}'):
        with pytest.raises(RequestRefused, match="messages"):
            chat.parse_request(body)
    assert generate.parse_request(b'{"model":"m"}').stream


def test_the_body_goes_upstream_as_it_came_but_for_the_model() -> None:
    body = b'{"model":"m","messages":[],"options":{"seed":1.50},"unknown":[1 , 2]}'
    assert chat.rewrite(chat.parse_request(body), model="n") == body.replace(b'"m"', b'"n"')


# -- reading


def test_messages_become_turns() -> None:
    prompt = read(
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What is this?", "images": [PNG, "/9j/4AAQ"]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Let me look.",
            "tool_calls": [
                {"function": {"name": "look", "arguments": {"at": "it"}, "index": 0}},
                {"id": "given", "type": "function", "function": {"name": "now"}},
                {"function": {"name": "look", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "12:00", "tool_name": "now"},
        {"role": "tool", "content": "a cat", "tool_name": "look"},
        {"role": "tool", "content": "", "images": [PNG]},
        {"role": "user", "content": "Thanks"},
    )
    system, user, assistant, tool, last = prompt.turns
    assert (system.role, system.parts) == ("system", [Said(text="Be kind.", where="messages.0.content")])
    assert [part.mime for part in user.parts if isinstance(part, Media)] == ["image/png", "image/jpeg"]
    assert user.parts[1].where == "messages.1.images.0"
    thought, first, second, third = assistant.parts
    assert thought == Thought(text="Let me look.", dialect="ollama", where="messages.2.thinking")
    assert isinstance(first, Call)
    assert isinstance(second, Call)
    assert isinstance(third, Call)
    assert (first.name, first.arguments, second.id, second.arguments) == ("look", '{"at":"it"}', "given", "{}")
    assert len({first.id, second.id, third.id}) == 3
    results = [part for part in tool.parts if isinstance(part, Result)]
    assert [(each.call_id, each.name) for each in results] == [
        ("given", "now"), (first.id, "look"), (third.id, "look"),
    ]  # fmt: skip
    assert isinstance(results[2].parts[0], Media)
    assert last.role == "user"
    assert prompt.rest == {}


def test_a_result_may_name_its_call() -> None:
    calls = [{"id": id_, "function": {"name": "f", "arguments": {}}} for id_ in ("a", "b", "a")]
    prompt = read(
        USER,
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "content": "2", "tool_call_id": "b"},
        {"role": "tool", "content": "1", "tool_call_id": "unknown", "name": "f"},
    )
    assert [part.call_id for part in prompt.turns[2].parts if isinstance(part, Result)] == ["b", "a"]


@pytest.mark.parametrize("named", [{}, {"tool_name": "f"}, {"tool_call_id": "x"}])
def test_a_result_without_a_call_is_refused(named: Any) -> None:
    with pytest.raises(RequestRefused, match="no call") as caught:
        read(USER, {"role": "tool", "content": "1", **named})
    assert caught.value.param == "messages.1"


def test_options_and_members_are_read() -> None:
    schema = {"type": "object"}
    prompt = read(
        tools=[{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}],
        format=schema,
        think="high",
        logprobs=True,
        top_logprobs=3,
        options={
            "temperature": 0, "top_p": 0.5, "top_k": 40.0, "seed": 7, "num_predict": 9, "stop": ["x"],
            "frequency_penalty": 1, "presence_penalty": 0.5, "repeat_penalty": 1.0, "mirostat": 0,
        },
    )  # fmt: skip
    assert prompt.tools == [Tool(name="f", description="d", parameters=schema, where="tools.0")]
    assert prompt.output == Output(schema=schema, where="format")
    assert prompt.reasoning == Reasoning(effort="high", show=True, where="think")
    assert (prompt.temperature, prompt.top_p, prompt.top_k, prompt.seed) == (0, 0.5, 40, 7)
    assert (prompt.max_tokens, prompt.stop, prompt.logprobs) == (9, ["x"], 3)
    assert (prompt.frequency_penalty, prompt.presence_penalty) == (1, 0.5)
    assert prompt.where["max_tokens"] == "options.num_predict"
    assert prompt.rest == {}


@pytest.mark.parametrize(
    ("member", "ours"),
    [
        ({"think": True}, {"reasoning": Reasoning(budget=-1, show=True, where="think")}),
        ({"think": False}, {"reasoning": Reasoning(effort="none", where="think")}),
        ({"think": ""}, {"reasoning": None}),
        ({"format": "json"}, {"output": Output(where="format")}),
        ({"format": ""}, {"output": None}),
        ({"format": None}, {"output": None}),
        ({"options": {"num_predict": -1}}, {"max_tokens": None}),
        ({"options": {"num_predict": 0}}, {"max_tokens": 0}),
        ({"logprobs": False}, {"logprobs": None}),
        ({"logprobs": True}, {"logprobs": 0}),
        ({"keep_alive": "5m"}, {"rest": {"keep_alive": "5m"}}),
        ({"options": {"num_ctx": 8192}}, {"rest": {"options.num_ctx": 8192}}),
        ({"options": {"repeat_penalty": 1.1}}, {"rest": {"options.repeat_penalty": 1.1}}),
        ({"unheard_of": 1}, {"rest": {"unheard_of": 1}}),
    ],
)
def test_a_member_is_read_as(member: Any, ours: dict[str, Any]) -> None:
    for prompt in (read(**member), read_generate(**member)):
        assert {name: getattr(prompt, name) for name in ours} == ours


def test_members_that_nobody_knows_are_left_over_wherever_they_stand() -> None:
    messages = [{"role": "user", "content": "Hi", "name": "me"}]
    tools = [{"type": "function", "items": 1, "function": {"name": "f", "strict": True}}]
    assert read(*messages, tools=tools).rest == {
        "messages.0.name": "me", "tools.0.items": 1, "tools.0.function.strict": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("member", "param"),
    [
        ({"think": "hard"}, "think"),
        ({"think": 3}, "think"),
        ({"format": "xml"}, "format"),
        ({"options": 7}, "options"),
        ({"options": {"seed": 1.5}}, "options.seed"),
        ({"options": {"stop": "x"}}, "options.stop"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"tools": [{"type": "custom"}]}, "tools.0"),
        ({"tools": [{"type": "function"}]}, "tools.0"),
        ({"tools": [{"function": {"description": "f"}}]}, "tools.0.function.name"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "images": ["no base64!"]}]}, "messages.0.images.0"),
        ({"messages": [{"role": "user", "images": [7]}]}, "messages.0.images.0"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages.0.tool_calls.0.function"),
    ],
)
def test_what_is_not_as_the_dialect_has_it_is_refused_by_its_name(member: Any, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        read(**member)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_generate_request_is_a_system_and_a_user_turn() -> None:
    prompt = read_generate(system="Be kind.", images=[PNG], raw=False, template="", context=[], suffix=None)
    assert [(turn.role, len(turn.parts)) for turn in prompt.turns] == [("system", 1), ("user", 2)]
    assert prompt.rest == {}
    assert [turn.parts for turn in read_generate(prompt="").turns] == [[]]
    assert GENERATE.write is None


@pytest.mark.parametrize("member", [{"raw": True}, {"template": "{{ .Prompt }}"}, {"context": [1]}, {"suffix": "x"}])
def test_what_only_the_server_understands_is_refused_in_translation(member: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", "prompt": "Hi", **member}).encode()
    with pytest.raises(RequestRefused) as caught:
        translate(generate.parse_request(body), GENERATE, CHAT, "ollama", "n")
    assert caught.value.param == next(iter(member))


def test_what_does_not_touch_the_answer_is_left_out_with_a_note() -> None:
    body = json.dumps({"model": "m", "messages": [USER], "keep_alive": 0, "options": {"num_ctx": 4096}}).encode()
    translated = translate(chat.parse_request(body), CHAT, CHAT, "other", "n")
    assert [note.where for note in translated.notes] == ["options.num_ctx", "keep_alive"]
    assert json.loads(translated.body) == {"model": "n", "messages": [USER], "stream": True}
    body = json.dumps({"model": "m", "messages": [USER], "options": {"min_p": 0.1}}).encode()
    with pytest.raises(RequestRefused) as caught:
        translate(chat.parse_request(body), CHAT, CHAT, "other", "n")
    assert caught.value.param == "options.min_p"


# -- writing


def test_turns_become_messages() -> None:
    image = Media(kind="image", mime="image/png", data=PNG)
    turns = [
        Turn(role="system", parts=[Said(text="a"), Said(text="b")]),
        Turn(role="user", parts=[Said(text="look"), image]),
        Turn(
            role="assistant",
            parts=[
                Thought(text="hm", signature="s", dialect="anthropic"), Thought(redacted=True, signature="s"),
                Said(text="a"), Said(text="b"), Refused(text="no"), Call(id="c", name="f", arguments='{"n":1.0}'),
            ],
        ),
        Turn(role="tool", parts=[
            Result(call_id="c", name="f", parts=[Said(text="it broke"), image], error=True),
            Result(call_id="d"),
        ]),
    ]  # fmt: skip
    system, user, assistant, first, second = write(turns=turns)["messages"]
    assert system == {"role": "system", "content": "a\n\nb"}
    assert user == {"role": "user", "content": "look", "images": [PNG]}
    assert assistant == {
        "role": "assistant",
        "content": "abno",
        "thinking": "hm",
        "tool_calls": [{"id": "c", "function": {"index": 0, "name": "f", "arguments": {"n": 1.0}}}],
    }
    result = {"role": "tool", "content": "Error: it broke", "images": [PNG], "tool_name": "f", "tool_call_id": "c"}
    assert (first, second) == (result, {"role": "tool", "content": "", "tool_call_id": "d"})


def test_members_become_members_and_options() -> None:
    body = write(
        tools=[Tool(name="f", description="d"), Tool(name="g", parameters={"type": "object", "properties": {"a": {}}})],
        output=Output(schema={"type": "array"}, name="x"),
        reasoning=Reasoning(effort="xhigh"),
        max_tokens=5, temperature=0.0, top_p=0.5, top_k=3, seed=0, frequency_penalty=0.1, presence_penalty=0.2,
        stop=["x"], logprobs=0, user="u", metadata={"a": 1}, service_tier="flex",
    )  # fmt: skip
    assert body["options"] == {
        "num_predict": 5, "temperature": 0.0, "top_p": 0.5, "top_k": 3, "seed": 0, "frequency_penalty": 0.1,
        "presence_penalty": 0.2, "stop": ["x"],
    }  # fmt: skip
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert (body["format"], body["think"], body["logprobs"], body["stream"]) == ({"type": "array"}, "high", True, True)
    assert set(body) == {"model", "messages", "stream", "tools", "format", "think", "logprobs", "options"}
    assert write() == {"model": "their-model", "messages": [], "stream": True}


@pytest.mark.parametrize(
    ("thinking", "think"),
    [
        (Reasoning(effort="none"), False), (Reasoning(effort="minimal"), "low"), (Reasoning(effort="max"), "high"),
        (Reasoning(budget=0), False), (Reasoning(budget=4096), True), (Reasoning(budget=-1), True),
        (Reasoning(show=True), True), (Reasoning(show=False), None), (Reasoning(), None),
    ],
)  # fmt: skip
def test_thinking_is_a_word_or_yes_or_no(thinking: Reasoning, think: Any) -> None:
    assert write(reasoning=thinking).get("think") == think


def test_tools_that_must_not_be_called_are_left_out() -> None:
    tools = [Tool(name="f")]
    assert "tools" not in write(tools=tools, tool_choice=ToolChoice(mode="none"))
    assert "tools" in write(tools=tools, tool_choice=ToolChoice(mode="auto"))
    assert write(output=Output())["format"] == "json"


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (Prompt(turns=[Turn(role="user", parts=[Media(kind="image", url="u", where="here")])]), "here"),
        (Prompt(turns=[Turn(role="user", parts=[Media(kind="file", data="aaaa", where="here")])]), "here"),
        (Prompt(turns=[Turn(role="user", parts=[Media(kind="audio", data="aaaa", where="here")])]), "here"),
        (Prompt(tool_choice=ToolChoice(mode="required", where="here")), "here"),
        (Prompt(tool_choice=ToolChoice(mode="required", names=["f"], where="here")), "here"),
        (Prompt(parallel_tools=False, where={"parallel_tools": "here"}), "here"),
        (Prompt(n=2), "n"),
    ],
)
def test_what_ollama_cannot_be_asked_is_refused_by_the_callers_name(prompt: Prompt, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        check(prompt, CHAT.table, "ollama")
    assert caught.value.param == param


def test_the_table_names_only_what_there_is() -> None:
    assert set(CHAT.table) <= set(FEATURES)


def test_a_request_read_and_written_is_the_same() -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "Hi", "images": [PNG]},
            {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
                {"id": "c", "function": {"index": 0, "name": "f", "arguments": {"a": [1, 2.5]}}}]},
            {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "c"},
        ],
        "stream": True,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "a": 1}}}],
        "format": "json",
        "think": "low",
        "options": {"num_predict": 3, "seed": 1},
    }  # fmt: skip
    request = chat.parse_request(json.dumps(body).encode())
    assert CHAT.write is not None
    assert json.loads(CHAT.write(CHAT.read(request), "m", True)) == body


@pytest.mark.untraced
def test_many_calls_are_read_in_linear_time() -> None:
    calls = [{"function": {"name": f"f{number}", "arguments": {}}} for number in range(20_000)]
    results = [{"role": "tool", "content": "x", "tool_name": f"f{number}"} for number in reversed(range(20_000))]
    begun = time.process_time()
    prompt = read(USER, {"role": "assistant", "tool_calls": calls}, *results)
    assert time.process_time() - begun < 5.0
    assert len(prompt.turns[2].parts) == 20_000
