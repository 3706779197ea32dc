"""Gemini's errors: one shape before a stream and in it (reference, sections 6.7 and 10).

``{"error":{"code","message","status","details"?}}``: a number, words, and the name of the class. What providers and
proxies send in its place is read by ``openai_chat.errors``, which knows every shape; here only what Google says more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from tokenwire.dialects.openai_chat import errors
from tokenwire.dialects.openai_chat.errors import STATUS_OF_WORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.deltas import Failed

_WORD_OF_STATUS: Final[dict[int, str]] = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 402: "FAILED_PRECONDITION", 403: "PERMISSION_DENIED",
    404: "NOT_FOUND", 408: "DEADLINE_EXCEEDED", 409: "ABORTED", 413: "INVALID_ARGUMENT", 422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 502: "UNAVAILABLE",
    503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED", 529: "UNAVAILABLE",
}  # fmt: skip

#: Failures of ours that came without a status, where 500 is not what they are.
_STATUS_OF_CODE: Final = {
    "cancelled": 499, "upstream_timeout": 504, "overloaded": 503, "shutting_down": 503, "orphaned": 503, "expired": 504,
}  # fmt: skip

_INFO: Final = "type.googleapis.com/google.rpc.ErrorInfo"
_DOMAIN: Final = "tokenwire"


def read_error(error: Any, status: int | None = None) -> Failed:
    """*error*, as ``find_error`` gave it, in our words. *status*: of the HTTP answer, where that said it failed."""
    return _refine(errors.failed(error, status))


def describe_error(body: bytes, status: int) -> Failed:
    """The failure that a provider's HTTP answer tells: any shape of JSON, HTML, text, or nothing. Never raises."""
    return _refine(errors.describe_error(body, status))


def error_object(failure: Failed, status: int | None = None, code: str | None = None) -> dict[str, Any]:
    """The inner object. The provider's own is kept where it has this shape; google-genai fails on one without a
    number. Else our machine word, or *code*, stands as the reason of an ``ErrorInfo``: the place for a word that
    programs may rely on.

    *status* is the HTTP status it goes out with; without one, what the failure implies.
    """
    word = code or failure.code
    implied = failure.upstream_status or STATUS_OF_WORD.get(word.lower()) or _STATUS_OF_CODE.get(word.lower(), 500)
    number = status or implied
    raw = failure.raw
    if code is None and isinstance(raw, dict) and raw.get("status") in _WORDS and isinstance(raw.get("message"), str):
        own = raw.get("code")
        return {**raw, "code": own if isinstance(own, int) and not isinstance(own, bool) else number}
    kind = _WORD_OF_STATUS.get(number, "INVALID_ARGUMENT" if 400 <= number < 500 else "INTERNAL")
    error = {"code": number, "message": failure.message, "status": kind}
    if word == kind:
        return error
    return {**error, "details": [{"@type": _INFO, "reason": word, "domain": _DOMAIN}]}


def error_body(failure: Failed, status: int) -> bytes:
    """The HTTP error body, for an answer of that *status*."""
    return msgspec.json.encode({"error": error_object(failure, status)})


_WORDS: Final = frozenset(_WORD_OF_STATUS.values())


def _refine(failure: Failed) -> Failed:
    """What stands in the details: a limit per day is not lifted by waiting a minute; a word of our own is the code."""
    for detail in _details(failure.raw):
        if detail.get("@type") == _INFO and detail.get("domain") == _DOMAIN and isinstance(detail.get("reason"), str):
            failure = replace(failure, code=detail["reason"])
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict) and "PerDay" in str(violation.get("quotaId")):
                failure = replace(failure, retryable=False)
    if failure.code == "CANCELLED" and failure.upstream_status is None:
        failure = replace(failure, upstream_status=499, retryable=False)
    return failure


def _details(raw: Any) -> Iterator[dict[str, Any]]:
    details = raw.get("details") if isinstance(raw, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield detail
