"""What AG-UI's clients post, read into a prompt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.dialects.test_ui_messages_prompt import plain, turns

from tokenwire import dialects
from tokenwire.dialects.agui.request import RunRequest, parse_request
from tokenwire.dialects.prompt.vocabulary import Media, Prompt, Tool
from tokenwire.dialects.signatures import wrap
from tokenwire.errors import RequestRefused

PROMPTS = dialects.prompts("agui")
USER = {"id": "u1", "role": "user", "content": "hi"}
CALL = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
ASKED = {"id": "a1", "role": "assistant", "toolCalls": [CALL]}


def request(*messages: Any, **more: Any) -> RunRequest:
    body = {
        "threadId": "th",
        "runId": "ru",
        "messages": list(messages),
        "tools": [],
        "context": [],
        "state": {},
        **more,
    }
    return parse_request(json.dumps(body).encode())


def read(*messages: Any, **more: Any) -> Prompt:
    return PROMPTS.read(request(*messages, **more))


def refusal(*messages: Any, **more: Any) -> str | None:
    with pytest.raises(RequestRefused) as caught:
        read(*messages, **more)
    assert caught.value.status == 400
    return caught.value.param


def test_the_request_of_a_run() -> None:
    got = request(USER, forwardedProps={"model": "sim/echo"})
    assert (got.thread_id, got.run_id, got.model, got.stream, got.include_usage) == ("th", "ru", "sim/echo", True, True)
    assert request(USER, forwardedProps={}).model == ""
    assert request(USER, forwardedProps="x").model == ""


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"runId": "r", "messages": []}, "threadId"), ({"threadId": "t", "messages": []}, "runId"),
        ({"threadId": "t", "runId": "r"}, "messages"), ({"threadId": "", "runId": "r", "messages": []}, "threadId"),
        ({"threadId": "t", "runId": 1, "messages": []}, "runId"),
        ({"threadId": "t", "runId": "r", "messages": [], "forwardedProps": {"model": 1}}, "forwardedProps.model"),
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused_by_name(body: Any, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_request(json.dumps(body).encode())
    assert (caught.value.status, caught.value.param) == (400, param)


def test_messages_of_all_roles() -> None:
    prompt = read(
        {"id": "1", "role": "system", "content": "Be brief."},
        {"id": "2", "role": "developer", "content": "Be kind."},
        USER,
        USER,
        {"id": "3", "role": "reasoning", "content": "hm", "encryptedValue": wrap("s1", "anthropic", "agui")},
        {"id": "4", "role": "assistant", "content": "let me see", "encryptedValue": wrap("s2", "gemini", "agui")},
        {"id": "5", "role": "activity", "activityType": "PLAN", "content": {}},
        {"id": "6", "role": "assistant", "toolCalls": [{**CALL, "encryptedValue": wrap("s3", "gemini", "agui")}]},
        {"id": "7", "role": "tool", "toolCallId": "t1", "content": "21"},
        {"id": "8", "role": "tool", "toolCallId": "t2", "content": "", "error": "boom"},
        {"id": "9", "role": "assistant", "content": "no", "metadata": {"tokenwire": {"refusal": True}}},
    )
    assert turns(prompt) == [
        ("system", [{"is": "Said", "text": "Be brief."}]),
        ("system", [{"is": "Said", "text": "Be kind."}]),
        ("user", [{"is": "Said", "text": "hi"}]),
        ("user", [{"is": "Said", "text": "hi"}]),
        (
            "assistant",
            [
                {"is": "Thought", "text": "hm", "signature": "s1", "dialect": "anthropic"},
                {"is": "Said", "text": "let me see"},
                {"is": "Thought", "signature": "s2", "dialect": "gemini"},
                {
                    "is": "Call", "id": "t1", "name": "f", "arguments": '{"a":1}', "signature": "s3",
                    "dialect": "gemini",
                },
            ],
        ),
        (
            "tool",
            [
                {"is": "Result", "call_id": "t1", "name": "f", "parts": [{"is": "Said", "text": "21"}]},
                {
                    "is": "Result", "call_id": "t2", "error": True,
                    "parts": [{"is": "Said"}, {"is": "Said", "text": "boom"}],
                },
            ],
        ),
        ("assistant", [{"is": "Refused", "text": "no"}]),
    ]  # fmt: skip


def test_contents_in_parts() -> None:
    def part(kind: str, **source: Any) -> dict[str, Any]:
        return {"type": kind, "source": source}

    content = [
        {"type": "text", "text": "look"}, part("image", type="data", value="AA==", mimeType="image/png"),
        part("audio", type="url", value="https://a.b/c.mp3"),
        part("video", type="url", value="data:video/mp4;base64,AA=="),
        {**part("document", type="file", value="file-1", provider="openai"), "metadata": {"filename": "a.pdf"}},
        {"type": "binary", "mimeType": "image/png", "data": "AA==", "filename": "a.png"},
        {"type": "binary", "mimeType": "application/pdf", "url": "https://a.b/c"},
    ]  # fmt: skip
    (turn,) = read({"id": "u", "role": "user", "content": content}).turns
    assert [plain(each) for each in turn.parts] == [
        {"is": "Said", "text": "look"},
        {"is": "Media", "kind": "image", "mime": "image/png", "data": "AA=="},
        {"is": "Media", "kind": "audio", "url": "https://a.b/c.mp3"},
        {"is": "Media", "kind": "video", "mime": "video/mp4", "data": "AA=="},
        {"is": "Media", "kind": "file", "file_id": "file-1", "vendor": "openai", "name": "a.pdf"},
        {"is": "Media", "kind": "image", "mime": "image/png", "data": "AA==", "name": "a.png"},
        {"is": "Media", "kind": "file", "mime": "application/pdf", "url": "https://a.b/c"},
    ]
    assert isinstance(turn.parts[1], Media)
    assert turn.parts[1].where == "messages.0.content.1"


def test_context_and_state_are_told_after_the_instructions() -> None:
    prompt = read(
        {"id": "s", "role": "system", "content": "Be brief."},
        USER,
        context=[{"description": "User's name", "value": "Ada"}, {"description": "Page", "value": "/home"}],
        state={"count": 1},
    )
    told = 'User\'s name: Ada\nPage: /home\nState of the application, as JSON: {"count":1}'
    assert turns(prompt)[1] == ("system", [{"is": "Said", "text": told}])
    assert prompt.turns[1].where == "context"
    assert [turn.role for turn in read(USER, state=[1]).turns] == ["system", "user"]
    nothing: list[Any] = [{}, None, [], ""]
    for empty in nothing:
        assert [turn.role for turn in read(USER, state=empty).turns] == ["user"]


def test_tools_and_settings() -> None:
    prompt = read(
        USER,
        tools=[{"name": "f", "description": "F", "parameters": {"type": "object"}}],
        forwardedProps={"model": "m", "temperature": 0.5, "toolChoice": "required", "tenant": "x"},
        parentRunId="r0",
        novelty=1,
    )
    assert prompt.tools == [Tool(name="f", description="F", parameters={"type": "object"}, where="tools.0")]
    assert prompt.temperature == 0.5
    assert prompt.where["temperature"] == "forwardedProps.temperature"
    assert prompt.rest == {"forwardedProps.tenant": "x", "novelty": 1}
    assert all(name in PROMPTS.harmless for name in prompt.rest)


def test_answers_to_interrupts_are_results_of_the_calls_that_wait() -> None:
    answers = [
        {"interruptId": "t1", "status": "resolved", "payload": {"ok": True}},
        {"interruptId": "t2", "status": "cancelled"},
    ]
    both = {**ASKED, "toolCalls": [CALL, {**CALL, "id": "t2"}]}
    *_, (role, results) = turns(read(USER, both, resume=answers))
    assert role == "tool"
    assert [(each["call_id"], each["parts"][0]["text"], each.get("error")) for each in results] == [
        ("t1", '{"ok":true}', None), ("t2", "the user cancelled this call", True),
    ]  # fmt: skip
    assert refusal(USER, resume=answers[:1]) == "resume.0.interruptId"
    done = {"id": "r", "role": "tool", "toolCallId": "t1", "content": "x"}
    assert refusal(USER, ASKED, done, resume=answers[:1]) == "resume.0.interruptId"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "robot"}, "messages.0.role"), ({"role": "system", "content": []}, "messages.0.content"),
        ({"role": "assistant", "content": []}, "messages.0.content"),
        ({"role": "assistant", "toolCalls": [{}]}, "messages.0.toolCalls.0"),
        ({"role": "assistant", "toolCalls": {}}, "messages.0.toolCalls"),
        ({"role": "tool", "content": "x"}, "messages.0.toolCallId"),
        ({"role": "user"}, "messages.0.content"), ({"role": "user", "content": ["x"]}, "messages.0.content.0"),
        ({"role": "user", "content": [{"type": "image"}]}, "messages.0.content.0"),
        ({"role": "user", "content": [{"type": "binary"}]}, "messages.0.content.0"),
        ("x", "messages"),
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused_by_name(message: Any, param: str) -> None:
    assert refusal(message) == param
