"""Lists inside a chat delta: content as an array of parts (Mistral), details of reasoning (OpenRouter, LiteLLM).

Each function yields pairs of a kind and a value: ``text``, ``reasoning`` and ``signature`` with a string, ``citation``
with the provider's object, ``unknown`` with whatever was not understood.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

Part: TypeAlias = tuple[str, Any]


class Extra(NamedTuple):
    """What Google's OpenAI endpoint says beside a delta or a call; ``rest`` is the whole member, if there is more."""

    signature: str | None
    thought: bool
    rest: Any


_NO_EXTRA = Extra(None, False, None)

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


def google_extra(fields: dict[str, Any]) -> Extra:
    """``extra_content.google``: a signature, and whether the content is a thought."""
    extra = fields.get("extra_content")
    if not extra:
        return _NO_EXTRA
    google = extra.get("google") if isinstance(extra, dict) else None
    if not isinstance(google, dict):
        return Extra(None, False, extra)
    signature, thought = google.get("thought_signature"), google.get("thought")
    known = isinstance(signature, str | None) and isinstance(thought, bool | None)
    known = known and len(extra) == 1 and google.keys() <= {"thought_signature", "thought"}
    return Extra(
        signature if isinstance(signature, str) and signature else None, thought is True, None if known else extra
    )
