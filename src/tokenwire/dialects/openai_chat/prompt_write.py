"""The common vocabulary -> chat requests.

Written for the many servers of this dialect, not for OpenAI alone: texts are strings where they may be (DeepSeek takes
no arrays without need), the system's role is ``system`` (OpenAI makes it ``developer`` by itself where it must be), and
what has its default is not said.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.openai_chat.choice import NAME
from tokenwire.dialects.prompt.media import data_url, guess
from tokenwire.dialects.prompt.vocabulary import Call, Media, Refused, Result, Said, Thought

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.dialects.prompt.vocabulary import Output, Part, Prompt, Reasoning, ToolChoice, Turn

#: Media type of a sound -> its ``format``.
AUDIO: Final = {
    "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3", "audio/mp3": "mp3",
}  # fmt: skip
#: The dialects whose files OpenAI keeps.
VENDORS: Final = frozenset({NAME, "openai.responses"})
TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
#: Characters; OpenAI refuses more.
LONGEST_USER: Final = 64

# Every server knows `max_tokens` but OpenAI's reasoning models, which refuse it; all of OpenAI's know the newer name,
# which DeepSeek ignores and Mistral refuses. So OpenAI's models are told by their names (gpt-oss runs elsewhere).
_OPENAI: Final = re.compile(r"(?:.*/)?(?:gpt-(?!oss)|chatgpt-|codex-|o\d)")
_LONGEST_ID: Final = 40  # of a call, at OpenAI


def write(prompt: Prompt, model: str, stream: bool) -> bytes:
    """The body of a chat request; a stream tells its usage."""
    body: dict[str, Any] = {"model": model, "messages": [said for turn in prompt.turns for said in _turn(turn)]}
    body |= {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    if prompt.tools:
        body["tools"] = [{"type": "function", "function": _known(
            name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict,
        )} for tool in prompt.tools]  # fmt: skip
    if prompt.tool_choice is not None:
        body["tool_choice"] = _choice(prompt.tool_choice)
    if prompt.parallel_tools is False:
        body["parallel_tool_calls"] = False
    if prompt.output is not None:
        body["response_format"] = _format(prompt.output)
    body["max_completion_tokens" if _OPENAI.match(model) else "max_tokens"] = prompt.max_tokens
    if prompt.reasoning is not None:
        body["reasoning_effort"] = _effort(prompt.reasoning)
    if prompt.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": prompt.logprobs or None}
    body |= {
        "temperature": prompt.temperature,
        "top_p": prompt.top_p,
        "seed": prompt.seed,
        "frequency_penalty": prompt.frequency_penalty,
        "presence_penalty": prompt.presence_penalty,
        "stop": prompt.stop or None,
        "n": prompt.n if (prompt.n or 1) > 1 else None,
        "user": prompt.user and _short(prompt.user, LONGEST_USER, ""),
        "service_tier": prompt.service_tier if prompt.service_tier in TIERS else None,
    }
    return msgspec.json.encode(_known(**body))


def _turn(turn: Turn) -> Iterable[dict[str, Any]]:
    """The messages of a turn: one, but for results."""
    if turn.role == "tool":
        return _results(turn)
    if turn.role == "assistant":
        return [_known(role="assistant", name=turn.name) | _assistant(turn.parts)]
    return [_known(role=turn.role, name=turn.name) | {"content": _content(turn.parts)}]


def _results(turn: Turn) -> list[dict[str, Any]]:
    """Results are text: pictures stand behind all of them, since nothing may come between a call and its results."""
    messages: list[dict[str, Any]] = []
    pictures: list[Part] = []
    for part in turn.parts:
        if isinstance(part, Result):
            text = _text(part.parts)
            pictures += [piece for piece in part.parts if isinstance(piece, Media)]
            text = f"Error: {text}" if part.error else text
            messages.append({"role": "tool", "tool_call_id": _id(part.call_id), "content": text})
    return [*messages, {"role": "user", "content": _content(pictures)}] if pictures else messages


def _assistant(parts: list[Part]) -> dict[str, Any]:
    """The runs of one text are joined as they are; a thought goes back where it came from."""
    text = "".join(part.text for part in parts if isinstance(part, Said))
    refusal = "".join(part.text for part in parts if isinstance(part, Refused))
    calls = [_call(part) for part in parts if isinstance(part, Call)]
    thoughts = [part for part in parts if isinstance(part, Thought) and part.signature and part.dialect == NAME]
    details = [_detail(thought, index) for index, thought in enumerate(thoughts)]
    content = text if text or not (calls or refusal) else None
    return {"content": content} | _known(
        refusal=refusal or None, reasoning_details=details or None, tool_calls=calls or None
    )


def _detail(thought: Thought, index: int) -> dict[str, Any]:
    if thought.redacted:
        return _known(type="reasoning.encrypted", data=thought.signature, id=thought.id, index=index)
    return _known(
        type="reasoning.text", text=thought.text, signature=thought.signature, id=thought.id, index=index
    )  # fmt: skip


def _call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    said: dict[str, Any] = {"id": _id(call.id), "type": "function", "function": function}
    if call.signature and call.dialect == "gemini":
        said["extra_content"] = {"google": {"thought_signature": call.signature}}
    return said


def _content(parts: Iterable[Part]) -> Any:
    """A string if there is nothing but text, else an array of parts."""
    parts = list(parts)
    if all(isinstance(part, Said) for part in parts):
        return _text(parts)
    return [_part(part) for part in parts if isinstance(part, Said | Media)]


def _text(parts: Iterable[Part]) -> str:
    return "\n\n".join(part.text for part in parts if isinstance(part, Said))


def _part(part: Said | Media) -> dict[str, Any]:
    if isinstance(part, Said):
        return {"type": "text", "text": part.text}
    if part.kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": AUDIO.get(part.mime or "", "wav")}}
    if part.kind == "file":
        data = None if part.data is None else data_url(part.mime or guess(part.data), part.data)
        name = (part.name or "file") if data else part.name  # data without a name is refused
        return {"type": "file", "file": _known(filename=name, file_data=data, file_id=part.file_id)}
    url = part.url if part.data is None else data_url(part.mime or guess(part.data, "image/png"), part.data)
    return {"type": "image_url", "image_url": _known(url=url, detail=part.detail)}


def _choice(choice: ToolChoice) -> Any:
    names = [{"type": "function", "function": {"name": name}} for name in choice.names]
    if choice.mode == "none" or not names:
        return choice.mode
    if choice.mode == "required" and len(names) == 1:
        return names[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": names}}


def _format(output: Output) -> dict[str, Any]:
    if output.schema is None:
        return {"type": "json_object"}
    named = output.name or "answer"
    described = _known(name=named, description=output.description, schema=output.schema, strict=output.strict)
    return {"type": "json_schema", "json_schema": described}


def _effort(thinking: Reasoning) -> str | None:
    """The word itself, or the nearest to a number of tokens: see the table."""
    budget = thinking.budget
    if thinking.effort is not None or budget is None or budget < 0:
        return "none" if budget == 0 else thinking.effort
    bounds = ((0, "none"), (1024, "minimal"), (4096, "low"), (16384, "medium"))
    return next((word for bound, word in bounds if budget <= bound), "high")


def _id(id: str) -> str:
    return _short(id, _LONGEST_ID, "call_")


def _short(text: str, longest: int, prefix: str) -> str:
    """*text*, if it is not too long; else a digest of it, the same every time."""
    return (
        text
        if len(text) <= longest
        else (prefix + hashlib.sha256(text.encode()).hexdigest()[: 64 if not prefix else 24])
    )


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
