"""A request in a dialect in, a stream out that an upstream answers: what every route does, and the library without any.

Nothing here knows of a server: of an ASGI scope only the header fields are read.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from tokenwire import dialects
from tokenwire.engine.replay import Replay
from tokenwire.engine.sharing import Share
from tokenwire.errors import RequestRefused
from tokenwire.gateway import caching
from tokenwire.gateway.answers import header
from tokenwire.gateway.ways import Way, told, ways_to
from tokenwire.measure.usage import Meter
from tokenwire.upstream.route import Leg, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.dialects.request_body import GenerateRequest
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.cache import Found
    from tokenwire.gateway.caching import Wish
    from tokenwire.gateway.core import Core
    from tokenwire.gateway.sinks import Scope
    from tokenwire.gateway.vendors import Caller
    from tokenwire.upstream.request import Request


def start(core: Core, caller: Caller, scope: Scope, owner: str, request: GenerateRequest, *, linger: float) -> Stream:
    """Begin generation, or tell a kept answer again, or share one that comes. Raises ``RequestRefused`` when the model
    is unknown, its upstream cannot be asked this, or the process is full."""
    if core.draining:
        raise RequestRefused(503, "shutting_down", "the relay is shutting down; try again in a moment")
    ways = ways_to(core.directory.route(request.model), caller, request)
    wish = caching.wish_of(core, caller, scope, owner, request, ways)
    stream = _opened(core, owner, request, ways[0], linger, stored=stored(scope))
    stream.meta["session"] = header(scope, b"x-tokenwire-session")
    source: Route | Replay | Share
    if wish is not None:
        caching.remember(wish, stream)
    if wish is None:
        source = _route(core, stream, caller, scope, request, ways)
    elif (found := caching.found(core, wish)) is not None:
        source = _told_again(stream, found, request, paced=wish.settings.replay == "paced")
    elif wish.settings.share:
        source = _shared(core, stream, wish, caller, scope, request, ways)
    else:
        stream.meta["cache"] = "miss"
        caching.keep_when_whole(core, wish, stream)
        source = _route(core, stream, caller, scope, request, ways)
    source.start()
    return stream


def _opened(core: Core, owner: str, request: GenerateRequest, way: Way, linger: float, *, stored: bool) -> Stream:
    """A new stream, for what comes on *way* in all likelihood."""
    upstream = way.target.upstream
    stream = core.hub.open(
        owner=owner,
        dialect=way.provider.dialect,
        model=f"{upstream.name}/{way.target.model}",
        policy=core.settings.limits.policy(linger),
        hide_usage=_asks_usage(request, way) and not request.include_usage,
        stored=stored,
    )
    stream.meta["upstream"] = upstream.name
    return stream


def _asks_usage(request: GenerateRequest, first: Way) -> bool:
    """Whether a stream's usage is asked for: as the settings of the upstream have it that is asked first."""
    return request.stream and first.target.upstream.settings.usage


def _route(
    core: Core, stream: Stream, caller: Caller, scope: Scope, request: GenerateRequest, ways: Sequence[Way]
) -> Route:
    """The source that asks upstreams."""
    stream.meta["spoken"] = _spoken(ways)
    ask_usage = _asks_usage(request, ways[0])
    return Route(
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


def _spoken(ways: Sequence[Way]) -> str | None:
    """The dialect of whoever answers in the end, if that is certain."""
    spoken = {way.provider.dialect.name for way in ways}
    return spoken.pop() if len(spoken) == 1 else None


def _told_again(stream: Stream, found: Found, request: GenerateRequest, *, paced: bool) -> Replay:
    """The source that tells a kept answer."""
    recording = found.recording
    stream.speaks(dialects.get(recording.dialect))
    stream.rename(recording.model)
    stream.meta["upstream"] = recording.model.partition("/")[0]
    stream.meta["notes"] = recording.notes
    stream.meta["cache"] = "hit"
    stream.meta["age"] = found.age
    # One body that is told as a stream is encoded anew, and so with or without its usage, as was asked.
    stream.meta["spoken"] = None if recording.unary and request.stream else recording.dialect
    return Replay(stream, recording, paced=paced)


def _shared(
    core: Core,
    stream: Stream,
    wish: Wish,
    caller: Caller,
    scope: Scope,
    request: GenerateRequest,
    ways: Sequence[Way],
) -> Share:
    """The source that tells what comes to all who asked the same; if nobody has, the upstream is asked now."""
    origin = core.cache.running(wish.key)
    stream.meta["cache"] = "miss" if origin is None else "shared"
    stream.meta["spoken"] = _spoken(ways)
    if origin is None:
        origin = _opened(core, caching.NOBODY, request, ways[0], 0.0, stored=False)
        caching.keep_when_whole(core, wish, origin)
        core.cache.run(wish.key, origin)
        _route(core, origin, caller, scope, request, ways).start()
    return Share(stream, origin)


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


def stored(scope: Scope) -> bool:
    """Whether the stream may be kept on disk: ``X-Tokenwire-Store: off`` says no. Raises ``RequestRefused`` (400)."""
    said = header(scope, b"x-tokenwire-store")
    if said not in (None, "on", "off"):
        raise RequestRefused(400, "bad_store", f"store is on or off, not {said[:40]!r}", param="x-tokenwire-store")
    return said != "off"


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
