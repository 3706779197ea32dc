"""The vendors' routes that generate (``vendors``): a request in a dialect in, an upstream that speaks it out."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from tokenwire import dialects
from tokenwire.errors import RequestRefused
from tokenwire.gateway import guard, respond
from tokenwire.gateway.answers import body_headers, header, read_body, refusal_body, refusal_headers, send_refusal
from tokenwire.measure.usage import Meter
from tokenwire.upstream.route import Leg, Route

if TYPE_CHECKING:
    from tokenwire.dialects.request_body import GenerateRequest
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.directory import Target
    from tokenwire.gateway.sinks import Receive, ResponseSink, Scope, Send
    from tokenwire.gateway.vendors import Vendor
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
    dialect = dialects.get(vendor.dialect)
    key = header(scope, b"idempotency-key")
    linger = linger_of(scope, gateway.settings.limits.linger if key else 0.0)
    request = vendor.parse(body)
    stream = gateway.keys.find(owner, key, body) if key else None
    if stream is None:
        stream = start(gateway, vendor, scope, owner, request, linger=linger)
        if key:
            gateway.keys.put(owner, key, body, stream)
    if not request.stream:
        return respond.Whole(stream, sink, dialect)
    ids = header(scope, b"x-tokenwire-ids") == "1"
    return respond.Following(stream, sink, dialect, ids=ids, hold=gateway.settings.limits.hold)


def start(
    gateway: Gateway, vendor: Vendor, scope: Scope, owner: str, request: GenerateRequest, *, linger: float
) -> Stream:
    """Begin generation. Raises ``RequestRefused`` when the model is unknown, its upstream does not speak the request's
    dialect, or the process is full."""
    if gateway.draining:
        raise RequestRefused(503, "shutting_down", "the relay is shutting down; try again in a moment")
    targets = gateway.directory.route(request.model)
    # One log is in one dialect: those that do not speak it cannot take over. If nobody does, the first one is told of.
    targets = [each for each in targets if vendor.dialect in each.upstream.providers] or targets[:1]
    target, upstream, provider = targets[0], targets[0].upstream, targets[0].provider(vendor)
    ask_usage = request.stream and upstream.settings.usage
    stream = gateway.hub.open(
        owner=owner,
        dialect=provider.dialect,
        model=f"{upstream.name}/{target.model}",
        policy=gateway.settings.limits.policy(linger),
        hide_usage=ask_usage and not request.include_usage,
    )
    stream.meta["upstream"] = upstream.name
    stream.meta["session"] = header(scope, b"x-tokenwire-session")
    route = Route(
        stream,
        gateway.pool,
        [
            Leg(
                upstream=each.upstream.name,
                model=each.model,
                request=partial(asked_of, stream, vendor, each, scope, request, ask_usage=ask_usage),
                deadlines=each.deadlines,
                retry=each.upstream.settings.retry,
            )
            for each in targets
        ],
        streaming=request.stream,
        pacing=header(scope, b"x-tokenwire-pacing") != "off",
        max_event=gateway.settings.limits.upstream_event,
    )
    route.start()
    return stream


def asked_of(
    stream: Stream, vendor: Vendor, target: Target, scope: Scope, request: GenerateRequest, *, ask_usage: bool
) -> Request:
    """What *target* is sent for a caller's request, now that it is its turn: *stream* is counted at its price."""
    upstream, provider = target.upstream, target.provider(vendor)
    extra = provider.fields(scope["headers"])
    extra.append(("accept", "text/event-stream" if request.stream else "application/json"))
    body = vendor.rewrite(request, model=target.model, include_usage=ask_usage and upstream.settings.usage)
    stream.meter = Meter(body, provider.seller, target.model)
    return provider.request(vendor.ask, body, extra)


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
