"""What a Messages request asks, in the vendor-neutral form, and what its prompt is billed as (reference 5.7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from tokenwire.simulator.answer import Ask
from tokenwire.simulator.tokens import count
from tokenwire.simulator.tools import Tool
from tokenwire.simulator.vendors.anthropic.requests import Block, MessagesRequest, PromptRequest, ToolEntry

# What templates add to each message and each request (roles and separators), in tokens.
_PER_MESSAGE = 4
_PER_REQUEST = 3
# An image of a megapixel; nothing here looks at its real size.
_PER_IMAGE = 1500
# A prefix shorter than this is never cached.
_LEAST_CACHED = 1024

# Arguments of the tools that Anthropic defines and clients run, by the beginning of their type.
_PREDEFINED: dict[str, Any] = {
    "bash_": {"properties": {"command": {"const": "echo hello"}}, "required": ["command"]},
    "text_editor_": {
        "properties": {"command": {"const": "view"}, "path": {"const": "/tmp/notes.txt"}},
        "required": ["command", "path"],
    },
    "computer_": {"properties": {"action": {"const": "screenshot"}}, "required": ["action"]},
    "memory_": {
        "properties": {"command": {"const": "view"}, "path": {"const": "/memories"}},
        "required": ["command", "path"],
    },
}


class InputUsage(NamedTuple):
    """Tokens of a prompt: those not cached, those read from the cache, those written to it for 5 minutes or an hour."""

    fresh: int
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def written(self) -> int:
        return self.written_5m + self.written_1h

    @property
    def total(self) -> int:
        return self.fresh + self.read + self.written


def ask_of(request: MessagesRequest, seed: int, tokens: int | None) -> Ask:
    """What is asked. Limits and stop sequences are not in it: they concern all blocks, and are applied to those.

    Args:
        tokens: exact length of a text answer, None for as it comes.
    """
    tools, must = _callable(request)
    return Ask(
        prompt=prompt_of(request),
        seed=seed,
        tools=tools,
        must=must,
        parallel=not (request.tool_choice and request.tool_choice.disable_parallel_tool_use),
        schema=request.schema.schema if request.schema else None,
        results=results_of(request),
        tokens=tokens,
        echo=request.model == "echo",
    )


def prompt_of(request: PromptRequest) -> str:
    """The text of the last user message that has any."""
    for message in reversed(request.messages):
        if message.role == "user":
            text = "".join(block["text"] for block in message.blocks if block["type"] == "text")
            if text:
                return text
    return ""


def results_of(request: PromptRequest) -> tuple[tuple[str, str], ...]:
    """(tool name, content) of the results that the request ends with, in order, several rounds of them included."""
    names = {
        str(block["id"]): str(block["name"])
        for message in request.messages
        for block in message.blocks
        if block["type"] == "tool_use"
    }
    rounds: list[list[tuple[str, str]]] = []
    for message in reversed(request.messages):
        if message.role != "user":
            continue
        found = [block for block in message.blocks if block["type"] == "tool_result"]
        if not found:
            break
        rounds.append([(names.get(str(block["tool_use_id"]), "the tool"), result_text(block)) for block in found])
    return tuple(result for each in reversed(rounds) for result in each)


def result_text(block: Block) -> str:
    """What a tool said, as text; images count for nothing."""
    content = block.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _callable(request: MessagesRequest) -> tuple[tuple[Tool, ...], Literal["auto", "any", "one"]]:
    """The tools that this turn may call, and how hard it has to. Those that run at Anthropic are not among them."""
    tools = tuple(tool for entry in request.tools or () for tool in _tool(entry))
    choice = request.tool_choice
    if choice is None or choice.type == "auto":
        return tools, "auto"
    if choice.type == "none":
        return (), "auto"
    if choice.type == "any":
        return tools, "any"
    return tuple(tool for tool in tools if tool.name == choice.name), "one"


def _tool(entry: ToolEntry) -> Iterator[Tool]:
    if entry.custom:
        yield Tool(entry.name, entry.description or "", {"type": "object", **entry.input_schema})
        return
    for prefix, schema in _PREDEFINED.items():
        if entry.type is not None and entry.type.startswith(prefix):
            yield Tool(entry.name, "", {"type": "object", "additionalProperties": False, **schema})


def input_usage(request: PromptRequest) -> InputUsage:
    """What the prompt is billed as, by our own tokenizer.

    With a cache breakpoint in it, everything up to the last one is cached. What was sent in an earlier turn counts as
    read, the rest as written: a pure function of the request, where the real cache also knows how much time passed.
    """
    parts = list(_parts(request))
    total = _PER_REQUEST + sum(part.tokens for part in parts)
    marked = [number for number, part in enumerate(parts) if part.ttl]
    if not marked:
        return InputUsage(total)
    last = marked[-1]
    cached = _PER_REQUEST + sum(part.tokens for part in parts[: last + 1])
    if cached < _LEAST_CACHED:
        return InputUsage(total)
    read = _PER_REQUEST + sum(part.tokens for part in parts[: last + 1] if part.old)
    if read < _LEAST_CACHED or not any(part.old for part in parts):
        read = 0
    written = cached - read
    hour = parts[last].ttl == "1h"
    return InputUsage(total - cached, read, 0 if hour else written, written if hour else 0)


class _Part(NamedTuple):
    tokens: int
    ttl: str | None  # of the cache breakpoint behind it, None if there is none
    old: bool  # whether an earlier turn brought it


def _parts(request: PromptRequest) -> Iterator[_Part]:
    """Tools, system prompt, messages: in the order in which they are cached."""
    turns = [number for number, message in enumerate(request.messages) if message.role == "assistant"]
    before = turns[-1] if turns else -1  # the last answer was not in the request that it answered
    old = before >= 0
    for tool in request.tools or ():
        mark = (tool.cache_control.ttl or "5m") if tool.cache_control else None
        yield _Part(count(msgspec.json.encode(tool).decode()), mark, old)
    system = request.system or []
    for block in [{"text": system}] if isinstance(system, str) else system:
        yield _Part(count(str(block.get("text", ""))), _ttl(block), old)
    for number, message in enumerate(request.messages):
        end = number == len(request.messages) - 1
        for place, block in enumerate(message.blocks):
            ttl = _ttl(block)
            if ttl is None and end and place == len(message.blocks) - 1 and request.cache_control:
                ttl = request.cache_control.ttl or "5m"
            yield _Part(tokens_of(block) + (0 if place else _PER_MESSAGE), ttl, number < before)


def _ttl(block: Block) -> str | None:
    control = block.get("cache_control")
    return str(control.get("ttl") or "5m") if isinstance(control, dict) else None


def tokens_of(block: Block) -> int:
    """Tokens of a content block."""
    kind = block.get("type")
    if kind == "image":
        return _PER_IMAGE
    if kind == "text":
        return count(block["text"])
    if kind == "tool_result":
        return count(result_text(block))
    return count(msgspec.json.encode({name: value for name, value in block.items() if name != "signature"}).decode())
