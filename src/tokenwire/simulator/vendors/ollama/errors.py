"""How Ollama says no: an HTTP status and ``{"error":"text"}``; in a stream, that as a line (reference, section 7.5)."""

from __future__ import annotations

from tokenwire.simulator.vendors.json_bytes import to_json


class ApiError(Exception):
    """A refusal."""

    def __init__(self, status: int, message: str, *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers

    def body(self) -> bytes:
        return to_json({"error": self.message})

    def line(self) -> bytes:
        return self.body() + b"\n"


def invalid(message: str) -> ApiError:
    return ApiError(400, message)


def server_error(status: int = 500) -> ApiError:
    return ApiError(status, "llama runner process has terminated: signal: killed (simulated)")


def overloaded() -> ApiError:
    return ApiError(503, "server busy, please try again.  maximum pending requests exceeded")


def rate_limited(retry_ms: int) -> ApiError:
    headers = (("retry-after", str(-(-retry_ms // 1000))), ("retry-after-ms", str(retry_ms)))
    return ApiError(429, "too many requests: you have reached your hourly usage limit", headers=headers)
