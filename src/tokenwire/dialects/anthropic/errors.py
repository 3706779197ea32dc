"""Anthropic's errors: one shape before a stream and in it (reference, sections 5.9 and 10).

``{"type":"error","error":{"type","message","details"?}}``. What providers and proxies send in its place is read by
``openai_errors``, which knows every shape.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from tokenwire.dialects.deltas import Failed
from tokenwire.dialects.openai_chat.errors import STATUS_OF_WORD

_TYPE_OF_STATUS: Final[dict[int, str]] = {
    401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    408: "timeout_error", 409: "conflict_error", 413: "request_too_large", 429: "rate_limit_error",
    499: "api_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip
_TYPE: Final = re.compile(r"[a-z_]+_error|request_too_large")


def error_object(failure: Failed, status: int | None = None) -> dict[str, Any]:
    """The inner object. The provider's own is kept where it has this shape; else our machine word, where it is none of
    Anthropic's types, stands as ``details.error_code``, the place for a code that programs may rely on.

    *status* is the HTTP status it goes out with; without one, what the failure implies chooses the type.
    """
    if is_error_object(failure.raw):
        own: dict[str, Any] = failure.raw
        return own
    code = failure.code.lower()
    implied = status or failure.upstream_status or STATUS_OF_WORD.get(code) or _STATUS_OF_CODE.get(code)
    kind = _type(implied)
    error: dict[str, Any] = {"type": kind, "message": failure.message}
    if code != kind:
        error["details"] = {"error_code": failure.code}
    return error


def is_error_object(raw: Any) -> bool:
    """Whether *raw* is an error in Anthropic's own words. OpenAI's have a ``code`` beside the type."""
    if not isinstance(raw, dict) or "code" in raw or "param" in raw:
        return False
    kind = raw.get("type")
    return isinstance(kind, str) and bool(_TYPE.fullmatch(kind)) and isinstance(raw.get("message"), str)


def error_data(failure: Failed, status: int | None = None) -> dict[str, Any]:
    """The whole body, and the data of an ``error`` event."""
    return {"type": "error", "error": error_object(failure, status)}


def error_body(failure: Failed, status: int) -> bytes:
    """The HTTP error body, for an answer of that *status*."""
    return msgspec.json.encode(error_data(failure, status))


#: Failures of ours that came without a status, where ``api_error`` is not what they are.
_STATUS_OF_CODE: Final = {"upstream_timeout": 504, "overloaded": 529, "shutting_down": 529}


def _type(status: int | None) -> str:
    if status in _TYPE_OF_STATUS:
        return _TYPE_OF_STATUS[status]
    return "invalid_request_error" if status is not None and 400 <= status < 500 else "api_error"
