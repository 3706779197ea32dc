"""Messages requests: what the relay must know of one, and the body that goes upstream."""

from __future__ import annotations

from tokenwire.dialects.request_body import GenerateRequest, flag, raw, read_body, read_model, write_body


def parse_request(body: bytes) -> GenerateRequest:
    """Check *body* as far as the relay depends on it; the rest is the provider's to judge.

    Raises:
        RequestRefused: 400, naming the member and what was wrong with it.
    """
    fields = read_body(body, ("model", "max_tokens", "messages"))
    return GenerateRequest(read_model(fields), flag(fields, "stream"), True, fields)


def parse_count(body: bytes) -> GenerateRequest:
    """A request to count the tokens of a prompt: nothing is generated, so ``max_tokens`` is no part of it."""
    fields = read_body(body)
    return GenerateRequest(read_model(fields), False, True, fields)


def rewrite(request: GenerateRequest, *, model: str, include_usage: bool = True) -> bytes:
    """The body for the upstream: *model* in place of the caller's name for it, all else as it came. Usage is always
    part of an answer here, whatever *include_usage* says. White space between members is not kept."""
    return write_body({**request.fields, "model": raw(model)})
