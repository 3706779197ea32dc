"""How OpenAI says no: an HTTP status and ``{"error":{"message","type","param","code"}}`` (reference section 3.6)."""

from __future__ import annotations

from tokenwire.simulator.answer import compact


class ApiError(Exception):
    """A refusal. ``param`` names the offending field; ``code`` is OpenAI's machine word, None where it gives none."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = headers
        super().__init__(message)

    def body(self) -> bytes:
        """The JSON body, which is also the data of an error event."""
        return compact(
            {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
        ).encode()


def invalid(message: str, param: str | None, code: str | None = None) -> ApiError:
    """A request that is wrong in itself: 400."""
    return ApiError(400, message, param=param, code=code)


def server_error(status: int = 500) -> ApiError:
    """The simulated failure of the vendor; a status that is no HTTP error becomes 500."""
    if 400 <= status < 500:
        return ApiError(status, "The request was refused (simulated).")
    message = "The server had an error while processing your request (simulated)."
    return ApiError(status if 500 <= status < 600 else 500, message, type="server_error")


def overloaded() -> ApiError:
    """503, with the advice to come back."""
    message = "The engine is currently overloaded, please try again later (simulated)."
    return ApiError(503, message, type="server_error", headers=(("retry-after", "1"), ("retry-after-ms", "800")))


def flaky() -> ApiError:
    """503, and no advice."""
    return ApiError(503, "The engine is currently overloaded (simulated).", type="server_error")


def rate_limited(retry_ms: int) -> ApiError:
    """429 by tokens per minute; wait *retry_ms* milliseconds."""
    return ApiError(
        429,
        f"Rate limit reached on tokens per minute (simulated): limit 200000, used 199100, wait {retry_ms}ms.",
        type="tokens",
        code="rate_limit_exceeded",
        headers=(
            ("retry-after", str(max(1, -(-retry_ms // 1000)))),
            ("retry-after-ms", str(retry_ms)),
            ("x-ratelimit-remaining-tokens", "900"),
            ("x-ratelimit-reset-tokens", f"{retry_ms}ms"),
            ("x-should-retry", "true"),
        ),
    )
