"""HTTP answers that are not streams: errors in the caller's dialect, small JSON bodies; and every stream's headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tokenwire.dialects.deltas import Failed
from tokenwire.errors import NotResumable, Overloaded, RequestRefused

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.sinks import Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]

#: Upstream response headers that readers get: request ids and rate limits (INTERFACES section 1).
_PASSED = (
    b"x-request-id",
    b"request-id",
    b"apim-request-id",
    b"mistral-correlation-id",
    b"x-generation-id",
    b"x-should-retry",
)

#: The usual ones, encoded.
_TYPES = {"text/event-stream": b"text/event-stream; charset=utf-8"}

# Where a request's scope keeps its headers by name.
_FIELDS = "tokenwire.fields"

#: HTTP status for a failure that came without one, by its code.
_STATUS = {
    "connect_failed": 502,
    "upstream_closed": 502,
    "bad_answer": 502,
    "redirected": 502,
    "truncated": 502,
    "event_too_large": 502,
    "upstream_timeout": 504,
    "overloaded": 503,
    "shutting_down": 503,
    "log_limit": 502,
    "source_failed": 500,
    "cancelled": 499,
    "cost_cap": 499,
}


def stream_headers(stream: Stream, dialect: Dialect) -> Headers:
    """The headers of every stream (INTERFACES section 1), what *dialect* adds, and what of the provider's is passed
    on."""
    return [
        (b"content-type", _TYPES.get(dialect.content_type) or dialect.content_type.encode()),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        *named(stream),
        *dialect.headers,
        *passed(given(stream)),
    ]


def named(stream: Stream) -> Headers:
    """The stream's id; what of the request did not reach its upstream as it came, if anything; and, of a model whose
    answers are cached, whether this one was, and how long ago it was whole (RFC 9111, section 5.1)."""
    headers = [(b"x-tokenwire-stream", stream.id.encode())]
    if isinstance(cache := stream.meta.get("cache"), str):
        headers.append((b"x-tokenwire-cache", cache.encode()))
        if isinstance(age := stream.meta.get("age"), float):
            headers.append((b"age", b"%d" % age))
    if notes := stream.meta.get("notes"):
        assert isinstance(notes, str)
        headers.append((b"x-tokenwire-translation", notes.encode()))
    return headers


def given(stream: Stream) -> Headers:
    """The provider's response headers, as far as its answer has begun."""
    headers = stream.meta.get("headers")
    return headers if isinstance(headers, list) else []


def passed(upstream: Sequence[tuple[bytes, bytes]]) -> Headers:
    """The provider's headers that are meant for its client."""
    return [
        (name, value)
        for name, value in upstream
        if name in _PASSED or name.startswith(b"retry-after") or b"ratelimit" in name
    ]


def status_of(failed: Failed) -> int:
    """The HTTP status for a failure before the first byte."""
    status = failed.upstream_status
    if status is not None and 400 <= status < 600:
        return status
    return _STATUS.get(failed.code, 502)


def is_object(body: bytes) -> bool:
    """Whether a client gets anything out of *body*: JSON, and not empty."""
    try:
        return bool(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
    except (ValueError, RecursionError):
        return False


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The request's body; None if the client left. Raises ``RequestRefused`` (413) above *limit* bytes, and before
    the first one if the request says so itself: whoever sent ``Expect: 100-continue`` then need not send it."""
    too_large = RequestRefused(413, "request_too_large", f"the request is larger than {limit} bytes")
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdecimal() and int(declared) > limit:
        raise too_large
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def send_json(send: Send, status: int, value: Any, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    await send_body(send, status, msgspec.json.encode(value), headers)


async def send_body(
    send: Send,
    status: int,
    body: bytes,
    headers: Sequence[tuple[bytes, bytes]] = (),
    kind: bytes = b"application/json",
) -> None:
    """A whole answer. 204 has neither body nor type."""
    fields = body_headers(status, body, headers, kind)
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if status == 204 else body})


def body_headers(
    status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]], kind: bytes = b"application/json"
) -> Headers:
    """All headers of a whole answer."""
    fields = [(b"cache-control", b"no-store"), *headers]
    if status != 204:
        fields += [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    return fields


class MethodNotAllowed(RequestRefused):
    """405: the route knows other methods only; *allowed* lists them (RFC 9110 section 15.5.6 wants them named)."""

    def __init__(self, method: str, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(405, "method_not_allowed", f"{method[:20]} is not allowed here; allowed: {allowed}")


async def send_refusal(send: Send, error: RequestRefused, dialect: Dialect) -> None:
    """A refusal in the caller's dialect; 204 says all by itself."""
    body = b"" if error.status == 204 else refusal_body(error, dialect)
    await send_body(send, error.status, body, refusal_headers(error))


def refusal_body(error: RequestRefused, dialect: Dialect) -> bytes:
    raw = {"message": str(error), "param": error.param, "code": error.code}
    raw["type"] = "server_error" if error.status >= 500 else "invalid_request_error"
    failed = Failed(code=error.code, message=str(error), retryable=error.status == 503, raw=raw)
    return dialect.error_body(failed, error.status)


def refusal_headers(error: RequestRefused) -> Headers:
    headers: Headers = []
    if isinstance(error, NotResumable) and error.earliest is not None:
        headers.append((b"x-tokenwire-earliest", error.earliest.encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    if error.status == 503:
        headers.append((b"retry-after", b"%d" % (error.seconds if isinstance(error, Overloaded) else 1)))
    return headers


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that (lower-case) name."""
    fields: dict[bytes, bytes] | None = scope.get(_FIELDS)
    if fields is None:  # asked for a dozen times in a request
        fields = scope[_FIELDS] = dict(reversed([*scope["headers"]]))
    value = fields.get(name)
    return None if value is None else value.decode("latin-1").strip()


def query(scope: Scope) -> dict[str, str]:
    """The query's parameters; the last of a name wins."""
    from urllib.parse import parse_qsl

    return dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
