"""How the look-alike of OpenAI's Responses says no."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Response = Callable[..., dict[str, Any]]
Respond = Callable[..., Any]

USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "x"}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


def refused(wire: Any, status: int = 400) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(wire.body)["error"]
    assert (wire.status, error["type"]) == (status, "invalid_request_error")
    return error


def part(kind: str, role: str = "user") -> Any:
    return [{"role": role, "content": [{"type": kind, "text": "x"}]}]


@pytest.mark.parametrize(
    ("change", "param", "code", "message"),
    [
        ({"input": None}, "input", "missing_required_parameter", "Missing required parameter: 'input'."),
        ({"input": 5}, "input", "invalid_value", "Invalid value for 'input': "),
        ({"model": 5}, "model", "invalid_value", "Invalid value for 'model': Expected `str`, got `int`."),
        ({"messages": []}, "messages", "unsupported_parameter", "Unsupported parameter: 'messages'. In the Responses"),
        ({"max_tokens": 9}, "max_tokens", "unsupported_parameter", "Unsupported parameter: 'max_tokens'."),
        ({"n": 2}, "n", "unknown_parameter", "Unknown parameter: 'n'."),
        ({"stop": "x"}, "stop", "unknown_parameter", "Unknown parameter: 'stop'."),
        (
            {"max_output_tokens": 15}, "max_output_tokens", "integer_below_min_value",
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 15 instead.",
        ),
        ({"temperature": 3}, "temperature", "invalid_value", "Invalid value for 'temperature'"),
        ({"top_logprobs": 21}, "top_logprobs", "invalid_value", "Invalid value for 'top_logprobs'"),
        ({"metadata": {"a": 1}}, "metadata[...]", "invalid_value", "Invalid value for 'metadata[...]'"),
        ({"include": ["all"]}, "include[0]", "invalid_value", "Invalid value: 'all'. Supported values are: '"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value", "Invalid value for 'reasoning.e"),
        ({"background": True, "store": False}, "background", None, "Background mode needs 'store' to be true."),
        (
            {"stream": False, "stream_options": {}}, "stream_options", None,
            "'stream_options' is only allowed together with 'stream'.",
        ),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "missing_required_parameter", "Missing"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema",
            "missing_required_parameter", "Missing required parameter: 'text.format.schema'.",
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"not": {}}}}}, "text.format.schema",
            None, "Invalid schema in 'text.format.schema': ",
        ),
        ({"tools": [{}]}, "tools[0].type", "missing_required_parameter", "Missing required parameter: 'tools[0]"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].name", "missing_required_parameter", ""),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": {"not": {}}}], "tool_choice": "required"},
            "tools", "invalid_function_parameters", "Invalid schema in 'tools': ",
        ),
        ({"tool_choice": "required"}, "tool_choice", None, "Tool choice 'required' must be specified with 'tools'"),
        ({"input": []}, "input", "missing_required_parameter", "Missing required parameter: 'input'."),
        ({"tool_choice": {"type": "allowed_tools", "tools": 5}}, "tool_choice.tools", "invalid_type", "Invalid type"),
        ({"tool_choice": "any"}, "tool_choice", "invalid_value", "Invalid value for 'tool_choice'"),
        ({"tool_choice": {"type": "function", "name": "g"}}, "tool_choice", None, "Tool choice 'function' not found"),
        (
            {"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found",
            "Previous response with id 'resp_1' not found.",
        ),
        ({"input": [{}]}, "input[0]", "invalid_value", "Invalid value: ''. Supported values are: 'message', "),
        ({"input": [{"type": "text"}]}, "input[0]", "invalid_value", "Invalid value: 'text'."),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter", "Missing required parameter"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "invalid_value", "Invalid value: 'tool'."),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "invalid_type", "Invalid type for '"),
        ({"input": part("text")}, "input[0].content[0]", "invalid_value", "Invalid value: 'text'."),
        ({"input": part("output_text")}, "input[0].content[0]", "invalid_value", "Invalid value: 'output_text'."),
        (
            {"input": part("input_text", "assistant")}, "input[0].content[0]", "invalid_value",
            "Invalid value: 'input_text'. Supported values are: 'output_text', 'refusal'.",
        ),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]", "invalid_value", "Invalid value: '"),
        ({"input": [USER, {**CALL, "name": None}, RESULT]}, "input[1].name", "missing_required_parameter", "Missing"),
        ({"input": [USER, {**CALL, "arguments": {}}, RESULT]}, "input[1].arguments", "invalid_type", "Invalid type"),
        ({"input": [USER, RESULT]}, "input", None, "No tool call found for function call output with call_id call_1."),
        ({"input": [USER, CALL]}, "input", None, "No tool output found for function call call_1."),
        ({"input": [USER, REASONING]}, "input", None, "Item 'rs_1' of type 'reasoning' was provided without its requ"),
        ({"input": [USER, REASONING, USER]}, "input", None, "Item 'rs_1' of type 'reasoning' was provided without"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [True, False])
def test_a_request_that_is_wrong_is_told_so(
    respond: Respond, response: Response, change: Any, param: str, code: str | None, message: str, stream: bool
) -> None:
    error = refused(respond(response(**{"stream": stream, **change})))
    assert (error["param"], error["code"]) == (param, code)
    assert error["message"].startswith(message)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(respond: Respond, body: bytes) -> None:
    assert refused(respond(body))["message"].startswith("The JSON body of the request could not be parsed")


def test_what_is_no_object_is_refused(respond: Respond) -> None:
    assert refused(respond(b"[1]"))["message"].startswith("Invalid value for ''")
    assert refused(respond(b'{"input":"hi"}'))["message"] == "Missing required parameter: 'model'."


def test_an_unknown_model_is_not_found(respond: Respond, response: Response) -> None:
    error = refused(respond(response(model="nothing")), 404)
    assert (error["param"], error["code"]) == ("model", "model_not_found")


@pytest.mark.parametrize(
    ("headers", "metadata"),
    [({"x-sim-fault": "nonsense"}, {}), ({}, {"x-sim-fault": "nonsense"}), ({"x-sim-seed": "nonsense"}, {})],
)
def test_a_switch_with_nonsense_is_refused(
    respond: Respond, response: Response, headers: dict[str, str], metadata: dict[str, str]
) -> None:
    assert "nonsense" in refused(respond(response(metadata=metadata), headers))["message"]


@pytest.mark.parametrize("answer", ["pause", "malformed-call"])
def test_answers_of_other_vendors_are_refused(respond: Respond, response: Response, answer: str) -> None:
    error = refused(respond(response(), {"x-sim-answer": answer}))
    assert error["message"] == f"x-sim-answer: {answer} is no answer of /v1/responses"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/responses", 405),
        ("PUT", "/v1/responses/resp_1", 405),
        ("GET", "/v1/responses/resp_1/cancel", 405),
        ("GET", "/v1/responses/", 405),
        ("GET", "/v1/responsesx", 404),
        ("GET", "/v1/responses/resp_1", 404),
        ("GET", "/v1/responses/resp_1?stream=true", 404),
        ("DELETE", "/v1/responses/resp_1", 404),
        ("POST", "/v1/responses/resp_1/cancel", 404),
        ("POST", "/v1/responses/resp_1/else", 404),
    ],
)
def test_other_routes_and_ids_are_refused(respond: Respond, method: str, path: str, status: int) -> None:
    assert json.loads(respond(None, method=method, path=path).body)["error"]["message"]
    assert respond(None, method=method, path=path).status == status
