"""What the two ways of answering with a stream share: as it comes (``following``), and at once (``whole``).

Plain calls, in the loop turn of what causes them: the head leaves with the first token, the end with the last. Only
``run`` waits, for servers that want to be waited in.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from tokenwire.engine.live import bears
from tokenwire.errors import RequestRefused, UpstreamStatus
from tokenwire.gateway.answers import Headers, body_headers, is_object, named, passed, status_of
from tokenwire.gateway.port import EXTENSION
from tokenwire.gateway.sinks import AsgiSink, PortSink, Receive, ResponseSink, Scope, Send

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.stream import Stream

log = logging.getLogger(__name__)

#: The request's field that asks for usage while it grows.
USAGE = b"x-tokenwire-usage"


class Responding(Protocol):
    """One request, being answered: ``following.Following`` or ``whole.Whole``."""

    def start(self) -> None:
        """Answer now, or when there is something to answer with."""
        ...

    async def run(self, send: Send) -> None:
        """``start``, and wait for the end. Cancelling is the client's leaving."""
        ...


def sink_for(scope: Scope, receive: Receive) -> ResponseSink:
    """Straight to the transport where our own protocol offers it."""
    port = (scope.get("extensions") or {}).get(EXTENSION)
    return AsgiSink(receive) if port is None else PortSink(port)


def usage_asked(value: str | None) -> bool | None:
    """What ``X-Tokenwire-Usage`` asks for: live (True), off (False), or nothing (None). Raises ``RequestRefused``."""
    if value not in (None, "live", "off"):
        raise RequestRefused(400, "bad_usage", f"usage is live or off, not {value[:40]!r}", param=USAGE.decode())
    return None if value is None else value == "live"


def live_usage(asked: bool | None, dialect: Dialect) -> bool:
    """Whether a reader of *dialect* who *asked* so is told the usage while it grows. Native readers need not ask."""
    return bears(dialect) and (dialect.name == "native" if asked is None else asked)


def refusal(stream: Stream, dialect: Dialect) -> tuple[int, Headers, bytes]:
    """A failure before the first byte: the provider's own words in its own dialect, else ours in the caller's."""
    terminal = stream.terminal
    assert terminal is not None
    assert terminal.error is not None
    refused = stream.meta.get("refused")
    status = status_of(terminal.error)
    body = dialect.error_body(terminal.error, status)
    headers: Headers = named(stream)
    if isinstance(refused, UpstreamStatus):
        headers += passed(refused.headers)
        if dialect is stream.dialect and is_object(refused.body):
            body = refused.body
    return status, body_headers(status, body, headers), body


def guarded(step: Callable[[], None], sink: ResponseSink, lost: Callable[[], None]) -> None:
    """Within a stream's turn nobody above us could answer for our bug: the client must not wait for ever."""
    try:
        step()
    except Exception:
        log.exception("answering failed")
        sink.fail()
        lost()


async def wait_in(sink: ResponseSink, send: Send, lost: Callable[[], None]) -> None:
    """Until the answer is complete, or the client gone; after that, at the latest, it is *lost*."""
    try:
        await sink.run(send)
    except OSError:  # newer servers raise when the client is gone, others drop the bytes
        pass
    finally:
        lost()
