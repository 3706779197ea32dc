"""Answers that are not streamed: the message that a client would have put together, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenwire.dialects.deltas import Terminal
from tokenwire.dialects.json_text import loads, scrub
from tokenwire.dialects.openai_chat.errors import describe_error
from tokenwire.dialects.ui_messages.decode import Decoder
from tokenwire.dialects.ui_messages.encode import Encoder
from tokenwire.dialects.ui_messages.words import NOT_JSON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.deltas import Delta
    from tokenwire.dialects.transcript import Transcript


def fold_response(fold: Transcript, stream: str, created: float, model: str, *, message_id: str = "") -> bytes:
    """The ``UIMessage`` of what *fold* says. Whether it failed is the caller's to see (``error_body``).

    Args:
        stream, created, model, message_id: as for the encoder.
    """
    encoder = Encoder(stream, created, model, version=7, message_id=message_id)
    frames = encoder.prefix(fold) + encoder.close(Terminal("completed"))
    return json.dumps(assemble([json.loads(frame.data) for frame in frames[:-1]]), ensure_ascii=False).encode()


def assemble(told: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that *told* makes, an encoder's parts: what ``useChat`` does with them."""
    message: dict[str, Any] = {"id": "", "role": "assistant", "parts": []}
    parts: list[dict[str, Any]] = message["parts"]
    open_: dict[str, dict[str, Any]] = {}
    for part in told:
        kind, _, step = part["type"].rpartition("-")
        if part["type"] == "start":
            message["id"] = part["messageId"]
        elif part["type"] == "start-step":
            parts.append({"type": "step-start"})
        elif kind in ("text", "reasoning"):
            if step == "start":
                open_[part["id"]] = {"type": kind, "text": "", "state": "streaming"}
                parts.append(open_[part["id"]])
            if step == "delta":
                open_[part["id"]]["text"] += part["delta"]
            if step == "end":
                open_[part["id"]]["state"] = "done"
            if "providerMetadata" in part:
                open_[part["id"]]["providerMetadata"] = part["providerMetadata"]
        elif kind == "tool-input":
            _input(part, step, parts, open_)
        elif kind == "tool-output":
            call = open_[part["toolCallId"]]
            call |= {"state": part["type"].removeprefix("tool-")}
            call |= {"errorText": part["errorText"]} if step == "error" else {"output": part["output"]}
        elif kind == "source":
            parts.append(part)
        if "messageMetadata" in part:
            message["metadata"] = _merged(message.get("metadata", {}), part["messageMetadata"])
    return message


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Both, objects in them merged; the new one's values count."""
    both = {name: {**old[name], **new[name]} for name in old.keys() & new.keys() if isinstance(new[name], dict)}
    return {**old, **new, **both}


def _input(part: dict[str, Any], step: str, parts: list[dict[str, Any]], open_: dict[str, dict[str, Any]]) -> None:
    id_ = part["toolCallId"]
    call = open_.get(id_)
    if call is None:
        call = open_[id_] = {"type": f"tool-{part['toolName']}", "toolCallId": id_, "state": "input-streaming"}
        parts.append(call)
    if step == "delta":
        call["rawInput"] = call.get("rawInput", "") + part["inputTextDelta"]
    elif step == "available":
        call |= {"state": "input-available", "input": part["input"]}
    elif step == "error":
        call |= {"state": "output-error", "input": part["input"], "errorText": part["errorText"]}


def decode_response(body: bytes) -> list[Delta]:
    """A ``UIMessage`` -> the deltas that its stream would have brought; anything else -> ``Failed``."""
    try:
        message, torn = loads(body.decode("utf-8", "replace"))
        message = scrub(message) if torn else message
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("parts"), list):
        return [describe_error(body, 200)]
    decoder = Decoder()
    return [delta for part in _as_stream(message) for delta in decoder.read(part)]


def _as_stream(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts that would have brought *message*."""
    yield {"type": "start", "messageId": message.get("id")}
    for number, part in enumerate(message["parts"]):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "reasoning"):
            extra = {"id": str(number), "providerMetadata": part.get("providerMetadata")}
            yield {"type": f"{kind}-start", **extra}
            yield {"type": f"{kind}-delta", "id": str(number), "delta": part.get("text")}
            yield {"type": f"{kind}-end", **extra}
        elif isinstance(kind, str) and kind.startswith("tool-"):
            named = {"toolCallId": part.get("toolCallId"), "toolName": kind.removeprefix("tool-")}
            state = part.get("state")
            if state == "input-streaming":
                yield {"type": "tool-input-start", **named}
                yield {"type": "tool-input-delta", **named, "inputTextDelta": part.get("rawInput")}
            else:
                failed = state == "output-error"
                raw = part.get("rawInput") if failed else None
                given = part.get("input") if raw is None else raw
                yield {"type": f"tool-input-{'error' if failed else 'available'}", **named, "input": given}
                if state == "output-available":
                    yield {"type": "tool-output-available", **named, "output": part.get("output")}
                elif failed and part.get("errorText") != NOT_JSON:
                    yield {"type": "tool-output-error", **named, "errorText": part.get("errorText")}
        elif kind != "step-start":
            yield part
    yield {"type": "message-metadata", "messageMetadata": message.get("metadata")}
