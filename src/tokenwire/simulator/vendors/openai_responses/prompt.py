"""What a conversation asks, in the vendor-neutral form, and what it is billed as (reference 4.4)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from tokenwire.simulator.answer import ANY_OBJECT, Ask
from tokenwire.simulator.tokens import count
from tokenwire.simulator.tools import Tool
from tokenwire.simulator.vendors.openai.errors import invalid
from tokenwire.simulator.vendors.openai.requests import parameters_of
from tokenwire.simulator.vendors.openai_responses.requests import Item, ResponsesRequest
from tokenwire.simulator.vendors.openai_responses.rules import kind_of

# What templates add to each item and each request, in tokens.
_PER_ITEM = 4
_PER_REQUEST = 3
# A prefix shorter than this is never cached, and longer ones in steps.
_LEAST_CACHED = 1024
_CACHED_STEP = 128

_HIDDEN = frozenset({"id", "status", "encrypted_content"})


class PromptTokens(NamedTuple):
    """Tokens of a prompt, and how many of them were read from a cache."""

    total: int
    cached: int = 0


def ask_of(request: ResponsesRequest, items: list[Item], seed: int, tokens: int | None) -> Ask:
    """What is asked. The limit is not in it: reasoning counts as well, and it is applied later.

    Args:
        items: the whole conversation.
        tokens: exact length of a text answer, None for as it comes.

    Raises:
        ApiError: 400: an unknown tool.
    """
    tools, must = _callable(request)
    kind = request.format.type
    return Ask(
        prompt=prompt_of(items),
        seed=seed,
        tools=tools,
        must=must,
        parallel=request.parallel_tool_calls is not False,
        schema={"json_object": ANY_OBJECT, "json_schema": request.format.schema}.get(kind),
        results=_results(items),
        tokens=tokens,
        echo=request.model == "echo",
    )


def prompt_of(items: list[Item]) -> str:
    """The text of the last message of the user's."""
    return next((_text(item.get("content")) for item in reversed(items) if item.get("role") == "user"), "")


def _text(content: Any) -> str:
    """What is text in *content*: a string, or parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _results(items: list[Item]) -> tuple[tuple[str, str], ...]:
    """(function name, what it said) of the results after the user's last message, if the conversation ends so."""
    if not items or kind_of(items[-1]) != "function_call_output":
        return ()
    names = {str(item["call_id"]): str(item["name"]) for item in items if kind_of(item) == "function_call"}
    turn: list[tuple[str, str]] = []
    for item in reversed(items):
        if item.get("role") == "user":
            break
        if kind_of(item) == "function_call_output":
            turn.append((names[str(item["call_id"])], _text(item["output"])))
    return tuple(reversed(turn))


def _callable(request: ResponsesRequest) -> tuple[tuple[Tool, ...], Literal["auto", "any", "one"]]:
    """The functions that this turn may call, and how hard it has to. Tools of other kinds are never called."""
    tools = tuple(
        Tool(tool["name"], str(tool.get("description") or ""), parameters_of(tool.get("parameters")))
        for tool in request.tools or ()
        if tool["type"] == "function"
    )
    choice: Any = request.tool_choice
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        named_tools = choice.get("tools")
        if not isinstance(named_tools, list):
            raise invalid(
                "Invalid type for 'tool_choice.tools': expected an array.", "tool_choice.tools", "invalid_type"
            )
        allowed = [each.get("name") for each in named_tools if isinstance(each, dict)]
        tools = tuple(tool for tool in tools if tool.name in allowed)
        choice = choice.get("mode", "auto")
    if isinstance(choice, dict):
        if choice.get("type") != "function":
            return (), "auto"
        named = tuple(tool for tool in tools if tool.name == choice.get("name"))
        if not named:
            raise invalid(f"Tool choice 'function' not found in 'tools': {choice.get('name')}.", "tool_choice")
        return named[:1], "one"
    if choice == "required" and not request.tools:
        raise invalid("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
    return (() if choice == "none" else tools), "any" if choice == "required" and tools else "auto"


def prompt_tokens(request: ResponsesRequest, items: list[Item]) -> PromptTokens:
    """What the prompt would be billed as, by our own tokenizer.

    What an earlier turn sent counts as cached if it is long enough: a pure function of the request, where the real
    cache also knows how much time passed.
    """
    shared = _PER_REQUEST + (_tokens(request.instructions) if request.instructions else 0)
    shared += _tokens(request.tools) if request.tools else 0
    sizes = [_PER_ITEM + _tokens({name: item[name] for name in item if name not in _HIDDEN}) for item in items]
    answered = [number for number, item in enumerate(items) if item.get("role") == "assistant"]
    old = shared + sum(sizes[: answered[-1]]) if answered else 0
    cached = old // _CACHED_STEP * _CACHED_STEP if old >= _LEAST_CACHED else 0
    return PromptTokens(shared + sum(sizes), cached)


def _tokens(value: Any) -> int:
    """Tokens of a text, of a message's content, or of the JSON of anything else."""
    if isinstance(value, str):
        return count(value)
    if isinstance(value, dict) and "content" in value:
        return count(_text(value["content"]))
    return count(msgspec.json.encode(value).decode())
