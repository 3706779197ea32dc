"""Failures as the official Python SDK tells them: typed before the stream, ``APIError`` within it, silence never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

MESSAGES = [{"role": "user", "content": "hi"}]

#: What is asked for (model, more fields) -> exception, status, machine word, something of the message.
BEFORE: dict[str, tuple[str, dict[str, Any], type[openai.APIStatusError], int, str | None, str]] = {
    "relay 400": ("sim/echo", {"n": 0}, openai.BadRequestError, 400, "invalid_request", "'n'"),
    "provider 400": ("sim/echo", {"top_logprobs": 2}, openai.BadRequestError, 400, None, "top_logprobs"),
    "relay 404": ("sim-echo", {}, openai.NotFoundError, 404, "model_not_found", "sim/echo"),
    "provider 404": ("sim/ecko", {}, openai.NotFoundError, 404, "model_not_found", "ecko"),
    "401": ("sim/fault-error-before-401", {}, openai.AuthenticationError, 401, None, "simulated"),
    "403": ("sim/fault-error-before-403", {}, openai.PermissionDeniedError, 403, None, "simulated"),
    "409": ("sim/fault-error-before-409", {}, openai.ConflictError, 409, None, "simulated"),
    "422": ("sim/fault-error-before-422", {}, openai.UnprocessableEntityError, 422, None, "simulated"),
    "429": ("sim/fault-429-2500", {}, openai.RateLimitError, 429, "rate_limit_exceeded", "2500ms"),
    "500": ("sim/fault-error-before", {}, openai.InternalServerError, 500, None, "simulated"),
    "503": ("sim/fault-overloaded", {}, openai.InternalServerError, 503, None, "overloaded"),
    "200 with an error": ("sim/fault-json-200", {}, openai.InternalServerError, 500, None, "simulated"),
    "200 with a page": ("sim/fault-html", {}, openai.InternalServerError, 502, "upstream_error", "Welcome"),
    "no answer": ("sim/fault-early-leave", {}, openai.InternalServerError, 502, "upstream_closed", "it answered"),
    "endless head": ("sim/fault-endless-header", {}, openai.InternalServerError, 502, None, "65536"),
    "nobody there": ("gone/any", {}, openai.InternalServerError, 502, "connect_failed", "connect"),
    "late head": ("hasty/fault-stall-head", {}, openai.InternalServerError, 504, "upstream_timeout", "0.4 s"),
}
#: The same, of failures that only a stream can have.
BEFORE_TOKENS: dict[str, tuple[str, dict[str, Any], type[openai.APIStatusError], int, str | None, str]] = {
    "late token": ("hasty/fault-stall-first", {}, openai.InternalServerError, 504, "upstream_timeout", "first token"),
    "error first": ("sim/fault-error-first", {}, openai.InternalServerError, 500, None, "simulated"),
    "unknown coding": ("sim/fault-brotli", {}, openai.InternalServerError, 502, None, "br"),
}
#: Within a stream: model -> machine word, something of the message. All let five tokens pass, but for `eof-3`.
WITHIN: dict[str, tuple[str | None, str]] = {
    "sim/fault-error-mid": (None, "simulated"),
    "sim/fault-error-event": (None, "simulated"),
    "sim/fault-malformed": (None, "malformed JSON"),
    "sim/fault-cut": ("upstream_closed", "mid-answer"),
    "sim/fault-reset": ("upstream_closed", "mid-answer"),
    "sim/fault-bad-chunk": (None, "HTTP"),
    "sim/fault-eof": ("truncated", "incomplete"),
    "sim/fault-endless-line": ("event_too_large", "1048576"),
    "hasty/fault-stall": ("upstream_timeout", "between tokens"),
}


def asked(sdk: Any, model: str, fields: dict[str, Any], stream: bool, kind: type[openai.APIStatusError]) -> Any:
    with pytest.raises(kind) as caught:
        sdk.call("chat.completions.create", model=model, messages=MESSAGES, stream=stream, **fields)
    return caught.value


def check(error: openai.APIStatusError, status: int, code: str | None, words: str) -> None:
    assert error.status_code == status
    assert words in error.message
    assert isinstance(error.body, dict)
    assert {"message", "type", "param", "code"} <= error.body.keys()
    if code is not None:
        assert error.code == code


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("case", BEFORE)
def test_before_the_first_byte(sdk: Any, case: str, stream: bool) -> None:
    model, fields, kind, status, code, words = BEFORE[case]
    error = asked(sdk, model, fields, stream, kind)
    if case == "late head" and not stream:
        words = "total"  # a whole answer has one deadline: its head comes after the last token
    check(error, status, code, words)


@pytest.mark.parametrize("case", BEFORE_TOKENS)
def test_before_the_first_token(sdk: Any, case: str) -> None:
    model, fields, kind, status, code, words = BEFORE_TOKENS[case]
    check(asked(sdk, model, fields, True, kind), status, code, words)


def test_the_offending_field_is_named(sdk: Any) -> None:
    for model, fields, param in [("sim-echo", {}, "model"), ("sim/echo", {"n": 0}, "n")]:
        with pytest.raises(openai.APIStatusError) as caught:
            sdk.call("chat.completions.create", model=model, messages=MESSAGES, **fields)
        assert caught.value.param == param


def test_an_ambiguous_name_says_what_to_write(sdk: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="twin/shared") as caught:
        sdk.call("chat.completions.create", model="shared", messages=MESSAGES)
    assert caught.value.code == "ambiguous_model"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_advice_to_come_back_reaches_the_client(sdk: Any, stream: bool) -> None:
    limited = asked(sdk, "sim/fault-429-2500", {}, stream, openai.RateLimitError).response.headers
    assert (limited["retry-after"], limited["retry-after-ms"], limited["x-should-retry"]) == ("3", "2500", "true")
    assert limited["x-ratelimit-remaining-tokens"] == "900"
    assert limited["x-request-id"].startswith("req_")
    overloaded = asked(sdk, "sim/fault-overloaded", {}, stream, openai.InternalServerError).response.headers
    assert overloaded["retry-after-ms"] == "800"


def test_the_sdk_retries_as_it_is_told(sdk: Any, stats: Callable[[], dict[str, int]]) -> None:
    patient = sdk.client.with_options(max_retries=2).chat.completions.create
    with pytest.raises(openai.RateLimitError):
        sdk.wait(patient(model="sim/fault-429-10", messages=MESSAGES, stream=True))
    assert stats()["requests"] == 3


@pytest.mark.parametrize("model", WITHIN)
def test_within_the_stream(sdk: Any, model: str) -> None:
    code, words = WITHIN[model]
    whole = sdk.call("chat.completions.create", model="sim/instant", messages=MESSAGES).choices[0].message.content
    stream = sdk.call("chat.completions.create", model=model, messages=MESSAGES, stream=True)
    chunks: list[Any] = []
    with pytest.raises(openai.APIError, match=words) as caught:
        chunks.extend(sdk.each(stream))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert type(caught.value) is openai.APIError  # an answer's own error, not a lost connection
    assert caught.value.code == code or code is None
    assert text  # what came before it was delivered
    assert whole.startswith(text)


@pytest.mark.parametrize("model", WITHIN)
def test_within_the_helpers_stream(sdk: Any, model: str) -> None:
    with pytest.raises(openai.APIError, match=WITHIN[model][1]):
        sdk.helper(model)


def test_within_a_tool_call(sdk: Any) -> None:
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
        "required": ["city", "unit"]}}}  # fmt: skip
    stream = sdk.call(
        "chat.completions.create",
        model="sim/fault-cut-tool",
        messages=[{"role": "user", "content": "Weather in Oslo?"}],
        tools=[tool],
        stream=True,
    )
    chunks: list[Any] = []
    with pytest.raises(openai.APIError, match="mid-answer"):
        chunks.extend(sdk.each(stream))
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert "".join(call.function.arguments or "" for call in calls).startswith('{"city"')


@pytest.mark.parametrize("fault", ["cut", "reset", "stall"])
def test_a_whole_answer_that_never_comes_whole(sdk: Any, fault: str) -> None:
    upstream = "hasty" if fault == "stall" else "sim"
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.call("chat.completions.create", model=f"{upstream}/fault-{fault}", messages=MESSAGES)
    assert caught.value.status_code in (502, 504)
