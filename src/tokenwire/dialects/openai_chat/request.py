"""Chat Completions requests: what the relay must know of one, and the body that goes upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.dialects.request_body import (
    GenerateRequest,
    flag,
    member,
    members,
    raw,
    read_body,
    read_model,
    refused,
    write_body,
)
from tokenwire.errors import RequestRefused

if TYPE_CHECKING:
    from msgspec import Raw


class ChatRequest(GenerateRequest, frozen=True):
    """A checked request. ``n``: how many choices were asked for."""

    n: int


def parse_request(body: bytes) -> ChatRequest:
    """Check *body* as far as the relay depends on it; the rest is the provider's to judge.

    Raises:
        RequestRefused: 400, naming the member and what was wrong with it.
    """
    fields = read_body(body)
    return ChatRequest(read_model(fields), flag(fields, "stream"), _include_usage(fields), fields, _n(fields))


def rewrite(request: GenerateRequest, *, model: str, include_usage: bool) -> bytes:
    """The body for the upstream: *model* in place of the caller's name for it, all else as it came.

    If the request is for a stream and *include_usage* is True, ``stream_options.include_usage`` is set to true beside
    the options that the caller gave; False changes nothing. White space between members is not kept.
    """
    fields = {**request.fields, "model": raw(model)}
    if include_usage and request.stream and not request.include_usage:
        fields["stream_options"] = raw({**_options(fields), "include_usage": True})
    return write_body(fields)


def _options(fields: dict[str, Raw]) -> dict[str, Raw]:
    value = fields.get("stream_options")
    return {} if value is None or bytes(value) == b"null" else members(value, "stream_options")


def _include_usage(fields: dict[str, Raw]) -> bool:
    try:
        return flag(_options(fields), "include_usage")
    except RequestRefused as error:
        error.param = "stream_options"
        raise


def _n(fields: dict[str, Raw]) -> int:
    value = member(fields, "n")
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise refused("'n' must be a whole number of at least 1", "n")
    return value
