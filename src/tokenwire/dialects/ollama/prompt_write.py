"""The common vocabulary -> ``/api/chat`` requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.ollama.encode import call_object
from tokenwire.dialects.prompt.vocabulary import Call, Media, Refused, Result, Said, Thought

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.dialects.prompt.vocabulary import Effort, Part, Prompt, Reasoning, Tool, Turn

#: The nearest of the words that the models know.
_EFFORTS: Final[dict[Effort, bool | str]] = {
    "none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high",
}  # fmt: skip


def write(prompt: Prompt, model: str, stream: bool) -> bytes:
    """The body of a chat request."""
    body: dict[str, Any] = {"model": model, "messages": [said for turn in prompt.turns for said in _turn(turn)]}
    body["stream"] = stream  # a stream is what a request without it asks for
    forbidden = prompt.tool_choice is not None and prompt.tool_choice.mode == "none"
    if prompt.tools and not forbidden:
        body["tools"] = [_tool(tool) for tool in prompt.tools]
    if prompt.output is not None:
        body["format"] = "json" if prompt.output.schema is None else prompt.output.schema
    if prompt.reasoning is not None:
        body["think"] = _think(prompt.reasoning)
    if prompt.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": prompt.logprobs or None}
    options = {
        "num_predict": prompt.max_tokens,
        "temperature": prompt.temperature,
        "top_p": prompt.top_p,
        "top_k": prompt.top_k,
        "seed": prompt.seed,
        "frequency_penalty": prompt.frequency_penalty,
        "presence_penalty": prompt.presence_penalty,
        "stop": prompt.stop or None,
    }
    body["options"] = _known(options) or None
    return msgspec.json.encode(_known(body))


def _turn(turn: Turn) -> list[dict[str, Any]]:
    """The messages of a turn: one, but for results."""
    if turn.role == "tool":
        return [_result(part) for part in turn.parts if isinstance(part, Result)]
    between = "" if turn.role == "assistant" else "\n\n"  # an assistant's runs are one text
    message: dict[str, Any] = {"role": turn.role, "content": _text(turn.parts, between)}
    thoughts = [part.text for part in turn.parts if isinstance(part, Thought) and part.text]
    message["thinking"] = "\n\n".join(thoughts) or None
    message["images"] = _images(turn.parts)
    calls = [part for part in turn.parts if isinstance(part, Call)]
    message["tool_calls"] = [
        call_object(call.id, index, call.name, call.arguments) for index, call in enumerate(calls)
    ] or None
    return [_known(message)]


def _result(result: Result) -> dict[str, Any]:
    text = _text(result.parts, "\n\n")
    return _known({
        "role": "tool",
        "content": f"Error: {text}" if result.error else text,
        "images": _images(result.parts),
        "tool_name": result.name or None,
        "tool_call_id": result.call_id,
    })  # fmt: skip


def _text(parts: Iterable[Part], between: str) -> str:
    return between.join(part.text for part in parts if isinstance(part, Said | Refused))


def _images(parts: Iterable[Part]) -> list[str | None] | None:
    return [part.data for part in parts if isinstance(part, Media)] or None


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function = _known({"name": tool.name, "description": tool.description, "parameters": parameters})
    return {"type": "function", "function": function}


def _think(thinking: Reasoning) -> bool | str | None:
    if thinking.effort is not None:
        return _EFFORTS[thinking.effort]
    if thinking.budget is not None:
        return thinking.budget != 0
    return True if thinking.show else None


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
