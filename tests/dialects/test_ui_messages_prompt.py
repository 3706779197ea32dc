"""What `useChat` posts, read into a prompt."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tokenwire import dialects
from tokenwire.dialects.prompt.vocabulary import Foreign, Media, Prompt, Refused, Said, Thought, Tool, ToolChoice
from tokenwire.dialects.signatures import wrap
from tokenwire.dialects.ui_messages.request import UiRequest, parse_request
from tokenwire.errors import RequestRefused

PROMPTS = dialects.prompts("ui-messages")
USER = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}


def request(*messages: Any, **more: Any) -> UiRequest:
    body = {"id": "chat-1", "messages": list(messages), "trigger": "submit-message", **more}
    return parse_request(json.dumps(body).encode())


def read(*messages: Any, **more: Any) -> Prompt:
    return PROMPTS.read(request(*messages, **more))


def assistant(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"id": "a1", "role": "assistant", "parts": list(parts), **more}


def tool(state: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool-f", "toolCallId": "t1", "state": state, "input": {"a": 1}, **more}


def turns(prompt: Prompt) -> list[tuple[str, list[dict[str, Any]]]]:
    """Roles and parts, without the callers' names of them and what is not said."""
    return [(turn.role, [plain(part) for part in turn.parts]) for turn in prompt.turns]


def plain(part: Any) -> dict[str, Any]:
    fields = {"is": type(part).__name__, **msgspec.to_builtins(part)}
    fields["parts"] = [plain(each) for each in part.parts] if "parts" in fields else None
    return {name: value for name, value in fields.items() if value not in (None, "", False) and name != "where"}


def refusal(*messages: Any, **more: Any) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        read(*messages, **more)
    assert caught.value.status == 400
    return caught.value


def test_the_request_of_a_chat() -> None:
    got = request(USER, messageId="m1")
    assert (got.chat_id, got.trigger, got.message_id, got.response_id) == ("chat-1", "submit-message", "m1", "")
    assert (got.model, got.stream, got.include_usage) == ("", True, True)
    got = request(USER, model="sim/echo", stream=False)
    assert (got.model, got.stream) == ("sim/echo", False)
    assert request(USER, stream=None, messageId=None).stream
    assert parse_request(b'{"messages":[]}').chat_id == ""


def test_an_answer_after_the_assistants_message_goes_on_with_it() -> None:
    """Under another id, useChat shows what it has twice (clients/test_ui_messages_node.py)."""
    assert request(USER, assistant()).response_id == "a1"
    assert request(USER, assistant(), trigger="regenerate-message").response_id == ""
    assert request(assistant(), USER).response_id == ""
    assert request(USER, assistant()).response == assistant()
    assert request(USER).response is None
    assert request(USER, {"role": "assistant", "parts": []}).response_id == ""


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("[]", None), ("{}", "messages"), ('{"messages":{}}', "messages"), ('{"messages":[],"id":1}', "id"),
        ('{"messages":[],"model":[]}', "model"), (f'{{"messages":[],"id":{"1" * 5000}}}', "id"),
        ('{"messages":[],"stream":"yes"}', "stream"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_by_name(body: str, param: str | None) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_request(body.encode())
    assert (caught.value.status, caught.value.param) == (400, param)


def test_the_users_parts() -> None:
    picture = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AAA=", "filename": "a.png"}
    prompt = read(
        {"id": "s", "role": "system", "parts": [{"type": "text", "text": "Be brief."}]},
        {
            "id": "u",
            "role": "user",
            "parts": [
                {"type": "text", "text": "look", "state": "done"}, picture,
                {"type": "file", "mediaType": "application/pdf", "url": "https://a.b/c.pdf"},
                {"type": "file", "mediaType": "image", "url": "http://a.b/c"},
                {"type": "file", "url": "data:text/plain,a%20b"}, {"type": "file", "url": "DATA:,x"},
                {"type": "data-weather", "data": 1}, {"type": "new-part"},
            ],
        },
    )  # fmt: skip
    assert turns(prompt) == [
        ("system", [{"is": "Said", "text": "Be brief."}]),
        (
            "user",
            [
                {"is": "Said", "text": "look"},
                {"is": "Media", "kind": "image", "mime": "image/png", "data": "AAA=", "name": "a.png"},
                {"is": "Media", "kind": "file", "mime": "application/pdf", "url": "https://a.b/c.pdf"},
                {"is": "Media", "kind": "image", "mime": "image", "url": "http://a.b/c"},
                {"is": "Media", "kind": "file", "mime": "text/plain", "data": "YSBi"},
                {"is": "Media", "kind": "file", "data": "eA=="},
                {"is": "Foreign", "kind": "new-part", "data": {"type": "new-part"}},
            ],
        ),
    ]
    media = prompt.turns[1].parts[1]
    assert isinstance(media, Media)
    assert media.where == "messages.1.parts.1"


def test_steps_are_turns_with_the_results_of_their_calls() -> None:
    prompt = read(
        USER,
        assistant(
            {"type": "step-start"}, {"type": "reasoning", "text": "hm"}, {"type": "text", "text": "let me see"},
            tool("output-available", output={"deg": 21}),
            {"type": "dynamic-tool", "toolName": "g", "toolCallId": "t2", "state": "output-available", "output": "ok"},
            {"type": "step-start"}, {"type": "source-url", "sourceId": "s", "url": "x"}, {"type": "text", "text": "21"},
            {"type": "text", "text": ""}, {"type": "step-start"}, tool("input-streaming"),
        ),
    )  # fmt: skip
    assert turns(prompt)[1:] == [
        (
            "assistant",
            [
                {"is": "Thought", "text": "hm"},
                {"is": "Said", "text": "let me see"},
                {"is": "Call", "id": "t1", "name": "f", "arguments": '{"a":1}'},
                {"is": "Call", "id": "t2", "name": "g", "arguments": "{}"},
            ],
        ),
        (
            "tool",
            [
                {"is": "Result", "call_id": "t1", "name": "f", "parts": [{"is": "Said", "text": '{"deg":21}'}]},
                {"is": "Result", "call_id": "t2", "name": "g", "parts": [{"is": "Said", "text": "ok"}]},
            ],
        ),
        ("assistant", [{"is": "Said", "text": "21"}]),
    ]


@pytest.mark.parametrize(
    ("part", "arguments", "result"),
    [
        (tool("input-available"), '{"a":1}', None),
        (tool("output-error", errorText="boom"), '{"a":1}', "boom"),
        (tool("output-error"), '{"a":1}', "the tool failed"),
        (tool("output-error", errorText="x", rawInput='{"a":'), '{"INVALID_JSON":"{\\"a\\":"}', "x"),  # ai 5 and 6
        (tool("output-error", errorText="x", input='{"a":'), '{"INVALID_JSON":"{\\"a\\":"}', "x"),  # ai 7
        (tool("output-error", errorText="x", input='{"b":2}'), '{"b":2}', "x"),
        (tool("output-error", errorText="x", input=5), '{"INVALID_JSON":5}', "x"),
        (tool("output-error", errorText="x", input=None), "{}", "x"),
        (tool("approval-requested"), '{"a":1}', "the user has not decided whether to allow this call"),
        (tool("output-denied"), '{"a":1}', "the user did not allow this call"),
        (
            tool("approval-responded", approval={"approved": False, "reason": "no!"}),
            '{"a":1}',
            "the user did not allow this call: no!",
        ),
    ],
)
def test_calls_in_all_their_states(part: dict[str, Any], arguments: str, result: str | None) -> None:
    _, (_, said), *rest = turns(read(USER, assistant(part)))
    assert said[0]["arguments"] == arguments
    if result is None:
        assert rest == []
    else:
        ((role, (told,)),) = rest
        assert (role, told["error"], told["parts"][0]["text"]) == ("tool", True, result)


def test_a_call_that_was_allowed_but_not_run_is_refused() -> None:
    """The relay runs no tools: asking the model as if nothing had been said would ask the user again for ever."""
    error = refusal(USER, assistant(tool("approval-responded", approval={"approved": True})))
    assert error.param == "messages.1.parts.0"


def test_proofs_come_back_to_whoever_made_them() -> None:
    ours = {"tokenwire": {"signature": wrap("s1", "anthropic", "ui-messages")}}
    prompt = read(
        assistant(
            {"type": "reasoning", "text": "a", "providerMetadata": ours},
            {"type": "reasoning", "text": "b", "providerMetadata": {"anthropic": {"signature": "s2"}}},
            {"type": "reasoning", "text": "", "providerMetadata": {"anthropic": {"redactedData": "s3"}}},
            {"type": "reasoning", "providerMetadata": {"google": {"thoughtSignature": "s4"}}},
            {"type": "text", "text": "c", "providerMetadata": ours},
            tool("input-available"),
            metadata={"signatures": {"t1": wrap("s5", "gemini", "ui-messages")}},
        )
    )
    thoughts = [part for part in prompt.turns[0].parts if isinstance(part, Thought)]
    assert [(t.text, t.signature, t.dialect, t.redacted) for t in thoughts] == [
        ("a", "s1", "anthropic", False), ("b", "s2", "anthropic", False), ("", "s3", "anthropic", True),
        ("", "s4", "gemini", False), ("", "s1", "anthropic", False),
    ]  # fmt: skip
    call = plain(prompt.turns[0].parts[-1])
    assert (call["signature"], call["dialect"]) == ("s5", "gemini")


def test_refusals_media_and_what_the_provider_ran() -> None:
    declined = {"type": "text", "text": "no", "providerMetadata": {"tokenwire": {"refusal": True}}}
    steering = {"type": "steering-message", "id": "x", "parts": [{"type": "text", "text": "wait"}]}
    prompt = read(
        assistant(
            declined, {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AA=="}, steering,
            tool("output-available", output=1, providerExecuted=True), {"type": "custom", "kind": "a.b"},
        )
    )  # fmt: skip
    first, second, third = prompt.turns
    assert [type(part) for part in first.parts] == [Refused, Media]
    assert turns(prompt)[1] == ("user", [{"is": "Said", "text": "wait"}])
    assert isinstance(second.parts[0], Said)
    assert [part.kind for part in third.parts if isinstance(part, Foreign)] == ["tool-f, run by the provider", "custom"]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("x", "messages.0"), ({"role": "user", "content": "old"}, "messages.0"),
        ({"role": "robot", "parts": []}, "messages.0.role"), ({"role": "user", "parts": ["x"]}, "messages.0.parts.0"),
        ({"role": "user", "parts": [{"type": "text"}]}, "messages.0.parts.0.text"),
        ({"role": "user", "parts": [{"type": "file"}]}, "messages.0.parts.0.url"),
        ({"role": "user", "parts": [{"type": "file", "url": "ftp://a"}]}, "messages.0.parts.0.url"),
        ({"role": "user", "parts": [{"type": "file", "url": "data:AAA"}]}, "messages.0.parts.0.url"),
        ({"role": "assistant", "parts": [{"type": "tool-f", "state": "input-available"}]}, "messages.0.parts.0"),
        ({"role": "assistant", "parts": [tool("new-state")]}, "messages.0.parts.0.state"),
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused_by_name(message: Any, param: str) -> None:
    assert refusal(message).param == param


def test_settings_of_the_application() -> None:
    prompt = read(
        USER, temperature=0.5, topP=1, topK=4, maxOutputTokens=9, seed=7, presencePenalty=1, frequencyPenalty=-1,
        stopSequences=["x"], system="Be brief.", toolChoice={"type": "tool", "toolName": "f"},
        tools={"f": {"description": "F", "inputSchema": {"jsonSchema": {"type": "object"}}}, "g": {}},
        sessionId="s", seed2=None,
    )  # fmt: skip
    assert (prompt.temperature, prompt.top_p, prompt.top_k, prompt.max_tokens, prompt.seed) == (0.5, 1, 4, 9, 7)
    assert (prompt.presence_penalty, prompt.frequency_penalty, prompt.stop) == (1, -1, ["x"])
    assert turns(prompt)[0] == ("system", [{"is": "Said", "text": "Be brief."}])
    assert prompt.tool_choice == ToolChoice(mode="required", names=["f"], where="toolChoice")
    assert prompt.tools == [
        Tool(name="f", description="F", parameters={"type": "object"}, where="tools.f"),
        Tool(name="g", where="tools.g"),
    ]
    assert prompt.where["max_tokens"] == "maxOutputTokens"
    assert prompt.rest == {"sessionId": "s"}
    assert "anything" in PROMPTS.harmless  # it is for the application's own server
    assert not PROMPTS.harmless.isdisjoint(("anything", "*.anything"))
    assert PROMPTS.harmless.isdisjoint(())
    assert PROMPTS.write is None


def test_tools_as_openai_has_them() -> None:
    function = {"name": "f", "description": "F", "parameters": {"type": "object"}, "strict": True}
    prompt = read(USER, tools=[{"type": "function", "function": function}, {"name": "g"}], toolChoice="auto")
    assert prompt.tools == [
        Tool(name="f", description="F", parameters={"type": "object"}, strict=True, where="tools.0"),
        Tool(name="g", where="tools.1"),
    ]
    assert prompt.tool_choice == ToolChoice(mode="auto", where="toolChoice")


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("temperature", "hot", "temperature"), ("topK", 1.5, "topK"), ("seed", True, "seed"),
        ("stopSequences", [1], "stopSequences"), ("system", [], "system"), ("toolChoice", "some", "toolChoice"),
        ("tools", 1, "tools"), ("tools", [1], "tools.0"), ("tools", [{}], "tools.0"),
        ("tools", {"f": {"inputSchema": 1}}, "tools.f"), ("tools", [{"name": "f", "type": "web"}], "tools.0"),
    ],
)  # fmt: skip
def test_settings_of_another_type_are_refused_by_name(name: str, value: Any, param: str) -> None:
    assert refusal(USER, **{name: value}).param == param


def test_half_a_character_becomes_a_whole_one() -> None:
    """A text that JavaScript's `slice` cut is legal JSON."""
    body = b'{"messages":[{"role":"user","parts":[{"type":"text","text":"a\\ud83c"}]}]}'
    (turn,) = PROMPTS.read(parse_request(body)).turns
    assert plain(turn.parts[0])["text"] == "a\ufffd"
