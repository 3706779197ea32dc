"""The log of one stream: what the provider sent, in order, with arrival times. The only state; all else folds over it.

Entries are numbered from 1 without gaps. The newest ones stand in an open run, as they came or as the holes of an
envelope; older runs are packed by ``wire.envelope`` and unpacked only for a reader that is behind. The terminal is an
entry too: the first one wins, and nothing follows it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tokenwire.dialects.base import Mark
from tokenwire.engine.sealed import ARRIVAL, Sealed
from tokenwire.errors import LocalProtocolError, StreamClosed
from tokenwire.wire.envelope import PLAIN, Codec
from tokenwire.wire.envelope_run import OpenRun

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Terminal
    from tokenwire.wire.envelope import Group, Packed, Parts
    from tokenwire.wire.envelope_template import Template

#: What a frame costs beside its bytes: the object's head, a place in the list, an arrival time.
OVERHEAD = 50
#: Frames packed at a time, as soon as there are so many: readers at the end of the log never touch packed ones.
#: Packing costs 0.3 us a frame. To keep frames plain costs more: memory that was never used before is cleared by the
#: kernel, page by page (1 us a frame). 64 frames are about 20 KiB plain, and packed a tenth of that.
RUN = 64
#: From so many frames on, an envelope is looked for (40 us: some fifty tokens that come alone save as much, or a few
#: reads that bring several).
LEARN = 4
#: So many frames of a run that fit none: it is looked for again.
AGAIN = 12
NEVER = 1 << 62
_WHOLE = bytes([PLAIN]) * LEARN


Holes: TypeAlias = "tuple[tuple[str | int, ...], ...]"


class Attempt(NamedTuple):
    """Where an upstream attempt begins: its entries are in *dialect*; *unary* marks a body that came whole."""

    first_seq: int
    number: int
    dialect: str
    unary: bool = False


#: Epochs and the first entry of each: what a log that was never interrupted has.
FIRST: tuple[tuple[int, int], ...] = ((1, 1),)


class LogStatistics(NamedTuple):
    entries: int
    packed_entries: int
    bytes_held: int


class Log:
    """Append-only; plain calls only, nothing here waits.

    Args:
        holes: paths of what varies from frame to frame (``Dialect.holes``); None: nothing is packed.

    Attributes:
        first: number of the earliest entry held; above 1 when the beginning was trimmed.
        last: number of the newest entry, 0 when empty.
        run_size: bytes of memory that the open run holds.
        notable: entry number -> mark, for the few entries that are more than plain text.
        done_seq: the entry that is the dialect's end marker; entries after it are logged and not relayed.
        arrivals_ns: CLOCK_MONOTONIC arrival of each entry, in order.
        epochs: (number, first entry) of each epoch, the newest last. One begins where a store was found whose process
            had gone: what that had sent after the last entry stored is not known.
        run: the newest entries. It and ``arrivals_ns`` are the same objects for good (``engine.lane`` adds to them).
    """

    #: A log of so few plain frames is not worth learning its envelope for.
    FEW = 32

    __slots__ = (
        "_codec",
        "_due",
        "_found",
        "_holes",
        "_newest",
        "_sealed",
        "arrivals_ns",
        "attempts",
        "done_seq",
        "epoch",
        "epochs",
        "first",
        "last",
        "notable",
        "run",
        "run_size",
        "terminal",
    )

    def __init__(self, holes: Holes | None = None) -> None:
        self._sealed = Sealed()
        self._found: tuple[Template, ...] = ()
        self.run = OpenRun()
        self._due = LEARN if holes is not None else NEVER  # whole frames in the run, before an envelope is looked for
        self._newest = 0  # the envelope of the newest packed frame
        self._holes = holes
        self._codec: Codec | None = None  # made when first needed: short logs never are packed
        self.arrivals_ns = array("q")
        self.attempts: list[Attempt] = []
        self.done_seq: int | None = None
        self.epochs = FIRST
        self.epoch = 1  # the newest of them: looked at per token, where ids are on
        self.first = 1
        self.last = 0
        self.notable: dict[int, int] = {}
        self.run_size = 0
        self.terminal: Terminal | None = None

    def append(self, frame: bytes, arrival_ns: int) -> int:
        """Add one frame; returns its number. The caller looks at ``terminal`` first."""
        return self.extend((frame,), arrival_ns)

    def extend(self, frames: Sequence[bytes], arrival_ns: int) -> int:
        """``append`` for the frames of one read, at once; returns the number of the first."""
        first = self.last + 1
        self.run.extend(frames)
        self.arrivals_ns.extend([arrival_ns] * len(frames))
        self.run_size += sum(map(len, frames)) + OVERHEAD * len(frames)
        self.last += len(frames)
        return first

    def mark(self, seq: int, mark: int) -> None:
        """Remember that entry *seq* is more than plain text."""
        self.notable[seq] = mark
        if mark & Mark.DONE and self.done_seq is None:
            self.done_seq = seq

    def expect(self, holes: Holes) -> None:
        """Frames will come in another dialect than was thought, with these holes. Only while there are none."""
        assert not self.last
        self._holes = holes

    def take_back(self) -> None:
        """Forget what was said of entries that will not come: of an attempt that brought none."""
        assert not self.last
        self.attempts.clear()
        self.notable.clear()
        self.done_seq = None
        self.run_size = 0

    def close(self, terminal: Terminal, arrival_ns: int) -> int:
        """Append the terminal entry; returns its number."""
        if self.terminal is not None:
            raise StreamClosed(self.terminal.state)
        self.terminal = terminal
        self.arrivals_ns.append(arrival_ns)
        self.last += 1
        return self.last

    def begin_epoch(self) -> None:
        """From the next entry on, ids are of a new epoch: what was sent behind the newest one is not known."""
        self.epoch += 1
        self.epochs += ((self.epoch, self.last + 1),)

    def continues(self, epoch: int, seq: int) -> bool:
        """Whether who had everything up to entry *seq*, as it was numbered in *epoch*, can go on from there."""
        known = [number for number, _ in self.epochs]
        if epoch not in known or seq > self.last:
            return False
        later = known.index(epoch) + 1
        return later == len(known) or seq < self.epochs[later][1]

    @property
    def last_frame(self) -> int:
        """Number of the newest entry that is a frame."""
        return self.last if self.terminal is None else self.last - 1

    def after(self, seq: int, limit: int = 1024) -> Sequence[bytes]:
        """The frames of entries seq+1 …, at most *limit*, never the terminal. Empty when there are none.

        Raises ``Away`` when they are in the store only, as ``groups`` and ``parts`` do."""
        start = seq - self._sealed.entries
        if start >= 0:
            return self.run.slice(self._codec, start, start + limit)
        return self._sealed.slice(seq, limit)

    def groups(self, seq: int, limit: int = 1024) -> Iterator[Group]:
        """As ``after``, without rebuilding the frames that are in an envelope."""
        start = seq - self._sealed.entries
        if start >= 0:
            return self.run.groups(self._codec, start, start + limit)
        return self._sealed.groups(seq, limit)

    def parts(self, seq: int, limit: int = 1024) -> Parts:
        """As ``after``, as they are kept."""
        start = seq - self._sealed.entries
        if start >= 0:
            return self.run.parts(self._codec, start, start + limit)
        return self._sealed.parts(seq, limit)

    def frame(self, seq: int) -> bytes:
        """The frame of entry *seq*."""
        return self.after(seq - 1, 1)[0]

    def attempt_at(self, seq: int) -> Attempt:
        """The attempt that entry *seq* belongs to."""
        if (newest := self.attempts[-1]).first_seq <= seq:
            return newest
        for attempt in reversed(self.attempts):
            if attempt.first_seq <= seq:
                return attempt
        return self.attempts[0]

    def envelope(self) -> tuple[int, Template] | None:
        """The envelope that the newest frames are in, and its number for ``run``. Looked for when there are enough of
        them, and again when they do not fit the one that was found."""
        run = self.run
        if len(run.plain) >= self._due and run.numbers.endswith(_WHOLE):
            self._look()
        codec = self._codec
        if codec is None or not codec.templates:
            return None
        return self._newest, codec.templates[self._newest]

    @property
    def curious(self) -> bool:
        """Whether ``envelope`` waits for its first few frames."""
        known = self._codec is not None and self._codec.templates
        return self._due == LEARN and self._holes is not None and not known

    def _look(self) -> None:
        run = self.run
        assert self._holes is not None
        self._due = max(AGAIN, 2 * len(run.plain))
        codec = self._codec = self._codec or Codec(self._holes)
        number = codec.learn(run.plain[-2:])  # before them may be what opens an answer: two events, where it has blocks
        if number is None:
            return
        self._newest = number
        if not run.holes and run.cut(codec):
            holes, plain = run.holes, run.plain
            self.run_size = sum(map(len, holes)) + sum(map(len, plain)) + OVERHEAD * (len(holes) + len(plain))
            self._due = AGAIN

    def pack(self) -> int:
        """Pack the open run, whatever its length; returns the bytes saved."""
        if self._codec is None and self._holes is not None:
            self._codec = Codec(self._holes)
        count = len(self.run)
        if self._codec is None or not count:
            return 0
        packed = self.run.seal(self._codec)
        self._newest = packed.newest or 0
        self._due = AGAIN
        self._sealed.add(packed)
        before, self.run_size = self.run_size, 0
        return before - packed.size - ARRIVAL * count

    @property
    def packed(self) -> tuple[Packed, ...]:
        """The runs that are packed, oldest first. They never change: whoever keeps them shares them with this log."""
        return self._sealed.present()

    def trim(self, upto: int) -> int:
        """Forget the oldest packed run if it ends at or before entry *upto* and is not all there is; returns the bytes
        freed, 0 if none."""
        freed = self._sealed.trim(upto, all_but_one=not self.run)
        if freed:
            self.first = self._sealed.first
        return freed

    def coolable(self, keep: int, upto: int) -> int:
        """The newest entry that ``cool`` would let go of; 0 for none."""
        return self._sealed.coolable(keep - self.run_size, upto)

    def cool(self, keep: int, upto: int) -> int:
        """Let go of the oldest entries up to *upto*, which a store holds, until the log takes *keep* bytes; returns the
        bytes freed. They still belong to the log: reading them raises ``Away``."""
        return self._sealed.cool(keep - self.run_size, upto)

    def warm(self, first: int, run: Packed) -> None:
        """The entries from *first* on are here again. Raises ``LocalProtocolError`` for more than there are."""
        if first - 1 + len(run) > self.last_frame:
            raise LocalProtocolError(f"entries {first} to {first - 1 + len(run)} of a log of {self.last_frame}")
        self._sealed.warm(first, run)

    def stored(self, first: int, last: int, templates: tuple[Template, ...] = ()) -> None:
        """The entries from *first* to *last* are in a store, and none here; *templates* are those of their envelopes.
        Only while there are none."""
        assert not self.last
        self._found = templates
        self._sealed.entries = first - 1
        if last >= first:
            self._sealed.add_cold(last - first + 1)
        self.first, self.last = first, last

    @property
    def present(self) -> bool:
        """Whether everything that is held can be read at once: nothing of it is away."""
        return not self._sealed.cold

    def taken_by(self, after: int) -> int:
        """About how many bytes of memory the frames behind entry *after* take, none of which is away."""
        away = self._sealed.away
        here = self.last_frame - self.first + 1 - away
        return (self.size - ARRIVAL * away) * min(self.last_frame - after, here) // max(here, 1)

    @property
    def whole(self) -> bool:
        """Whether every entry from the very first on can be read at once."""
        return self.first == 1 and not self._sealed.cold

    @property
    def templates(self) -> tuple[Template, ...]:
        """What the numbers of ``parts`` mean; grows at its end."""
        return self._found if self._codec is None else self._codec.templates

    @property
    def size(self) -> int:
        """Bytes of memory held."""
        return self.run_size + self._sealed.size

    @property
    def packable(self) -> bool:
        """Whether ``pack`` is worth its time: the run is long enough, or nothing will be added to it."""
        return len(self.run) >= RUN or (self.terminal is not None and len(self.run) > self.FEW)

    def statistics(self) -> LogStatistics:
        """Frozen figures."""
        return LogStatistics(self.last, self._sealed.entries, self.size)
