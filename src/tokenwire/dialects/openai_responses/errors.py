"""Errors of Responses before a stream: the same as of chat. In a stream, ``objects.error_event`` tells them."""

from __future__ import annotations

from tokenwire.dialects.openai_chat.errors import describe_error, error_body

__all__ = ["describe_error", "error_body"]
