"""Short ways to write a Messages stream (Anthropic), one SSE event at a time, as the provider sends it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'


def event(kind: str, padding: int = 0, **fields: Any) -> bytes:
    """One event; *padding* spaces mask its length."""
    json = msgspec.json.encode({"type": kind, **fields})
    return b"event: %b\ndata: %b%b}\n\n" % (kind.encode(), json[:-1], b" " * padding)


def start(id: str = "msg_1", **fields: Any) -> bytes:
    """The event that opens a message; nothing generated is in it."""
    head: dict[str, Any] = {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    usage = {"input_tokens": 3, "output_tokens": 1}
    return event("message_start", message={**head, "stop_sequence": None, "usage": usage, **fields})


def block(index: int = 0, kind: str = "text", **fields: Any) -> bytes:
    """The start of a content block."""
    usual: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"id": f"toolu_{index}", "name": "f", "input": {}},
    }
    return event("content_block_start", index=index, content_block={"type": kind, **usual.get(kind, {}), **fields})


def delta(kind: str, index: int = 0, padding: int = 0, **fields: Any) -> bytes:
    """A delta of a block."""
    return event("content_block_delta", padding, index=index, delta={"type": kind, **fields})


def text(content: str, index: int = 0, padding: int = 0) -> bytes:
    """One piece of text: a plain frame."""
    return delta("text_delta", index, padding, text=content)


def thinking(content: str, index: int = 0, padding: int = 0) -> bytes:
    """One piece of a thought."""
    return delta("thinking_delta", index, padding, thinking=content)


def tool_input(fragment: str, index: int = 0, padding: int = 0) -> bytes:
    """A fragment of a tool's input."""
    return delta("input_json_delta", index, padding, partial_json=fragment)


def end(index: int = 0, padding: int = 0) -> bytes:
    """The end of a block."""
    return event("content_block_stop", padding, index=index)


def finish(reason: str | None = "end_turn", output: int = 5, **fields: Any) -> bytes:
    """The event that says why the message ended, and its usage."""
    said = {"stop_reason": reason, "stop_sequence": None}
    return event("message_delta", **{"delta": said, "usage": {"output_tokens": output}, **fields})


def error(message: str = "Overloaded", kind: str = "overloaded_error") -> bytes:
    """An error event, as Anthropic's SDKs raise it."""
    return event("error", error={"type": kind, "message": message})


def answer(*pieces: str) -> list[bytes]:
    """The frames of a whole answer: one block of text, one delta for each piece."""
    return [start(), block(), *map(text, pieces), end(), finish(), STOP]
