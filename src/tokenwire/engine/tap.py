"""A reader in this very process: deltas instead of bytes, taken when its user asks, not when they come.

For the stream it is a reader like any other: when it leaves the policy decides, and what it has not taken yet is kept
for it, or holds the upstream up. Most of what it has taken is forgotten: nobody else reads this log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokenwire import dialects
from tokenwire.dialects.deltas import Failed
from tokenwire.engine.framing import parse
from tokenwire.engine.ids import EventId
from tokenwire.engine.inside import InsideView
from tokenwire.engine.tally import Tally
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from tokenwire.dialects.base import Decoder
    from tokenwire.dialects.deltas import Delta, Terminal, Usage
    from tokenwire.engine.stream import Stream

#: Entries that are decoded at a time: a user who is far behind must not hold up everybody else in this loop.
PAGE = 256
#: Bytes of what was taken that are kept: short answers stay whole until their end, and teach what their model's tokens
#: are.
WINDOW = 256 * 1024


class Taken:
    """What one entry brought, and when it came (CLOCK_MONOTONIC, nanoseconds)."""

    __slots__ = ("arrived_ns", "deltas")

    def __init__(self, deltas: list[Delta], arrived_ns: int) -> None:
        self.deltas = deltas
        self.arrived_ns = arrived_ns


class Tap:
    """One user of one stream, from its beginning.

    Attributes:
        stream: what is read.
        failed: the failure that ended the answer, once all before it was taken; None if it ended well.
        over: nothing more will come.
    """

    __slots__ = ("_decoder", "_reader", "_seq", "_tally", "_waiting", "failed", "over", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.failed: Failed | None = None
        self.over = False
        self._seq = 0
        self._decoder: Decoder | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._tally = stream.tally = Tally()
        view = _TapView(stream, self)
        self._reader = view.reader()
        view.live.append(self._reader)
        stream.views.append(view)
        stream.readers.append(self._reader)
        stream.leaving.joined()

    async def take(self) -> list[Taken]:
        """What has come since the last call: waits until something has. Empty when the answer is over.

        A cancelled wait loses nothing. One task at a time may wait.
        """
        if self._waiting is not None:
            raise LocalProtocolError("another task reads this stream: one at a time may")
        while True:
            taken = self.ready()
            if taken or self.over:
                return taken
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None

    def ready(self) -> list[Taken]:
        """The same without waiting: what is there, at most ``PAGE`` entries of it."""
        held = self.stream.log
        taken: list[Taken] = []
        if self.over:
            return taken
        end = min(held.last_frame, self._seq + PAGE)
        sound = self.failed is None
        while self._seq < end and sound:
            for frame in held.after(self._seq, end - self._seq):
                self._seq += 1
                sound = self._add(taken, self._decoded(frame), held.arrivals_ns[self._seq - 1])
                if not sound:
                    break
        self._reader.cursor = EventId(held.epoch, self._seq)
        if held.size > WINDOW:
            self.stream.trim(WINDOW)
        if self._seq == held.last_frame and not self._reader.live:
            self._reader.live = True
            self.stream.caught_up()
        if not sound:
            self.close()
        elif held.terminal is not None and self._seq == held.last_frame:
            self._end(held.terminal, taken)
        return taken

    def usage(self) -> Usage | None:
        """What the answer has used so far: as its provider told, or estimated and marked so. None before its first
        entry, and after its end: then the stream's terminal has it."""
        return self._tally.usage(self.stream) if self._seq and self.stream.terminal is None else None

    def close(self) -> None:
        """Take no more. Generation stops at once, in this turn, if nobody else reads. Idempotent."""
        self.over = True
        reader, stream = self._reader, self.stream
        if reader.over:
            return
        if stream.terminal is None and stream.policy.linger <= 0 and stream.readers == [reader] and stream.is_whole():
            stream.finish()  # only bookkeeping was missing, and nobody waits for it
        reader.leave()
        self.wake()

    def wake(self) -> None:
        """Something is there to be taken, or nothing will come any more."""
        self._reader.live = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _decoded(self, frame: bytes) -> list[Delta]:
        stream, held = self.stream, self.stream.log
        attempt = held.attempt_at(self._seq)
        if attempt.unary:
            return dialects.get(attempt.dialect).decode_response(frame)
        if held.done_seq is not None and self._seq > held.done_seq:
            return []
        decoder = self._decoder
        if decoder is None:  # not before: until something came, another upstream may be asked, in another dialect
            decoder = self._decoder = stream.decoder()
        return [delta for event in parse(frame, stream.dialect) for delta in decoder.feed(event)]

    def _add(self, taken: list[Taken], deltas: list[Delta], arrived_ns: int) -> bool:
        """Up to a failure, which is no delta for the user, who gets an exception: False if there was one."""
        at = next((at for at, delta in enumerate(deltas) if isinstance(delta, Failed)), None)
        if at is not None:
            failed = deltas[at]
            assert isinstance(failed, Failed)
            self.failed, deltas = failed, deltas[:at]
        if deltas:
            taken.append(Taken(deltas, arrived_ns))
            self._tally.take(self.stream, deltas, self._seq)
        return at is None

    def _end(self, terminal: Terminal, taken: list[Taken]) -> None:
        self.over = True
        if terminal.error is not None:
            self.failed = terminal.error
        elif self._decoder is not None:
            # It has seen every entry: what the end means for calls and choices that are open, nobody knows better.
            self._add(taken, self._decoder.close(), self.stream.last_ns)
        if not self._reader.over:
            self._reader.finish()


class _TapView(InsideView):
    """Where the log tells a tap that there is something to take."""

    __slots__ = ("_tap",)

    def __init__(self, stream: Stream, tap: Tap) -> None:
        super().__init__(stream)
        self._tap = tap

    def push(self, frames: Sequence[bytes], first_seq: int, chunk: bytes | None, marked: bool) -> None:
        self._tap.wake()

    def end(self) -> None:
        self._tap.wake()
