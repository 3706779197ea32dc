"""Responses requests: what the relay must know of one, and the body that goes upstream."""

from __future__ import annotations

from typing import Final

from tokenwire.dialects.request_body import (
    GenerateRequest,
    flag,
    member,
    raw,
    read_body,
    read_model,
    refused,
    write_body,
)
from tokenwire.errors import RequestRefused

#: Members that stand for an input: a template, or what the provider keeps.
_KEPT: Final = ("prompt", "previous_response_id", "conversation")


def parse_request(body: bytes) -> GenerateRequest:
    """Check *body* as far as the relay depends on it; the rest is the provider's to judge.

    Raises:
        RequestRefused: 400, naming the member and what was wrong with it.
    """
    fields = read_body(body, ("model",), array=None)
    given = member(fields, "input")
    if given is None and all(member(fields, name) is None for name in _KEPT):
        raise RequestRefused(400, "missing_required_parameter", "you must provide 'input'", param="input")
    if not isinstance(given, str | list | None):
        raise refused("'input' must be a string or an array", "input")
    return GenerateRequest(read_model(fields), flag(fields, "stream"), True, fields)


def rewrite(request: GenerateRequest, *, model: str, include_usage: bool = True) -> bytes:
    """The body for the upstream: *model* in place of the caller's name for it, all else as it came. Usage is always
    part of an answer here, whatever *include_usage* says. White space between members is not kept."""
    return write_body({**request.fields, "model": raw(model)})
