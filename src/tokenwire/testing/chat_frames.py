"""Short ways to write a chat stream (OpenAI Chat Completions), one SSE event at a time, as providers send it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

DONE: Final = b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    """*value* as the JSON of one event."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def chunk(delta: dict[str, Any], finish_reason: str | None = None, *, index: int = 0, **more: Any) -> bytes:
    """A chunk of one choice; *more* are members of the chunk."""
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_763_600_000, "model": "m"}
    return event({**head, "choices": [choice], **more})


def role(index: int = 0) -> bytes:
    """The chunk that opens a choice; nothing generated is in it."""
    return chunk({"role": "assistant", "content": ""}, index=index)


def text(content: str, index: int = 0) -> bytes:
    """One piece of text: a plain frame."""
    return chunk({"content": content}, index=index)


def finish(reason: str = "stop", index: int = 0) -> bytes:
    """The chunk that says why a choice ended."""
    return chunk({}, reason, index=index)


def usage(prompt: int = 3, completion: int = 5) -> bytes:
    """The usage chunk, without choices."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return chunk({}, usage=counts, choices=[])


def error(message: str = "it broke", code: str | None = "server_error") -> bytes:
    """An error event that OpenAI's SDK raises."""
    return event({"error": {"message": message, "type": "server_error", "param": None, "code": code}})


def swallowed_error(message: str = "it broke") -> bytes:
    """An error event that OpenAI's SDK does not notice: the flat form of older vLLM servers."""
    return event({"object": "error", "message": message, "type": "InternalServerError", "param": None, "code": 500})


def answer(*pieces: str, with_usage: bool = False) -> list[bytes]:
    """The frames of a whole answer: role, one chunk for each piece, finish, perhaps usage, ``[DONE]``."""
    return [role(), *map(text, pieces), finish(), *([usage()] if with_usage else []), DONE]
