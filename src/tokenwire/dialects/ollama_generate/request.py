"""Requests to ``/api/generate``: what the relay must know of one, and the body that goes upstream."""

from __future__ import annotations

from tokenwire.dialects.ollama.request import checked, rewrite
from tokenwire.dialects.request_body import GenerateRequest, read_body

__all__ = ["parse_request", "rewrite"]


def parse_request(body: bytes) -> GenerateRequest:
    """Check *body* as far as the relay depends on it. Without ``stream`` it asks for a stream.

    Raises:
        RequestRefused: 400, naming the member and what was wrong with it.
    """
    return checked(read_body(body, ("model",)))
