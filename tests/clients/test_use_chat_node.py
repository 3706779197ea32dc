"""`useChat` without React (its `AbstractChat`), of ai 5, 6 and 7: whole conversations, resumed, stopped, failed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.clients import nodes
from tests.clients.bodies import Answer, Bodies, serving, streamed
from tests.dialects.client_dialects import body_of, joined

from tokenwire import dialects
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningSignature,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
)
from tokenwire.dialects.prompt.vocabulary import Call, Result, Said, Thought
from tokenwire.dialects.ui_messages.again import told_again
from tokenwire.dialects.ui_messages.dialect import VERSIONS, dialect_for
from tokenwire.dialects.ui_messages.request import parse_request

USER = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
ANSWERED: dict[str, Any] = {
    "id": "a1",
    "role": "assistant",
    "parts": [
        {"type": "step-start"},
        {"type": "text", "text": "before", "state": "done"},
        {"type": "tool-f", "toolCallId": "t0", "state": "output-available", "input": {}, "output": "7"},
    ],
}
Chat = Callable[..., tuple[Any, Bodies]]


@pytest.fixture(scope="module", params=list(VERSIONS))
def version(request: pytest.FixtureRequest) -> int:
    chosen: int = request.param
    return chosen


@pytest.fixture(scope="module")
def chat(version: int) -> Iterator[Chat]:
    """chat(act, answer, …) -> what the user sees after *act* was answered so, and what was asked of the server."""
    with nodes.running("ui-messages.mjs", str(version)) as process:

        def run(act: str, answer: Answer, **options: Any) -> tuple[Any, Bodies]:
            with serving({"/api/chat": answer, "/api/chat/c%201/stream": answer}) as server:
                return process.value(server.url, act, given={"id": "c 1", **options}), server

        yield run


def answer_of(version: int, *deltas: Delta, terminal: Terminal | None = None) -> Answer:
    dialect = VERSIONS[version]
    return streamed(dialect, body_of(dialect, list(deltas), terminal))


def test_an_answer_is_shown_and_what_is_posted_can_be_read(chat: Chat, version: int) -> None:
    seen, server = chat("send", answer_of(version, TextDelta("hel"), TextDelta("lo")), text="hi")
    assert (seen["status"], seen["error"]) == ("ready", None)
    assert [message["id"] for message in seen["messages"]] == ["made-here", "msg_1"]
    assert seen["messages"][1]["parts"][1] == {"type": "text", "text": "hello", "state": "done"}
    assert seen["finished"].get("finishReason") == (None if version == 5 else "stop")
    ((method, path, told),) = server.asked
    assert (method, path) == ("POST", "/api/chat")
    request = parse_request(json.dumps(told).encode())
    assert (request.chat_id, request.trigger, request.response_id) == ("c 1", "submit-message", "")
    (turn,) = dialects.prompts("ui-messages").read(request).turns
    assert [part.text for part in turn.parts if isinstance(part, Said)] == ["hi"]


def test_only_whole_calls_are_run(chat: Chat, version: int) -> None:
    deltas: list[Delta] = [
        ToolCallStarted("t1", "f"), ToolCallDelta('{"a":1, "b'), ToolCallEnded(),
        ToolCallStarted("t2", "g", block=1), ToolCallDelta('{"a":', block=1), ToolCallDelta("1}", block=1),
        ToolCallEnded(block=1), ToolCallStarted("t3", "h", block=2), ToolCallDelta('{"a":', block=2),
        Finished("length"),
    ]  # fmt: skip
    seen, _ = chat("send", answer_of(version, *deltas), text="hi")
    assert seen["calls"] == [["t2", {"a": 1}]]
    states = [(part["toolCallId"], part["state"]) for part in seen["messages"][1]["parts"][1:]]
    assert states == [("t1", "output-error"), ("t2", "input-available"), ("t3", "input-streaming")]


def test_proofs_and_broken_calls_come_back_on_the_next_turn(chat: Chat, version: int) -> None:
    deltas: list[Delta] = [
        ReasoningDelta("hm"), ReasoningSignature("s1", dialect="anthropic"), ToolCallStarted("t1", "f", block=1),
        ToolCallDelta('{"a":1, "b', block=1), ToolCallEnded(block=1),
        ReasoningSignature("s2", block=1, dialect="gemini"),
    ]  # fmt: skip
    seen, _ = chat("send", answer_of(version, *deltas), text="hi")
    _, server = chat("send", answer_of(version, TextDelta("ok")), messages=seen["messages"])
    request = parse_request(json.dumps(server.asked[0][2]).encode())
    assert request.response_id == "msg_1"
    _, asked, answered = dialects.prompts("ui-messages").read(request).turns
    thought, call = asked.parts
    assert isinstance(thought, Thought)
    assert (thought.text, thought.signature, thought.dialect) == ("hm", "s1", "anthropic")
    assert isinstance(call, Call)
    assert (json.loads(call.arguments), call.signature) == ({"INVALID_JSON": '{"a":1, "b'}, "s2")
    (result,) = answered.parts
    assert isinstance(result, Result)
    assert result.error


def test_results_of_tools_that_ran_here_are_shown_in_steps_and_come_back_as_turns(chat: Chat, version: int) -> None:
    deltas: list[Delta] = [
        TextDelta("Let me see."), ToolCallStarted("t1", "f", block=1), ToolCallDelta('{"a":1}', block=1),
        ToolCallEnded(block=1), ToolCallStarted("t2", "g", block=2), ToolCallEnded(block=2),
        ToolResult("t2", "g", "no", True, block=2), ToolResult("t1", "f", '{"b":[2]}', block=1),
        TextDelta("Two.", block=3), Finished("stop"),
    ]  # fmt: skip
    seen, _ = chat("send", answer_of(version, *deltas), text="hi")
    parts = seen["messages"][1]["parts"]
    assert [(part["type"], part.get("state")) for part in parts] == [
        ("step-start", None), ("text", "done"), ("tool-f", "output-available"), ("tool-g", "output-error"),
        ("step-start", None), ("text", "done"),
    ]  # fmt: skip
    assert (parts[2]["output"], parts[3]["errorText"], seen["error"]) == ({"b": [2]}, "no", None)
    dialect = VERSIONS[version]
    for at, answered in ((6, ()), (7, ("t2",)), (8, ("t1", "t2")), (9, ("t1", "t2"))):
        late, _ = chat("resume", streamed(dialect, joined(dialect, deltas, at)), messages=[USER])
        for name in ("state", "input", "output", "errorText"):
            assert [part.get(name) for part in late["messages"][1]["parts"]] == [part.get(name) for part in parts]
        # What has its result is not handed to the page's tools once more.
        run = [call for call in seen["calls"] if call[0] not in answered]
        assert (len(seen["calls"]), late["calls"]) == (2, run)
    _, server = chat("send", answer_of(version, TextDelta("ok")), messages=seen["messages"])
    turns = dialects.prompts("ui-messages").read(parse_request(json.dumps(server.asked[0][2]).encode())).turns
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "assistant"]
    assert [(part.call_id, part.error) for part in turns[2].parts if isinstance(part, Result)] == [
        ("t1", False), ("t2", True),
    ]  # fmt: skip


def test_an_answer_after_results_goes_on_with_their_message(chat: Chat, version: int) -> None:
    dialect = dialect_for(version, "a1")
    answer = streamed(dialect, body_of(dialect, [TextDelta("after")]))
    seen, _ = chat("send", answer, messages=[USER, ANSWERED])
    assert [message["id"] for message in seen["messages"]] == ["u1", "a1"]
    assert [part.get("text") for part in seen["messages"][1]["parts"]] == [None, "before", None, None, "after"]


def test_who_resumes_such_an_answer_keeps_what_came_before_it(chat: Chat, version: int) -> None:
    """The SDK puts a resumed message in the place of what it has; results that are told again are not made again."""
    told = {
        "id": "a1", "role": "assistant", "metadata": {"mine": 1},
        "parts": [
            *ANSWERED["parts"],
            {"type": "reasoning", "text": "hm", "providerMetadata": {"x": {"y": 1}}, "state": "done"},
            {"type": "tool-g", "toolCallId": "t2", "state": "output-error", "input": {"a": 1}, "errorText": "no"},
            {
                "type": "dynamic-tool", "toolName": "h", "toolCallId": "t3", "state": "output-available",
                "input": {"b": 2}, "output": {"c": 3},
            },
            {"type": "source-url", "sourceId": "s", "url": "https://a.b"}, {"type": "data-x", "data": [1]},
        ],
    }  # fmt: skip
    dialect = dialect_for(version, "a1", told_again(told, version))
    for messages in ([USER], [USER, told]):
        body = joined(dialect, [TextDelta("af"), TextDelta("ter")], 1)
        seen, _ = chat("resume", streamed(dialect, body), messages=messages)
        assert seen["calls"] == []
        (message,) = seen["messages"][1:]
        for part in message["parts"]:
            part.pop("id", None)  # ai 5 and 7 give thoughts one
            part.pop("rawInput", None)
        after = [{"type": "step-start"}, {"type": "text", "text": "after", "state": "done"}]
        assert message["parts"] == [*told["parts"], *after]
        assert message["metadata"]["mine"] == 1


def test_a_failure_within_the_answer_is_shown_with_what_came(chat: Chat, version: int) -> None:
    broken = Terminal("failed", error=Failed("overloaded", "Too busy", retryable=True))
    seen, _ = chat("send", answer_of(version, TextDelta("hel"), terminal=broken), text="hi")
    assert (seen["status"], seen["error"]) == ("error", "Too busy")
    message = seen["messages"][1]
    assert message["parts"][1] == {"type": "text", "text": "hel", "state": "done"}
    assert message["metadata"]["error"]["code"] == "overloaded"


def test_a_stopped_answer_is_no_error(chat: Chat, version: int) -> None:
    seen, _ = chat("send", answer_of(version, TextDelta("hel"), terminal=Terminal("cancelled")), text="hi")
    assert (seen["status"], seen["error"]) == ("ready", None)
    assert seen["messages"][1]["metadata"]["error"]["code"] == "cancelled"


def test_a_failure_before_the_answer_is_shown_as_a_sentence(chat: Chat, version: int) -> None:
    body = VERSIONS[version].error_body(Failed("model_not_found", "There is no such model"), 404)
    seen, _ = chat("send", Answer(body, 404, [("content-type", "text/plain; charset=utf-8")]), text="hi")
    assert (seen["status"], seen["error"]) == ("error", "There is no such model")


def test_a_chat_is_resumed_after_a_reload(chat: Chat, version: int) -> None:
    dialect = VERSIONS[version]
    deltas: list[Delta] = [TextDelta("hel"), TextDelta("lo"), TextDelta("!", block=1)]
    for at in (0, 2):
        seen, server = chat("resume", streamed(dialect, joined(dialect, deltas, at)), messages=[USER])
        assert server.asked == [("GET", "/api/chat/c%201/stream", None)]
        assert seen["status"] == "ready"
        assert [part.get("text") for part in seen["messages"][1]["parts"]] == [None, "hello", "!"]
    # What was shown before, and kept by the application, is shown once.
    kept = {"id": "msg_1", "role": "assistant", "parts": [{"type": "step-start"}, {"type": "text", "text": "hel"}]}
    seen, _ = chat("resume", streamed(dialect, joined(dialect, deltas, 2)), messages=[USER, kept])
    assert [part.get("text") for part in seen["messages"][1]["parts"]] == [None, "hello", "!"]


def test_nothing_to_resume(chat: Chat) -> None:
    seen, _ = chat("resume", Answer(b"", 204), messages=[USER])
    assert (seen["status"], seen["error"], seen["messages"]) == ("ready", None, [USER])
