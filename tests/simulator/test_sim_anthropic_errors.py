"""How Anthropic's look-alike says no, and its list of models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.simulator.connection import MAX_BODY

Message = Callable[..., dict[str, Any]]
Tell = Callable[..., Any]
Get = Callable[..., Any]

VERSION = {"anthropic-version": "2023-06-01"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def error_of(wire: Any) -> dict[str, Any]:
    body = json.loads(wire.body)
    assert body["type"] == "error"
    assert body["request_id"] == wire.headers["request-id"]
    assert wire.headers["content-type"] == "application/json"
    error: dict[str, Any] = body["error"]
    return error


def said(wire: Any) -> str:
    error = error_of(wire)
    assert (wire.status, error["type"]) == (400, "invalid_request_error")
    return str(error["message"])


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_the_version_must_be_named(get: Get, message: Message, path: str) -> None:
    assert said(get(message(), path=path)) == "anthropic-version: header is required"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
        ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1.0"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": "hi"}, "messages: Input should be a valid list"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-empty content"),
        ({"messages": [{"role": "system", "content": "x"}]}, 'messages: Unexpected role "system"'),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages.0.content.0.type: Field required"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text.text: Field req"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages.0.content.0.text.text: Input should be a valid string",
        ),
        ({"n": 2}, "n: Extra inputs are not permitted"),
        ({"metadata": {"trace": "x"}}, "metadata.trace: Extra inputs are not permitted"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name: Field required"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
        ({"tool_choice": {"type": "any"}}, "tool_choice: Tools must be provided"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "Tool 'g' not found in provided tools"),
        ({"tool_choice": {"type": "required"}}, "tool_choice.type: Invalid enum value 'required'"),
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 5}},
            "thinking.budget_tokens: Input should be greater than or equal to 1024",
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 4096}},
            "`max_tokens` must be greater than `thinking.budget_tokens`",
        ),
        (
            {"thinking": {"type": "adaptive"}, "tools": [TOOL], "tool_choice": {"type": "any"}},
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field required"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema: Field required"),
        (
            {"output_format": {"type": "json_schema", "schema": {"type": "integer", "minimum": 2, "maximum": 1}}},
            "output_config.format.schema: Invalid schema: ",
        ),
        (
            {"tools": [{"name": "f", "input_schema": {"allOf": [{"type": "string"}]}}], "tool_choice": {"type": "any"}},
            "tools: input_schema: Invalid schema: ",
        ),
        ({"model": "fault-nonsense"}, "there is no fault 'nonsense'"),
        ({"metadata": {"x-sim-seed": "x"}}, "x-sim-seed is a whole number"),
        ({"metadata": {"x-sim-answer": "x"}}, "x-sim-answer is one of refusal, "),
    ],
)
def test_what_is_wrong_is_said_in_anthropics_words(tell: Tell, message: Message, change: Any, expected: str) -> None:
    assert said(tell({**message(), **change})).startswith(expected)


@pytest.mark.parametrize("name", ["max_tokens", "model", "messages"])
def test_required_fields(tell: Tell, message: Message, name: str) -> None:
    body = message()
    del body[name]
    assert said(tell(body)) == f"{name}: Field required"


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json(tell: Tell, body: bytes) -> None:
    assert said(tell(body)).startswith("The request body is not valid JSON")


def test_json_that_is_no_object(tell: Tell) -> None:
    assert said(tell(b"[]")) == "Input should be a valid dictionary"


def test_citations_and_structured_output_exclude_each_other(tell: Tell, message: Message) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    document = {"type": "document", "source": source, "citations": {"enabled": True}}
    wire = tell(message([document], output_format={"type": "json_schema", "schema": {"type": "object"}}))
    assert "Citations cannot be used together" in said(wire)


def test_calls_and_results_must_belong_together(tell: Tell, message: Message) -> None:
    def ask(*contents: Any) -> Any:
        body = message("hi", tools=[TOOL])
        roles = ("assistant", "user")
        body["messages"] += [{"role": roles[n % 2], "content": content} for n, content in enumerate(contents)]
        return tell(body)

    assert ask([USE], [RESULT]).status == 200
    assert ask([USE], [RESULT], "done", "and now?").status == 200
    assert "without `tool_result` blocks immediately after: toolu_1" in said(ask([USE], "never mind"))
    assert "unexpected `tool_use_id`" in said(ask("hello", [RESULT]))
    assert "unexpected `tool_use_id`" in said(ask([USE], [RESULT], "done", [RESULT]))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "x", "signature": "EqQBCgIYAhIkForeign"},
        {"type": "thinking", "thinking": "x", "signature": ""},
        {"type": "thinking", "thinking": "x", "signature": "not base64!"},
        {"type": "redacted_thinking", "data": "EmwKAhgB"},
        {"type": "redacted_thinking", "data": "not base64!"},
    ],
)
def test_thinking_that_is_not_ours_is_refused(tell: Tell, message: Message, block: Any) -> None:
    body = message("hi")
    body["messages"] += [{"role": "assistant", "content": [block]}, {"role": "user", "content": "go on"}]
    assert said(tell(body)).startswith("messages.1.content.0: Invalid `")


@pytest.mark.parametrize("answer", [None, "redacted"])
def test_thinking_that_comes_back_as_it_was_is_accepted_and_altered_is_not(
    tell: Tell, message: Message, answer: str | None
) -> None:
    headers = {"x-sim-answer": answer} if answer else None
    body = message("hi", thinking={"type": "adaptive"}, stream=False)
    content = json.loads(tell(body, headers).body)["content"]
    body["messages"] += [{"role": "assistant", "content": content}, {"role": "user", "content": "go on"}]
    assert tell(body).status == 200
    name = "data" if answer else "thinking"
    content[0][name] = content[0][name][:-8] + "AAAAAAA="
    assert tell(body).status == 400


def test_an_unknown_model(tell: Tell, message: Message) -> None:
    wire = tell(message(model="claude-2"))
    assert (wire.status, error_of(wire)["type"]) == (404, "not_found_error")
    assert error_of(wire)["message"].startswith("model: claude-2")


def test_an_alias_answers_with_its_snapshot(tell: Tell, message: Message) -> None:
    fast = {"x-sim-ttft-ms": "0", "x-sim-interval-ms": "0"}
    for name in ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"):
        start = tell(message(model=name), fast).messages[0]["message"]
        assert start["model"] == "claude-sonnet-4-5-20250929"


def test_routes_and_methods(get: Get, tell: Tell, message: Message) -> None:
    wire = tell(None, method="GET")
    assert (wire.status, wire.headers["allow"], error_of(wire)["message"]) == (405, "POST", "Method Not Allowed")
    wire = tell(None, method="DELETE", path="/v1/models")
    assert (wire.status, wire.headers["allow"]) == (405, "GET")
    wire = tell(message(), path="/v1/complete")
    assert (wire.status, error_of(wire)["type"]) == (404, "not_found_error")
    assert get(message(), path="/v1/messages/batches").status == 404
    # OpenAI's route stays OpenAI's, whatever headers a client sends to it.
    wire = tell({"model": "echo", "messages": [{"role": "user", "content": "x"}]}, path="/v1/chat/completions")
    assert json.loads(wire.body)["object"] == "chat.completion"
    assert get({**message(), "n": 1}, {"x-sim-answer": "refusal"}).status == 400


def test_a_body_that_is_too_large_is_refused_in_anthropics_shape(play: Any, encode: Any) -> None:
    async def scenario(simulator: Any) -> None:
        reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
        writer.write(b"POST /v1/messages HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY + 1))
        writer.write(b"z" * (MAX_BODY + 1))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert json.loads(await reader.readexactly(length))["error"]["type"] == "request_too_large"
        writer.transport.abort()

    play(scenario)


# Models


def test_models_come_in_pages(tell: Tell) -> None:
    def page(query: str) -> Any:
        return json.loads(tell(None, method="GET", path=f"/v1/models{query}").body)

    every = page("?limit=1000")
    ids = [model["id"] for model in every["data"]]
    assert every["has_more"] is False
    assert (every["first_id"], every["last_id"]) == (ids[0], ids[-1])
    assert ids[:3] == ["claude-sonnet-4-5", "claude-sonnet-4-6", "claude-sonnet-4-5-20250929"]
    assert {"echo", "gpt-4o", "fault-cut"} <= set(ids)
    assert [model["id"] for model in page("")["data"]] == ids[:20]
    after = page(f"?limit=2&after_id={ids[2]}")
    assert ([model["id"] for model in after["data"]], after["has_more"]) == (ids[3:5], True)
    before = page(f"?limit=2&before_id={ids[3]}")
    assert ([model["id"] for model in before["data"]], before["has_more"]) == (ids[1:3], True)
    assert page(f"?limit=5&before_id={ids[3]}")["has_more"] is False
    last = page(f"?after_id={ids[-1]}")
    assert (last["data"], last["first_id"], last["has_more"]) == ([], None, False)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after_id=x", "before_id=x",
                                   "after_id=echo&before_id=echo"])  # fmt: skip
def test_pages_that_make_no_sense(tell: Tell, query: str) -> None:
    assert said(tell(None, method="GET", path=f"/v1/models?{query}"))


def test_one_model_and_whose_shape_it_has(tell: Tell, get: Get) -> None:
    one = json.loads(tell(None, method="GET", path="/v1/models/claude-sonnet-4-6").body)
    assert (one["type"], one["display_name"]) == ("model", "Claude Sonnet 4 6")
    assert tell(None, method="GET", path="/v1/models/nothing").status == 404
    assert json.loads(get(None, method="GET", path="/v1/models/claude-sonnet-4-6").body)["object"] == "model"
