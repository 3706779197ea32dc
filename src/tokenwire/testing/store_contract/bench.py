"""A store at work, on a clock of its own: what every rule is played on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from tokenwire.engine.stores.port import Append, Note, Piece, Store
from tokenwire.errors import StoreConflict
from tokenwire.testing.store_schedules import Wall, play

#: Makes a store, not open yet; the argument tells it the time, seconds since 1970.
Make: TypeAlias = Callable[[Callable[[], float]], Store]

ME: Final = "someone"


class Bench:
    """A store at work, and the clock that it goes by.

    Attributes:
        store: open.
        wall: its clock; ``wall.now`` may be set.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self.wall = Wall()
        self.store = make(self.wall)

    async def __aenter__(self) -> Bench:
        assert await self.store.open() is self.store, "open() returns the store"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()

    async def restart(self) -> None:
        """Close the store; open one on the same data, as another process would."""
        await self.store.close()
        self.store = self._make(self.wall)
        await self.store.open()

    async def write(self, *appends: Append, notes: Sequence[Note] = ()) -> None:
        await self.store.write(appends, notes)

    async def begin(self, stream: str, *pieces: Piece, **more: object) -> None:
        """The first write of a stream that expires in an hour."""
        await self.write(self.append(stream, *pieces, **{"head": b"head", **more}))

    def append(self, stream: str, *pieces: Piece, **more: object) -> Append:
        """An append of ``ME``'s stream that expires in an hour, unless told otherwise."""
        return Append(stream=stream, pieces=pieces, **{"owner": ME, "expires": self.wall.now + 3600, **more})  # type: ignore[arg-type]

    async def stored(self, stream: str) -> list[Piece]:
        """All pieces, page by page, each page as small as can be."""
        found: list[Piece] = []
        after = 0
        while page := await self.store.pieces(stream, after, 1):
            assert len(page) == 1, "a page of one byte is one piece"
            found += page
            after = page[-1].first + page[-1].entries - 1
        assert found == await self.store.pieces(stream, 0, 1 << 30), "pages and the whole are the same"
        return found

    async def conflict(self, *appends: Append, last: int = 0, notes: Sequence[Note] = ()) -> None:
        """See that *appends* are refused, with the newest entry stored."""
        told = None
        try:
            await self.store.write(appends, notes)
        except StoreConflict as error:
            told = error.last
        assert told is not None, "the write was not refused"
        assert told == last, f"the conflict tells entry {told}, and {last} is stored"


Rule: TypeAlias = Callable[[Bench], Awaitable[None]]


def run_rule(rule: Rule, make: Make) -> None:
    """Hold *rule* against a store. Raises ``AssertionError`` where it is broken."""

    async def run() -> None:
        async with Bench(make) as bench:
            await rule(bench)

    asyncio.run(run())


def run_schedule(make: Make, seed: int, steps: int = 60) -> None:
    """Play *steps* writes, reads, restarts and clock jumps, chosen by *seed*, on a store and on ``MemoryStore``, and
    compare all that they answer. Raises ``AssertionError`` that tells the steps, where they differ."""
    wall = Wall()
    asyncio.run(play(lambda: make(wall), wall, seed, steps))


def piece(first: int, entries: int = 1, text: str = "x") -> Piece:
    """A piece whose bytes tell where it belongs."""
    return Piece(first, entries, f"{text}{first}+{entries}".encode())
