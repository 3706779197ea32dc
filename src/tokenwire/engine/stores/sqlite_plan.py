"""What a batch of appends will change, worked out before anything is changed: fences, repeats, beginnings.

A batch that is refused, or that SQLite fails to take, leaves nothing behind: neither in the file nor in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokenwire.engine.stores.port import Append, Piece, begins
from tokenwire.engine.stores.sqlite_journal import Live, Record, Row, Shown
from tokenwire.engine.stores.sqlite_schema import ENDED, MOST_ENTRIES
from tokenwire.errors import BadArgument, StoreConflict


class Change:
    """What becomes of one stream.

    Attributes:
        shown: as it will be.
        pieces: what is new. The caller's own sequence wherever nothing of it is known already.
        begun: it has no row yet.
        headed: its head is another.
        restarted: what was stored of it is void.
    """

    __slots__ = ("begun", "headed", "live", "pieces", "restarted", "shown")

    def __init__(self, live: Live, *, begun: bool = False) -> None:
        self.live = live
        self.shown = live.shown
        self.pieces: Sequence[Piece] = ()
        self.begun = begun
        self.headed = begun
        self.restarted = False

    @property
    def changes_row(self) -> bool:
        """Whether the tables ``streams`` or ``heads`` have to say something else, now and not when it is folded."""
        return self.headed or self.restarted or self.shown[1] != self.live.shown[1] or not self.shown[1]

    @property
    def is_nothing(self) -> bool:
        return not (self.begun or self.headed or self.restarted or self.pieces) and self.shown == self.live.shown

    def record(self) -> Record:
        return Record(self.live.number, self.shown[4], self.shown[5], self.pieces)


def plan(appends: Sequence[Append], find: Callable[[str], Live | None], number: int, now: float) -> list[Change]:
    """The changes that *appends* make, each stream once.

    Args:
        find: a stream that is stored, expired or not; None if there is none of that id. Raises ``StoreConflict`` for
            one that is gone.
        number: the one that the next stream will have.
        now: seconds since 1970.
    Raises:
        StoreConflict: an append does not continue what is stored.
        BadArgument: an append that makes no sense.
    """
    changes: dict[str, Change] = {}
    for append in appends:
        stream, owner, pieces, data, running, expires, restart = append
        change = changes.get(stream)
        if change is None:
            live = find(stream)
            change = _begun(append, number) if live is None else Change(live)
            number += live is None
            changes[stream] = change
            known = live is not None
        else:
            known = True
        data_now, _, first, last, size, deadline = change.shown
        if known and deadline <= now:
            raise StoreConflict(stream, 0)
        if owner != change.live.owner:
            raise StoreConflict(stream, last)
        if restart and begins(append) != first:
            first = begins(append)
            last, size = first - 1, 0
            change.restarted, change.pieces = True, ()
        if pieces:
            last, size, pieces = _continued(stream, pieces, last, size)
            change.pieces = [*change.pieces, *pieces] if change.pieces else pieces
        if data is not None:
            change.headed = True
            data_now = data
        change.shown = Shown(data_now, running, first, last, size, expires)
    return [change for change in changes.values() if not change.is_nothing]


def _begun(append: Append, number: int) -> Change:
    if append.head is None:
        raise StoreConflict(append.stream, 0)
    shown = Shown(append.head, append.running, 1, 0, 0, append.expires)
    live = Live(number, append.stream, append.owner, shown, Row(1, 0, 0, append.expires, ENDED), 0)
    return Change(live, begun=True)


def _continued(stream: str, pieces: Sequence[Piece], last: int, size: int) -> tuple[int, int, Sequence[Piece]]:
    """The last entry and the size after *pieces*, and those of them that are new."""
    known = 0
    for first, entries, data in pieces:
        end = first + entries - 1
        if end <= last:
            known += 1  # the answer of the write that brought it was lost
            continue
        if first != last + 1:
            raise StoreConflict(stream, last)
        if end > MOST_ENTRIES:
            raise BadArgument("appends", f"stream {stream}: a stream has at most {MOST_ENTRIES} entries here")
        last = end
        size += len(data)
    return last, size, pieces[known:] if known else pieces
