"""Where in a line of Ollama's the words stand: in ``message`` (``/api/chat``), or at the top (``/api/generate``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

NAME: Final = "ollama"

#: Members of a line in both forms. All others are passed on as Opaque.
TOP: Final = frozenset({
    "model", "created_at", "done", "done_reason", "error", "logprobs",
    "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration",
})  # fmt: skip

#: Members of a message that are understood, or that say nothing.
MESSAGE: Final = frozenset({"role", "content", "thinking", "tool_calls"})


class Form(NamedTuple):
    """One of the two forms.

    Attributes:
        name: of the dialect.
        marks: members of which a line of an answer has one.
        known: members at the top that are understood.
        read: a line -> its words, as members of a message, and those members of it that are not known.
        write: a message -> the members of a line that say it.
    """

    name: str
    marks: frozenset[str]
    known: frozenset[str]
    read: Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], dict[str, Any]]]
    write: Callable[[dict[str, Any]], dict[str, Any]]


def _read_chat(line: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    message = line.get("message")
    if not isinstance(message, dict):
        return {}, {}
    return message, {name: value for name, value in message.items() if name not in MESSAGE}


def _write_chat(message: dict[str, Any]) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": "", **message}}


CHAT: Final = Form(NAME, frozenset({"message", "done"}), TOP | {"message"}, _read_chat, _write_chat)
