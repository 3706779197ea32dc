"""From what a stream tells of its failure to the exception that its user meets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.errors import (
    AnswerCut,
    AnswerFailed,
    AnswerStopped,
    NotAuthorised,
    ProviderDown,
    RateLimited,
    RequestRejected,
)

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Failed

#: Codes decide where there is no status, and before it: these are ours, or the same with several vendors.
_KINDS: Final[dict[str, type[AnswerFailed]]] = {
    "cancelled": AnswerStopped,
    "client_left": AnswerStopped,
    "cost_cap": AnswerStopped,
    "deleted": AnswerStopped,
    "shutting_down": AnswerStopped,
    "truncated": AnswerCut,
    "upstream_closed": AnswerCut,
    "log_limit": AnswerCut,
    "event_too_large": AnswerCut,
    "connect_failed": ProviderDown,
    "upstream_timeout": ProviderDown,
    "overloaded_error": ProviderDown,
    "authentication_error": NotAuthorised,
    "permission_error": NotAuthorised,
    "rate_limit_error": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "insufficient_quota": RateLimited,
    "invalid_request_error": RequestRejected,
}
#: What these mean is never in doubt.
_PLAIN: Final = (401, 403, 429)


def failure(failed: Failed, *, retry_after: float | None = None) -> AnswerFailed:
    """*failed* as an exception of its kind; *retry_after*: seconds that the provider asks for."""
    plain = failed.upstream_status in _PLAIN  # a vendor's code is often less: 401 is an invalid_request_error to OpenAI
    kind = None if plain else _KINDS.get(failed.code)
    kind = kind or _of_status(failed.upstream_status)
    return kind(
        failed.code,
        failed.message,
        retryable=failed.retryable,
        status=failed.upstream_status,
        retry_after=retry_after,
    )


def _of_status(status: int | None) -> type[AnswerFailed]:
    if status is None or status < 400:
        return AnswerFailed
    if status in (401, 403):
        return NotAuthorised
    if status == 429:
        return RateLimited
    return ProviderDown if status >= 500 or status == 408 else RequestRejected
