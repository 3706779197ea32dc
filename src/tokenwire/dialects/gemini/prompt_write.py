"""A prompt -> the body of a generateContent request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

import msgspec

from tokenwire.dialects.prompt.media import guess
from tokenwire.dialects.prompt.vocabulary import Call, Media, Refused, Result, Said, Thought

if TYPE_CHECKING:
    from tokenwire.dialects.prompt.vocabulary import Part, Prompt, Reasoning, Tool, ToolChoice, Turn

#: Models from before Gemini 3: they think by a budget of tokens, and do not ask for signatures of calls.
_OLDER: Final = re.compile(r"(?:.*/)?(?:gemini-[12]\b|gemma|learnlm)")

#: In place of a signature that no Gemini made: without one, Gemini 3 refuses a turn that goes on from a call.
_SKIP: Final = "skip_thought_signature_validator"

#: Google's own figures for the words, on its address for OpenAI's clients.
_BUDGETS: Final = {
    "none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576,
}  # fmt: skip
_LEVELS: Final = {
    "none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH",
    "max": "HIGH",
}  # fmt: skip

_SETTINGS: Final = {
    "temperature": "temperature", "top_p": "topP", "top_k": "topK", "n": "candidateCount",
    "max_tokens": "maxOutputTokens", "stop": "stopSequences", "seed": "seed", "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}  # fmt: skip

#: The pro models before Gemini 3 cannot be told not to think.
_LEAST: Final = 128

#: A media type must be told; where the caller did not, by the address's ending, else the most usual.
_ENDINGS: Final = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "pdf": "application/pdf", "txt": "text/plain", "html": "text/html", "csv": "text/csv",
    "md": "text/markdown", "mp3": "audio/mp3", "wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg",
    "mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm",
}  # fmt: skip
_MIMES: Final = {"image": "image/jpeg", "audio": "audio/wav", "video": "video/mp4", "file": "application/pdf"}


class _Content(NamedTuple):
    """A turn as it is told here. ``asked``: it is the user's own words, and not the results of tools."""

    role: str
    parts: list[dict[str, Any]]
    asked: bool


def write(prompt: Prompt, model: str, stream: bool) -> bytes:
    """The body; *model* and *stream* stand in the address, but how much a model thinks is said in two ways."""
    older = _OLDER.match(model) is not None
    body: dict[str, Any] = {"contents": _contents(prompt.turns, older)}
    system = [part.text for turn in prompt.turns if turn.role == "system" for part in turn.parts if _text(part)]
    if system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    if prompt.tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in prompt.tools]}]
    if prompt.tool_choice is not None and (calling := _calling(prompt.tool_choice)):
        body["toolConfig"] = {"functionCallingConfig": calling}
    if config := _config(prompt, model, older):
        body["generationConfig"] = config
    return msgspec.json.encode(body)


def _text(part: Part) -> TypeGuard[Said]:
    return isinstance(part, Said) and bool(part.text)


def _contents(turns: list[Turn], older: bool) -> list[dict[str, Any]]:
    """The turns, those of one role in a row as one: results of tools count as the user's."""
    names = {part.id: part.name for turn in turns for part in turn.parts if isinstance(part, Call)}
    contents: list[_Content] = []
    for turn in turns:
        if turn.role == "system":
            continue
        model, asked = turn.role == "assistant", turn.role == "user"
        parts = _model_parts(turn.parts) if model else _user_parts(turn.parts, names)
        role = "model" if model else "user"
        if contents and contents[-1].role == role:
            last = contents[-1]
            last.parts.extend(parts)
            contents[-1] = last._replace(asked=last.asked or asked)
        elif parts:  # a content without parts is refused
            contents.append(_Content(role, parts, asked))
    if not older:
        _sign(contents)
    return [{"role": content.role, "parts": content.parts} for content in contents]


def _sign(contents: list[_Content]) -> None:
    """A word in place of the signature that Gemini 3 wants on the first call of each step since the user last spoke,
    where another vendor's model made the call: Google's own way out, for histories like these."""
    for content in reversed(contents):
        if content.asked:
            return
        first = next((part for part in content.parts if "functionCall" in part), None)
        if first is not None:
            first.setdefault("thoughtSignature", _SKIP)


def _model_parts(parts: list[Part]) -> list[dict[str, Any]]:
    """An assistant's parts. Clients of other dialects send the signature of a call back as that of a thought, before
    the call or (without a text, as it was streamed) behind it; other signatures stand on an empty text, as Gemini
    streams them."""
    told: list[dict[str, Any]] = []
    signature = ""
    for part in parts:
        if isinstance(part, Thought):
            if part.signature is None or part.dialect != "gemini":
                continue
            if not part.text and told and "functionCall" in told[-1] and "thoughtSignature" not in told[-1]:
                told[-1]["thoughtSignature"] = part.signature
                continue
            told += _signed(signature)
            signature = part.signature
            if part.text:
                told.append({"text": part.text, "thought": True})
            continue
        if isinstance(part, Call):
            call: dict[str, Any] = {"functionCall": {"id": part.id, "name": part.name, "args": _args(part.arguments)}}
            own = part.signature if part.dialect == "gemini" else None
            if own or signature:
                call["thoughtSignature"] = own or signature
                signature = "" if not own else signature
            told += [*_signed(signature), call]
        else:
            told += [*_signed(signature), *_plain(part)]
        signature = ""
    return told + _signed(signature)


def _user_parts(parts: list[Part], names: dict[str, str]) -> list[dict[str, Any]]:
    """A user's parts, or results of tools; the pictures in these follow all results, which must stand together."""
    told: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Result):
            text = "\n".join([piece.text for piece in part.parts if isinstance(piece, Said)])
            response = {"error" if part.error else "output": text}
            name = part.name or names.get(part.call_id, part.call_id)
            told.append({"functionResponse": {"id": part.call_id, "name": name, "response": response}})
            shown += [_media(piece) for piece in part.parts if isinstance(piece, Media)]
        else:
            told += _plain(part)
    return told + shown


def _plain(part: Part) -> list[dict[str, Any]]:
    """Text, or a picture and the like."""
    if isinstance(part, Media):
        return [_media(part)]
    return [{"text": part.text}] if isinstance(part, Said | Refused) and part.text else []


def _signed(signature: str) -> list[dict[str, Any]]:
    return [{"text": "", "thoughtSignature": signature}] if signature else []


def _args(arguments: str) -> dict[str, Any]:
    """Arguments as the object that they must be here. What is none is given whole, under a name that says so."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"INVALID_JSON": arguments}


def _media(media: Media) -> dict[str, Any]:
    if media.data is not None:
        return {"inlineData": {"mimeType": media.mime or guess(media.data, _MIMES[media.kind]), "data": media.data}}
    address = media.url or media.file_id or ""
    ending = address.partition("?")[0].rpartition(".")[2].lower()
    return {"fileData": {"mimeType": media.mime or _ENDINGS.get(ending, _MIMES[media.kind]), "fileUri": address}}


def _declaration(tool: Tool) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        declared["description"] = tool.description
    if tool.parameters is not None:
        declared["parametersJsonSchema"] = tool.parameters
    return declared


def _calling(choice: ToolChoice) -> dict[str, Any]:
    """The mode. Gemini's AUTO knows no names; VALIDATED is the same with names."""
    mode = {"required": "ANY", "none": "NONE", "auto": "VALIDATED" if choice.names else "AUTO"}[choice.mode]
    return {"mode": mode, **({"allowedFunctionNames": choice.names} if choice.names else {})}


def _config(prompt: Prompt, model: str, older: bool) -> dict[str, Any]:
    told = {theirs: getattr(prompt, ours) for ours, theirs in _SETTINGS.items()}
    config = {name: value for name, value in told.items() if value not in (None, [])}
    if prompt.logprobs is not None:
        config["responseLogprobs"] = True
        config |= {"logprobs": prompt.logprobs} if prompt.logprobs else {}
    if prompt.output is not None:
        config["responseMimeType"] = "application/json"
        if prompt.output.schema is not None:
            config["responseJsonSchema"] = prompt.output.schema
    if prompt.reasoning is not None and (thinking := _thinking(prompt.reasoning, model, older)):
        config["thinkingConfig"] = thinking
    return config


def _thinking(reasoning: Reasoning, model: str, older: bool) -> dict[str, Any]:
    config: dict[str, Any] = {} if reasoning.show is None else {"includeThoughts": reasoning.show}
    budget, effort = reasoning.budget, reasoning.effort
    if budget == 0:
        budget, effort = None, "none"
    if budget is not None:
        config["thinkingBudget"] = budget
    elif effort is not None and older:
        config["thinkingBudget"] = _LEAST if effort == "none" and "pro" in model else _BUDGETS[effort]
    elif effort is not None:
        config["thinkingLevel"] = _LEVELS[effort]
    return config
