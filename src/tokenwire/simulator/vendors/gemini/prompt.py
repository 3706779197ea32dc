"""What a request asks, in the vendor-neutral form, and what its prompt is billed as (reference 6.6)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from tokenwire.simulator.answer import ANY_OBJECT, Ask, compact
from tokenwire.simulator.tokens import count
from tokenwire.simulator.tools import Tool
from tokenwire.simulator.vendors.gemini.requests import (
    Content,
    FunctionDeclaration,
    FunctionResponse,
    GenerateRequest,
    Part,
)
from tokenwire.simulator.vendors.gemini.schemas import json_schema

# What templates add to each message and each request, in tokens.
_PER_MESSAGE = 4
_PER_REQUEST = 3
# Any image or file, whatever its size.
_PER_FILE = 258
# A prefix shorter than this is never cached.
_LEAST_CACHED = 1024


class PromptTokens(NamedTuple):
    """Tokens of a prompt, and how many of them were read from a cache."""

    total: int
    cached: int = 0


def ask_of(request: GenerateRequest, model: str, seed: int, tokens: int | None) -> Ask:
    """What is asked. Limits and stop sequences are not in it: thinking counts as well, and they are applied later.

    Args:
        seed: decides what the request leaves open, unless it brings its own.
        tokens: exact length of a text answer, None for as it comes.
    """
    config = request.generation_config
    tools, must = _callable(request)
    schema = config.response_json_schema
    if schema is None and config.response_schema is not None:
        schema = json_schema(config.response_schema)
    if schema is None and config.response_mime_type == "application/json":
        schema = ANY_OBJECT
    return Ask(
        prompt=prompt_of(request),
        seed=seed if config.seed is None else config.seed,
        n=config.candidate_count or 1,
        tools=tools,
        must=must,
        schema=schema,
        results=_results(request.contents),
        tokens=tokens,
        echo=model == "echo",
    )


def prompt_of(request: GenerateRequest) -> str:
    """The text of the last content of the user's that has any."""
    return next((each.text for each in reversed(request.contents) if each.role != "model" and each.text), "")


def _results(contents: list[Content]) -> tuple[tuple[str, str], ...]:
    """(function name, what it said) of the results that the request ends with, several rounds of them included."""
    if not contents[-1].results:
        return ()
    rounds: list[list[tuple[str, str]]] = []
    for content in reversed(contents):
        if content.role != "model":
            if not content.results:
                break
            rounds.append([(each.name, _said(each)) for each in content.results])
    return tuple(result for each in reversed(rounds) for result in each)


def _said(result: FunctionResponse) -> str:
    """``{"output": "rain"}`` (or result, error) is what SDKs make of a text: that text, else the JSON."""
    response = result.response or {}
    if len(response) == 1:
        [value] = response.values()
        if isinstance(value, str):
            return value
    return compact(response)


def _callable(request: GenerateRequest) -> tuple[tuple[Tool, ...], Literal["auto", "any", "one"]]:
    """The functions that this turn may call, and how hard it has to."""
    calling = request.calling
    if calling.mode == "NONE":
        return (), "auto"
    tools = tuple(Tool(each.name, each.description or "", _parameters(each)) for each in request.declarations)
    if calling.allowed_function_names:
        tools = tuple(tool for tool in tools if tool.name in calling.allowed_function_names)
    return tools, "any" if calling.mode == "ANY" else "auto"


def _parameters(tool: FunctionDeclaration) -> Any:
    """The schema of the arguments, which are always an object; no schema means no arguments."""
    schema = tool.parameters_json_schema
    if schema is None and tool.parameters is not None:
        schema = json_schema(tool.parameters)
    if not schema:
        return {"type": "object", "additionalProperties": False}
    return {"type": "object", **schema} if isinstance(schema, dict) else schema


def prompt_tokens(request: GenerateRequest) -> PromptTokens:
    """What the prompt would be billed as, by our own tokenizer.

    What an earlier turn sent counts as cached if it is long enough: a pure function of the request, where the real
    cache also knows how much time passed.
    """
    shared = _PER_REQUEST
    if request.system_instruction is not None:
        shared += content_tokens([request.system_instruction])
    if request.tools:
        shared += count(msgspec.json.encode([_declared(tool) for tool in request.declarations]).decode())
    answered = [number for number, content in enumerate(request.contents) if content.role == "model"]
    old = shared + content_tokens(request.contents[: answered[-1]]) if answered else 0
    return PromptTokens(shared + content_tokens(request.contents), old if old >= _LEAST_CACHED else 0)


def content_tokens(contents: list[Content]) -> int:
    """Tokens of *contents*."""
    return sum(_PER_MESSAGE + sum(map(_tokens, content.parts)) for content in contents)


def _declared(tool: FunctionDeclaration) -> Any:
    return [tool.name, tool.description, tool.parameters, tool.parameters_json_schema]


def _tokens(part: Part) -> int:
    if part.text is not None:
        return count(part.text)
    if part.function_call is not None:
        return count(part.function_call.name + compact(part.function_call.args or {}))
    if part.function_response is not None:
        return count(part.function_response.name + compact(part.function_response.response or {}))
    return _PER_FILE
