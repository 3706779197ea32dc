"""``POST /v1/chat/completions``: OpenAI chat in, any configured OpenAI-chat upstream out."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from tokenwire import dialects
from tokenwire.dialects.openai_chat_request import ChatRequest, parse_request, rewrite
from tokenwire.errors import RequestRefused
from tokenwire.gateway import guard, respond
from tokenwire.gateway.answers import body_headers, header, read_body, refusal_body, refusal_headers, send_refusal
from tokenwire.gateway.settings import PASSTHROUGH
from tokenwire.measure.usage import Meter
from tokenwire.upstream.route import Leg, Route

if TYPE_CHECKING:
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.directory import Target
    from tokenwire.gateway.sinks import Receive, ResponseSink, Scope, Send
    from tokenwire.upstream.request import Request

#: Request headers that go on to the provider (INTERFACES section 1).
_FORWARDED = (b"openai-", b"anthropic-")


#: The path of this route.
PATH = "/v1/chat/completions"


async def chat_completions(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """One request: stream or whole answer, new or attached by its Idempotency-Key."""
    try:
        owner = guard.admit(scope)
        body = await read_body(scope, receive, gateway.settings.limits.request_body)
        if body is None:
            return
        responding = respond_to(gateway, scope, owner, body, respond.sink_for(scope, receive))
    except RequestRefused as error:
        await send_refusal(send, error, dialects.get("openai.chat"))
        return
    await responding.run(send)


def answer(gateway: Gateway, scope: Scope, body: bytes, sink: ResponseSink) -> None:
    """The same without waiting, for a server that has the whole body and a sink: returns at once."""
    try:
        responding = respond_to(gateway, scope, guard.admit(scope), body, sink)
    except RequestRefused as error:
        refusal = refusal_body(error, dialects.get("openai.chat"))
        sink.answer(error.status, body_headers(error.status, refusal, refusal_headers(error)), refusal)
    else:
        responding.start()


def respond_to(gateway: Gateway, scope: Scope, owner: str, body: bytes, sink: ResponseSink) -> respond.Responding:
    """Start a stream, or find the one that was started by this key. Raises ``RequestRefused``."""
    dialect = dialects.get("openai.chat")
    key = header(scope, b"idempotency-key")
    linger = linger_of(scope, gateway.settings.limits.linger if key else 0.0)
    request = parse_request(body)
    stream = gateway.keys.find(owner, key, body) if key else None
    if stream is None:
        stream = start(gateway, scope, owner, request, linger=linger)
        if key:
            gateway.keys.put(owner, key, body, stream)
    if not request.stream:
        return respond.Whole(stream, sink, dialect)
    ids = header(scope, b"x-tokenwire-ids") == "1"
    return respond.Following(stream, sink, dialect, ids=ids, hold=gateway.settings.limits.hold)


def start(gateway: Gateway, scope: Scope, owner: str, request: ChatRequest, *, linger: float) -> Stream:
    """Begin generation. Raises ``RequestRefused`` when the model is unknown or the process is full."""
    if gateway.draining:
        raise RequestRefused(503, "shutting_down", "the relay is shutting down; try again in a moment")
    targets = gateway.directory.route(request.model)
    target, upstream = targets[0], targets[0].upstream
    # One log is in one dialect: those that speak another cannot take over.
    targets = [each for each in targets if each.upstream.dialect is upstream.dialect]
    ask_usage = request.stream and upstream.settings.usage
    stream = gateway.hub.open(
        owner=owner,
        dialect=upstream.dialect,
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
                request=partial(asked_of, stream, each, scope, request, ask_usage=ask_usage),
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


def asked_of(stream: Stream, target: Target, scope: Scope, request: ChatRequest, *, ask_usage: bool) -> Request:
    """What *target* is sent for a caller's request, now that it is its turn: *stream* is counted at its price."""
    upstream = target.upstream
    extra = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in scope["headers"]
        if name.startswith(_FORWARDED)
        or name == b"traceparent"
        or (name == b"authorization" and upstream.settings.api_key == PASSTHROUGH)
    ]
    extra.append(("accept", "text/event-stream" if request.stream else "application/json"))
    body = rewrite(request, model=target.model, include_usage=ask_usage and upstream.settings.usage)
    stream.meter = Meter(body, upstream.seller, target.model)
    return upstream.request("/chat/completions", body, extra)


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
