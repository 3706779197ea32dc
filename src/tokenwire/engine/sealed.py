"""The sealed part of a log: its older entries, packed run by run. Where a store holds them too, a run may be *away*:
known by its length only, until somebody wants to read it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenwire.wire.envelope import Group, Packed, Parts

#: Of each entry: when it came.
ARRIVAL = 8


class Away(Exception):
    """Entry *seq*, and those up to *last*, are in the store only. Whoever can wait has them brought back
    (``engine.archive``) and asks again."""

    def __init__(self, seq: int, last: int) -> None:
        self.seq = seq
        self.last = last
        super().__init__(f"the entries from {seq} to {last} are in the store only")


class Cold:
    """A run that is away."""

    __slots__ = ("_count",)

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count


Run: TypeAlias = "Packed | Cold"


class Sealed:
    """One per log.

    Attributes:
        entries: in all runs, also those that were trimmed.
        size: bytes of memory held.
        cold: how many of the runs are away.
        away: how many entries that are.
    """

    __slots__ = ("_runs", "_starts", "away", "cold", "entries", "size")

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._starts: list[int] = []  # entries before each run
        self.entries = 0
        self.size = 0
        self.cold = 0
        self.away = 0

    def add(self, run: Packed) -> None:
        """*run* comes after all others."""
        self._runs.append(run)
        self._starts.append(self.entries)
        self.entries += len(run)
        self.size += run.size + ARRIVAL * len(run)

    def add_cold(self, count: int) -> None:
        """So many entries more are in the store."""
        self._runs.append(Cold(count))
        self._starts.append(self.entries)
        self.entries += count
        self.size += ARRIVAL * count
        self.cold += 1
        self.away += count

    # ------------------------------------------------------------------ reading; all raise ``Away``

    def slice(self, seq: int, limit: int) -> Sequence[bytes]:
        """Frames from entry *seq* + 1 on, at most *limit*, of one run."""
        run, offset = self._find(seq)
        return run.slice(offset, min(len(run), offset + limit))

    def groups(self, seq: int, limit: int) -> Iterator[Group]:
        """As ``slice``, without rebuilding the frames that are in an envelope."""
        run, offset = self._find(seq)
        return run.groups(offset, offset + limit)

    def parts(self, seq: int, limit: int) -> Parts:
        """As ``slice``, as they are kept."""
        run, offset = self._find(seq)
        return run.parts(offset, offset + limit)

    def _find(self, seq: int) -> tuple[Packed, int]:
        index = bisect_right(self._starts, seq) - 1
        run, start = self._runs[index], self._starts[index]
        if isinstance(run, Cold):
            raise Away(seq + 1, start + len(run))
        return run, seq - start

    def present(self) -> tuple[Packed, ...]:
        """All runs, oldest first. They never change: whoever keeps them shares them with this log."""
        if self.cold:
            raise Away(self.first, self.entries)
        return tuple(run for run in self._runs if not isinstance(run, Cold))

    # ------------------------------------------------------------------ forgetting

    def trim(self, upto: int, *, all_but_one: bool) -> int:
        """Forget the oldest run for good, if it ends at or before entry *upto*; with *all_but_one*, not the only one.
        Returns the bytes freed, 0 if none."""
        if len(self._runs) <= all_but_one or self._starts[0] + len(self._runs[0]) > upto:
            return 0
        run = self._runs.pop(0)
        self._starts.pop(0)
        freed = ARRIVAL * len(run)
        if isinstance(run, Cold):
            self.cold -= 1
            self.away -= len(run)
        else:
            freed += run.size
        self.size -= freed
        return freed

    @property
    def first(self) -> int:
        """Number of the first entry in the oldest run."""
        return self._starts[0] + 1 if self._starts else self.entries + 1

    def coolable(self, keep: int, upto: int) -> int:
        """The newest entry that ``cool`` would let go of; 0 for none."""
        size, last = self.size, 0
        for start, run in zip(self._starts, self._runs, strict=True):
            if size <= keep or start + len(run) > upto:
                break
            if not isinstance(run, Cold):
                size -= run.size
                last = start + len(run)
        return last

    def cool(self, keep: int, upto: int) -> int:
        """Let go of the oldest runs that end at or before entry *upto*, which the store holds, until no more than
        *keep* bytes are held or none is left. Returns the bytes freed."""
        freed = 0
        for index, run in enumerate(self._runs):
            if self.size - freed <= keep or self._starts[index] + len(run) > upto:
                break
            if not isinstance(run, Cold):
                freed += run.size
                self._runs[index] = Cold(len(run))
                self.cold += 1
                self.away += len(run)
        self.size -= freed
        self._join_cold()
        return freed

    def warm(self, first: int, run: Packed) -> None:
        """The entries from *first* on are back. What is not away is left as it is: the last of them may not even be
        sealed, for what is stored at once was not sealed at once."""
        start, stop = first - 1, first - 1 + len(run)
        runs: list[Run] = []
        starts: list[int] = []
        for at, old in zip(self._starts, self._runs, strict=True):
            low, high = max(at, start), min(at + len(old), stop)
            if low >= high or not isinstance(old, Cold):
                runs.append(old)
                starts.append(at)
                continue
            back = run if (low, high) == (start, stop) else run.parts(low - start, high - start).packed(run.templates)
            for begin, piece in ((at, Cold(low - at)), (low, back), (high, Cold(at + len(old) - high))):
                if len(piece):
                    runs.append(piece)
                    starts.append(begin)
            self.size += back.size
            self.away -= len(back)
        self._runs, self._starts = runs, starts
        self.cold = sum(isinstance(each, Cold) for each in runs)

    def _join_cold(self) -> None:
        """Neighbours that are away become one: a log of a day has as few of them as one of a minute."""
        if self.cold < 2:
            return
        runs: list[Run] = []
        starts: list[int] = []
        for at, run in zip(self._starts, self._runs, strict=True):
            if runs and isinstance(run, Cold) and isinstance(before := runs[-1], Cold):
                runs[-1] = Cold(len(before) + len(run))
            else:
                runs.append(run)
                starts.append(at)
        self._runs, self._starts = runs, starts
        self.cold = sum(isinstance(each, Cold) for each in runs)
