"""What was said, as messages of a chat request: to go on with it.

The shape is OpenAI's, which every upstream is asked in; what other vendors need beside it stands where our readers of
requests look for it. Thoughts with their signatures are ``reasoning_details`` (OpenRouter's member), so that Anthropic
gets its thinking blocks back unchanged; Gemini's signatures of calls are in ``extra_content``, as Google has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.deltas import ToolResult
from tokenwire.dialects.signatures import wrap
from tokenwire.dialects.transcript import Transcript

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Opaque
    from tokenwire.dialects.transcript import Choice, Segment, ToolCall

#: The dialect of the messages.
_CHAT: Final = "openai.chat"
_GOOGLE: Final = "gemini"


def assistant_message(
    transcript: Transcript,
    *,
    calls: bool = True,
    thoughts: str | None = "reasoning_content",
    redacted: Sequence[tuple[int, str]] = (),
) -> dict[str, Any]:
    """What the model said in one turn, the first choice of it.

    Args:
        transcript: of that turn alone; ``messages_of`` takes apart what holds several.
        calls: with the calls of tools that are whole. Each of them needs a ``tool_message`` after this one.
        thoughts: the member for thoughts as plain text; None leaves them out. Servers differ: DeepSeek's and Moonshot's
            insist on this one between calls and their results, Groq's takes ``reasoning`` and refuses others.
        redacted: thoughts of Anthropic's that nobody may read (a transcript does not keep them): how many segments were
            before each, and its data.
    """
    choice = transcript.choice()
    segments = choice.segments()
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if refusal := choice.refusal:
        message["refusal"] = refusal
    if thoughts is not None and (reasoning := choice.reasoning):
        message[thoughts] = reasoning
    if details := list(_details(choice, segments, redacted)):
        message["reasoning_details"] = [{**detail, "index": index} for index, detail in enumerate(details)]
    whole = [call for call in choice.tool_calls.values() if call.ended] if calls else []
    if whole:
        message["content"] = message["content"] or None
        signed = {it.block: it.text for it in segments if it.kind == "signature" and it.dialect == _GOOGLE}
        message["tool_calls"] = [_call(call, signed.get(call.block)) for call in whole]
    return message


def tool_message(result: ToolResult) -> dict[str, Any]:
    """What a tool gave, for the call that the message before asked for. Chat has no word for an error: the content says
    it."""
    return {"role": "tool", "tool_call_id": result.id, "content": result.content}


def messages_of(transcript: Transcript) -> list[dict[str, Any]]:
    """The messages of an answer of several turns, in order: each turn, then the results of its tools. Calls without a
    result are left out: no vendor takes a conversation with one."""
    turns: list[list[Any]] = [[]]
    results: list[ToolResult] = []
    for delta in transcript.choice().deltas():
        if isinstance(delta, ToolResult):
            results.append(delta)
        elif turns[-1] and isinstance(turns[-1][-1], ToolResult):
            turns.append([])
        turns[-1].append(delta)
    messages: list[dict[str, Any]] = []
    for turn in turns:
        part = Transcript()
        for delta in turn:
            part.apply(delta)
        calls = part.choice().tool_calls
        open_ = [block for block, call in calls.items() if call.result is None]
        for block in open_:
            calls[block].ended = False
        message = assistant_message(part)
        if says_something(message):
            messages.append(message)
        messages += [tool_message(call.result) for call in calls.values() if call.result is not None]
    return messages


def says_something(message: dict[str, Any]) -> bool:
    """Whether an assistant's *message* is more than its role: some vendors refuse an empty one."""
    return any(value for name, value in message.items() if name != "role")


def redacted_of(delta: Opaque) -> str | None:
    """The data of a redacted thought of Anthropic's, if *delta* is one."""
    data = delta.data if delta.dialect == "anthropic" and isinstance(delta.data, dict) else {}
    block = data.get("content_block")
    if isinstance(block, dict) and block.get("type") == "redacted_thinking" and isinstance(block.get("data"), str):
        return str(block["data"])
    return None


def _details(
    choice: Choice, segments: Sequence[Segment], redacted: Sequence[tuple[int, str]]
) -> Iterator[dict[str, Any]]:
    """Thoughts with their proofs, in order; none where there is no proof, for then nobody has a use for them."""
    found: list[dict[str, Any]] = []
    last = -1  # the block of the newest thought
    waiting = list(redacted)
    for at, (kind, block, text, dialect) in enumerate(segments):
        while waiting and waiting[0][0] <= at:
            found.append(_encrypted(waiting.pop(0)[1]))
            last = -1
        if kind == "reasoning":
            found.append({"type": "reasoning.text", "text": text})
            last = block
        elif kind == "signature" and block not in choice.tool_calls:
            proof = {"signature": wrap(text, dialect, _CHAT)}
            if block == last and "signature" not in found[-1]:
                found[-1] |= proof
            else:
                found.append({"type": "reasoning.text"} | proof)
    found += [_encrypted(data) for _, data in waiting]
    if any("signature" in each or "data" in each for each in found):
        yield from found


def _encrypted(data: str) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": wrap(data, "anthropic", _CHAT)}


def _call(call: ToolCall, signature: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {"id": call.id, "type": "function"}
    said["function"] = {"name": call.name, "arguments": _object(call.arguments or "{}")}
    if signature is not None:
        said["extra_content"] = {"google": {"thought_signature": signature}}
    return said


def _object(arguments: str) -> str:
    """*arguments*; those that are no JSON object within one (Anthropic's advice): other vendors and the templates of
    local models read them, and refuse the conversation if they cannot."""
    return arguments if is_object(arguments) else msgspec.json.encode({"INVALID_JSON": arguments}).decode()


def is_object(arguments: str) -> bool:
    """Whether they are the JSON of an object."""
    try:
        return isinstance(msgspec.json.decode(arguments), dict)
    except (ValueError, RecursionError):
        return False


__all__ = ["assistant_message", "is_object", "messages_of", "redacted_of", "says_something", "tool_message"]
