"""Messages answers that are not streamed: a ``message`` body to deltas, and a transcript to such a body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tokenwire.dialects.anthropic.decode import Decoder
from tokenwire.dialects.anthropic.encode import citation_object, message_object, word_of
from tokenwire.dialects.anthropic.usage import usage_object
from tokenwire.dialects.json_text import loads
from tokenwire.dialects.openai_chat.errors import describe_error
from tokenwire.wire.sse import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.deltas import Delta
    from tokenwire.dialects.transcript import Choice, Transcript


def decode_response(body: bytes) -> list[Delta]:
    """A whole body -> the deltas that a stream would have brought; an error body, HTML or text -> ``Failed``."""
    try:
        value, _ = loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("type") != "message" or not isinstance(value.get("content"), list):
        return [describe_error(body, 200)]
    decoder = Decoder()
    return [delta for event in _as_stream(value) for delta in decoder.feed(Event(data=_text(event)))]


def _as_stream(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events that would have brought *message*."""
    ends = ("stop_reason", "stop_sequence", "stop_details", "container")
    head = {name: value for name, value in message.items() if name not in (*ends, "content", "usage")}
    yield {"type": "message_start", "message": head}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    delta = {name: message[name] for name in ends if name in message}
    yield {"type": "message_delta", "delta": delta, "usage": message.get("usage")}
    yield {"type": "message_stop"}


def _text(event: dict[str, Any]) -> str:
    """JSON that may hold halves of characters, which only the standard library writes."""
    import json

    return json.dumps(event)


def fold_response(fold: Transcript, stream: str, created: float, model: str) -> bytes:
    """The ``message`` object of what *fold* says. Whether it failed is the caller's to see (``error_body``).

    Args:
        stream, created, model: as for the encoder.
    """
    choice = fold.choice()
    reason = choice.reason or ("tool_use" if choice.tool_calls else None)
    message = message_object(stream, model)
    message["content"] = _content(choice)
    message["stop_reason"] = word_of(reason, choice.native_reason)
    message["usage"] = usage_object(fold.usage)
    return msgspec.json.encode(message)


def _content(choice: Choice) -> list[dict[str, Any]]:
    """Its blocks, citations with the text that they belong to, a signature with its thought."""
    cited = choice.citations
    content: list[dict[str, Any]] = []
    for kind, block, text, _ in choice.segments():
        last = content[-1] if content else {}
        if kind == "signature":
            if last.get("type") != "thinking" and last.get("type") != "text":
                last = {"type": "thinking", "thinking": "", "signature": ""}
                content.append(last)
            if last["type"] == "thinking":
                last["signature"] = text
        elif kind == "reasoning":
            content.append({"type": "thinking", "thinking": text, "signature": ""})
        elif kind == "tool_call":
            call = choice.tool_calls[block]
            content.append({"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.arguments)})
        else:
            own = [citation_object(citation.data) for citation in cited if citation.block == block]
            cited = [citation for citation in cited if citation.block != block]
            content.append({"type": "text", "text": text, **({"citations": own} if own else {})})
    if cited:
        content.append({"type": "text", "text": "", "citations": [citation_object(each.data) for each in cited]})
    return content


def _input(arguments: str) -> dict[str, Any]:
    """Arguments as the object that they must be here. What is none is given whole, in Anthropic's documented form."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"INVALID_JSON": arguments}
