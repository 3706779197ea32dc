"""Lists inside a chat delta: content as an array of parts (Mistral), details of reasoning (OpenRouter, LiteLLM).

Each function yields pairs of a kind and a value: ``text``, ``reasoning`` and ``signature`` with a string, ``citation``
with the provider's object, ``unknown`` with whatever was not understood.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

Part: TypeAlias = tuple[str, Any]

# What an entry says of itself and not of the answer.
_BOOKKEEPING = frozenset({"type", "text", "thinking", "summary", "signature", "format", "index", "id", "closed"})


def content_parts(parts: list[Any]) -> Iterator[Part]:
    """``delta.content`` as an array: text, thinking (itself a list of parts, or a string), references."""
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            yield "text", part["text"]
        elif kind == "thinking":
            yield from _thinking(part)
        elif kind == "reference":
            yield "citation", part
        else:
            yield "unknown", part


def reasoning_details(details: list[Any]) -> Iterator[Part]:
    """``delta.reasoning_details`` (OpenRouter) and ``delta.thinking_blocks`` (LiteLLM)."""
    for entry in details:
        kind = entry.get("type") if isinstance(entry, dict) else None
        if kind in ("reasoning.text", "reasoning.summary", "thinking"):
            yield from _thinking(entry)
        else:
            yield "unknown", entry  # encrypted reasoning, to be sent back unchanged


def _thinking(entry: dict[str, Any]) -> Iterator[Part]:
    """Thought in whichever member it is, and its signature."""
    for name in ("text", "summary", "thinking"):
        value = entry.get(name)
        if isinstance(value, str):
            yield "reasoning", value
        elif isinstance(value, list):
            for kind, inner in content_parts(value):
                yield ("reasoning" if kind == "text" else kind), inner
    if isinstance(signature := entry.get("signature"), str) and signature:
        yield "signature", signature
    if not _BOOKKEEPING.issuperset(entry):
        yield "unknown", entry
