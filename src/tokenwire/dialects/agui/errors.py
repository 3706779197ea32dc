"""Errors before a run: JSON, which ``HttpAgent`` gives on as ``payload`` of what it throws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Failed


def error_body(failure: Failed, status: int) -> bytes:
    """``{"error":{"code","message","retryable","upstreamStatus"?}}``."""
    error: dict[str, Any] = {"code": failure.code, "message": failure.message, "retryable": failure.retryable}
    if failure.upstream_status is not None:
        error["upstreamStatus"] = failure.upstream_status
    return msgspec.json.encode({"error": error})
