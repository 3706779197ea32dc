"""A stream's source that asks nobody: it tells a recorded answer again, to a stream of its own.

For the stream it is a provider like any other, a very quick one: the same bytes go the same way, so whatever can be
done with a stream (follow, resume, translate, stop, list) can be done with this one.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from tokenwire.engine.recording import without_cost
from tokenwire.measure.prices import Seller
from tokenwire.measure.tokens import count as words
from tokenwire.measure.usage import Meter

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from tokenwire.dialects.deltas import Usage
    from tokenwire.engine.clock import Handle
    from tokenwire.engine.recording import Recording
    from tokenwire.engine.stream import Stream
    from tokenwire.measure.usage import Counter
    from tokenwire.measure.worker import Worker

#: Entries told in one turn of the loop, at full speed: 0.7 ms where they are translated, else a tenth of that.
PORTION: Final = 64
#: The same of the first turn, which is the request's own: whoever waits for the first token waits for these.
FIRST: Final = 16
#: A pause of the model that is longer than this is not told again: nobody who asked for the pace meant that.
LONGEST_GAP_NS: Final = 1_000_000_000


class Replay:
    """Tells *recording* to *stream*, which is new and in its dialect. ``start`` returns when the first entries are in
    the log: all of them, if they are few.

    Args:
        paced: as it came (``Recording.times``), to the wheel's granularity; else as fast as the loop turns.
    """

    __slots__ = ("_began_ns", "_due", "_frames", "_handle", "_left", "_paused_ns", "_recording", "_stream", "_told")

    def __init__(self, stream: Stream, recording: Recording, *, paced: bool = False) -> None:
        self._stream = stream
        self._recording = recording
        self._frames = recording.frames()
        self._due: array[int] | None = recording.times(LONGEST_GAP_NS) if paced else None
        self._told = 0
        self._left = len(recording.arrivals_ns)
        self._began_ns = 0
        self._paused_ns: int | None = None
        self._handle: Handle | None = None

    def start(self) -> None:
        stream, recording = self._stream, self._recording
        stream.meter = Repeated(recording.usage)
        stream.connecting(self)
        stream.begin(unary=recording.unary)
        self._began_ns = stream.clock.now_ns()
        self._go_on()

    # ------------------------------------------------------------------ engine.states.Source

    def abort(self) -> None:
        self._left = 0
        self._unschedule()

    def pause(self) -> None:
        if self._paused_ns is None:
            self._paused_ns = self._stream.clock.now_ns()
            self._unschedule()

    def resume(self) -> None:
        if self._paused_ns is not None:
            self._began_ns += self._stream.clock.now_ns() - self._paused_ns  # the pace begins where it stopped
            self._paused_ns = None
            self._schedule()

    # ------------------------------------------------------------------ inside

    def _go_on(self) -> None:
        """Tell what is due now. The stream may end, or be paused, by what it is told."""
        self._handle = None
        stream = self._stream
        now = stream.clock.now_ns()
        frames = list(islice(self._frames, self._number_due(now)))
        self._told += len(frames)
        self._left -= len(frames)
        if self._recording.unary:
            stream.append_unary(frames[0], now)
        elif frames:
            stream.append(frames, now)
        if not self._left:
            stream.replayed()
        elif self._paused_ns is None:
            self._schedule()

    def _number_due(self, now_ns: int) -> int:
        number = min(self._left, PORTION if self._told else FIRST)
        if self._due is not None:
            elapsed = now_ns - self._began_ns
            number = next((n for n in range(number) if self._due[self._told + n] > elapsed), number)
        return number

    def _schedule(self) -> None:
        if self._left <= 0 or self._handle is not None:
            return
        stream = self._stream
        wait = 0.0
        if self._due is not None:
            wait = (self._due[self._told] + self._began_ns - stream.clock.now_ns()) / 1e9
        if wait > 0:
            self._handle = stream.wheel.after(wait, self._go_on)
        else:
            self._handle = stream.clock.call_later(0.0, self._go_on)

    def _unschedule(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Repeated(Meter):
    """Of an answer that is told again: its own counts, and no cost, for nobody is paid twice.

    Args:
        usage: of the whole answer.
    """

    __slots__ = ("_usage",)

    def __init__(self, usage: Usage | None) -> None:
        super().__init__(b"", Seller(None, None), "")
        self._usage = None if usage is None else without_cost(usage)

    def prompt(self, count: Counter, worker: Worker) -> int | None:
        return None if self._usage is None else self._usage.input

    def priced(self, usage: Usage, when: float) -> Usage:
        return without_cost(usage)

    def close(self, *, estimate: bool, count: Counter = words) -> None:
        self._input = None if self._usage is None else self._usage.input

    def settle(self, told: Usage | None, said: Callable[[], float], when: float, *, finished: bool) -> Usage:
        if finished and self._usage is not None:
            return self._usage
        return without_cost(super().settle(told, said, when, finished=finished))
