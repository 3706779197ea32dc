"""A disk with a store on it: what survives a crash, and everything that a disk does to those who write to it.

``Disk`` is the machine's. Each process that opens it has a ``Handle``, a ``Store`` that knows delays, stalls, refusals
before a write and after it. What is under way when the process is killed is done or is not, never half.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from tests.simulation.world import sleep

from tokenwire.engine.stores import sqlite_schema
from tokenwire.engine.stores.memory import MemoryStore
from tokenwire.engine.stores.port import PAGE, Append, Figures, Head, Note, Piece
from tokenwire.engine.stores.sqlite_database import Database
from tokenwire.errors import StoreFailed

if TYPE_CHECKING:
    from typing import Self

    from tests.simulation.world import Process, World

T = TypeVar("T")

#: ``failing``: nothing works; ``full``: nothing can be written; ``flaky``: many calls fail, some of them after the work
#: was done; ``stalled``: nothing comes back.
Mood: TypeAlias = Literal["well", "failing", "full", "flaky", "stalled"]


class Inner(Protocol):
    """A store whose calls are done when they return."""

    def open(self, wall: Callable[[], float]) -> None: ...

    def write(self, appends: Sequence[Append], notes: Sequence[Note]) -> None: ...

    def head(self, stream: str) -> Head | None: ...

    def pieces(self, stream: str, after: int, limit: int) -> list[Piece]: ...

    def heads(self, owner: str, limit: int) -> list[Head]: ...

    def orphans(self, limit: int) -> list[Head]: ...

    def recall(self, kind: str, owner: str, key: str) -> bytes | None: ...

    def forget(self, streams: Sequence[str]) -> None: ...

    def sweep(self, now: float) -> int: ...

    def figures(self) -> Figures: ...

    def close(self) -> None:
        """In good order."""

    def crash(self) -> None:
        """Whoever had it open is gone."""


class Plain:
    """``MemoryStore``, which waits for nothing."""

    def __init__(self) -> None:
        self._store = MemoryStore(wall=lambda: self._wall())
        self._wall: Callable[[], float]

    def open(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        now(self._store.open())

    def write(self, appends: Sequence[Append], notes: Sequence[Note]) -> None:
        now(self._store.write(appends, notes))

    def head(self, stream: str) -> Head | None:
        return now(self._store.head(stream))

    def pieces(self, stream: str, after: int, limit: int) -> list[Piece]:
        return now(self._store.pieces(stream, after, limit))

    def heads(self, owner: str, limit: int) -> list[Head]:
        return now(self._store.heads(owner, limit))

    def orphans(self, limit: int) -> list[Head]:
        return now(self._store.orphans(limit))

    def recall(self, kind: str, owner: str, key: str) -> bytes | None:
        return now(self._store.recall(kind, owner, key))

    def forget(self, streams: Sequence[str]) -> None:
        now(self._store.forget(streams))

    def sweep(self, at: float) -> int:
        return now(self._store.sweep(at))

    def figures(self) -> Figures:
        return now(self._store.figures())

    def close(self) -> None:
        now(self._store.close())

    crash = close


class Sqlite:
    """The synchronous core of ``SqliteStore``, on a database in memory. What that core itself holds in memory is lost
    in a crash."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._connection = sqlite_schema.connect(":memory:")
        sqlite_schema.prepare(self._connection, ":memory:")
        self._database: Database | None = None

    def __del__(self) -> None:
        self._connection.close()

    def open(self, wall: Callable[[], float]) -> None:
        if self._database is None:
            self._database = Database(self._connection, ":memory:", wall)
            self._database.load()

    @property
    def _open(self) -> Database:
        if self._database is None:
            raise StoreFailed("it is not open")
        return self._database

    def write(self, appends: Sequence[Append], notes: Sequence[Note]) -> None:
        self._open.write(appends, notes)
        if self._chance() < 0.2:
            self._open.upkeep()

    def head(self, stream: str) -> Head | None:
        return self._open.reading.head(stream)

    def pieces(self, stream: str, after: int, limit: int) -> list[Piece]:
        return self._open.reading.pieces(stream, after, limit)

    def heads(self, owner: str, limit: int) -> list[Head]:
        return self._open.reading.heads(owner, limit)

    def orphans(self, limit: int) -> list[Head]:
        return self._open.orphans(limit)

    def recall(self, kind: str, owner: str, key: str) -> bytes | None:
        return self._open.reading.recall(kind, owner, key)

    def forget(self, streams: Sequence[str]) -> None:
        self._open.forget(streams)

    def sweep(self, at: float) -> int:
        return self._open.sweep(at)

    def figures(self) -> Figures:
        return self._open.reading.figures()

    def close(self) -> None:
        if self._database is not None:
            self._database.fold_all()
        self._database = None

    def crash(self) -> None:
        self._database = None


class Disk:
    """What is on it survives everything but ``forget``.

    Attributes:
        mood: how it treats whoever uses it.
        troubled_ns: when it was last not well.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.mood: Mood = "well"
        self.troubled_ns = 0
        chance = world.random.random
        self.inner: Inner = Plain() if chance() < 0.5 else Sqlite(chance)
        self._waiting: list[asyncio.Future[None]] = []
        world.disk = self
        self._under_way: list[tuple[Sequence[Append], Sequence[Note]]] = []

    def open(self, process: Process, wall: Callable[[], float]) -> Handle:
        """*wall*: seconds since 1970, as that process has it."""
        return Handle(self, process, wall)

    def becomes(self, mood: Mood) -> None:
        self.mood, before = mood, self.mood
        self.troubled_ns = self.world.now_ns
        if before == "stalled":
            waiting, self._waiting = self._waiting, []
            for woken in waiting:
                if not woken.done():
                    woken.set_result(None)

    def crash(self) -> None:
        """The process that used it is gone. What it had under way was done by then, or was not."""
        self._waiting.clear()
        under_way, self._under_way = self._under_way, []
        for appends, notes in under_way:
            if self.mood in ("well", "stalled") and self.world.random.random() < 0.5:
                self._try(appends, notes)
        self.inner.crash()

    def _try(self, appends: Sequence[Append], notes: Sequence[Note]) -> None:
        try:
            self.inner.write(appends, notes)
        except StoreFailed:  # a conflict: so it is with a write whose repetition was done
            pass

    # ------------------------------------------------------------------ for handles

    async def delayed(self, process: Process) -> None:
        """As long as the disk takes."""
        chance = self.world.random.random
        while self.mood == "stalled":
            woken: asyncio.Future[None] = process.create_future()
            self._waiting.append(woken)
            await woken
        await sleep(chance() * 0.01 if chance() < 0.9 else chance() * 0.2)

    def refuses(self, *, writing: bool) -> bool:
        mood = self.mood
        return (
            mood == "failing" or (mood == "full" and writing) or (mood == "flaky" and self.world.random.random() < 0.4)
        )

    def begins(self, write: tuple[Sequence[Append], Sequence[Note]]) -> None:
        self._under_way.append(write)

    def is_over(self, write: tuple[Sequence[Append], Sequence[Note]]) -> None:
        self._under_way = [each for each in self._under_way if each is not write]


class Handle:
    """``engine.stores.port.Store`` as one process sees it."""

    def __init__(self, disk: Disk, process: Process, wall: Callable[[], float]) -> None:
        self._disk = disk
        self._wall = wall
        self._process = process

    async def _do(self, work: Callable[[], T], *, writing: bool = False) -> T:
        disk = self._disk
        await disk.delayed(self._process)
        if disk.refuses(writing=writing):
            raise StoreFailed(f"the disk is {disk.mood}")
        result = work()
        await disk.delayed(self._process)
        if disk.mood == "flaky" and disk.refuses(writing=writing):
            raise StoreFailed("the answer was lost")
        return result

    async def open(self) -> Self:
        await self._do(lambda: self._disk.inner.open(self._wall))
        return self

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        disk, write = self._disk, (appends, notes)

        def work() -> None:
            disk.is_over(write)
            disk.inner.write(appends, notes)

        disk.begins(write)
        try:
            await self._do(work, writing=True)
        finally:
            if not self._process.dead:
                disk.is_over(write)

    async def head(self, stream: str) -> Head | None:
        return await self._do(lambda: self._disk.inner.head(stream))

    async def pieces(self, stream: str, after: int = 0, limit: int = PAGE) -> list[Piece]:
        return await self._do(lambda: self._disk.inner.pieces(stream, after, limit))

    async def heads(self, owner: str, limit: int = 1000) -> list[Head]:
        return await self._do(lambda: self._disk.inner.heads(owner, limit))

    async def orphans(self, limit: int = 1000) -> list[Head]:
        return await self._do(lambda: self._disk.inner.orphans(limit))

    async def recall(self, kind: str, owner: str, key: str) -> bytes | None:
        return await self._do(lambda: self._disk.inner.recall(kind, owner, key))

    async def forget(self, streams: Sequence[str]) -> None:
        await self._do(lambda: self._disk.inner.forget(streams), writing=True)

    async def sweep(self, now: float) -> int:
        return await self._do(lambda: self._disk.inner.sweep(now), writing=True)

    async def figures(self) -> Figures:
        return await self._do(self._disk.inner.figures)

    async def close(self) -> None:
        self._disk.inner.close()


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """What *coroutine* returns, which waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError(f"{coroutine} waits")
