"""The vendors' routes that generate (``vendors``): a request in a dialect in, an upstream that speaks it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire import dialects
from tokenwire.errors import RequestRefused
from tokenwire.gateway import guard, lease, respond, responses, variants
from tokenwire.gateway.answers import body_headers, header, read_body, refusal_body, refusal_headers, send_refusal
from tokenwire.gateway.following import Following
from tokenwire.gateway.starting import linger_of, start
from tokenwire.gateway.vendors import OPENAI_RESPONSES
from tokenwire.gateway.whole import Whole

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.dialects.request_body import GenerateRequest
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.sinks import Receive, ResponseSink, Scope, Send
    from tokenwire.gateway.vendors import Caller, Vendor


async def generate(gateway: Gateway, vendor: Vendor, scope: Scope, receive: Receive, send: Send) -> None:
    """One request: stream or whole answer, new or attached by its Idempotency-Key."""
    try:
        owner = guard.admit(scope)
        body = await read_body(scope, receive, gateway.settings.limits.request_body)
        if body is None:
            return
        await gateway.keys.load(owner, header(scope, b"idempotency-key"))
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
    leased = lease.asked(scope)
    request = vendor.parse(body)
    # Where the model is in the path, the body alone is not what was asked.
    asked = body if vendor.path or not key else scope["path"].encode() + b"\0" + body
    stream = gateway.keys.find(owner, key, asked)
    if stream is None:
        stream = start(gateway, vendor, scope, owner, request, linger=linger)
        if vendor is OPENAI_RESPONSES:
            responses.remember(gateway, stream)
        gateway.keys.put(owner, key, asked, stream)
    dialect = answered_in(vendor, scope, request, stream)
    if not request.stream:
        return Whole(stream, sink, dialect)
    ids = header(scope, b"x-tokenwire-ids") == "1"
    usage = respond.live_usage(usage_asked, dialect)
    hold = gateway.settings.limits.hold
    return Following(stream, sink, dialect, ids=ids, hold=hold, usage=usage, leased=leased)


def answered_in(caller: Caller, scope: Scope, request: GenerateRequest, stream: Stream) -> Dialect:
    """The dialect of the answer: that of the request, if the caller does not name another."""
    named = header(scope, b"x-tokenwire-dialect")
    if named is not None and named != caller.dialect:
        return dialects.get(named)
    return variants.asked_in(stream, caller, request)
