"""generateContent requests: what the relay must know of one, and the body that goes upstream."""

from __future__ import annotations

from tokenwire.dialects.request_body import GenerateRequest, read_body, write_body


def parse_request(body: bytes, *, model: str, stream: bool) -> GenerateRequest:
    """Check *body* as far as the relay depends on it; the rest is the provider's to judge. *model* and *stream* stand
    in the address.

    Raises:
        RequestRefused: 400, naming the member and what was wrong with it.
    """
    return GenerateRequest(model, stream, True, read_body(body, ("contents",), array="contents"))


def rewrite(request: GenerateRequest, *, model: str, include_usage: bool = True) -> bytes:
    """The body for the upstream: as it came, without a ``model`` of its own, which could contradict the address that
    *model* is for. Usage is always part of an answer here, whatever *include_usage* says. White space between members
    is not kept."""
    return write_body({name: value for name, value in request.fields.items() if name != "model"})
