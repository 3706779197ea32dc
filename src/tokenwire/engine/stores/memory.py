"""A store in this process's memory: the plainest that keeps every rule, and the model that others are compared with.

What is in it lives as long as the object. ``close`` and ``open`` are a restart: what was running is orphaned then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tokenwire.engine.stores.port import PAGE, TOMBSTONE_SECONDS, Append, Figures, Head, Note, Piece, begins
from tokenwire.errors import StoreConflict, StoreFailed

if TYPE_CHECKING:
    from typing import Self


@dataclass(slots=True)
class _Kept:
    owner: str
    data: bytes
    first: int
    last: int
    size: int
    running: bool
    expires: float
    pieces: list[Piece] = field(default_factory=list)


class MemoryStore:
    """A ``Store`` of dicts.

    Args:
        wall: seconds since 1970; a test hands in its own.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._streams: dict[str, _Kept] = {}
        self._notes: dict[tuple[str, str, str], tuple[bytes, float]] = {}
        self._gone: dict[str, float] = {}
        self._orphans: set[str] = set()
        self._open = False

    async def open(self) -> Self:
        if not self._open:
            self._open = True
            self._orphans = {stream for stream, kept in self._streams.items() if kept.running}
        return self

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        self._usable()
        changed: dict[str, _Kept] = {}
        for append in appends:
            changed[append.stream] = self._after(append, changed.get(append.stream))
        self._streams.update(changed)
        self._orphans -= changed.keys()
        for note in notes:
            if note.value is None:
                self._notes.pop(note[:3], None)
            else:
                self._notes[note[:3]] = (note.value, note.expires)

    def _after(self, append: Append, changed: _Kept | None) -> _Kept:
        """The stream as it is after *append*: a copy, so that a batch can still be refused."""
        stored = changed or self._streams.get(append.stream)
        if stored is None:
            if append.head is None or append.stream in self._gone:
                raise StoreConflict(append.stream, 0)
            kept = _Kept(append.owner, append.head, 1, 0, 0, append.running, append.expires)
        elif stored.expires <= self._wall():
            raise StoreConflict(append.stream, 0)
        else:
            data = stored.data if append.head is None else append.head
            kept = _Kept(
                stored.owner, data, stored.first, stored.last, stored.size, append.running, append.expires,
                list(stored.pieces),
            )  # fmt: skip
        if append.owner != kept.owner:
            raise StoreConflict(append.stream, kept.last)
        if append.restart and begins(append) != kept.first:
            kept.first, kept.last, kept.size, kept.pieces = begins(append), begins(append) - 1, 0, []
        for piece in append.pieces:
            last = piece.first + piece.entries - 1
            if last <= kept.last:
                continue  # known: the answer of the write that brought it was lost
            if piece.first != kept.last + 1:
                raise StoreConflict(append.stream, kept.last)
            kept.pieces.append(piece)
            kept.last = last
            kept.size += len(piece.data)
        return kept

    async def head(self, stream: str) -> Head | None:
        self._usable()
        kept = self._shown().get(stream)
        return None if kept is None else _head(stream, kept)

    async def pieces(self, stream: str, after: int = 0, limit: int = PAGE) -> list[Piece]:
        self._usable()
        found: list[Piece] = []
        kept = self._shown().get(stream)
        size = 0
        for piece in [] if kept is None else kept.pieces:
            if piece.first + piece.entries - 1 > after:
                found.append(piece)
                size += len(piece.data)
                if size >= limit:
                    break
        return found

    async def heads(self, owner: str, limit: int = 1000) -> list[Head]:
        self._usable()
        found = [_head(stream, kept) for stream, kept in self._shown().items() if kept.owner == owner]
        return found[-limit:] if limit > 0 else []

    async def orphans(self, limit: int = 1000) -> list[Head]:
        self._usable()
        found = [_head(stream, kept) for stream, kept in self._shown().items() if stream in self._orphans]
        return found[: max(limit, 0)]

    async def recall(self, kind: str, owner: str, key: str) -> bytes | None:
        self._usable()
        value, expires = self._notes.get((kind, owner, key), (None, 0.0))
        return value if expires > self._wall() else None

    async def forget(self, streams: Sequence[str]) -> None:
        self._usable()
        for stream in streams:
            if self._streams.pop(stream, None) is not None:
                self._gone[stream] = self._wall() + TOMBSTONE_SECONDS

    async def sweep(self, now: float) -> int:
        self._usable()
        self._gone = {stream: until for stream, until in self._gone.items() if until > now}
        streams = [stream for stream, kept in self._streams.items() if kept.expires <= now]
        notes = [name for name, (_, expires) in self._notes.items() if expires <= now]
        for stream in streams:
            del self._streams[stream]
            self._gone[stream] = now + TOMBSTONE_SECONDS
        for name in notes:
            del self._notes[name]
        return len(streams) + len(notes)

    async def figures(self) -> Figures:
        self._usable()
        shown = self._shown().values()
        return Figures(
            streams=len(shown),
            running=sum(kept.running for kept in shown),
            entries=sum(kept.last - kept.first + 1 for kept in shown),
            bytes=sum(kept.size for kept in shown),
            notes=sum(expires > self._wall() for _, expires in self._notes.values()),
            on_disk=0,
        )

    async def close(self) -> None:
        self._open = False

    def _usable(self) -> None:
        if not self._open:
            raise StoreFailed("the store is not open")

    def _shown(self) -> dict[str, _Kept]:
        now = self._wall()
        return {stream: kept for stream, kept in self._streams.items() if kept.expires > now}


def _head(stream: str, kept: _Kept) -> Head:
    return Head(stream, kept.owner, kept.data, kept.first, kept.last, kept.size, kept.running, kept.expires)
