"""``POST /agui``: AG-UI. One run of an agent is one answer; the agent is the model and what the request brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tokenwire import dialects
from tokenwire.dialects.agui.request import parse_request
from tokenwire.errors import RequestRefused
from tokenwire.gateway import guard, lease, respond, starting, variants
from tokenwire.gateway.answers import header, read_body, send_refusal
from tokenwire.gateway.following import Following
from tokenwire.gateway.vendors import Caller, always

if TYPE_CHECKING:
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.sinks import Receive, Scope, Send

PATH: Final = "/agui"

CALLER: Final = Caller(dialect="agui", parse=parse_request, answers=always("agui"))


async def agui(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """One run."""
    try:
        owner = guard.admit(scope)
        body = await read_body(scope, receive, gateway.settings.limits.request_body)
        if body is None:
            return
        asked = parse_request(body)
        leased = lease.asked(scope)
        request = msgspec.structs.replace(asked, model=asked.model or gateway.directory.default())
        key = header(scope, b"idempotency-key")
        await gateway.keys.load(owner, key)
        stream = gateway.keys.find(owner, key, body)
        if stream is None:
            linger = starting.linger_of(scope, gateway.settings.limits.linger if key else 0.0)
            stream = starting.start(gateway, CALLER, scope, owner, request, linger=linger)
            stream.meta["session"] = stream.meta["session"] or asked.thread_id
            gateway.keys.put(owner, key, body, stream)
        responding = Following(
            stream,
            respond.sink_for(scope, receive),
            variants.tell(stream, CALLER.dialect, asked.thread_id, asked.run_id),
            ids=True,
            hold=gateway.settings.limits.hold,
            leased=leased,
        )
    except RequestRefused as error:
        await send_refusal(send, error, dialects.get(CALLER.dialect))
        return
    await responding.run(send)
