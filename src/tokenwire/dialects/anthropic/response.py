"""Messages answers that are not streamed: a ``message`` body to deltas, and a transcript to such a body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.anthropic.blocks import refusal_object
from tokenwire.dialects.anthropic.decode import Decoder
from tokenwire.dialects.anthropic.encode import Encoder, message_object, word_of
from tokenwire.dialects.anthropic.usage import usage_object
from tokenwire.dialects.deltas import Terminal
from tokenwire.dialects.json_text import loads
from tokenwire.dialects.openai_chat.errors import describe_error
from tokenwire.wire.sse import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.deltas import Delta
    from tokenwire.dialects.transcript import Choice, Transcript


_WHOLE: Final = Terminal("completed")


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
    if choice.refusal and reason in (None, "stop"):
        reason = "refusal"
    message["stop_reason"] = word_of(reason, choice.native_reason)
    if message["stop_reason"] == "refusal":
        message["stop_details"] = refusal_object(choice.refusal)
    message["usage"] = usage_object(fold.usage)
    return msgspec.json.encode(message)


def _content(choice: Choice) -> list[dict[str, Any]]:
    """Its blocks, as the encoder's events would have brought them, put together."""
    encoder = Encoder("", 0.0, "")
    content: list[dict[str, Any]] = []
    frames = [frame for delta in choice.deltas() for frame in encoder.feed(delta)] + encoder.close(_WHOLE)
    calls = {call.id: call for call in choice.tool_calls.values()}
    for frame in frames:
        event = msgspec.json.decode(frame.data)
        if frame.event == "content_block_start":
            block = event["content_block"]
            content.append(block)
            if block["type"] == "tool_use":
                block["input"] = _input(calls[block["id"]].arguments)
        elif frame.event == "content_block_delta":
            _add(content[event["index"]], event["delta"])
    return content


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """A delta within its block. Input is not put together again: the transcript has it whole."""
    kind = delta["type"]
    if kind == "text_delta":
        block["text"] += delta["text"]
    elif kind == "thinking_delta":
        block["thinking"] += delta["thinking"]
    elif kind == "signature_delta":
        block["signature"] = delta["signature"]
    elif kind == "citations_delta":
        block.setdefault("citations", []).append(delta["citation"])


def _input(arguments: str) -> dict[str, Any]:
    """Arguments as the object that they must be here. What is none is given whole, in Anthropic's documented form."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"INVALID_JSON": arguments}
