"""Entries of a log as bytes for a store, and back.

A piece is a run of entries as the log keeps them: the envelopes' numbers, the holes, the frames that are in none, and
when each came. What the numbers mean is in the stream's head (``engine.heads``), which is written in the same
transaction as the first piece that needs it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from tokenwire.engine.stores.port import Piece
from tokenwire.errors import StoreFailed
from tokenwire.wire.envelope import Parts, count_holes

if TYPE_CHECKING:
    from tokenwire.engine.log import Log
    from tokenwire.wire.envelope import Packed
    from tokenwire.wire.envelope_template import Template

#: Entries of one piece. Who reads on after a piece splits all of it at once: 50 us.
MOST: Final = 512


class _Data(Struct, array_like=True, gc=False):
    """*holes* are joined by LF, which none contains. *arrivals*: nanoseconds of the writer's own CLOCK_MONOTONIC, 8
    bytes each; the head has the stream's creation on the same clock. *marks*: of the entries that have one, their place
    among these and the mark."""

    numbers: bytes
    holes: bytes
    plain: list[bytes]
    arrivals: bytes
    marks: list[tuple[int, int]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Data).decode


def pieces(held: Log, after: int) -> list[Piece]:
    """The frames of *held* behind entry *after*, in pieces. Raises ``Away``."""
    found: list[Piece] = []
    last = held.last_frame
    while after < last:
        parts = held.parts(after, min(MOST, last - after))
        count = len(parts.numbers)
        came = held.arrivals_ns[after : after + count].tobytes()
        marks = _marks(held, after, after + count) if held.notable else ()
        data = _encode((parts.numbers, b"\n".join(parts.holes), parts.plain, came, marks))
        found.append(Piece(after + 1, count, data))
        after += count
    return found


def _marks(held: Log, after: int, last: int) -> list[tuple[int, int]]:
    """Looked for from the end, where new entries are."""
    found: list[tuple[int, int]] = []
    for seq in reversed(held.notable):
        if seq <= after:
            break
        if seq <= last:
            found.append((seq - after - 1, held.notable[seq]))
    return found


class Taken:
    """Pieces that stand together, read: what a log gets back.

    Attributes:
        first: the number of their first entry.
        run: the entries.
    """

    __slots__ = ("_arrivals", "_marks", "first", "run")

    def __init__(self, first: int, run: Packed, arrivals: bytes, marks: dict[int, int]) -> None:
        self.first = first
        self.run = run
        self._arrivals = arrivals
        self._marks = marks

    def give(self, held: Log, shift_ns: int) -> None:
        """Put the entries where they were away; *shift_ns* from the writer's clock to ours."""
        held.warm(self.first, self.run)
        arrivals = array("q")
        arrivals.frombytes(self._arrivals)
        if shift_ns:
            arrivals = array("q", [at + shift_ns for at in arrivals])
        held.arrivals_ns[self.first - 1 : self.first - 1 + len(arrivals)] = arrivals

    def mark(self, held: Log) -> None:
        """Tell *held* which entries are more than plain text. Only for a log whose head did not know all of them."""
        for seq, mark in sorted(self._marks.items()):
            held.mark(seq, mark)


def take(found: Iterable[Piece], templates: tuple[Template, ...]) -> Iterable[Taken]:
    """Read pieces, neighbours as one up to ``MOST`` entries. Raises ``StoreFailed`` for what is none of ours."""
    group: list[tuple[Piece, _Data]] = []
    size = 0
    for piece in found:
        if group and size + piece.entries > MOST:
            yield _joined(group, templates)
            group, size = [], 0
        group.append((piece, _read(piece, templates)))
        size += piece.entries
    if group:
        yield _joined(group, templates)


def _read(piece: Piece, templates: tuple[Template, ...]) -> _Data:
    try:
        data = _decode(piece.data)
    except msgspec.MsgspecError as error:
        raise StoreFailed(f"entry {piece.first} of a stream cannot be read: {error}") from error
    holes = count_holes(templates, data.numbers)
    there = data.holes.count(b"\n") + 1 if holes else 0
    if not 8 * len(data.numbers) == len(data.arrivals) == 8 * piece.entries or there != holes:
        raise StoreFailed(f"entry {piece.first} of a stream, and those after it, are not as they were stored")
    return data


def _joined(group: list[tuple[Piece, _Data]], templates: tuple[Template, ...]) -> Taken:
    first = group[0][0].first
    numbers = b"".join([data.numbers for _, data in group])
    # A piece without holes adds none; one with a single empty hole does.
    holes = [data.holes for _, data in group if count_holes(templates, data.numbers)]
    plain = [frame for _, data in group for frame in data.plain]
    arrivals = b"".join([data.arrivals for _, data in group])
    marks: dict[int, int] = {}
    for piece, data in group:
        marks.update((piece.first + at, mark) for at, mark in data.marks)
    return Taken(first, Parts(numbers, holes, plain).packed(templates), arrivals, marks)
