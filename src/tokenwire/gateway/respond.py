"""From a stream to an HTTP response: hold, head, frames, end. The same for every dialect and every server.

Plain calls, in the loop turn of what causes them: the head leaves with the first token, the end with the last. Only
``run`` waits, for servers that want to be waited in.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, TypeAlias

from tokenwire.dialects.deltas import Started
from tokenwire.engine.framing import encode, encode_prefix
from tokenwire.engine.ids import EventId
from tokenwire.engine.live import bears
from tokenwire.errors import NotResumable, RequestRefused, UpstreamStatus
from tokenwire.gateway import coming_back, lease
from tokenwire.gateway.answers import (
    Headers,
    body_headers,
    given,
    is_object,
    named,
    passed,
    refusal_body,
    refusal_headers,
    status_of,
    stream_headers,
)
from tokenwire.gateway.port import EXTENSION
from tokenwire.gateway.sinks import AsgiSink, PortSink, Receive, ResponseSink, Scope, Send

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.leases import Lease
    from tokenwire.engine.log import Log
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Timer

log = logging.getLogger(__name__)

#: Entries with which an answer ends: why each choice did (two, seldom more), the usage, perhaps an error.
LAST_WORDS = 4
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
    before everything else. *usage*: tell the usage while it grows. *leased*: seconds after which the client has left
    if it has not said that it is there; from the head on, for before it knows of no stream. *returns*: it comes back by
    itself, and is told when. Raises ``NotResumable`` before anything is sent.
    """

    __slots__ = (
        "_begun",
        "_dialect",
        "_hold",
        "_lead",
        "_lease",
        "_leased",
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
        leased: float | None = None,
        returns: bool = False,
    ) -> None:
        self._lead = lead
        self._leased = leased
        self._lease: Lease | None = None
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
        self._reader.returns = returns

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
        self._disarm()
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
            seq = _before_end(held)
            reader.cursor = EventId(held.epoch, seq)
            last = reader.cursor if reader.view.ids else None
            if seq:  # else the whole is what follows, and begins with what a prefix begins with
                preface = encode_prefix(stream.prefix(self._dialect, seq), self._dialect, last)
        if self._dialect.name == "native" and reader.view.ids and not preface:
            preface = f"id: {reader.cursor}\n\n".encode()  # a cursor before the first event (no data: no dispatch)
        self._begun = True
        if self._leased is not None and terminal is None:
            self._lease = stream.leaving.lease(stream, self._leased, self._lapsed)
        sink.begin([*stream_headers(stream, self._dialect), *lease.headers(self._lease)])
        reader.start(self._lead + preface)
        if self._usage:
            stream.hub.live.follow(reader)

    def _lapsed(self) -> None:
        self._lease = None
        self._reader.dismiss("lease_lapsed", f"did not renew its lease of {self._leased:g} s")

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lease is not None:
            held, self._lease = self._lease, None
            if (leases := self._stream.leaving.leases) is not None:
                leases.release(held)


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
        stream = self._stream
        if self._over:
            return
        if stream.log.present or stream.hub.archive is None:
            self._told(None)
        else:  # of a long answer, the store has the beginning
            stream.hub.archive.fetch(stream, 1, self._told, whole=True)

    def _told(self, error: Exception | None) -> None:
        """All of it is here, unless there was an *error*."""
        if self._over:
            return
        self._over = True
        if error is None:
            _guarded(self._answer, self._sink, self.lost)
        else:
            _guarded(self._refuse, self._sink, self.lost)

    def _refuse(self) -> None:
        self._reader.finish()
        refused = RequestRefused(503, "store_away", "the answer is whole, and cannot be read from the store now")
        body = refusal_body(refused, self._dialect)
        self._sink.answer(503, body_headers(503, body, refusal_headers(refused)), body)

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


def _before_end(held: Log) -> int:
    """The newest entry that a prefix may hold. What ends an answer is no part of it and still has to come, in the
    provider's own words: why it ended, what it used (a prefix of chunks has no place for that), an error, the end
    marker."""
    seq = held.last_frame if held.done_seq is None else held.done_seq - 1
    for _ in range(LAST_WORDS):
        if seq not in held.notable:
            break
        seq -= 1
    return seq


def follow(
    stream: Stream,
    sink: ResponseSink,
    dialect: Dialect,
    *,
    hold: float = 0.0,
    after: EventId | None = None,
    start: str = "start",
    usage: bool = False,
    leased: float | None = None,
    returns: bool = False,
) -> Following:
    """``Following`` with ids. Who *returns* sees no status: where its cursor cannot be continued (409, 410) it is told
    so by ``reset``, and gets a snapshot and what follows; where there is none, what is still held. Raises
    ``NotResumable`` as ``Following`` does, for all else."""

    def following(lead: bytes, after: EventId | None, start: str) -> Following:
        return Following(
            stream, sink, dialect,
            ids=True, hold=hold, after=after, start=start, lead=lead, usage=usage, leased=leased, returns=returns,
        )  # fmt: skip

    lead = coming_back.retry_block() if returns else b""
    try:
        return following(lead, after, start)
    except NotResumable as error:
        if not returns or error.status not in (409, 410):
            raise
        lost = error
    try:
        return following(lead + coming_back.reset(lost), None, "snapshot")
    except NotResumable:
        cursor = stream.view(dialect, ids=True).earliest()
        first = str(EventId(cursor.epoch, cursor.seq + 1))
        told = NotResumable(lost.status, lost.code, str(lost), earliest=first)
        return following(lead + coming_back.reset(told), cursor, "start")


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
