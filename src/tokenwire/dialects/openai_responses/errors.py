"""Failures of Responses: before a stream they are told as in chat, in it by an ``error`` event and a response that
failed; and what Azure's filters found, which is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tokenwire.dialects.deltas import Failed
from tokenwire.dialects.endings import failure_of
from tokenwire.dialects.openai_chat.errors import describe_error, error_body, error_object

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Terminal

__all__ = ["describe_error", "error_body", "error_event", "failure_in", "flagged"]


def failure_in(terminal: Terminal, reason: str | None = None, native: str | None = None) -> Failed:
    """The failure that ended a stream: for an end that was none of the provider's, its name is the code; for an answer
    that ended by itself, for a *reason* that is none, what the provider called that."""
    if reason is not None:
        return terminal.error or Failed(native or reason, f"the provider ended the answer: {native or reason}")
    failure = failure_of(terminal)
    return failure if terminal.state == "failed" else replace(failure, code=terminal.state, raw=None)


def error_event(failure: Failed) -> dict[str, Any]:
    """The members of an ``error`` event: as documented, flat, and beside that the object that OpenAI's SDKs raise."""
    error = error_object(failure)
    flat = {"code": error["code"], "message": error["message"], "param": error["param"]}
    return {**flat, "error": {name: error[name] for name in ("type", "code", "message", "param")}}


def flagged(filters: Any) -> list[Any]:
    """Azure's filter results, if they say anything but that all is well: that stands in every answer."""
    found: list[Any] = []
    for entry in filters if isinstance(filters, list) else ():
        results = entry.get("content_filter_results") if isinstance(entry, dict) else None
        hit = any(
            isinstance(result, dict) and (result.get("filtered") or result.get("detected"))
            for result in (results.values() if isinstance(results, dict) else ())
        )
        if hit or (isinstance(entry, dict) and entry.get("blocked")):
            found.append(entry)
    return found
