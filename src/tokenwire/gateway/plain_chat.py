"""``/api/chat`` in its plainest form: a prompt in, text events out (INTERFACES section 1; ``dialects.plain``). What the
AI SDK posts there is ``ui_chat``'s.

POST is for a fetch loop: no ids, and a failure before the first token is an HTTP status. GET is for a native
EventSource, which sends no body and no header, shows no status, and asks the same address again whenever its connection
ends. So GET tells failures as events, gives ids, and never begins a second answer for one that comes back: with ``run``
it goes on where it was, and is told 204 once nothing is left. What is refused is told as an event, too, to who asks for
an event stream and nothing else; only when it is too busy here that client is told to come back later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tokenwire import dialects
from tokenwire.dialects.base import Frame
from tokenwire.dialects.plain.dialect import DIALECT
from tokenwire.dialects.plain.request import Question, checked, in_words_of, parse_question
from tokenwire.engine.framing import encode
from tokenwire.engine.ids import EventId, parse_event_id
from tokenwire.errors import NotResumable, RequestRefused
from tokenwire.gateway import coming_back, guard, lease, respond, starting, ui_chat
from tokenwire.gateway.answers import MethodNotAllowed, header, query, read_body, refusal_body, send_refusal
from tokenwire.gateway.following import Following
from tokenwire.gateway.vendors import OPENAI_CHAT

if TYPE_CHECKING:
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.sinks import Receive, Scope, Send

PATH: Final = "/api/chat"

#: A UUID has 36 characters; a name of somebody's own may be longer.
MAX_RUN: Final = 200
#: The id of an event that says why there is nothing: no log has this epoch, so who comes back with it was told.
TOLD: Final = EventId(0, 0)


async def plain_chat(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Everything at ``/api/chat``."""
    method = scope["method"]
    ui = admitted = False
    try:
        if method == "POST":
            owner = guard.admit(scope)
            body = await read_body(scope, receive, gateway.settings.limits.request_body)
            if body is None:
                return
            await gateway.keys.load(owner, header(scope, b"idempotency-key"))
            if ui_chat.takes(body):
                ui = True
                responding = ui_chat.posted(gateway, scope, receive, owner, body)
            else:
                responding = _posted(gateway, scope, receive, owner, body)
        elif method == "GET":
            owner = guard.admit_spending_get(scope)
            admitted = coming_back.comes_back(scope)
            if run := query(scope).get("run"):
                await gateway.keys.load(owner, _key_of(run))
            responding = _got(gateway, scope, receive, owner)
        else:
            guard.admit(scope)
            raise MethodNotAllowed(method, "GET, POST")
    except RequestRefused as error:
        if admitted and error.status != 204:
            await _tell(send, error)
        else:
            await send_refusal(send, error, dialects.get("ui-messages") if ui else DIALECT)
        return
    await responding.run(send)


async def _tell(send: Send, error: RequestRefused) -> None:
    """*error* to an EventSource, which would show it to nobody, and ask again for ever if its answer just ended: an
    event, and an id with which it is told 204."""
    if error.status == 503:
        await coming_back.send_later(send)
        return
    frame = Frame(None, refusal_body(error, DIALECT).decode())
    await coming_back.send_events(send, coming_back.retry_block() + encode([frame], DIALECT, TOLD))


def _posted(gateway: Gateway, scope: Scope, receive: Receive, owner: str, body: bytes) -> Following:
    question = parse_question(body)
    leased = lease.asked(scope)
    key = header(scope, b"idempotency-key")
    stream = gateway.keys.find(owner, key, body)
    if stream is None:
        stream = _start(gateway, scope, owner, question)
        gateway.keys.put(owner, key, body, stream)
    ids = header(scope, b"x-tokenwire-ids") == "1"
    hold = gateway.settings.limits.hold
    sink = respond.sink_for(scope, receive)
    return Following(stream, sink, DIALECT, ids=ids, hold=hold, leased=leased)


def _got(gateway: Gateway, scope: Scope, receive: Receive, owner: str) -> Following:
    parameters = query(scope)
    # The address is that of the first time, whenever it is asked: the header is newer.
    where = header(scope, b"last-event-id") or parameters.get("after")
    if where == str(TOLD):
        raise NotResumable(204, "over", "why there is no answer was told")
    question = checked(
        Question(parameters.get("prompt", ""), parameters.get("model") or None, parameters.get("system") or None)
    )
    run = parameters.get("run", "")
    if len(run) > MAX_RUN:
        raise RequestRefused(400, "bad_run", f"a run's name has {MAX_RUN} characters at most", param="run")
    after = parse_event_id(where) if where else None
    leased = lease.asked(scope)
    stream = _of_run(gateway, scope, owner, run, question, after)
    sink = respond.sink_for(scope, receive)
    lead = coming_back.retry_block()
    try:
        return Following(stream, sink, DIALECT, ids=True, after=after, lead=lead, leased=leased, returns=True)
    except NotResumable as error:
        failed = stream.terminal.error if stream.terminal is not None else None
        if error.status != 409 or failed is None:
            raise
        # Behind a restart: the page saw more than was stored. It has no word for a reset, and is told the reason.
        raise NotResumable(409, failed.code, f"{failed.message}; without an id, this address tells it") from error


def _of_run(gateway: Gateway, scope: Scope, owner: str, run: str, question: Question, after: EventId | None) -> Stream:
    """The stream that *run* began, else a new one. Raises ``RequestRefused`` for who comes back to nothing."""
    if not run:
        if after is not None:  # which stream that was is not known, and a second one is not what it asks for
            raise NotResumable(204, "no_run", "only an answer that was begun with run=NAME can be gone on with")
        return _start(gateway, scope, owner, question)
    key = _key_of(run)
    asked = msgspec.json.encode(question)
    try:
        stream = gateway.keys.find(owner, key, asked, again=after is None)
    except RequestRefused as error:
        if error.status == 422:
            message = f"the run {run!r} was begun with another prompt, model or system; use a new name"
            raise RequestRefused(422, "run_mismatch", message, param="run") from error
        raise NotResumable(410, "stream_expired", f"the answer of the run {run!r} is no longer kept") from error
    if stream is None:
        if after is not None:
            raise NotResumable(404, "stream_not_found", f"no run {run!r}")
        stream = _start(gateway, scope, owner, question)
        gateway.keys.put(owner, key, asked, stream)
    return stream


def _key_of(run: str) -> str:
    return f"run\0{run}"  # no header holds a NUL: it is nobody's Idempotency-Key


def _start(gateway: Gateway, scope: Scope, owner: str, question: Question) -> Stream:
    model = question.model or gateway.directory.default()
    body = in_words_of(question, model)
    linger = starting.linger_of(scope, gateway.settings.limits.linger)
    return starting.start(gateway, OPENAI_CHAT, scope, owner, OPENAI_CHAT.parse(body), linger=linger)
