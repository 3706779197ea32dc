"""Where the words stand in a line of ``/api/generate``: at the top, the text as ``response``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tokenwire.dialects.ollama.form import TOP, Form

NAME: Final = "ollama.generate"

_WORDS: Final = ("response", "thinking", "tool_calls")


def _read(line: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    return {"content": line.get("response"), **{name: line.get(name) for name in _WORDS[1:]}}, {}


def _write(message: dict[str, Any]) -> dict[str, Any]:
    """A server that calls tools here (by itself: a request names none) puts the calls at the top, too."""
    return {"response": message.get("content", ""), **{name: message[name] for name in _WORDS[1:] if name in message}}


GENERATE: Final = Form(NAME, frozenset({"response", "done"}), TOP.union(_WORDS), _read, _write)
