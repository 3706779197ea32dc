"""Requests to ``/api/chat``: what the relay must know of one, and the body that goes upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.dialects.request_body import GenerateRequest, flag, member, raw, read_body, read_model, write_body

if TYPE_CHECKING:
    from msgspec import Raw


def parse_request(body: bytes) -> GenerateRequest:
    """Check *body* as far as the relay depends on it; the rest is the server's to judge. Without ``stream`` it asks
    for a stream.

    Raises:
        RequestRefused: 400, naming the member and what was wrong with it.
    """
    return checked(read_body(body))


def checked(fields: dict[str, Raw]) -> GenerateRequest:
    """The request of these members. Raises as ``parse_request`` does."""
    streamed = member(fields, "stream") is None or flag(fields, "stream")
    return GenerateRequest(read_model(fields), streamed, True, fields)


def rewrite(request: GenerateRequest, *, model: str, include_usage: bool = True) -> bytes:
    """The body for the upstream: *model* in place of the caller's name for it, all else as it came. Usage is always
    part of an answer here, whatever *include_usage* says. White space between members is not kept."""
    return write_body({**request.fields, "model": raw(model)})
