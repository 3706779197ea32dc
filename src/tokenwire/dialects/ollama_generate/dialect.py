"""Ollama's ``/api/generate``, in one record. Private: nobody asks for it by name, its route speaks it."""

from __future__ import annotations

from typing import Final

import msgspec

from tokenwire.dialects.base import Mark
from tokenwire.dialects.ollama.decode import Decoder
from tokenwire.dialects.ollama.dialect import dialect_of, look
from tokenwire.dialects.ollama_generate.form import GENERATE, NAME

__all__ = ["DIALECT", "NAME", "scan"]


class _PlainLine(msgspec.Struct, gc=False):
    """A line as nearly all are: a piece of text or thought. Those that are null here may not say anything."""

    response: str
    thinking: str = ""
    done: bool = False
    tool_calls: None = None
    error: None = None
    done_reason: None = None


_decode_plain: Final = msgspec.json.Decoder(_PlainLine).decode


def peek(line: bytes) -> None:
    """Raises ValueError unless *line* is one plain chunk."""
    if _decode_plain(line).done:
        raise ValueError("the last line")


def scan(frame: bytes) -> int:
    """As ``ollama.dialect.scan``."""
    try:
        peek(frame)
    except (ValueError, RecursionError):
        return look(frame, Decoder(GENERATE))[0]
    return Mark.PLAIN


DIALECT: Final = dialect_of(GENERATE, scan, peek, (("response",), ("thinking",), ("created_at",)))
