"""AG-UI's own client, with its verifier, as a reader of what our encoder writes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.clients.bodies import Answer, serving, streamed
from tests.dialects.client_dialects import body_of, deltas_of, fold_of, joined, recorded

from tokenwire import dialects
from tokenwire.dialects.agui.dialect import DIALECT, dialect_for
from tokenwire.dialects.agui.request import parse_request
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
)
from tokenwire.dialects.prompt.vocabulary import Call, Refused, Said, Thought

SCRIPTS = Path(__file__).parent / "node"
Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def ask(node_program: str, missing: Callable[[str], None]) -> Ask:
    """ask(url, jobs) -> what agui.mjs prints of each; it may not warn."""
    if not (SCRIPTS / "node_modules" / "@ag-ui").is_dir():
        missing("no npm clients: run .ci/node-packages")

    def run(url: str, jobs: list[dict[str, Any]]) -> Any:
        command = [node_program, str(SCRIPTS / "agui.mjs"), url]
        done = subprocess.run(command, input=json.dumps(jobs).encode(), capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        printed = json.loads(done.stdout)
        assert printed["warnings"] == []
        return printed["runs"]

    return run


@pytest.mark.slow
def test_whoever_joins_at_any_event_ends_with_the_same_messages(ask: Ask) -> None:
    answers: dict[str, Answer] = {}
    places: list[tuple[str, int]] = []
    for case in recorded():
        deltas = deltas_of(case)
        for at in range(len(deltas) + 1):
            body = joined(DIALECT, deltas, at) if at else body_of(DIALECT, deltas)
            answers[f"/{len(places)}"] = streamed(DIALECT, body)
            places.append((case, at))
    with serving(answers) as server:
        found = ask(server.url, [{"path": f"/{number}"} for number in range(len(places))])
    whole: dict[str, Any] = {}
    for (case, at), seen in zip(places, found, strict=True):
        assert seen == whole.setdefault(case, seen), (case, at)
    for case, seen in whole.items():
        check(case, seen)


def check(case: str, seen: Any) -> None:
    """What the client has at the end is what was said."""
    fold = fold_of(deltas_of(case))
    choice = fold.choice()

    def text(role: str) -> str:
        return "".join(message.get("content", "") for message in seen["messages"] if message["role"] == role)

    assert text("assistant") == "".join(s.text for s in choice.segments() if s.kind in ("text", "refusal"))
    assert text("reasoning") == choice.reasoning
    assert [(call[0], call[1], call[2]) for call in seen["calls"]] == [
        (call.id, call.name, json.loads(call.arguments or "{}")) for call in choice.tool_calls.values() if call.ended
    ]
    assert [value for name, value in seen["custom"] if name == "citation"] == [c.data for c in choice.citations]
    assert len(seen["ends"]) == 1
    assert ("usage" in seen["ends"][0]) == (fold.usage is not None)
    if fold.failed is None:
        assert (seen["error"], seen["ends"][0]["type"]) == (None, "RUN_FINISHED")
        assert json.loads(DIALECT.fold_response(fold, "st_1", 1.0, "m"))["messages"] == seen["messages"]
    else:
        assert seen["ends"][0]["code"] == fold.failed.code


DELTAS: list[Delta] = [
    ReasoningDelta("hm"), ReasoningSignature("s1", dialect="anthropic"), TextDelta("let me see", block=1),
    ToolCallStarted("t1", "f", block=2), ToolCallDelta('{"a":1}', block=2), ToolCallEnded(block=2),
    ReasoningSignature("s2", block=2, dialect="gemini"), RefusalDelta("no", block=3),
]  # fmt: skip


def test_what_was_answered_comes_back_on_the_next_turn(ask: Ask) -> None:
    dialect = dialect_for("thread-of-mine", "run-of-mine")
    with serving({"/agui": streamed(dialect, body_of(dialect, DELTAS))}) as server:
        (first,) = ask(server.url, [{"path": "/agui"}])
        result = {"id": "r1", "role": "tool", "toolCallId": "t1", "content": "21"}
        more = {"tools": [{"name": "f", "description": "F", "parameters": {"type": "object"}}]}
        more["context"] = [{"description": "Page", "value": "/home"}]
        ask(server.url, [{"path": "/agui", "messages": [*first["messages"], result], **more}])
    assert (first["ends"][0]["threadId"], first["ends"][0]["runId"]) == ("thread-of-mine", "run-of-mine")
    request = parse_request(json.dumps(server.asked[-1][2]).encode())
    assert (request.thread_id, request.run_id, request.model) == ("thread-of-mine", "run-of-mine", "")
    prompt = dialects.prompts("agui").read(request)
    assert [turn.role for turn in prompt.turns] == ["system", "assistant", "tool"]
    thought, said, call, declined = prompt.turns[1].parts
    assert isinstance(thought, Thought)
    assert (thought.text, thought.signature, thought.dialect) == ("hm", "s1", "anthropic")
    assert isinstance(said, Said)
    assert isinstance(call, Call)
    assert (call.arguments, call.signature, call.dialect) == ('{"a":1}', "s2", "gemini")
    assert isinstance(declined, Refused)
    assert [tool.name for tool in prompt.tools] == ["f"]


def test_results_of_tools_that_ran_here_are_messages_and_come_back_as_turns(ask: Ask) -> None:
    deltas: list[Delta] = [
        *DELTAS[3:6], ToolCallStarted("t2", "g", block=4), ToolCallEnded(block=4),
        ToolResult("t2", "g", "no", True, block=4), ToolResult("t1", "f", "5", block=2), TextDelta("Five.", block=5),
    ]  # fmt: skip
    bodies = {"/agui": body_of(DIALECT, deltas), "/late": joined(DIALECT, deltas, len(deltas) - 1)}
    with serving({path: streamed(DIALECT, body) for path, body in bodies.items()}) as server:
        seen, late = ask(server.url, [{"path": path} for path in bodies])
        ask(server.url, [{"path": "/agui", "messages": seen["messages"]}])
    assert (seen["error"], [end["type"] for end in seen["ends"]]) == (None, ["RUN_FINISHED"])
    assert late["messages"] == seen["messages"]
    told = [(message["role"], message.get("toolCallId"), message.get("content")) for message in seen["messages"]]
    assert told == [
        ("assistant", None, None), ("tool", "t2", "no"), ("tool", "t1", "5"), ("assistant", None, "Five."),
    ]  # fmt: skip
    assert json.loads(DIALECT.fold_response(fold_of(deltas), "st_1", 1.0, "m"))["messages"][1]["content"] == "no"
    request = parse_request(json.dumps(server.asked[-1][2]).encode())
    assert [turn.role for turn in dialects.prompts("agui").read(request).turns] == ["assistant", "tool", "assistant"]


@pytest.mark.parametrize("state", ["failed", "cancelled", "completed"])
def test_the_verifier_bears_a_call_that_was_cut(ask: Ask, state: Any) -> None:
    """Left open, which is legal before RUN_ERROR only; nobody is told that it is whole."""
    body = body_of(DIALECT, [TextDelta("a"), *DELTAS[3:4], ToolCallDelta('{"a":', block=2)], Terminal(state))
    with serving({"/agui": streamed(DIALECT, body)}) as server:
        (seen,) = ask(server.url, [{"path": "/agui"}])
    assert (seen["calls"], [end["type"] for end in seen["ends"]]) == ([], ["RUN_ERROR"])
    assert seen["ends"][0]["code"] == ("incomplete_tool_call" if state == "completed" else state)
    assert seen["messages"][0]["content"] == "a"


def test_an_error_before_the_run_is_told_with_its_code(ask: Ask) -> None:
    body = DIALECT.error_body(Failed("model_not_found", "There is no such model"), 404)
    with serving({"/agui": Answer(body, 404, [("content-type", "application/json")])}) as server:
        (seen,) = ask(server.url, [{"path": "/agui"}])
    assert (seen["status"], seen["payload"]["error"]["code"]) == (404, "model_not_found")
