"""A stream relayed to one reader: hold, head, frames, end. The same for every dialect and every server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tokenwire.dialects.deltas import Started
from tokenwire.engine.framing import encode, encode_prefix
from tokenwire.engine.ids import EventId
from tokenwire.errors import NotResumable
from tokenwire.gateway import coming_back, lease
from tokenwire.gateway.answers import stream_headers
from tokenwire.gateway.respond import guarded, refusal, wait_in

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.leases import Lease
    from tokenwire.engine.log import Log
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Timer
    from tokenwire.gateway.sinks import ResponseSink, Send

#: Entries with which an answer ends: why each choice did (two, seldom more), the usage, perhaps an error.
LAST_WORDS = 4


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
        await wait_in(self._sink, send, self.lost)

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
            guarded(self._begin, self._sink, self.lost)

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


def _farewell(stream: Stream, sink: ResponseSink, dialect: Dialect) -> bytes:
    """What only this reader is told: it was detached although the stream goes on, and how to resume."""
    if sink.terminal is None or sink.terminal is stream.terminal:
        return b""
    encoder = stream.encoder(dialect)
    encoder.feed(Started())  # this reader has had the beginning: what an end without one would begin with is not for it
    # Native: the error alone. The stream does not end here, and `done` would vouch for an empty text.
    frames = [frame for frame in encoder.close(sink.terminal) if frame.event != "done"]
    return encode(frames, dialect, None)
