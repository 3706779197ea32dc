"""A request in a dialect in, a stream out that an upstream answers: what every route does, and the library without any.

Nothing here knows of a server: of an ASGI scope only the header fields are read.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from tokenwire.errors import RequestRefused
from tokenwire.gateway.answers import header
from tokenwire.gateway.ways import Way, told, ways_to
from tokenwire.measure.usage import Meter
from tokenwire.upstream.route import Leg, Route

if TYPE_CHECKING:
    from tokenwire.dialects.request_body import GenerateRequest
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.core import Core
    from tokenwire.gateway.sinks import Scope
    from tokenwire.gateway.vendors import Caller
    from tokenwire.upstream.request import Request


def start(core: Core, caller: Caller, scope: Scope, owner: str, request: GenerateRequest, *, linger: float) -> Stream:
    """Begin generation. Raises ``RequestRefused`` when the model is unknown, its upstream cannot be asked this, or the
    process is full."""
    if core.draining:
        raise RequestRefused(503, "shutting_down", "the relay is shutting down; try again in a moment")
    ways = ways_to(core.directory.route(request.model), caller, request)
    target, provider = ways[0].target, ways[0].provider
    upstream = target.upstream
    ask_usage = request.stream and upstream.settings.usage
    stream = core.hub.open(
        owner=owner,
        dialect=provider.dialect,
        model=f"{upstream.name}/{target.model}",
        policy=core.settings.limits.policy(linger),
        hide_usage=ask_usage and not request.include_usage,
        stored=header(scope, b"x-tokenwire-store") != "off",
    )
    spoken = {way.provider.dialect.name for way in ways}
    stream.meta["spoken"] = spoken.pop() if len(spoken) == 1 else None  # whoever answers in the end
    stream.meta["upstream"] = upstream.name
    stream.meta["session"] = header(scope, b"x-tokenwire-session")
    route = Route(
        stream,
        core.pool,
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
        max_event=core.settings.limits.upstream_event,
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
