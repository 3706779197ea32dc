"""The common vocabulary -> Messages requests.

Turns alternate there: neighbours of one role become one, with the results of tools in front. What the system says is no
turn: it stands beside them, wherever it was said.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.anthropic.blocks import NAME
from tokenwire.dialects.json_text import loads
from tokenwire.dialects.prompt.media import guess, to_text
from tokenwire.dialects.prompt.vocabulary import Call, Media, Refused, Result, Said, Thought

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.dialects.prompt.vocabulary import Part, Prompt, Reasoning, ToolChoice, Turn

PICTURES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
#: Tokens: the smallest budget of thinking.
LEAST_BUDGET: Final = 1024
#: Characters, of ``metadata.user_id``.
LONGEST_USER: Final = 256

# For a request that has no bound, which is required here: what every model of Anthropic's allows.
MAX_TOKENS: Final = 4096
# What every model allows that knows an effort; thoughts count as part of it.
_ROOM_TO_THINK: Final = 32_000
_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")


def write(prompt: Prompt, model: str, stream: bool) -> bytes:
    """The body of a Messages request."""
    body: dict[str, Any] = {"model": model, "max_tokens": _max_tokens(prompt), "messages": _messages(prompt.turns)}
    system = "\n\n".join(part.text for turn in prompt.turns if turn.role == "system" for part in _said(turn))
    body |= {"system": system or None, "stream": stream or None}
    body["tools"] = _tools(prompt) or None
    if prompt.tools or (prompt.tool_choice is not None and prompt.tool_choice.mode == "required"):
        body["tool_choice"] = _choice(prompt)
    config: dict[str, Any] = {}
    if prompt.output is not None:
        config["format"] = {"type": "json_schema", "schema": prompt.output.schema or {}}
    if prompt.reasoning is not None:
        body["thinking"] = _thinking(prompt.reasoning)
        if prompt.reasoning.effort not in (None, "none") and prompt.reasoning.budget != 0:
            config["effort"] = "low" if prompt.reasoning.effort == "minimal" else prompt.reasoning.effort
    body |= {
        "output_config": config or None,
        "temperature": prompt.temperature,
        "top_p": prompt.top_p,
        "top_k": prompt.top_k,
        "stop_sequences": prompt.stop or None,
        "metadata": None if prompt.user is None else {"user_id": _user(prompt.user)},
    }
    return msgspec.json.encode(_known(**body))


def _max_tokens(prompt: Prompt) -> int:
    """It must be there; thoughts come out of it, so it is more than their budget."""
    if prompt.max_tokens is not None:
        return prompt.max_tokens
    thinking = _thinking(prompt.reasoning) if prompt.reasoning is not None else None
    if thinking is None or thinking["type"] == "disabled":
        return MAX_TOKENS
    return MAX_TOKENS + int(thinking["budget_tokens"]) if thinking["type"] == "enabled" else _ROOM_TO_THINK


def _thinking(reasoning: Reasoning) -> dict[str, Any] | None:
    budget = reasoning.budget
    if reasoning.effort == "none" or budget == 0:
        return {"type": "disabled"}
    display = {} if reasoning.show is None else {"display": "summarized" if reasoning.show else "omitted"}
    if budget is not None and budget > 0:
        return {"type": "enabled", "budget_tokens": max(budget, LEAST_BUDGET), **display}
    if budget is None and reasoning.effort is None and not reasoning.show:
        return None
    return {"type": "adaptive", **display}


def _tools(prompt: Prompt) -> list[dict[str, Any]]:
    """The tools; if only some may be chosen, those."""
    choice = prompt.tool_choice
    names = () if choice is None or _forced(choice) else choice.names
    nothing = {"type": "object", "properties": {}}
    return [
        _known(
            name=tool.name,
            description=tool.description,
            input_schema=nothing if tool.parameters is None else tool.parameters,
            strict=tool.strict,
        )
        for tool in prompt.tools
        if not names or tool.name in names
    ]


def _choice(prompt: Prompt) -> dict[str, Any] | None:
    """One tool at a time is a matter of the choice, too; where none is made, of the usual one."""
    choice = prompt.tool_choice
    single = {"disable_parallel_tool_use": True} if prompt.parallel_tools is False else {}
    if choice is None:
        return {"type": "auto", **single} if single else None
    if choice.mode == "none":
        return {"type": "none"}
    if _forced(choice):
        return {"type": "tool", "name": choice.names[0], **single}
    return {"type": "auto" if choice.mode == "auto" else "any", **single}


def _forced(choice: ToolChoice) -> bool:
    """Whether it is one tool that must be called."""
    return choice.mode == "required" and len(choice.names) == 1


def _messages(turns: list[Turn]) -> list[dict[str, Any]]:
    """The turns with something in them."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        role = "assistant" if turn.role == "assistant" else "user"
        blocks = [] if turn.role == "system" else [block for part in turn.parts for block in _blocks(part)]
        if not blocks:
            continue
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})
    for message in messages:
        message["content"].sort(key=lambda block: block["type"] != "tool_result")  # stable: the rest stays in order
    return messages


def _blocks(part: Part) -> Iterable[dict[str, Any]]:
    """The block of a part; none for a text that is empty, and for thoughts of others."""
    if isinstance(part, Said | Refused):
        return [{"type": "text", "text": part.text}] if part.text else []
    if isinstance(part, Media):
        return [_media(part)]
    if isinstance(part, Call):
        return [{"type": "tool_use", "id": _id(part.id), "name": part.name, "input": _input(part.arguments)}]
    if isinstance(part, Result):
        content = [block for piece in part.parts for block in _blocks(piece)]
        result = {"type": "tool_result", "tool_use_id": _id(part.call_id), "content": content}
        return [result | ({"is_error": True} if part.error else {})]
    if isinstance(part, Thought) and part.signature and part.dialect == NAME:
        if part.redacted:
            return [{"type": "redacted_thinking", "data": part.signature}]
        return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]
    return []


def _media(part: Media) -> dict[str, Any]:
    if part.kind == "file":
        source = document(part) if part.data is not None else {"type": "url", "url": part.url}
        return {"type": "document", "source": source} | _known(title=part.name)
    if part.data is not None:
        return {"type": "image", "source": {"type": "base64", "media_type": mime_of(part), "data": part.data}}
    return {"type": "image", "source": {"type": "url", "url": part.url}}


def mime_of(part: Media) -> str:
    """The type of a file that is given as data: as told, else by its first bytes."""
    return (part.mime or guess(part.data or "")).partition(";")[0].lower()


def document(part: Media) -> dict[str, Any] | None:
    """The source of a document given as data: a PDF, or any kind of text; None for what is neither."""
    mime, data = mime_of(part), part.data or ""
    if mime == "application/pdf":
        return {"type": "base64", "media_type": mime, "data": data}
    text = to_text(data) if mime.startswith("text/") or mime in ("application/json", "application/xml") else None
    return None if text is None else {"type": "text", "media_type": "text/plain", "data": text}


def _input(arguments: str) -> msgspec.Raw:
    """Arguments as the object that they must be here, as they came. What is none is given whole, in Anthropic's
    documented form."""
    try:
        value, torn = loads(arguments or "{}")
    except (ValueError, RecursionError):
        value, torn = None, False
    if isinstance(value, dict) and not torn:
        return msgspec.Raw(arguments or "{}")
    return msgspec.Raw(msgspec.json.encode({"INVALID_JSON": arguments}))


def _said(turn: Turn) -> list[Said]:
    return [part for part in turn.parts if isinstance(part, Said)]


def _id(id: str) -> str:
    """The id of a call; others' may hold characters that are refused here."""
    return id if _ID.fullmatch(id) else "toolu_" + hashlib.sha256(id.encode()).hexdigest()[:24]


def _user(user: str) -> str:
    return user if len(user) <= LONGEST_USER else hashlib.sha256(user.encode()).hexdigest()


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
