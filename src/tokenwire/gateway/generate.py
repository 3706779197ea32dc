"""The vendors' routes that generate (``vendors``): a request in a dialect in, an upstream that speaks it out."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from tokenwire import dialects
from tokenwire.errors import RequestRefused
from tokenwire.gateway import guard, respond
from tokenwire.gateway.answers import body_headers, header, read_body, refusal_body, refusal_headers, send_refusal
from tokenwire.gateway.ways import Way, told, ways_to
from tokenwire.measure.usage import Meter
from tokenwire.upstream.route import Leg, Route

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.dialects.request_body import GenerateRequest
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.sinks import Receive, ResponseSink, Scope, Send
    from tokenwire.gateway.vendors import Caller, Vendor
    from tokenwire.upstream.request import Request


async def generate(gateway: Gateway, vendor: Vendor, scope: Scope, receive: Receive, send: Send) -> None:
    """One request: stream or whole answer, new or attached by its Idempotency-Key."""
    try:
        owner = guard.admit(scope)
        body = await read_body(scope, receive, gateway.settings.limits.request_body)
        if body is None:
            return
        responding = respond_to(gateway, vendor, scope, owner, body, respond.sink_for(scope, receive))
    except RequestRefused as error:
        await send_refusal(send, error, dialects.get(vendor.dialect))
        return
    await responding.run(send)


def answer(gateway: Gateway, vendor: Vendor, scope: Scope, body: bytes, sink: ResponseSink) -> None:
    """The same without waiting, for a server that has the whole body and a sink: returns at once."""
    try:
        responding = respond_to(gateway, vendor, scope, guard.admit(scope), body, sink)
    except RequestRefused as error:
        refusal = refusal_body(error, dialects.get(vendor.dialect))
        sink.answer(error.status, body_headers(error.status, refusal, refusal_headers(error)), refusal)
    else:
        responding.start()


def respond_to(
    gateway: Gateway, vendor: Vendor, scope: Scope, owner: str, body: bytes, sink: ResponseSink
) -> respond.Responding:
    """Start a stream, or find the one that was started by this key. Raises ``RequestRefused``."""
    key = header(scope, b"idempotency-key")
    linger = linger_of(scope, gateway.settings.limits.linger if key else 0.0)
    usage_asked = respond.usage_asked(header(scope, respond.USAGE))
    request = vendor.parse(body)
    stream = gateway.keys.find(owner, key, body) if key else None
    if stream is None:
        stream = start(gateway, vendor, scope, owner, request, linger=linger)
        if key:
            gateway.keys.put(owner, key, body, stream)
    dialect = answered_in(vendor, scope, request, stream)
    if not request.stream:
        return respond.Whole(stream, sink, dialect)
    ids = header(scope, b"x-tokenwire-ids") == "1"
    usage = respond.live_usage(usage_asked, dialect)
    return respond.Following(stream, sink, dialect, ids=ids, hold=gateway.settings.limits.hold, usage=usage)


def answered_in(caller: Caller, scope: Scope, request: GenerateRequest, stream: Stream) -> Dialect:
    """The dialect of the answer: that of the request, if the caller does not name another."""
    named = header(scope, b"x-tokenwire-dialect")
    if named is not None and named != caller.dialect:
        return dialects.get(named)
    return caller.answers(request, stream.meta.get("spoken") == caller.dialect)


def start(
    gateway: Gateway, caller: Caller, scope: Scope, owner: str, request: GenerateRequest, *, linger: float
) -> Stream:
    """Begin generation. Raises ``RequestRefused`` when the model is unknown, its upstream cannot be asked this, or the
    process is full."""
    if gateway.draining:
        raise RequestRefused(503, "shutting_down", "the relay is shutting down; try again in a moment")
    ways = ways_to(gateway.directory.route(request.model), caller, request)
    target, provider = ways[0].target, ways[0].provider
    upstream = target.upstream
    ask_usage = request.stream and upstream.settings.usage
    stream = gateway.hub.open(
        owner=owner,
        dialect=provider.dialect,
        model=f"{upstream.name}/{target.model}",
        policy=gateway.settings.limits.policy(linger),
        hide_usage=ask_usage and not request.include_usage,
    )
    spoken = {way.provider.dialect.name for way in ways}
    stream.meta["spoken"] = spoken.pop() if len(spoken) == 1 else None  # whoever answers in the end
    stream.meta["upstream"] = upstream.name
    stream.meta["session"] = header(scope, b"x-tokenwire-session")
    route = Route(
        stream,
        gateway.pool,
        [
            Leg(
                upstream=way.target.upstream.name,
                model=way.target.model,
                dialect=way.provider.dialect,
                request=partial(asked_of, stream, caller, way, scope, request, ask_usage=ask_usage),
                # Across dialects a whole answer is the fold of a stream: it can be cancelled, and what it brought kept.
                streaming=request.stream or way.translated,
                deadlines=way.target.deadlines,
                retry=way.target.upstream.settings.retry,
            )
            for way in ways
        ],
        pacing=header(scope, b"x-tokenwire-pacing") != "off",
        max_event=gateway.settings.limits.upstream_event,
    )
    route.start()
    return stream


def asked_of(
    stream: Stream, caller: Caller, way: Way, scope: Scope, request: GenerateRequest, *, ask_usage: bool
) -> Request:
    """What is sent on *way* for a caller's request, now that it is its turn: *stream* is counted at its price."""
    target, provider = way.target, way.provider
    streaming = request.stream or way.translated
    stream.meta["notes"] = told(way.notes)
    if way.body is None:
        extra = provider.fields(scope["headers"])
        usage = ask_usage and target.upstream.settings.usage
        body = provider.vendor.rewrite(request, model=target.model, include_usage=usage)
    else:
        extra = provider.foreign_fields(scope["headers"], caller)
        body = way.body
    extra.append(("accept", provider.dialect.content_type if streaming else "application/json"))
    stream.meter = Meter(body, provider.seller, target.model)
    return provider.request(provider.vendor.ask(target.model, streaming), body, extra)


def linger_of(scope: Scope, default: float) -> float:
    """``X-Tokenwire-On-Disconnect`` as seconds. Raises ``RequestRefused`` for what it cannot be."""
    return parse_linger(header(scope, b"x-tokenwire-on-disconnect"), default)


def parse_linger(value: str | None, default: float) -> float:
    """``cancel`` | ``linger=SECONDS`` | ``finish`` -> 0, seconds, infinity."""
    if value is None:
        return default
    word, equals, seconds = value.partition("=")
    if value == "cancel":
        return 0.0
    if value == "finish":
        return math.inf
    if word == "linger" and equals and seconds.isascii() and seconds.replace(".", "", 1).isdigit():
        return float(seconds)
    raise RequestRefused(
        400, "bad_on_disconnect", f"on-disconnect is cancel, linger=SECONDS or finish, not {value[:40]!r}"
    )
