"""From many small writes to few large rows: the journal, and what is not in chunks yet.

Each write is one row of the journal, whatever the number of its streams: a page of a table for each stream and tick
would be a hundred times the work. What a running stream has in the journal only is also held in memory, its *tail*.
Once there is enough of it, or the stream ends, the tail becomes one row of ``chunks`` (it is *folded*), and rows of the
journal that hold no stream's tail any more are deleted. A process that opens the file after a crash reads the journal
and folds what it finds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from tokenwire.engine.stores.port import Head, Piece
from tokenwire.engine.stores.sqlite_schema import RUNNING

#: What a piece in memory takes beside its bytes: a tuple, a number and the object of the bytes.
_OVERHEAD: Final = 136

#: The journal's length in memory: in all, and for each tail. The first is some ten seconds of 800 streams at 50
#: tokens/s; the second keeps the number of chunks down where there are very many slow streams.
JOURNAL_BYTES: Final = 8 * 1024 * 1024
TAIL_SHARE: Final = 8 * 1024

#: A tail of this size is folded whatever the journal's length: a replay reads chunks whole.
LARGE_TAIL: Final = 128 * 1024


class Shown(NamedTuple):
    """What readers see of a stream: replaced whole, so that a reader in another thread never sees half of a write."""

    data: bytes
    running: bool
    first: int
    last: int
    size: int
    expires: float


class Row(NamedTuple):
    """What the table ``streams`` says of a stream at the moment."""

    first: int
    last: int
    size: int
    expires: float
    state: int


class Live:
    """A stream that is running.

    Attributes:
        number: its key in the file.
        shown: as the last write left it.
        row: what the file's table says, which lags behind.
        tail: pieces that are in the journal only. Replaced whole when they are folded.
        weight: bytes that the tail takes in memory.
        since: the first of the journal's rows that the file's other tables do not know yet.
        folded: see ``sqlite_schema``.
    """

    __slots__ = ("folded", "number", "owner", "row", "shown", "since", "stream", "tail", "weight")

    def __init__(self, number: int, stream: str, owner: str, shown: Shown, row: Row, folded: int) -> None:
        self.number = number
        self.stream = stream
        self.owner = owner
        self.shown = shown
        self.row = row
        self.tail: list[Piece] = []
        self.weight = 0
        self.since = 0
        self.folded = folded

    def head(self) -> Head:
        data, running, first, last, size, expires = self.shown
        return Head(self.stream, self.owner, data, first, last, size, running, expires)

    def row_now(self) -> Row:
        """What the table has to say to be up to date."""
        _, running, first, last, size, expires = self.shown
        return Row(first, last, size, expires, int(running) * RUNNING)


class Record(NamedTuple):
    """What one write says of one stream, in the journal: its number, the size and the deadline after that write."""

    number: int
    size: int
    expires: float
    pieces: Sequence[Piece]


_encode = msgspec.msgpack.Encoder().encode
_decode_records = msgspec.msgpack.Decoder(list[Record]).decode
_decode_pieces = msgspec.msgpack.Decoder(list[Piece]).decode

#: A row without records. The newest row is never deleted, only emptied: numbers of rows are not used twice.
EMPTY: Final = _encode([])


def pack_records(records: Sequence[Record]) -> bytes:
    return _encode(records)


def unpack_records(data: bytes) -> list[Record]:
    return _decode_records(data)


def pack_pieces(pieces: Sequence[Piece]) -> bytes:
    return _encode(pieces)


def unpack_pieces(data: bytes) -> list[Piece]:
    return _decode_pieces(data)


class Journal:
    """Which rows there are, and whose tails are in them. Knows nothing of SQL."""

    def __init__(self) -> None:
        self.newest = 0
        """Number of the newest row."""
        self._rows: deque[tuple[int, int]] = deque()  # (number, weight), the oldest first
        self._weight = 0
        self._tails: dict[Live, None] = {}  # by the age of the tail, the oldest first
        self._large: dict[Live, None] = {}

    def added(self, weight: int) -> None:
        """A row was added, the next number is its own; *weight*: bytes that its pieces take in memory."""
        self.newest += 1
        self._rows.append((self.newest, weight))
        self._weight += weight

    def grew(self, live: Live, pieces: Sequence[Piece], size: int) -> int:
        """*live* has *pieces*, *size* bytes, in the row that is added next, or none and another deadline. Returns their
        weight."""
        weight = size + _OVERHEAD * len(pieces)
        if live not in self._tails:
            live.since = self.newest + 1
            self._tails[live] = None
        live.tail.extend(pieces)
        live.weight += weight
        if live.weight >= LARGE_TAIL:
            self._large[live] = None
        return weight

    def drop(self, live: Live) -> None:
        """*live* has no tail any more: it was folded, or is void."""
        live.tail = []
        live.weight = 0
        live.folded = self.newest
        self._tails.pop(live, None)
        self._large.pop(live, None)

    def due(self, most: int) -> list[Live]:
        """Tails that should be folded now, *most* of them."""
        found = list(self._large)[:most]
        if self._weight > max(JOURNAL_BYTES, TAIL_SHARE * len(self._tails)):
            found += [live for live in _first(self._tails, most) if live not in self._large][: most - len(found)]
        return found

    def tails(self) -> list[Live]:
        """All that have one, the oldest first."""
        return list(self._tails)

    def needless(self, without: Iterable[Live] = ()) -> int:
        """Rows below this number hold no tail, if those of *without* are folded. Never above the newest."""
        gone = set(without)
        oldest = next((live.since for live in self._tails if live not in gone), self.newest)
        return min(oldest, self.newest)

    def holds(self, folded: int) -> bool:
        """Whether a row may still hold bytes of a stream that was folded at row *folded*."""
        return bool(self._rows) and folded >= self._rows[0][0]

    def trimmed(self, below: int) -> None:
        """Rows below this number were deleted."""
        while self._rows and self._rows[0][0] < below:
            self._weight -= self._rows.popleft()[1]

    def oldest(self) -> int:
        """Number of the oldest row; one above the newest if there is none."""
        return self._rows[0][0] if self._rows else self.newest + 1


def _first(lives: dict[Live, None], most: int) -> list[Live]:
    return [live for live, _ in zip(lives, range(most), strict=False)]
