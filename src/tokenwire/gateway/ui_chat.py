"""What the AI SDK's ``useChat`` asks (INTERFACES section 1): an answer, its rest after a reload, and its stop.

``POST /api/chat`` is ``plain_chat``'s as well, which passes the AI SDK's bodies on to here. The SDK keeps no cursor:
who resumes gets one legal prefix, under the same message id, and goes on live.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from tokenwire import dialects
from tokenwire.dialects.ui_messages.again import told_again
from tokenwire.dialects.ui_messages.dialect import VERSIONS, dialect_for
from tokenwire.dialects.ui_messages.request import parse_request
from tokenwire.errors import NotResumable, RequestRefused
from tokenwire.gateway import guard, lease, respond, starting, variants
from tokenwire.gateway.answers import MethodNotAllowed, header, send_json, send_refusal
from tokenwire.gateway.following import Following
from tokenwire.gateway.vendors import Caller, always
from tokenwire.gateway.whole import Whole

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.dialects.request_body import GenerateRequest
    from tokenwire.dialects.ui_messages.request import UiRequest
    from tokenwire.engine.stream import Stream
    from tokenwire.gateway.app import Gateway
    from tokenwire.gateway.sinks import Receive, Scope, Send

_PATH: Final = re.compile(r"/api/chat/([^/]{1,200})/(stream|stop)")
#: The AI SDK's major version, for the parts that only newer clients bear. Without it, what all of them bear.
VERSION: Final = b"x-tokenwire-ui-messages"
_PLAINEST: Final = 5
# Where a stream keeps which message its answer belongs to.
_MESSAGE: Final = "ui-message"

CALLER: Final = Caller(dialect="ui-messages", parse=parse_request, answers=always("ui-messages"))


def takes(body: bytes) -> bool:
    """Whether a body that was posted to ``/api/chat`` is the AI SDK's: it has messages, and no prompt beside them."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return False
    return "messages" in fields and "prompt" not in fields


def matches(path: str) -> bool:
    """Whether *path* is one of a chat's."""
    return _PATH.fullmatch(path) is not None


def posted(gateway: Gateway, scope: Scope, receive: Receive, owner: str, body: bytes) -> respond.Responding:
    """A message of the user, or the wish for another answer to it. Raises ``RequestRefused``."""
    version = version_of(scope)
    leased = lease.asked(scope)
    asked = parse_request(body)
    request: GenerateRequest = msgspec.structs.replace(asked, model=asked.model or gateway.directory.default())
    key = header(scope, b"idempotency-key")
    stream = gateway.keys.find(owner, key, body)
    if stream is None:
        linger = starting.linger_of(scope, gateway.settings.limits.linger)
        stream = starting.start(gateway, CALLER, scope, owner, request, linger=linger)
        stream.meta["session"] = stream.meta["session"] or asked.chat_id or None
        remember(stream, asked)
        gateway.keys.put(owner, key, body, stream)
    if asked.chat_id:
        gateway.chats.put(owner, asked.chat_id, stream)
    sink = respond.sink_for(scope, receive)
    dialect = variants.tell(stream, CALLER.dialect, version, asked.response_id)
    if not asked.stream:
        return Whole(stream, sink, dialect)
    return Following(stream, sink, dialect, ids=True, hold=gateway.settings.limits.hold, leased=leased)


async def ui_chat(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """``GET /api/chat/{id}/stream`` and ``POST /api/chat/{id}/stop``."""
    match = _PATH.fullmatch(scope["path"])
    assert match is not None  # ``matches``
    chat, what = match.groups()
    try:
        owner = guard.admit(scope)
        allowed = "GET" if what == "stream" else "POST"
        if scope["method"] != allowed:
            raise MethodNotAllowed(scope["method"], allowed)
        stream = gateway.chats.running(owner, chat)
        if what == "stop":
            stopped = stream is not None and stream.cancel()
            await send_json(send, 200, {"stopped": stopped})
            return
        if stream is not None:
            await gateway.hub.whole(stream)  # of a long answer, the store may have the beginning
        if stream is None or stream.terminal is not None:
            raise NotResumable(204, "over", "no answer of this chat is under way")
        sink = respond.sink_for(scope, receive)
        dialect = again(stream, version_of(scope))
        following = Following(stream, sink, dialect, ids=True, start="snapshot", leased=lease.asked(scope))
    except RequestRefused as error:
        await send_refusal(send, error, dialects.get(CALLER.dialect))
        return
    await following.run(send)


def remember(stream: Stream, asked: UiRequest) -> None:
    """Keep with *stream*, while it runs, which message its answer goes on with: ``again`` tells who resumes."""
    if stream.terminal is None:  # what is over cannot be resumed, and the message may be large
        stream.meta[_MESSAGE] = (asked.response_id, asked.response)
        stream.on_end.append(partial(_forget, stream))


def _forget(stream: Stream) -> None:
    stream.meta.pop(_MESSAGE, None)


def again(stream: Stream, version: int) -> Dialect:
    """The dialect of who resumes: the page begins with an empty message, so what stood in it before this answer (calls
    and their results, say) is told first."""
    found = stream.meta.get(_MESSAGE)
    message_id, earlier = found if isinstance(found, tuple) else ("", None)
    return dialect_for(version, message_id, told_again(earlier, version))


def version_of(scope: Scope) -> int:
    """The AI SDK's major version, as the request says. Raises ``RequestRefused`` (400) for one that is not known."""
    said = header(scope, VERSION) or str(_PLAINEST)
    version = int(said) if said.isascii() and said.isdigit() and len(said) < 3 else 0
    if version not in VERSIONS:
        known = ", ".join(map(str, VERSIONS))
        message = f"{VERSION.decode()} is the AI SDK's major version, one of {known}"
        raise RequestRefused(400, "bad_version", message, param=VERSION.decode())
    return version
