"""From many small writes to few large rows: the journal, and what the other tables do not know yet.

Each write is one row of the journal and nothing else, whatever it says of however many streams: a single statement, and
so a transaction by itself. Were a page of each table touched for each stream and tick, it would be a hundred times the
work. What the tables do not know yet is also held in memory, of a stream its *tail*. When there is enough of it, it is
*folded*: a stream's row is written and its tail becomes one row of ``chunks``, many streams in one transaction; rows of
the journal that hold nothing else are deleted in the same. A process that opens the file after a crash reads the
journal, and folds what it finds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from tokenwire.engine.stores.port import Head, Note, Piece

#: What a piece in memory takes beside its bytes: a tuple, a number and the object of the bytes.
_OVERHEAD: Final = 136

#: The journal's length, as it is held in memory: in all, and for each tail. The first is some eight seconds of 800
#: streams at 50 tokens/s; the second keeps the number of chunks down where there are very many slow streams.
JOURNAL_BYTES: Final = 8 * 1024 * 1024
TAIL_SHARE: Final = 8 * 1024

#: A tail of this size is folded whatever the journal's length: a replay reads chunks whole.
LARGE_TAIL: Final = 128 * 1024

#: Ended streams, and notes, that wait for one another, to be folded in one transaction.
_ENDED: Final = 32
_NOTES: Final = 256


class State(msgspec.Struct, frozen=True, gc=False):
    """A stream as readers see it. Replaced whole, so that a reader in another thread never sees half of a write."""

    head: bytes
    running: bool
    first: int
    last: int
    size: int
    expires: float


class Live:
    """A stream of which the tables do not know everything, or that is running.

    Attributes:
        number: its key in the tables.
        state: as the last write left it.
        stored: as the tables have it; None if they have not got it.
        tail: pieces that are in the journal only. Replaced whole when they are folded.
        voided: what ``chunks`` has of it does not count: it begins anew with the tail.
        weight: bytes that the tail takes in memory.
        since: the first of the journal's rows that the tables do not know.
        folded: rows of the journal up to this one say nothing of it that the tables do not know.
    """

    __slots__ = ("folded", "number", "owner", "since", "state", "stored", "stream", "tail", "voided", "weight")

    def __init__(self, number: int, stream: str, owner: str, state: State, stored: State | None, folded: int) -> None:
        self.number = number
        self.stream = stream
        self.owner = owner
        self.state = state
        self.stored = stored
        self.tail: list[Piece] = []
        self.voided = False
        self.weight = 0
        self.since = 0
        self.folded = folded

    def anew(self) -> Live:
        """The same stream, with nothing that counts: a reader has either the old one or this."""
        live = Live(self.number, self.stream, self.owner, self.state, self.stored, self.folded)
        live.voided = True
        return live

    def head(self) -> Head:
        state = self.state
        return Head(
            self.stream, self.owner, state.head, state.first, state.last, state.size, state.running, state.expires
        )


class About(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What seldom changes of a stream. ``anew``: what was stored does not count, it begins at ``first``."""

    stream: str
    owner: str
    head: bytes
    running: bool
    first: int
    anew: bool


class Record(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one write says of one stream: size and deadline after it, what is new, and ``about`` if that has changed."""

    number: int
    size: int
    expires: float
    pieces: Sequence[Piece]
    about: About | None


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """A row of the journal: one write."""

    records: list[Record]
    notes: Sequence[Note]


_encoder: Final = msgspec.msgpack.Encoder()
_entries: Final = msgspec.msgpack.Decoder(Entry)
_pieces: Final = msgspec.msgpack.Decoder(list[Piece])


def pack_entry(records: list[Record], notes: Sequence[Note]) -> bytes:
    return _encoder.encode(Entry(records, notes))


def unpack_entry(data: bytes) -> Entry:
    """Raises ``msgspec.DecodeError`` for what is none."""
    return _entries.decode(data)


def pack_pieces(pieces: Sequence[Piece]) -> bytes:
    return _encoder.encode(pieces)


def unpack_pieces(data: bytes) -> list[Piece]:
    """Raises ``msgspec.DecodeError`` for what is none."""
    return _pieces.decode(data)


#: A row that says nothing. The newest row is never deleted, only emptied: numbers of rows are not used twice.
EMPTY: Final = pack_entry([], [])


class Journal:
    """Which rows there are, and what in them the tables do not know yet. Knows nothing of SQL."""

    def __init__(self) -> None:
        self.newest = 0
        """Number of the newest row."""
        self.notes: dict[tuple[str, str, str], Note] = {}
        """Those that the tables do not know yet. Replaced whole when they are folded."""
        self._rows: deque[tuple[int, int]] = deque()  # (number, weight), the oldest first
        self._weight = 0
        self._noted = 0  # the newest row with a note
        self._tails: dict[Live, None] = {}  # what is not folded, the longest waiting first
        self._large: dict[Live, None] = {}
        self._ended: dict[Live, None] = {}

    def left(self, oldest: int, newest: int, lives: Sequence[Live], notes: Sequence[Note]) -> None:
        """Another process left rows *oldest* … *newest* behind, with these in them. They are overdue."""
        self.newest = newest
        if lives or notes:
            self._rows += [(oldest, JOURNAL_BYTES), (newest, JOURNAL_BYTES)]
            self._weight = 2 * JOURNAL_BYTES
        self._tails = dict.fromkeys(sorted(lives, key=lambda live: live.since))
        self.notes = {note[:3]: note for note in notes}
        self._noted = newest if notes else 0

    def added(self, weight: int, notes: Sequence[Note] = ()) -> None:
        """A row was added; *weight*: bytes that it takes in memory."""
        self.newest += 1
        self._rows.append((self.newest, weight))
        self._weight += weight
        for note in notes:
            self.notes[note[:3]] = note
            self._noted = self.newest

    def grew(self, live: Live, pieces: Sequence[Piece], size: int) -> int:
        """The row that is added next has *pieces* of *live*, *size* bytes, or something else about it. Returns what
        that takes in memory."""
        if not live.since:
            live.since = self.newest + 1
            self._tails[live] = None
        weight = size + _OVERHEAD * len(pieces)
        live.tail += pieces
        live.weight += weight
        if live.weight >= LARGE_TAIL:
            self._large[live] = None
        if not live.state.running:
            self._ended[live] = None
        elif self._ended:
            self._ended.pop(live, None)
        return weight

    def drop(self, live: Live) -> None:
        """Nothing of *live* waits any more: it was folded, or is void."""
        live.voided = False  # before the tail goes, see `Reading.pieces`
        live.tail = []
        live.weight = live.since = 0
        live.folded = self.newest
        for lives in (self._tails, self._large, self._ended):
            lives.pop(live, None)

    def due(self, most: int) -> list[Live]:
        """What should be folded now, *most* of it. Empty, and yet ``overdue``, if only notes and rows wait."""
        if self._weight > max(JOURNAL_BYTES, TAIL_SHARE * len(self._tails)):
            found = dict.fromkeys(self._ended) | dict.fromkeys(self._large) | dict.fromkeys(_first(self._tails, most))
        elif len(self._ended) >= _ENDED:
            found = self._ended | self._large
        else:
            found = self._large
        return _first(found, most)

    @property
    def tells_notes(self) -> bool:
        """Whether a row still tells of a note, which a process that comes after a crash would take for new."""
        return self._noted >= self.oldest()

    @property
    def overdue(self) -> bool:
        """Whether notes, or rows that say nothing new, are many."""
        return len(self.notes) >= _NOTES or self.needless() - self.oldest() >= _ENDED

    def waiting(self) -> list[Live]:
        """All that is not folded, the longest waiting first."""
        return list(self._tails)

    def needless(self, without: Iterable[Live] = ()) -> int:
        """Rows below this number say nothing new, once *without* and the notes are folded."""
        gone = set(without)
        return next((live.since for live in self._tails if live not in gone), self.newest + 1)

    def trimmed(self, below: int) -> None:
        """Rows below this number were deleted."""
        while self._rows and self._rows[0][0] < below:
            self._weight -= self._rows.popleft()[1]

    def oldest(self) -> int:
        """Number of the oldest row that says something; one above the newest if there is none."""
        return self._rows[0][0] if self._rows else self.newest + 1


def _first(lives: dict[Live, None], most: int) -> list[Live]:
    return [live for live, _ in zip(lives, range(most), strict=False)]
