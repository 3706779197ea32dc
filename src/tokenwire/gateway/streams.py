"""The native routes: start, list, look, follow, stop (INTERFACES sections 1 to 3)."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec

from tokenwire import dialects
from tokenwire.dialects.native.encode import usage_fields
from tokenwire.dialects.request_body import GenerateRequest
from tokenwire.engine.ids import EventId, parse_event_id
from tokenwire.engine.registry import PORTION
from tokenwire.errors import RequestRefused
from tokenwire.gateway import caching, coming_back, following, guard, lease, respond, variants
from tokenwire.gateway.answers import (
    MethodNotAllowed,
    header,
    query,
    read_body,
    send_body,
    send_json,
    send_refusal,
    stream_headers,
)
from tokenwire.gateway.starting import linger_of, parse_linger
from tokenwire.gateway.starting import start as start_stream
from tokenwire.gateway.vendors import VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.dialects.deltas import Failed, Usage
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.core import Core
    from tokenwire.gateway.sinks import Receive, ResponseSink, Scope, Send

_PATH = re.compile(r"/v1/streams/([^/]+)(?:/(events|cancel|lease|ticket))?")
#: A renewal names one lease.
_RENEWAL_BYTES = 4096

_METHODS = {"events": "GET", "cancel": "POST", "lease": "POST", "ticket": "POST", None: "GET, DELETE"}


class StartRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST /v1/streams``."""

    dialect: str
    request: msgspec.Raw
    session: str | None = None
    on_disconnect: str | None = None
    lease: float | None = None
    metadata: dict[str, Any] | None = None


async def streams(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Everything under ``/v1/streams``. Errors in the native shape."""
    method = scope["method"]
    path = scope["path"]
    try:
        owner = guard.admit(scope)
        if path == "/v1/streams":
            if method == "POST":
                await _start(gateway, scope, receive, send, owner)
            elif method == "GET":
                found = await gateway.hub.listed(owner)
                await send_json(send, 200, {"streams": await _described(found)})
            else:
                raise MethodNotAllowed(method, "GET, POST")
            return
        match = _PATH.fullmatch(path)
        if match is None:
            raise RequestRefused(404, "no_such_route", f"no route {path[:80]!r}")
        action = match.group(2)
        ticket = query(scope).get("ticket") if action == "events" else None
        if action is None and method == "DELETE" and await gateway.hub.delete_again(match.group(1), owner):
            await send_body(send, 204, b"")
            return
        if ticket is None:
            stream = await gateway.hub.find(match.group(1), owner)
        else:
            stream = await gateway.tickets.find(gateway.hub, match.group(1), ticket)
        if action == "events" and method in ("GET", "HEAD"):
            await follow(gateway, stream, scope, respond.sink_for(scope, receive), send)
        elif action == "cancel" and method == "POST":
            stream.cancel()
            await send_json(send, 200, describe(stream))
        elif action == "lease" and method == "POST":
            body = await read_body(scope, receive, _RENEWAL_BYTES)
            if body is not None:
                await send_json(send, 200, lease.renewed(stream, scope, body))
        elif action == "ticket" and method == "POST":
            await _ticket(gateway, stream, send)
        elif action is None and method in ("GET", "HEAD"):
            await send_json(send, 200, describe(stream, gateway.hub.live.usage(stream)))
        elif action is None and method == "DELETE":
            caching.forget(gateway, stream)
            await gateway.hub.delete(stream)
            await send_body(send, 204, b"")
        else:
            raise MethodNotAllowed(method, _METHODS[action])
    except RequestRefused as error:
        if error.status == 503 and path.endswith("/events") and coming_back.comes_back(scope):
            await coming_back.send_later(send)
        else:
            await send_refusal(send, error, dialects.get("native"))


def as_stream(request: GenerateRequest) -> GenerateRequest:
    """What this route starts is a stream, whether or not the body says so."""
    return msgspec.structs.replace(request, stream=True, fields={**request.fields, "stream": msgspec.Raw(b"true")})


def describe(stream: Stream, so_far: Usage | None = None) -> dict[str, Any]:
    """``GET /v1/streams/{id}`` (INTERFACES section 3). *so_far*: what a running stream has used."""
    held = stream.log
    terminal = stream.settled
    usage = terminal.usage if terminal is not None else so_far
    out: dict[str, Any] = {
        "id": stream.id,
        "state": stream.state.value,
        "model": stream.model,
        "upstream": stream.meta.get("upstream"),
        "dialect": stream.dialect.name,
        "session": stream.meta.get("session"),
        "created": stream.created,
        "started": None if stream.generated_ns is None else _wall(stream, stream.generated_ns),
        "ended": None if stream.ended_ns is None else _wall(stream, stream.ended_ns),
        "last_id": str(EventId(held.epoch, held.last)),
        "readers": len(stream.readers),
        "usage": None if usage is None else _usage(usage),
        "timing": None if terminal is None else {"ttft_ms": terminal.ttft_ms, "e2e_ms": terminal.e2e_ms},
        "attempts": [_attempt(stream, number) for number in range(1, len(stream.attempts) + 1)],
        "metadata": stream.meta.get("metadata"),
        "expires": stream.expires,
    }
    if "cache" in stream.meta:
        out["cache"] = stream.meta["cache"]
    if terminal is not None and terminal.error is not None:
        out["error"] = _error(terminal.error)
    return out


async def _described(found: Sequence[Stream]) -> list[dict[str, Any]]:
    """All of them, with pauses: no token waits for a thousand."""
    described: list[dict[str, Any]] = []
    for number, stream in enumerate(found, 1):
        if number % PORTION == 0:
            await asyncio.sleep(0)
        described.append(describe(stream))
    return described


def _usage(usage: Usage) -> dict[str, Any]:
    """The four counts always, null where unknown; the rest where there is something to say."""
    counts = dict.fromkeys(("input", "output", "cached_input", "reasoning"))
    return counts | usage_fields(usage)


def _attempt(stream: Stream, number: int) -> dict[str, Any]:
    """One attempt; ``first`` is the first entry of the log that is its, None where none is."""
    made = stream.attempts[number - 1]
    return {
        "number": number,
        "upstream": made.upstream,
        "model": made.model,
        "dialect": made.dialect,
        "started": _wall(stream, made.started_ns),
        "ended": None if made.ended_ns is None else _wall(stream, made.ended_ns),
        "status": made.status,
        "error": None if made.error is None else _error(made.error),
        "first": next((begun.first_seq for begun in stream.log.attempts if begun.number == number), None),
    }


def _error(failed: Failed) -> dict[str, Any]:
    return {
        "code": failed.code,
        "message": failed.message,
        "retryable": failed.retryable,
        "upstream_status": failed.upstream_status,
    }


def _wall(stream: Stream, monotonic_ns: int) -> float:
    """A monotonic moment of this stream as seconds since 1970."""
    return stream.created + (monotonic_ns - stream.created_ns) / 1e9


async def _start(gateway: Gateway, scope: Scope, receive: Receive, send: Send, owner: str) -> None:
    body = await read_body(scope, receive, gateway.settings.limits.request_body)
    if body is None:
        return
    try:
        wanted = msgspec.json.decode(body, type=StartRequest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestRefused(400, "bad_request", f"the body of POST /v1/streams: {error}") from error
    vendor = VENDORS.get(wanted.dialect)
    if vendor is None:
        dialects.get(wanted.dialect)
        taken = " and ".join(VENDORS)
        raise RequestRefused(400, "unsupported_dialect", f"requests are taken in {taken}", param="dialect")
    request = as_stream(vendor.parse(bytes(wanted.request)))
    linger = parse_linger(wanted.on_disconnect, linger_of(scope, gateway.settings.limits.linger))
    leased = lease.asked(scope) if wanted.lease is None else lease.checked(wanted.lease, wanted.lease)
    key = header(scope, b"idempotency-key")
    await gateway.keys.load(owner, key)
    stream = gateway.keys.find(owner, key, body)
    if stream is None:
        stream = start_stream(gateway, vendor, scope, owner, request, linger=linger)
        if wanted.session is not None:
            stream.meta["session"] = wanted.session
        stream.meta["metadata"] = wanted.metadata
        if leased is None:
            stream.expect_reader()
        gateway.keys.put(owner, key, body, stream)
    promise = None if leased is None else stream.leaving.promised(stream, leased)
    events = f"/v1/streams/{stream.id}/events"
    answer = {"id": stream.id, "state": stream.state.value, "events": events}
    location = f"/v1/streams/{stream.id}".encode()
    headers = [(b"location", location), (b"x-tokenwire-stream", stream.id.encode()), *lease.headers(promise)]
    await send_json(send, 201, answer, headers)


def _reads_all(stream: Stream, after: EventId | None, start: str) -> bool:
    """Whether the answer's beginning depends on all of the log: a snapshot, also one instead of what cannot be gone on
    with, and a place within an entry. Else it is read as it is sent, page by page."""
    if after is None:
        return start == "snapshot"
    held = stream.log
    return after.frames > 0 or after.seq < held.first - 1 or not held.continues(after.epoch, after.seq)


async def _ticket(gateway: Gateway, stream: Stream, send: Send) -> None:
    ticket = gateway.tickets.issue(stream)
    url = f"/v1/streams/{stream.id}/events?ticket={ticket.text}"
    await send_json(send, 200, {"ticket": ticket.text, "url": url, "expires": ticket.expires})


async def follow(core: Core, stream: Stream, scope: Scope, sink: ResponseSink, send: Send) -> None:
    """``GET …/events``: answer with *stream* from where the request says. Raises ``RequestRefused`` before anything is
    sent."""
    parameters = query(scope)
    name = parameters.get("dialect") or header(scope, b"x-tokenwire-dialect") or "native"
    dialect = variants.told(stream, name)
    begin = parameters.get("from", "start")
    if begin not in ("start", "snapshot", "now"):
        raise RequestRefused(400, "bad_from", f"from is start, snapshot or now, not {begin[:40]!r}", param="from")
    if parameters.get("after") and "from" in parameters:
        raise RequestRefused(400, "bad_from", "say either after or from, not both", param="from")
    # A browser's EventSource reconnects to the address that it was given, and adds Last-Event-ID: the header is the
    # newer of the two, and what the address says was for the first time.
    where = header(scope, b"last-event-id") or parameters.get("after")
    after = parse_event_id(where) if where else None
    start = begin if after is None else "start"
    usage = respond.live_usage(respond.usage_asked(header(scope, respond.USAGE)), dialect)
    leased = lease.asked(scope)
    hold = 0.0 if dialect.name == "native" else core.settings.limits.hold
    if _reads_all(stream, after, start):
        await core.hub.whole(stream)
    if scope["method"] == "HEAD":  # answered at once, and no reader
        following.where(stream, dialect, True, after, start)
        headers = stream_headers(stream, dialect)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    responding = following.follow(
        stream,
        sink,
        dialect,
        hold=hold,
        after=after,
        start=start,
        usage=usage,
        leased=leased,
        returns=coming_back.comes_back(scope, dialect),
    )
    await responding.run(send)
