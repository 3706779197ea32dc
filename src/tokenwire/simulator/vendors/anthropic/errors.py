"""How Anthropic says no: a status and ``{"type":"error","error":{"type","message"},"request_id"}`` (reference 5.9).

The ``error`` event of a stream has the same shape.
"""

from __future__ import annotations

from tokenwire.simulator.answer import compact

_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 409: "conflict_error", 413: "request_too_large", 429: "rate_limit_error",
    500: "api_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip


class ApiError(Exception):
    """A refusal. Its ``type`` follows from its *status*."""

    def __init__(self, status: int, message: str, *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.status = status
        self.message = message
        self.type = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        self.headers = headers
        super().__init__(message)

    def body(self, request_id: str) -> bytes:
        """The JSON body, which is also the data of an error event."""
        error = {"type": self.type, "message": self.message}
        return compact({"type": "error", "error": error, "request_id": request_id}).encode()

    def event(self, request_id: str) -> bytes:
        """The error event, whole."""
        return b"event: error\ndata: " + self.body(request_id) + b"\n\n"


def invalid(message: str) -> ApiError:
    """A request that is wrong in itself: 400."""
    return ApiError(400, message)


def server_error(status: int = 500) -> ApiError:
    """The simulated failure of the vendor; a status that is no HTTP error becomes 500."""
    if 400 <= status < 500:
        return ApiError(status, "The request was refused (simulated).")
    return ApiError(status if 500 <= status < 600 else 500, "Internal server error (simulated)")


def overloaded() -> ApiError:
    """529: all of Anthropic is busy. The real one gives no advice but that a retry makes sense."""
    return ApiError(529, "Overloaded", headers=(("x-should-retry", "true"),))


def flaky() -> ApiError:
    """529, and no advice."""
    return ApiError(529, "Overloaded")


def rate_limited(retry_ms: int) -> ApiError:
    """429 by tokens per minute; wait *retry_ms* milliseconds."""
    message = (
        "This request would exceed your organization's rate limit of 2,000,000 input tokens per minute (simulated)."
    )
    return ApiError(
        429,
        message,
        headers=(
            ("retry-after", str(max(1, -(-retry_ms // 1000)))),
            ("retry-after-ms", str(retry_ms)),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("x-should-retry", "true"),
        ),
    )
