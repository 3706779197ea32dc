"""Usage while it grows: told to whoever asked for it, at most twice a second, and only when it has changed.

One timer serves all streams that have such readers, and there is none while no stream has. Nothing is done per token:
each look reads what came since the one before, from the log. Streams are looked at when their half second is over, a
portion at a time, so that a thousand of them never keep a token waiting.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from tokenwire.dialects.base import Dialect, Frame
from tokenwire.dialects.native.encode import NAME, usage_fields
from tokenwire.engine.framing import encode
from tokenwire.engine.ids import EventId
from tokenwire.engine.tally import Tally
from tokenwire.engine.timers import Timer

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Usage
    from tokenwire.engine.clock import Clock
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Wheel

#: Seconds between two looks at a stream. Who reads along sees no more often than that what a figure was.
PERIOD: Final = 0.5
#: Streams looked at in one turn of the loop: half a millisecond, where their frames are in envelopes. With turns of
#: 20 ms that is 400 of them twice a second each, and more of them less often.
PORTION: Final = 16


class Live:
    """One per hub. Plain calls in the loop's thread."""

    def __init__(self, clock: Clock, wheel: Wheel) -> None:
        self._clock = clock
        self._wheel = wheel
        self._due: deque[tuple[int, Stream]] = deque()  # each is due ``PERIOD`` after it came: they stay in order
        self._timer = Timer(None)

    def follow(self, reader: Reader) -> None:
        """Tell *reader* from now on: in the native dialect by events, in others by comments."""
        stream = reader.stream
        if stream.terminal is None:
            self.watch(stream).readers[reader] = None

    def watch(self, stream: Stream) -> Tally:
        """Count what *stream* says from now on, whether or not anybody is told."""
        tally = stream.tally
        if tally is None:
            tally = stream.tally = Tally()
        if not tally.queued:
            self._queue(stream, tally)
        return tally

    def usage(self, stream: Stream) -> Usage | None:
        """What *stream* has used so far; None before it has said anything, and when it is over."""
        if stream.terminal is not None:
            return None
        tally = self.watch(stream)
        tally.look(stream)
        usage = tally.usage(stream)
        return usage if usage.output else None

    def __len__(self) -> int:
        """Streams that are looked at."""
        return len(self._due)

    def _queue(self, stream: Stream, tally: Tally) -> None:
        tally.queued = True
        self._due.append((self._clock.now_ns() + int(PERIOD * 1e9), stream))
        self._arm()

    def _arm(self) -> None:
        if self._due and not self._timer.active:
            self._timer = self._wheel.after(max(0.0, (self._due[0][0] - self._clock.now_ns()) / 1e9), self._tick)

    def _tick(self) -> None:
        now = self._clock.now_ns()
        try:
            for _ in range(PORTION):
                if not self._due or self._due[0][0] > now:
                    break
                self._take(self._due.popleft()[1])
        finally:  # one bad stream is not looked at again, the others are
            self._arm()

    def _take(self, stream: Stream) -> None:
        tally = stream.tally
        if tally is None or stream.terminal is not None:
            return
        tally.queued = False
        for gone in [reader for reader in tally.readers if reader.over]:
            del tally.readers[gone]
        if stream.readers:
            tally.unread = None
        if tally.readers or tally.unread is not None or stream.counted_exactly:
            self._look(stream, tally)
            self._queue(stream, tally)

    def _look(self, stream: Stream, tally: Tally) -> None:
        tally.look(stream)
        if tally.unread is not None and (enough := tally.unread.look(stream, tally)) and not stream.is_whole():
            stream.cancel(enough.message, code=enough.code)
        if not tally.readers:
            return
        usage = tally.usage(stream)
        if not usage.output:
            return
        for reader, last in list(tally.readers.items()):
            if reader.live and usage != last:
                tally.readers[reader] = usage
                if data := _told(stream, reader, usage):
                    reader.tell(data)


def _told(stream: Stream, reader: Reader, usage: Usage) -> bytes:
    """*usage* in the words of *reader*'s dialect."""
    view = reader.view
    fields = msgspec.json.encode(usage_fields(usage))
    if view.dialect.name == NAME:
        if not usage.estimated:  # an event of the log has said just that, and is counted
            return b""
        # The newest entry's id: whoever resumes after it resumes after that.
        event_id = EventId(stream.log.epoch, stream.log.last) if view.ids else None
        return encode([Frame("usage", fields.decode())], view.dialect, event_id)
    return b": usage %b\n%b" % (fields, b"" if view.ids else b"\n")


def bears(dialect: Dialect) -> bool:
    """Whether there is a way to tell a reader of *dialect*: stock clients of the others trip over comments."""
    return dialect.framing == "sse" and dialect.ids is not None
