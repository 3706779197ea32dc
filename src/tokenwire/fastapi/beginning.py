"""From what a route wants to a stream that answers: who asks, whether it was asked before, and where it begins."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from tokenwire import dialects
from tokenwire.dialects.agui.request import RunRequest
from tokenwire.dialects.ui_messages.request import UiRequest
from tokenwire.engine.ids import parse_event_id
from tokenwire.errors import NotResumable, RequestRefused
from tokenwire.fastapi.asking import UNNAMED, Asked
from tokenwire.fastapi.response import follow_openly
from tokenwire.fastapi.source import LOGGED, GeneratorSource, discard
from tokenwire.gateway import coming_back, lease, starting, ui_chat, variants
from tokenwire.gateway.answers import header, query
from tokenwire.gateway.following import Following, follow
from tokenwire.gateway.plain_chat import MAX_RUN
from tokenwire.gateway.vendors import OPENAI_CHAT
from tokenwire.gateway.whole import Whole
from tokenwire.measure.prices import Seller
from tokenwire.measure.usage import Meter
from tokenwire.upstream.deadlines import Deadlines

if TYPE_CHECKING:
    from starlette.requests import Request

    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.ids import EventId
    from tokenwire.engine.stream import Stream
    from tokenwire.fastapi.completed import OnComplete
    from tokenwire.fastapi.relay import Relay
    from tokenwire.gateway.respond import Responding
    from tokenwire.gateway.sinks import ResponseSink, Scope

#: Dialects whose events have ids unless somebody says otherwise.
WITH_IDS = frozenset({"native", "ui-messages", "agui"})


class Wanted(Struct, frozen=True, kw_only=True):
    """The arguments of ``Relay.respond``, checked."""

    dialect: str
    asked: Asked | RequestRefused | None
    model: str | None
    source: Any
    session: str | None
    chat_id: str | None
    linger: float | None
    on_complete: OnComplete | None
    ids: bool | None
    metadata: Any


async def answer(relay: Relay, request: Request, wanted: Wanted, sink: ResponseSink) -> Responding:
    """Answer by *sink*. Raises ``RequestRefused`` before anything is sent."""
    scope = request.scope
    core = relay.running.core
    owner = await relay.owner_of(request)
    asked = wanted.asked
    if isinstance(asked, RequestRefused):
        raise asked
    key = _key(scope) if relay.resumable else None
    after = _after(scope)
    if after is not None and key is None and scope["method"] == "GET":  # an EventSource that comes back by itself
        raise NotResumable(204, "no_key", "which stream that was is not known, and no other is begun")
    # Whatever may be refused is looked at before anything is begun.
    ui_version = ui_chat.version_of(scope) if wanted.dialect == "ui-messages" else 0
    dialects.get(header(scope, b"x-tokenwire-dialect") or wanted.dialect)
    leased = _leased(scope, asked)
    model = _model(relay, wanted)
    if wanted.source is None:
        await relay.running.prepare(model)
    digest = _digest(request, asked) if key else b""
    await relay.running.keys.load(owner, key)
    stream = relay.running.keys.find(owner, key, digest)
    if stream is None:
        if after is not None and key:
            raise NotResumable(404, "stream_not_found", "the answer that this would go on with is not known here")
        stream = _begin(relay, scope, owner, wanted, model, lingering=key is not None)
        relay.running.keys.put(owner, key, digest, stream)
    elif wanted.source is not None:
        discard(wanted.source)
    chat = _chat_id(wanted)
    if chat and relay.resumable:
        relay.running.chats.put(owner, chat, stream)
    dialect = _dialect(scope, wanted, stream, ui_version)
    if asked is not None and not asked.request.stream:
        return Whole(stream, sink, dialect)
    follow_openly(stream, sink)
    hold = 0.0 if dialect.name == "native" else core.settings.limits.hold
    ids = relay.resumable and _ids(scope, wanted, dialect)
    after = after if key else None
    if ids and coming_back.comes_back(scope, dialect):
        return follow(stream, sink, dialect, hold=hold, after=after, leased=leased, returns=True)
    return Following(stream, sink, dialect, ids=ids, hold=hold, after=after, leased=leased)


def _leased(scope: Scope, asked: Asked | None) -> float | None:
    said = None if asked is None or asked.said is None else asked.said.lease
    return lease.asked(scope) if said is None else lease.checked(said, said)


def _begin(relay: Relay, scope: Scope, owner: str, wanted: Wanted, model: str, *, lingering: bool) -> Stream:
    core = relay.running.core
    asked = wanted.asked
    linger = _linger(relay, scope, wanted, lingering=lingering)
    if wanted.source is None:
        assert isinstance(asked, Asked)
        request = structs.replace(asked.request, model=model)
        stream = starting.start(core, asked.caller, scope, owner, request, linger=linger)
    else:
        if core.draining:
            raise RequestRefused(503, "shutting_down", "the app is shutting down; try again in a moment")
        policy, stored = core.settings.limits.policy(linger), starting.stored(scope)
        stream = core.hub.open(owner=owner, dialect=LOGGED, model=model, policy=policy, stored=stored)
        stream.meta["upstream"] = "source"
        body = asked.size if isinstance(asked, Asked) else b""
        stream.meter = Meter(body, Seller(None, None), model)
        relay.running.keep(GeneratorSource(stream, wanted.source, Deadlines().total).start())
    said = asked.said if isinstance(asked, Asked) else None
    session = wanted.session or (said.session if said is not None else None)
    stream.meta["session"] = session or header(scope, b"x-tokenwire-session") or _chat_id(wanted) or None
    stream.meta["metadata"] = wanted.metadata if said is None or wanted.metadata is not None else said.metadata
    if isinstance(asked, Asked) and isinstance(asked.request, UiRequest):
        ui_chat.remember(stream, asked.request)
    relay.running.tell_of(stream, wanted.on_complete)
    return stream


def _model(relay: Relay, wanted: Wanted) -> str:
    """Who is to answer. Raises ``RequestRefused`` (400) where nobody said so and there is no default."""
    named = wanted.asked.request.model if isinstance(wanted.asked, Asked) else UNNAMED
    if wanted.source is not None:
        return wanted.model or ("source" if named == UNNAMED else named)
    return relay.running.core.directory.default() if named == UNNAMED else named


def _chat_id(wanted: Wanted) -> str:
    if wanted.chat_id is not None:
        return wanted.chat_id
    request = wanted.asked.request if isinstance(wanted.asked, Asked) else None
    if isinstance(request, UiRequest):
        return request.chat_id
    return request.thread_id if isinstance(request, RunRequest) else ""


def _linger(relay: Relay, scope: Scope, wanted: Wanted, *, lingering: bool) -> float:
    """Seconds that the answer goes on without a reader: the route's word, the client's, the relay's, else by whether
    anybody can come back."""
    if wanted.linger is not None:
        return wanted.linger
    said = wanted.asked.said if isinstance(wanted.asked, Asked) else None
    if said is not None and said.on_disconnect is not None:
        return starting.parse_linger(said.on_disconnect, 0.0)
    default = relay.on_disconnect
    if default is None:
        back = relay.resumable and (lingering or _ids(scope, wanted, dialects.get(wanted.dialect)))
        default = relay.running.core.settings.limits.linger if back else 0.0
    return starting.linger_of(scope, default)


def _ids(scope: Scope, wanted: Wanted, dialect: Dialect) -> bool:
    if wanted.ids is not None:
        return wanted.ids
    return dialect.name in WITH_IDS or header(scope, b"x-tokenwire-ids") == "1"


def _dialect(scope: Scope, wanted: Wanted, stream: Stream, ui_version: int) -> Dialect:
    """The dialect of the answer: the route's, if the client does not name another."""
    named = header(scope, b"x-tokenwire-dialect")
    if named is not None and named != wanted.dialect:
        return dialects.get(named)
    asked = wanted.asked
    request = asked.request if isinstance(asked, Asked) else None
    if wanted.dialect == "ui-messages":
        message = request.response_id if isinstance(request, UiRequest) else ""
        return variants.tell(stream, wanted.dialect, ui_version, message)
    if wanted.dialect == "agui":
        if isinstance(request, RunRequest):
            return variants.tell(stream, wanted.dialect, request.thread_id, request.run_id)
        return variants.tell(stream, wanted.dialect, _chat_id(wanted) or stream.id, stream.id)
    caller = asked.caller if isinstance(asked, Asked) else OPENAI_CHAT
    if request is not None and caller.dialect == wanted.dialect:
        return variants.asked_in(stream, caller, request)
    if wanted.dialect == OPENAI_CHAT.dialect:
        return variants.tell(stream, wanted.dialect, False)
    return dialects.get(wanted.dialect)


def _key(scope: Scope) -> str | None:
    """What the caller knows this request by: the header field, or ``run`` in the address of an EventSource."""
    key = header(scope, b"idempotency-key")
    if key or scope["method"] != "GET":
        return key
    run = query(scope).get("run", "")
    if len(run) > MAX_RUN:
        raise RequestRefused(400, "bad_run", f"a run's name has {MAX_RUN} characters at most", param="run")
    return f"run\0{run}" if run else None


def _after(scope: Scope) -> EventId | None:
    where = header(scope, b"last-event-id") or (query(scope).get("after") if scope["method"] == "GET" else None)
    return parse_event_id(where) if where else None


def _digest(request: Request, asked: Asked | None) -> bytes:
    """What makes a request the same: the client's own words where they are at hand, for the app may add to them (a
    date, say); else what the app made of them."""
    scope = request.scope
    body: bytes | None = getattr(request, "_body", None)  # read by the route or by FastAPI, and kept by Starlette
    if body is None:
        body = b"" if asked is None else asked.size
    return hashlib.sha256(b"%b\0%b\0%b" % (scope["method"].encode(), scope["path"].encode(), body)).digest()
