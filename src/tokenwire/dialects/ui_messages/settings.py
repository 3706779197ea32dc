"""What applications send beside their messages to steer the model, under the names that the AI SDK has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.prompt.vocabulary import Said, Tool, ToolChoice, Turn
from tokenwire.dialects.request_body import refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.dialects.prompt.vocabulary import Prompt


class _Anything(frozenset[str]):
    """All names there are; it lists those that are common."""

    def __contains__(self, name: object) -> bool:
        return True

    def isdisjoint(self, other: Iterable[object], /) -> bool:
        return not any(True for _ in other)


#: What applications add to a request is for their own server to read: left out with a note, and never refused.
ANYTHING: Final = _Anything({"data", "metadata", "requestId", "sessionId", "userId"})

#: The AI SDK's name -> ours.
_NUMBERS: Final = {
    "temperature": "temperature", "topP": "top_p", "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}  # fmt: skip
_WHOLE: Final = {"maxOutputTokens": "max_tokens", "topK": "top_k", "seed": "seed"}


def read_settings(fields: dict[str, Any], prompt: Prompt, at: str = "") -> None:
    """Put what *fields* say of the model's settings and tools into *prompt*; everything else goes into its ``rest``.

    Args:
        at: what stands before a member's name in the caller's terms (``forwardedProps.``).

    Raises:
        RequestRefused: 400, naming the member that is not as the AI SDK has it.
    """
    for name, value in fields.items():
        where = at + name
        if value is None:
            continue
        if name in _NUMBERS or name in _WHOLE:
            kinds = int if name in _WHOLE else int | float
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise refused(f"{where!r} must be a {'whole ' if name in _WHOLE else ''}number", where)
            ours = _WHOLE.get(name) or _NUMBERS[name]
            setattr(prompt, ours, value)
            prompt.where[ours] = where
        elif name == "stopSequences":
            prompt.stop = _strings(value, where)
            prompt.where["stop"] = where
        elif name == "system":
            if not isinstance(value, str):
                raise refused(f"{where!r} must be a string", where)
            prompt.turns.insert(0, Turn(role="system", parts=[Said(text=value, where=where)], where=where))
        elif name == "tools":
            prompt.tools += read_tools(value, where)
        elif name == "toolChoice":
            prompt.tool_choice = _tool_choice(value, where)
        else:
            prompt.rest[where] = value


def read_tools(value: Any, where: str) -> list[Tool]:
    """Tools as a list, OpenAI's (``{"type":"function","function":{…}}``) or plain (``{"name", …}``), or as the AI SDK
    has them, an object by name. Raises ``RequestRefused`` (400) for anything else."""
    if isinstance(value, dict):
        return [_tool(tool, name, f"{where}.{name}") for name, tool in value.items()]
    if isinstance(value, list):
        return [_tool(tool, "", f"{where}.{number}") for number, tool in enumerate(value)]
    raise refused(f"{where!r} must be an array or an object of tools", where)


def _tool(value: Any, name: str, where: str) -> Tool:
    if not isinstance(value, dict):
        raise refused(f"{where!r} must be an object", where)
    inner = value.get("function")
    fields = inner if isinstance(inner, dict) else value
    name = name or str(fields.get("name") or "")
    if not name or value.get("type") not in (None, "function", "dynamic"):
        raise refused(f"{where!r} must be a function with a name", where)
    schema = next((fields[key] for key in ("inputSchema", "parameters") if fields.get(key) is not None), None)
    if isinstance(schema, dict) and isinstance(schema.get("jsonSchema"), dict):
        schema = schema["jsonSchema"]  # what `jsonSchema()` of the AI SDK wraps it in
    if schema is not None and not isinstance(schema, dict):
        raise refused(f"the schema of {where!r} must be a JSON Schema", where)
    about, strict = fields.get("description"), fields.get("strict")
    return Tool(
        name=name,
        description=about if isinstance(about, str) else None,
        parameters=schema,
        strict=strict if isinstance(strict, bool) else None,
        where=where,
    )


def _tool_choice(value: Any, where: str) -> ToolChoice:
    if value == "auto" or value == "none" or value == "required":
        return ToolChoice(mode=value, where=where)
    name = value.get("toolName") if isinstance(value, dict) and value.get("type") == "tool" else None
    if not isinstance(name, str):
        raise refused(f"{where!r} must be 'auto', 'none', 'required' or a tool by name", where)
    return ToolChoice(mode="required", names=[name], where=where)


def _strings(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise refused(f"{where!r} must be an array of strings", where)
    return list(value)
