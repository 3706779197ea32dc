"""HTTP error answers of a relay as exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.dialects.native.dialect import describe_error
from tokenwire.errors import CursorLost, RelayRefused, StreamNotFound, StreamOver

if TYPE_CHECKING:
    from collections.abc import Mapping


def refusal(status: int, fields: Mapping[str, str], body: bytes, *, of_stream: bool) -> RelayRefused:
    """The exception for an answer that is not what was asked for. *of_stream*: one stream's own route was asked."""
    if of_stream and status == 204:
        return StreamOver(status, "over", "nothing is left of this stream after the cursor")
    failed = describe_error(body, status)
    code, message = failed.code, failed.message
    if code == "upstream_error":  # what `describe_error` calls anything that is not our own
        code = "refused"
        message = f"the relay answered with status {status}: {message}"
    if of_stream and status == 404:
        return StreamNotFound(status, code, message)
    if of_stream and status in (409, 410):
        return CursorLost(status, code, message, earliest=fields.get("x-tokenwire-earliest"))
    return RelayRefused(status, code, message)


def retry_after(fields: Mapping[str, str]) -> float:
    """``Retry-After`` in seconds; 0 without one. Dates are not read: whose clock is right?"""
    value = fields.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0.0
