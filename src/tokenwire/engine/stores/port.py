"""What the engine asks of a store, and nothing else: one port for one machine and for many.

A store keeps two kinds of things. *Streams*: a head (bytes that change a few times in a stream's life) and entries, in
pieces of bytes that are only ever added at the end. What head and pieces say is the engine's business
(``engine.heads``, ``engine.pieces``). *Notes*: small facts under a name, with an end (idempotency keys, what providers
call their answers, the key that tickets are signed with).

Nothing of the read loop waits for a store. ``engine.recorder`` has one ``write`` under way at a time, and what it could
not write it writes later; whoever reads waits in a task of its own.

The rules, each a test of ``tokenwire.testing.store_contract``:

- a ``write`` is all or nothing, and what it has written survives ``kill -9`` of the process once it has returned (not a
  power cut: that may cost the last seconds, never the order);
- appends are fenced: a piece begins right after the newest entry stored, or it is refused (``StoreConflict``, with that
  entry's number) and so is the whole batch. One that is known already, to its last entry, is accepted and changes
  nothing, so that a write whose answer was lost can be repeated;
- an id that was forgotten or has expired is not begun again: an append to it is a conflict, too (with 0), for an hour;
- a deadline is seconds since 1970. What has passed its deadline is not shown any more, ``sweep`` or not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from tokenwire.errors import BadArgument

if TYPE_CHECKING:
    from typing import Self

#: Of one page of pieces, bytes: a replay from a store goes on in portions of this size (at least one piece).
PAGE: Final = 64 * 1024

#: How long an id is known as gone, once its stream was forgotten or swept. Ids are random and come never twice: this is
#: about writes that were under way then, and about a store that was away for a while.
TOMBSTONE_SECONDS: Final = 3600.0


class Piece(NamedTuple):
    """Entries *first* … *first + entries - 1* of one stream. *data* is the engine's."""

    first: int
    entries: int
    data: bytes


class Append(NamedTuple):
    """What one stream adds in one write.

    Attributes:
        stream, owner: whose it is. The owner of a stream never changes.
        pieces: in order and without gaps; none, if only the head has changed.
        head: the new head; None if it has not changed since the last write. The first write of a stream has one.
        running: whether more will come; who opens the store later and finds it running calls it orphaned.
        expires: when the stream is to be forgotten. Told with every write; the last one counts.
        restart: the entries before the first piece were lost before they could be stored (the store was away for so
            long that memory was at its bound): what was stored is forgotten, and the stream now begins there. Where it
            begins there already, the write is the repeat of one whose answer was lost, and is treated as any other.
    """

    stream: str
    owner: str
    pieces: Sequence[Piece] = ()
    head: bytes | None = None
    running: bool = True
    expires: float = math.inf
    restart: bool = False


def begins(append: Append) -> int:
    """The entry at which a restarted stream now begins. Raises ``BadArgument`` where it has none, or one below 1."""
    if not append.pieces or append.pieces[0].first < 1:
        raise BadArgument("appends", f"stream {append.stream}: a restart says at which entry the stream now begins")
    return append.pieces[0].first


class Note(NamedTuple):
    """A fact of *owner*'s under *kind* and *key*; *value* None: it is none any more."""

    kind: str
    owner: str
    key: str
    value: bytes | None
    expires: float


class Head(NamedTuple):
    """A stream as it is stored.

    Attributes:
        data: its head, as the last write gave it.
        first, last: the earliest and the newest entry that is stored; ``last`` is ``first - 1`` when there is none.
        size: bytes of its pieces.
        running: as the last write said.
    """

    stream: str
    owner: str
    data: bytes
    first: int
    last: int
    size: int
    running: bool
    expires: float


class Figures(NamedTuple):
    """What is kept: ``streams`` in all, ``running`` among them, ``entries``, their ``bytes``, ``notes``; ``on_disk``:
    what the files take, 0 where there are none."""

    streams: int
    running: int
    entries: int
    bytes: int
    notes: int
    on_disk: int


class Store(Protocol):
    """One store, used from one event loop. ``open`` first, ``close`` at last; both may be called again.

    Every method but these two raises ``StoreFailed`` when the store cannot be used now (locked, full, gone). Nothing
    was changed then, or, if only an answer was lost, it may have been: to try again later is right in both cases.
    Cancelling a call leaves the work done or not done, never half.
    """

    async def open(self) -> Self:
        """Get ready. Raises ``ConfigError`` if it can never be used: no such directory, another process has it, a file
        that is no store of ours or one of a newer version."""
        ...

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        """Add all of it, or nothing. Raises ``StoreConflict`` when an append does not continue what is stored."""
        ...

    async def head(self, stream: str) -> Head | None:
        """One stream; None if it is not known, or not any more."""
        ...

    async def pieces(self, stream: str, after: int = 0, limit: int = PAGE) -> list[Piece]:
        """Its pieces from the one that holds entry *after + 1* on, oldest first, about *limit* bytes of them (at least
        one). Empty: there are none, or it is not known."""
        ...

    async def heads(self, owner: str, limit: int = 1000) -> list[Head]:
        """The newest *limit* streams of *owner*, oldest first."""
        ...

    async def orphans(self, limit: int = 1000) -> list[Head]:
        """Streams that were running when another process, now gone, had the store; oldest first."""
        ...

    async def recall(self, kind: str, owner: str, key: str) -> bytes | None:
        """The value of a note; None if there is none."""
        ...

    async def forget(self, streams: Sequence[str]) -> None:
        """These streams and their bytes are gone when it returns, also from the disk's files. Unknown ones are
        ignored."""
        ...

    async def sweep(self, now: float) -> int:
        """Forget what has expired, in portions: call again while it returns more than 0 (streams and notes gone)."""
        ...

    async def figures(self) -> Figures: ...

    async def close(self) -> None:
        """Everything that was written is kept. Idempotent."""
        ...
