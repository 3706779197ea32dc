"""The common vocabulary -> Responses requests.

Nothing is to be kept at the provider's (``store`` is false): whoever asks through us has the whole conversation, and
thoughts come back encrypted, for the next turn.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.openai_responses.items import NAME
from tokenwire.dialects.prompt.media import data_url, guess
from tokenwire.dialects.prompt.vocabulary import Call, Media, Refused, Result, Said, Thought

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenwire.dialects.prompt.vocabulary import Output, Part, Prompt, Reasoning, ToolChoice, Turn

#: Media type of a sound -> its ``format``.
AUDIO: Final = {
    "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3", "audio/mp3": "mp3",
}  # fmt: skip
#: The dialects whose files OpenAI keeps.
VENDORS: Final = frozenset({NAME, "openai.chat"})
TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
#: Characters; OpenAI refuses more.
LONGEST_USER: Final = 64
MOST_METADATA: Final = 16

_LONGEST_ID: Final = 64  # of a call


def write(prompt: Prompt, model: str, stream: bool) -> bytes:
    """The body of a Responses request. The first thing that the system says are the instructions."""
    turns = prompt.turns
    system = turns[0] if turns and turns[0].role == "system" else None
    include: list[str] = []
    body: dict[str, Any] = {
        "model": model,
        "instructions": None if system is None else "\n\n".join(part.text for part in _said(system.parts)),
        "input": [item for turn in (turns if system is None else turns[1:]) for item in _items(turn)],
        "stream": stream or None,
        "store": False,
    }
    if prompt.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "parameters": tool.parameters,
                # Where nothing is said, this API is strict: it would change the schema.
                "strict": bool(tool.strict),
                **_known(description=tool.description),
            }
            for tool in prompt.tools
        ]
    if prompt.tool_choice is not None:
        body["tool_choice"] = _choice(prompt.tool_choice)
    if prompt.parallel_tools is False:
        body["parallel_tool_calls"] = False
    if prompt.output is not None:
        body["text"] = {"format": _format(prompt.output)}
    if prompt.reasoning is not None:
        thinking = _reasoning(prompt.reasoning)
        body["reasoning"] = thinking or None
        if thinking.get("effort") != "none":
            include.append("reasoning.encrypted_content")
    if prompt.logprobs is not None:
        include.append("message.output_text.logprobs")
        body["top_logprobs"] = prompt.logprobs or None
    body |= {
        "include": include or None,
        "max_output_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "top_p": prompt.top_p,
        "safety_identifier": prompt.user and _short(prompt.user, LONGEST_USER, ""),
        "metadata": kept(prompt.metadata or {}) or None,
        "service_tier": prompt.service_tier if prompt.service_tier in TIERS else None,
    }
    return msgspec.json.encode(_known(**body))


def kept(metadata: dict[str, Any]) -> dict[str, str]:
    """What of *metadata* the provider takes."""
    texts = {name: value for name, value in metadata.items() if isinstance(value, str)}
    return dict(list(texts.items())[:MOST_METADATA])


def _items(turn: Turn) -> Iterator[dict[str, Any]]:
    """The items of a turn: what is said in a row is one message."""
    run: list[Part] = []
    for part in turn.parts:
        if isinstance(part, Said | Media | Refused):
            run.append(part)
            continue
        if run:
            yield _message(turn.role, run)
            run = []
        if isinstance(part, Call):
            arguments = part.arguments or "{}"
            yield {"type": "function_call", "call_id": _id(part.id), "name": part.name, "arguments": arguments}
        elif isinstance(part, Result):
            yield {"type": "function_call_output", "call_id": _id(part.call_id), "output": _result(part)}
        elif isinstance(part, Thought) and part.signature and part.dialect == NAME:
            summary = [{"type": "summary_text", "text": part.text}] if part.text else []
            item = {"type": "reasoning", "summary": summary, "encrypted_content": part.signature}
            yield item | _known(id=part.id)
    if run:
        yield _message(turn.role, run)


def _message(role: str, parts: list[Part]) -> dict[str, Any]:
    content = [found for part in parts if (found := _part(role, part))]
    return {"type": "message", "role": role, "content": content}


def _part(role: str, part: Part) -> dict[str, Any] | None:
    if isinstance(part, Said):
        return {"type": "output_text" if role == "assistant" else "input_text", "text": part.text}
    if isinstance(part, Refused):
        return {"type": "refusal", "refusal": part.text}
    assert isinstance(part, Media)
    if part.kind == "audio":
        sound = {"data": part.data, "format": AUDIO.get(part.mime or "", "wav")}
        return {"type": "input_audio", "input_audio": sound}
    if part.kind == "file":
        data = None if part.data is None else data_url(part.mime or guess(part.data), part.data)
        name = (part.name or "file") if data else None  # of a file that is there already, it may not be told
        return {"type": "input_file"} | _known(filename=name, file_data=data, file_url=part.url, file_id=part.file_id)
    url = part.url if part.data is None else data_url(part.mime or guess(part.data, "image/png"), part.data)
    return {"type": "input_image", "detail": part.detail or "auto"} | _known(image_url=url, file_id=part.file_id)


def _result(result: Result) -> Any:
    """Text, or an array of parts if there is anything else."""
    failed = "Error: " if result.error else ""
    if all(isinstance(part, Said) for part in result.parts):
        return failed + "\n\n".join(part.text for part in _said(result.parts))
    parts = [_part("tool", part) for part in result.parts]
    return [{"type": "input_text", "text": failed.rstrip()}, *parts] if failed else parts


def _said(parts: Sequence[Part]) -> list[Said]:
    return [part for part in parts if isinstance(part, Said)]


def _choice(choice: ToolChoice) -> Any:
    tools = [{"type": "function", "name": name} for name in choice.names]
    if choice.mode == "none" or not tools:
        return choice.mode
    if choice.mode == "required" and len(tools) == 1:
        return tools[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}


def _format(output: Output) -> dict[str, Any]:
    if output.schema is None:
        return {"type": "json_object"}
    named = {"type": "json_schema", "name": output.name or "answer", "schema": output.schema}
    return named | _known(description=output.description, strict=output.strict)


def _reasoning(thinking: Reasoning) -> dict[str, Any]:
    """The word itself, or the nearest to a number of tokens: see the table."""
    budget, effort = thinking.budget, thinking.effort
    if budget == 0:
        return {"effort": "none"}
    summary = "auto" if thinking.show else None
    if effort is None and budget is not None and budget > 0:
        bounds = ((1024, "minimal"), (4096, "low"), (16384, "medium"))
        nearest = next((word for bound, word in bounds if budget <= bound), "high")
        return _known(effort=nearest, summary=summary)
    return _known(effort=effort, summary=summary)


def _id(id: str) -> str:
    return _short(id, _LONGEST_ID, "call_")


def _short(text: str, longest: int, prefix: str) -> str:
    """*text*, if it is not too long; else a digest of it, the same every time."""
    return text if len(text) <= longest else prefix + hashlib.sha256(text.encode()).hexdigest()[: longest - len(prefix)]


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
