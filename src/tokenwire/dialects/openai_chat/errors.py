"""Errors of OpenAI and of everything that imitates it: many shapes in, one ``Failed``; and one shape out.

The shapes are those of the reference, section 10. A shape is looked for wherever it can stand, in an HTTP error body
or in the middle of a stream: proxies and servers answer errors with status 200, and streams with status 500.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from tokenwire.dialects.deltas import Failed
from tokenwire.dialects.json_text import loads, scrub, whole
from tokenwire.wire import sse

#: Longest excerpt of a body that is no JSON (a proxy's page), in characters.
EXCERPT: Final = 500

#: Words that providers put into ``code`` or ``type``, and the HTTP status that they stand for (reference, section 10).
STATUS_OF_WORD: Final[dict[str, int]] = {
    "invalid_request_error": 400, "invalid_argument": 400, "failed_precondition": 400, "bad_request": 400,
    "badrequesterror": 400, "exceed_context_size_error": 400, "context_length_exceeded": 400, "content_filter": 400,
    "tool_use_failed": 400, "json_validate_failed": 400, "invalid_prompt": 400,
    "invalid_api_key": 401, "authentication_error": 401, "unauthenticated": 401, "unauthorized": 401,
    "billing_error": 402, "insufficient_credits": 402,
    "permission_error": 403, "permission_denied": 403,
    "model_not_found": 404, "not_found_error": 404, "not_found": 404, "notfounderror": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "insufficient_quota": 429, "rate_limit_exceeded": 429, "rate_limit_error": 429, "resource_exhausted": 429,
    "tokens": 429, "requests": 429,
    "server_error": 500, "internalservererror": 500, "internal_server_error": 500, "internal_error": 500,
    "internal": 500, "api_error": 500,
    "overloaded": 503, "service_unavailable": 503, "serviceunavailableerror": 503, "unavailable": 503,
    "insufficient_system_resource": 503,
    "timeout": 504, "timeout_error": 504, "deadline_exceeded": 504,
    "overloaded_error": 529,
}  # fmt: skip

#: Our word where a provider gave only a number, or nothing that is a word.
_WORD_OF_STATUS: Final[dict[int, str]] = {
    400: "invalid_request_error", 401: "invalid_api_key", 402: "billing_error", 403: "permission_denied",
    404: "not_found", 408: "timeout", 413: "request_too_large", 429: "rate_limit_exceeded", 503: "overloaded",
    504: "timeout", 529: "overloaded",
}  # fmt: skip

#: A rate limit that time does not lift.
_NEVER_LIFTED: Final = frozenset(
    {"insufficient_quota", "insufficient_credits", "billing_error", "billing_hard_limit_reached"}
)

_NO_REASON: Final = "the upstream gave no reason"
_A_WORD = re.compile(r"[A-Za-z][\w.:-]{0,63}\Z", re.ASCII)
_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_UNSEEN = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)


def find_error(value: Any) -> Any:
    """The error inside a JSON value, in whichever shape; None if it carries none. A falsy ``error`` is no error.

    The result is what the provider means by it: the inner object where there is one, else the flat object itself.
    """
    if isinstance(value, list) and value:
        value = value[0]  # Gemini's compatible endpoint wraps errors in an array
    if not isinstance(value, dict):
        return None
    if error := value.get("error"):
        return error if isinstance(error, dict) else value  # xAI, Ollama: the code, if any, stands beside the text
    if "choices" in value:
        return None
    if value.get("object") == "error" or value.get("type") == "error":
        return value
    if isinstance(errors := value.get("errors"), list) and errors:
        return errors[0] if isinstance(errors[0], dict) else value
    told = value.get("detail") or isinstance(value.get("message"), str)
    return value if told and "object" not in value and "error" in str(value.get("type", "error")).lower() else None


def failed(error: Any, status: int | None = None) -> Failed:
    """*error*, as ``find_error`` gave it, in our words. *status*: of the HTTP answer, where that said it failed."""
    fields = error if isinstance(error, dict) else {"message": error}
    details = fields.get("details")
    told = [details.get("error_code")] if isinstance(details, dict) else []  # Anthropic's word for programs
    told += [fields.get(name) for name in ("code", "type", "status")]
    words = [word for value in told if (word := _word(value)) is not None]
    status = _status(fields, words) if status is None else status
    ours = _WORD_OF_STATUS.get(status or 0, "server_error" if (status or 0) >= 500 else "upstream_error")
    code = words[0] if words else ours
    return Failed(code, _message(fields), _retryable(status, words), status, error)


def describe_text(text: str, status: int | None = None) -> Failed:
    """A failure told in plain text or HTML, or in damaged JSON: a short excerpt, and what the status implies."""
    text = whole(text[: 8 * EXCERPT])
    excerpt = text
    if "<" in text:
        title = _TITLE.search(text)
        excerpt = (title.group(1) if title else "").strip() or _UNSEEN.sub(" ", text)
    elif text.lstrip().startswith(("{", "[")):
        excerpt = f"malformed JSON from the upstream: {text}"
    return failed(_excerpt(excerpt), status)


def describe_error(body: bytes, status: int) -> Failed:
    """The failure that a provider's HTTP answer tells: any shape of JSON, HTML, text, or nothing. Never raises.

    A *status* under 400 says nothing (some gateways answer errors with 200); then the body's own words count.
    """
    known = status if status >= 400 else None
    text = body.decode("utf-8", "replace")
    try:
        value, torn = loads(_within_event(text))
        if torn:
            value = scrub(value)
    except (ValueError, RecursionError):
        return describe_text(text, known)
    error = find_error(value)
    return failed(_excerpt(text if value else "") if error is None else error, known)


def _within_event(text: str) -> str:
    """*text*, or what is in it if it is an event: some servers answer errors like streams (Q14)."""
    bare = text.lstrip()
    if not bare.startswith(("data:", "event:")):
        return text
    decoder = sse.Decoder(len(bare) + 8)
    events = decoder.feed(bare.encode()) + decoder.close(lenient=True)
    return events[0].data if events else text


def error_object(failure: Failed, status: int | None = None) -> dict[str, Any]:
    """The inner object of OpenAI's error shape; the provider's own is kept where it already has that shape.

    *status* is the HTTP status it goes out with; without one, what the failure implies chooses the ``type``.
    """
    raw = failure.raw
    shape = {
        "message": failure.message,
        "type": _type(status or failure.upstream_status or STATUS_OF_WORD.get(failure.code.lower()), failure.code),
        "param": None,
        "code": failure.code,
    }
    if isinstance(raw, dict) and {"message", "type"} <= raw.keys() and raw.keys() & {"param", "code"}:
        shape |= raw
    return shape


def error_body(failure: Failed, status: int) -> bytes:
    """The HTTP error body: ``{"error":{"message","type","param","code"}}``."""
    return msgspec.json.encode({"error": error_object(failure, status)})


def _type(status: int | None, code: str) -> str:
    if code in ("insufficient_quota", "rate_limit_exceeded", "rate_limit_error"):
        return code.replace("_exceeded", "_error")
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status is None or status >= 500 else "invalid_request_error"


def _excerpt(text: str) -> str:
    return " ".join(text[: 8 * EXCERPT].split())[:EXCERPT] or _NO_REASON


def _word(value: Any) -> str | None:
    """*value* if it is a machine word: not a number, a sentence (xAI), or the ``error`` that only names the shape."""
    return value if isinstance(value, str) and _A_WORD.match(value) and value not in ("error", "None") else None


def _status(fields: dict[str, Any], words: list[str]) -> int | None:
    """The HTTP status that an error object names (Groq ``status_code``, Azure ``status``, a number) or implies."""
    for name in ("status_code", "statusCode", "status", "code"):
        value = fields.get(name)
        if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return next((STATUS_OF_WORD[word.lower()] for word in words if word.lower() in STATUS_OF_WORD), None)


def _retryable(status: int | None, words: list[str]) -> bool:
    """Whether the same request may succeed later. A failure without any class was made while generating: it may."""
    if not _NEVER_LIFTED.isdisjoint(words):
        return False
    if status is None:
        return not any("invalid" in word.lower() for word in words)
    return status in (408, 409, 429) or status >= 500


def _message(fields: dict[str, Any]) -> str:
    for name in ("message", "error", "detail", "msg", "description"):
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if value and not isinstance(value, str):  # FastAPI's list of complaints, or a nested object
            return msgspec.json.encode(value).decode()[:EXCERPT]
    code = fields.get("code")
    return code if isinstance(code, str) and code else _NO_REASON
