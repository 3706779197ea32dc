"""How Google says no: a status and ``{"error":{"code","message","status","details"}}``, indented (reference 6.7)."""

from __future__ import annotations

import json
from typing import Any

from tokenwire.simulator.vendors.json_bytes import to_json

_WORDS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
    412: "FAILED_PRECONDITION", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED",
    503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_TYPE = "type.googleapis.com/google.rpc."


class ApiError(Exception):
    """A refusal. Its word follows from its *status*."""

    def __init__(self, status: int, message: str, details: tuple[dict[str, Any], ...] = ()) -> None:
        self.status = status
        self.message = message
        self.word = _WORDS.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
        self.details = details
        super().__init__(message)

    def value(self) -> dict[str, Any]:
        """The object, as it is in a body and in a stream."""
        error: dict[str, Any] = {"code": self.status, "message": self.message, "status": self.word}
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}

    def body(self, *, array: bool = False) -> bytes:
        """The JSON body; *array*: within one, as where a stream would have been one."""
        whole = indented(self.value())
        return b"[%b\n]\n" % whole if array else whole + b"\n"


def indented(value: Any) -> bytes:
    """JSON as Google writes it outside of events."""
    try:
        return json.dumps(value, ensure_ascii=False, indent=2).encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=2).encode()


def compact(value: Any) -> bytes:
    """JSON as Google writes it in events."""
    return to_json(value)


def invalid(message: str, field: str | None = None) -> ApiError:
    """A request that is wrong in itself: 400; *field* is the path of what is wrong."""
    if field is None:
        return ApiError(400, message)
    violation = {"field": field, "description": message} if field else {"description": message}
    return ApiError(400, message, ({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]},))


def server_error(status: int = 500) -> ApiError:
    """The simulated failure of the vendor; a status that is no HTTP error becomes 500."""
    if 400 <= status < 500:
        return ApiError(status, "The request was refused (simulated).")
    return ApiError(status if 500 <= status < 600 else 500, "An internal error has occurred (simulated).")


def overloaded() -> ApiError:
    """503, without advice, as Google gives none."""
    return ApiError(503, "The model is overloaded. Please try again later (simulated).")


def rate_limited(retry_ms: int) -> ApiError:
    """429 by requests per minute; wait *retry_ms* milliseconds."""
    seconds, rest = divmod(retry_ms, 1000)
    delay = f"{seconds}.{rest:03d}s" if rest else f"{seconds}s"
    quota = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
    }
    return ApiError(
        429,
        f"You exceeded your current quota (simulated). Please retry in {delay}.",
        (
            {"@type": f"{_TYPE}QuotaFailure", "violations": [quota]},
            {"@type": f"{_TYPE}RetryInfo", "retryDelay": delay},
        ),
    )
