"""A disk with a store on it: what survives a crash, and everything that a disk does to those who write to it.

``Disk`` is the machine's. Each process that opens it has a ``Handle``, a ``Store`` that knows delays, stalls, refusals before a
write and after it. What is under way when the process is killed is done or is not, never half.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from tests.simulation.world import sleep
from tokenwire.engine.stores.memory import MemoryStore
from tokenwire.engine.stores.port import PAGE, Append, Figures, Head, Note, Piece, Store
from tokenwire.errors import StoreFailed

if TYPE_CHECKING:
    from typing import Self

    from tests.simulation.world import Process, World

T = TypeVar("T")

#: ``failing``: nothing works; ``full``: nothing can be written; ``flaky``: one call in two fails, some of them after the
#: work was done; ``stalled``: nothing comes back.
Mood: TypeAlias = Literal["well", "failing", "full", "flaky", "stalled"]


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
        self.inner: Store = MemoryStore(wall=world.wall)
        self._waiting: list[Callable[[], None]] = []
        world.disk = self
        self._under_way: list[tuple[Sequence[Append], Sequence[Note]]] = []

    def open(self, process: Process) -> Handle:
        return Handle(self, process)

    def becomes(self, mood: Mood) -> None:
        self.mood, before = mood, self.mood
        self.troubled_ns = self.world.now_ns
        if before == "stalled":
            waiting, self._waiting = self._waiting, []
            for wake in waiting:
                wake()

    def crash(self) -> None:
        """The process that used it is gone. What it had under way was done by then, or was not."""
        self._waiting.clear()
        under_way, self._under_way = self._under_way, []
        for appends, notes in under_way:
            if self.mood in ("well", "stalled") and self.world.random.random() < 0.5:
                self._try(appends, notes)
        now(self.inner.close())

    def figures(self) -> Figures:
        return now(self.inner.figures())

    def _try(self, appends: Sequence[Append], notes: Sequence[Note]) -> None:
        try:
            now(self.inner.write(appends, notes))
        except StoreFailed:  # a conflict: so it is with a write whose repetition was done
            pass

    # ------------------------------------------------------------------ for handles

    async def delayed(self, process: Process) -> None:
        """As long as the disk takes."""
        chance = self.world.random.random
        while self.mood == "stalled":
            woken = process.create_future()
            self._waiting.append(lambda: None if woken.done() else woken.set_result(None))
            await woken
        await sleep(chance() * 0.01 if chance() < 0.9 else chance() * 0.2)

    def refuses(self, *, writing: bool) -> bool:
        mood = self.mood
        return mood == "failing" or (mood == "full" and writing) or (mood == "flaky" and self.world.random.random() < 0.4)

    def begins(self, write: tuple[Sequence[Append], Sequence[Note]]) -> None:
        self._under_way.append(write)

    def is_over(self, write: tuple[Sequence[Append], Sequence[Note]]) -> None:
        self._under_way = [each for each in self._under_way if each is not write]


class Handle:
    """``engine.stores.port.Store`` as one process sees it."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process

    async def _do(self, work: Callable[[], Coroutine[Any, Any, T]], *, writing: bool = False) -> T:
        disk = self._disk
        await disk.delayed(self._process)
        if disk.refuses(writing=writing):
            raise StoreFailed(f"the disk is {disk.mood}")
        result = now(work())
        await disk.delayed(self._process)
        if disk.mood == "flaky" and disk.refuses(writing=writing):
            raise StoreFailed("the answer was lost")
        return result

    async def open(self) -> Self:
        await self._do(self._disk.inner.open)
        return self

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        disk, write = self._disk, (appends, notes)

        async def work() -> None:
            disk.is_over(write)
            await disk.inner.write(appends, notes)

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
        await self._disk.inner.close()


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """What *coroutine* returns, which waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError(f"{coroutine} waits")
