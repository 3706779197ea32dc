"""From a stream to an HTTP response: hold, head, frames, end. The same for every dialect and every server.

Plain calls, in the loop turn of what causes them: the head leaves with the first token, the end with the last. Only
``run`` waits, for servers that want to be waited in.
"""

from __future__ import annotations

import logging
import math
import random
from typing import TYPE_CHECKING, TypeAlias

from tokenwire.dialects.deltas import Started
from tokenwire.engine.framing import encode, encode_prefix
from tokenwire.engine.ids import EventId
from tokenwire.engine.live import bears
from tokenwire.errors import NotResumable, RequestRefused, UpstreamStatus
from tokenwire.gateway.answers import Headers, body_headers, given, is_object, named, passed, status_of, stream_headers
from tokenwire.gateway.port import EXTENSION
from tokenwire.gateway.sinks import AsgiSink, PortSink, Receive, ResponseSink, Scope, Send

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Timer

log = logging.getLogger(__name__)

#: The request's field that asks for usage while it grows.
USAGE = b"x-tokenwire-usage"


def sink_for(scope: Scope, receive: Receive) -> ResponseSink:
    """Straight to the transport where our own protocol offers it."""
    port = (scope.get("extensions") or {}).get(EXTENSION)
    return AsgiSink(receive) if port is None else PortSink(port)


class Following:
    """One request answered with *stream* in *dialect*, from *after* or else *start* (start, snapshot, now) to its end.

    With *hold*, the head waits for the first generated event, at most so many seconds, so that a failure before it is
    an HTTP error. A held response still watches its client: leaving now is leaving. *lead*: whole blocks that come
    before everything else. *usage*: tell the usage while it grows. Raises ``NotResumable`` before anything is sent.
    """

    __slots__ = (
        "_begun",
        "_dialect",
        "_hold",
        "_lead",
        "_over",
        "_reader",
        "_sink",
        "_snapshot",
        "_stream",
        "_timer",
        "_usage",
    )

    def __init__(
        self,
        stream: Stream,
        sink: ResponseSink,
        dialect: Dialect,
        *,
        ids: bool,
        hold: float = 0.0,
        after: EventId | None = None,
        start: str = "start",
        lead: bytes = b"",
        usage: bool = False,
    ) -> None:
        self._lead = lead
        self._usage = usage
        self._snapshot = start == "snapshot"
        self._stream = stream
        self._sink = sink
        self._dialect = dialect
        self._hold = hold
        self._timer: Timer | None = None
        self._begun = False
        self._over = False
        self._reader = stream.attach(sink, dialect, ids=ids, after=where(stream, dialect, ids, after, start))

    def start(self) -> None:
        """Answer now, or when the answer has begun."""
        stream, sink = self._stream, self._sink
        if not sink.watch(self):
            self.lost()
        elif self._hold and stream.terminal is None and stream.generated_ns is None:
            stream.on_open.append(self._opened)
            if self._hold != math.inf:
                self._timer = stream.wheel.after(self._hold, self._opened)
        else:
            self._opened()

    async def run(self, send: Send) -> None:
        """``start``, and wait for the end. Cancelling is the client's leaving."""
        self.start()
        await _run(self._sink, send, self.lost)

    # ------------------------------------------------------------------ sinks.Owner

    def lost(self) -> None:
        self._over = True
        self._disarm()
        self._reader.leave()
        self._sink.release()

    def writable(self) -> None:
        self._reader.resume()

    def closed(self) -> None:
        if self._begun:
            self._over = True
            self._sink.end(_farewell(self._stream, self._sink, self._dialect))

    # ------------------------------------------------------------------ inside

    def _opened(self) -> None:
        if not (self._begun or self._over):
            self._disarm()
            _guarded(self._begin, self._sink, self.lost)

    def _begin(self) -> None:
        stream, sink, reader = self._stream, self._sink, self._reader
        terminal = stream.terminal
        if self._hold and terminal is not None and terminal.error is not None and stream.generated_ns is None:
            self._over = True
            reader.finish()
            sink.answer(*refusal(stream, self._dialect))
            return
        preface = b""
        if self._snapshot:
            held = stream.log
            # The end marker is no part of a prefix: it still has to come.
            seq = held.last_frame if held.done_seq is None else held.done_seq - 1
            reader.cursor = EventId(held.epoch, seq)
            last = reader.cursor if reader.view.ids else None
            preface = encode_prefix(stream.prefix(self._dialect, seq), self._dialect, last)
        if self._dialect.name == "native" and reader.view.ids and not preface:
            preface = f"id: {reader.cursor}\n\n".encode()  # a cursor before the first event (no data: no dispatch)
        self._begun = True
        sink.begin(stream_headers(stream, self._dialect))
        reader.start(self._lead + preface)
        if self._usage:
            stream.hub.live.follow(reader)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Whole:
    """One request that does not stream: the provider's body as it came, or the stream folded."""

    __slots__ = ("_dialect", "_over", "_reader", "_sink", "_stream")

    def __init__(self, stream: Stream, sink: ResponseSink, dialect: Dialect) -> None:
        self._stream = stream
        self._sink = sink
        self._dialect = dialect
        self._over = False
        self._reader = stream.attach(sink, dialect, ids=False)

    def start(self) -> None:
        """Answer now, or at the stream's end."""
        if not self._sink.watch(self):
            self.lost()
        elif self._stream.terminal is None:
            self._stream.on_end.append(self._ended)
        else:
            self._ended()

    async def run(self, send: Send) -> None:
        """``start``, and wait for the end. Cancelling is the client's leaving."""
        self.start()
        await _run(self._sink, send, self.lost)

    def lost(self) -> None:
        self._over = True
        self._reader.leave()
        self._sink.release()

    def writable(self) -> None:
        """Nothing is written but the answer."""

    def closed(self) -> None:
        """By ``_ended`` itself."""

    def _ended(self) -> None:
        if not self._over:
            self._over = True
            _guarded(self._answer, self._sink, self.lost)

    def _answer(self) -> None:
        stream = self._stream
        self._reader.finish()
        terminal = stream.terminal
        assert terminal is not None
        if terminal.error is not None:
            self._sink.answer(*refusal(stream, self._dialect))
            return
        own = stream.unary and self._dialect is stream.dialect
        body = stream.log.frame(1) if own else self._dialect.fold_response(
            stream.transcript(), stream.id, stream.created, stream.model
        )  # fmt: skip
        self._sink.answer(200, body_headers(200, body, [*named(stream), *passed(given(stream))]), body)


Responding: TypeAlias = Following | Whole


def where(stream: Stream, dialect: Dialect, ids: bool, after: EventId | None, start: str) -> EventId | None:
    """What the request asks to begin after. Raises ``NotResumable`` where nothing can follow."""
    view = stream.view(dialect, ids=ids)
    held = stream.log
    if (after is not None and view.over_at(view.position(after))) or (start == "now" and held.terminal is not None):
        raise NotResumable(204, "over", "nothing is left of this stream")
    if start == "snapshot" and held.first > 1:
        raise stream.trimmed()
    return after if start == "start" else EventId(held.epoch, held.last_frame)


def retry_block() -> bytes:
    """When an EventSource that was cut may come back: after one to three seconds, well within the linger. Spread, for
    a restart cuts all at once. A block of its own, so that the first event is what naive parsers expect."""
    return b"retry: %d\n\n" % random.randrange(1000, 3000)


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


def _guarded(step: Callable[[], None], sink: ResponseSink, lost: Callable[[], None]) -> None:
    """Within a stream's turn nobody above us could answer for our bug: the client must not wait for ever."""
    try:
        step()
    except Exception:
        log.exception("answering failed")
        sink.fail()
        lost()


async def _run(sink: ResponseSink, send: Send, lost: Callable[[], None]) -> None:
    try:
        await sink.run(send)
    except OSError:  # newer servers raise when the client is gone, others drop the bytes
        pass
    finally:
        lost()


def _farewell(stream: Stream, sink: ResponseSink, dialect: Dialect) -> bytes:
    """What only this reader is told: it was detached although the stream goes on, and how to resume."""
    if sink.terminal is None or sink.terminal is stream.terminal:
        return b""
    encoder = stream.encoder(dialect)
    encoder.feed(Started())  # this reader has had the beginning: what an end without one would begin with is not for it
    # Native: the error alone. The stream does not end here, and `done` would vouch for an empty text.
    frames = [frame for frame in encoder.close(sink.terminal) if frame.event != "done"]
    return encode(frames, dialect, None)
