"""Ollama's errors: ``{"error":"text"}``, as a body before a stream and as a line in it (reference, section 7.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Failed


def is_error_line(value: Any) -> bool:
    """Whether Ollama's clients raise *value* as what it is: they take a text, and no object."""
    error = value.get("error") if isinstance(value, dict) else None
    return isinstance(error, str) and error != "" and error == _bearable(error)


def error_object(failure: Failed) -> dict[str, Any]:
    """The whole object: the provider's own where it has this shape, else the sentence, and our machine word beside it,
    which the clients do not read."""
    if is_error_line(failure.raw):
        own: dict[str, Any] = failure.raw
        return own
    return {"error": _bearable(failure.message or failure.code), "code": failure.code}


def error_body(failure: Failed, status: int) -> bytes:
    """The HTTP error body, whatever the *status*."""
    return msgspec.json.encode(error_object(failure))


def _bearable(text: str) -> str:
    """*text* as the stock Python client can take it: it reads every error as JSON once more, expects an object if that
    succeeds, and dies of anything else (a number, a quoted sentence)."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, dict) else f"the upstream said {text}"
