"""Several streams that are one question: one upstream answers, and each stream is told what comes.

The *origin* is a stream that nobody knows but this module: it asks the upstream. Whoever asked has a stream of his own
(with its own readers, its own patience and its own end), and that has a ``Share`` for a source. For the origin a share
is a reader like any other: it goes on while one is left, and stops when the last one leaves. So no stop, slow reader or
failure of one is the others' affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.engine.ids import EventId
from tokenwire.engine.inside import InsideView
from tokenwire.engine.recording import without_cost
from tokenwire.measure.prices import Seller
from tokenwire.measure.tokens import count as words
from tokenwire.measure.usage import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tokenwire.dialects.deltas import Terminal, Usage
    from tokenwire.engine.clock import Handle
    from tokenwire.engine.stream import Stream
    from tokenwire.measure.usage import Counter
    from tokenwire.measure.worker import Worker

#: Entries that a share which is behind (it came late, or was paused) is told in one turn of the loop.
PORTION: Final = 64
# Where the origin keeps which stream bears the cost.
_BEARER: Final = "bearer"
# What an origin knows of its upstream's answer beside the body.
_SAID: Final = ("upstream", "notes", "headers", "refused")


class Share:
    """What *origin* says, for *stream*, which is new. ``start`` returns at once.

    Attributes:
        bears: whether the cost is this stream's. All of them have the same counts, but the money was spent once: who
            is the first of those still there at the end bears it, and who left before bears nothing.
    """

    __slots__ = ("_handle", "_paused", "_reader", "_seq", "_stream", "bears", "origin")

    def __init__(self, stream: Stream, origin: Stream) -> None:
        self._stream = stream
        self.origin = origin
        self.bears = False
        self._seq = 0  # what the stream was told
        self._paused = False
        self._handle: Handle | None = None
        self._reader = _ShareView(origin, self).reader()

    def start(self) -> None:
        stream, origin = self._stream, self.origin
        stream.attempts = origin.attempts  # who was asked: the same, as it goes on
        stream.meter = _Bill(stream, self)
        self._copy_meta()
        stream.connecting(self)
        origin.views.append(self._reader.view)
        origin.readers.append(self._reader)
        origin.leaving.joined()
        if len(origin.readers) == 1:
            origin.on_end.append(self._unneeded)
        self._catch_up()

    # ------------------------------------------------------------------ engine.states.Source

    def abort(self) -> None:
        self._unschedule()
        origin, reader = self.origin, self._reader
        self._stream.sent = origin.sent
        if not reader.over:
            self.bears = self.bears or (origin.terminal is None and origin.readers == [reader])
            reader.leave()
            self._unneeded()

    def pause(self) -> None:
        self._paused = True
        self._reader.live = False
        self._unschedule()

    def resume(self) -> None:
        self._paused = False
        self._catch_up()

    # ------------------------------------------------------------------ told by the origin

    def told(self, frames: Sequence[bytes], first_seq: int) -> None:
        """New entries of the origin, from *first_seq* on."""
        if self._reader.live and first_seq == self._seq + 1:
            self._tell(frames)
        else:
            self._catch_up()

    def over(self) -> None:
        """The origin has its terminal."""
        self.bears = _BEARER not in self.origin.meta and not self._reader.over
        if self.bears:
            self.origin.meta[_BEARER] = self._stream.id
        self._catch_up()

    @property
    def first(self) -> bool:
        """Whether the cost would be this stream's if the answer ended now."""
        return self.origin.readers[:1] == [self._reader]

    # ------------------------------------------------------------------ inside

    def _catch_up(self) -> None:
        """Tell the next portion of what the origin has; again in the next turn, until nothing is left."""
        self._handle = None
        if self._halted():
            return
        held = self.origin.log
        left = held.last_frame - self._seq
        if left:
            self._reader.live = False
            self._tell(held.after(self._seq, min(left, PORTION)))
            left = held.last_frame - self._seq
        if self._halted():
            return
        if left:
            self._schedule()
        elif held.terminal is not None:
            self._end(held.terminal)
        else:
            self._reader.live = True
            self.origin.caught_up()

    def _halted(self) -> bool:
        return self._reader.over or self._paused

    def _tell(self, frames: Sequence[bytes]) -> None:
        stream, held = self._stream, self.origin.log
        if not self._seq:
            self._begin()
        self._seq += len(frames)
        self._reader.cursor = EventId(held.epoch, self._seq)
        came_ns = max(held.arrivals_ns[self._seq - 1], stream.created_ns)  # for who came late it came just now
        if stream.unary:
            stream.append_unary(frames[0], came_ns)
        else:
            stream.append(frames, came_ns)

    def _begin(self) -> None:
        """The origin has an answer: only now is it certain who gave it, and in which dialect."""
        stream, origin = self._stream, self.origin
        stream.speaks(origin.dialect)
        stream.rename(origin.model)
        self._copy_meta()
        attempt = origin.log.attempts[0]
        stream.begin(attempt=attempt.number, unary=attempt.unary)

    def _end(self, terminal: Terminal) -> None:
        stream = self._stream
        self._copy_meta()
        if terminal.error is not None:
            stream.fail(terminal.error)
        else:
            stream.replayed()

    def _copy_meta(self) -> None:
        """What the upstream's answer said beside its body."""
        meta = self.origin.meta
        self._stream.meta.update((name, meta[name]) for name in _SAID if name in meta)

    def _unneeded(self) -> None:
        """Nobody asks for the origin by its id: when all have had its end, its bytes are nobody's."""
        if self.origin.terminal is not None and not self.origin.readers:
            self.origin.hub.forget(self.origin)

    def _schedule(self) -> None:
        if self._handle is None:
            self._handle = self._stream.clock.call_later(0.0, self._catch_up)

    def _unschedule(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _Bill(Meter):
    """What one of the streams used, and what of the cost is its own (``Share.bears``)."""

    __slots__ = ("_share", "_stream")

    def __init__(self, stream: Stream, share: Share) -> None:
        super().__init__(b"", Seller(None, None), "")
        self._stream = stream
        self._share = share

    def prompt(self, count: Counter, worker: Worker) -> int | None:
        meter = self._share.origin.meter
        return None if meter is None else meter.prompt(count, worker)

    def priced(self, usage: Usage, when: float) -> Usage:
        meter = self._share.origin.meter
        if meter is None or not self._share.first:
            return without_cost(usage)
        return meter.priced(usage, when)

    def close(self, *, estimate: bool, count: Counter = words) -> None:
        self._input = self.prompt(count, self._stream.hub.worker) if estimate else None

    def settle(self, told: Usage | None, said: Callable[[], float], when: float, *, finished: bool) -> Usage:
        share = self._share
        whole, meter = share.origin.settled, share.origin.meter
        if whole is not None and whole.usage is not None and (finished or share.bears):
            usage = whole.usage
        elif share.bears and meter is not None:  # its upstream is still waited for, for the usage
            usage = meter.settle(told, said, when, finished=finished)
        else:
            usage = super().settle(told, said, when, finished=finished)
        return usage if share.bears else without_cost(usage)


class _ShareView(InsideView):
    """Where the origin tells a share what came."""

    __slots__ = ("_share",)

    def __init__(self, origin: Stream, share: Share) -> None:
        super().__init__(origin)
        self._share = share

    def push(self, frames: Sequence[bytes], first_seq: int, chunk: bytes | None, marked: bool) -> None:
        self._share.told(frames, first_seq)

    def end(self) -> None:
        self._share.over()
