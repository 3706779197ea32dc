"""For clients that come back by themselves: when they may, and what they are told where others get a status.

A browser's EventSource shows nobody the status of an answer, and one that is not 200 ends it for good. So what a status
would say is said within an open response; and how soon it comes back is ours to say, by ``retry:``.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from tokenwire.dialects.native import encode as native
from tokenwire.engine.framing import encode
from tokenwire.gateway.answers import header

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.hub import Hub
    from tokenwire.errors import NotResumable
    from tokenwire.gateway.sinks import Scope, Send

#: Seconds, well within the linger: what cuts one connection often cuts all of them at once.
AFTER_A_CUT: Final = (1.0, 3.0)
#: Seconds: a restart takes some, and all come back from it.
AFTER_A_RESTART: Final = (1.0, 5.0)


def comes_back(scope: Scope, dialect: Dialect | None = None) -> bool:
    """Whether the client asks for an event stream by name and nothing else, as EventSource does and our own clients do;
    *dialect*: the one that it is answered in, native if not said. To others ``retry:`` may be a stumbling block."""
    return (dialect is None or dialect.name == native.NAME) and header(scope, b"accept") == "text/event-stream"


def retry_block(between: tuple[float, float] = AFTER_A_CUT) -> bytes:
    """When who was cut may come back, each after a time of its own. A block by itself, so that the first event is what
    naive parsers expect."""
    low, high = between
    return b"retry: %d\n\n" % random.randint(int(low * 1000), int(high * 1000))


def spread(hub: Hub) -> None:
    """Tell every reader of a running stream whose client understands it when to come back after the restart that is
    near. Who is behind is not told: news do not wait."""
    for stream in hub.running():
        for reader in [each for each in stream.readers if each.returns]:
            reader.tell(retry_block(AFTER_A_RESTART))


def reset(error: NotResumable) -> bytes:
    """*error* as an event of the native dialect: what the reader holds cannot be continued, and what follows replaces
    it. Without an id: nobody goes on after it."""
    return encode([native.reset(error.code, earliest=error.earliest)], _native(), None)


async def send_later(send: Send, between: tuple[float, float] = AFTER_A_RESTART) -> None:
    """Instead of a 503, which an EventSource does not outlive: an open response with nothing in it but when to come
    back, and its end. Its cursor stays, and it asks again with that."""
    await send_events(send, retry_block(between))


async def send_events(send: Send, data: bytes) -> None:
    """A whole answer of events."""
    fields = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache, no-transform")]
    fields += [(b"x-accel-buffering", b"no"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": data})


def _native() -> Dialect:
    from tokenwire import dialects

    return dialects.get(native.NAME)
