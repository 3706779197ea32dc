"""Errors before a stream: plain text. The AI SDK shows its user the body of such an answer as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Failed


def error_body(failure: Failed, status: int) -> bytes:
    """The sentence. Its code has no place here; the HTTP status says of which class it is."""
    return failure.message.encode()
