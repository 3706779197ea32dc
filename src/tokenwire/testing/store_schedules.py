"""Random schedules: a store and ``MemoryStore`` do the same, and have to answer the same."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

from tokenwire.engine.stores.memory import MemoryStore
from tokenwire.engine.stores.port import TOMBSTONE_SECONDS, Append, Note, Piece, Store
from tokenwire.errors import StoreConflict

_STREAMS: Final = [f"st_{n}" for n in range(8)]
_OWNERS: Final = ("one", "two")
_LONG: Final = re.compile(r"(b'[^']{20})[^']*")


def _short(value: object) -> str:
    """Without the middle of long bytes."""
    return _LONG.sub(r"\1…", repr(value))


class Wall:
    """The time of day, by hand: ``now``, seconds since 1970."""

    def __init__(self, now: float = 1_763_600_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class _Pair:
    """The store under test and the model, which are given the same."""

    def __init__(self, make: Callable[[], Store], wall: Wall, seed: int) -> None:
        self._make = make
        self.wall = wall
        self.random = Random(seed)
        self.store = make()
        self.model = MemoryStore(wall=wall)
        self.last = dict.fromkeys(_STREAMS, 0)
        self.said: list[str] = [f"seed {seed}"]

    async def both(self, what: str, call: Callable[[Store], Awaitable[Any]]) -> Any:
        """What both answer, which is the same; of a conflict, the exception."""
        self.said.append(what)
        answers = []
        for store in (self.model, self.store):
            try:
                answers.append(await call(store))
            except StoreConflict as error:
                answers.append(error)
        expected, found = answers
        if isinstance(expected, StoreConflict):
            same = isinstance(found, StoreConflict) and (found.stream, found.last) == (expected.stream, expected.last)
        else:
            same = expected == found
        if not same:
            raise AssertionError("\n".join([*self.said, f"expected {_short(expected)}", f"found    {_short(found)}"]))
        return expected

    # ------------------------------------------------------------------ what may be done

    async def write(self) -> None:
        appends = [self._append() for _ in range(self.random.choice((0, 1, 1, 2, 5)))]
        notes = [self._note() for _ in range(self.random.choice((0, 0, 0, 1, 3)))]
        said = await self.both(f"write {_short(appends)} {_short(notes)}", lambda store: store.write(appends, notes))
        if not isinstance(said, StoreConflict):
            if self.random.random() < 0.2:  # its answer was lost
                await self.both("the same again", lambda store: store.write(appends, notes))
            for append in appends:
                for piece in append.pieces:
                    self.last[append.stream] = max(self.last[append.stream], piece.first + piece.entries - 1)
            await self.look()

    def _append(self) -> Append:
        random, stream = self.random, self.random.choice(_STREAMS)
        index = _STREAMS.index(stream)
        last = self.last[stream]
        restart = random.random() < 0.05
        first = last + (random.randrange(1, 9) if restart else random.choices((1, 0, 2, -3), (40, 2, 1, 1))[0])
        pieces = []
        for _ in range(random.choice((0, 1, 1, 2, 3)) or restart):
            entries = random.choice((1, 1, 2, 12))
            data = b"%d " % random.randrange(10**6) * random.choice((0, 1, 20, 500))
            pieces.append(Piece(max(first, 1), entries, data))
            first = pieces[-1].first + entries
        self.last[stream] = last
        return Append(
            stream=stream,
            owner=_OWNERS[index % 2] if random.random() > 0.02 else "nobody",
            pieces=pieces,
            head=b"head %d" % random.randrange(10**6) if last == 0 or random.random() < 0.2 else None,
            running=random.random() < 0.85,
            expires=self.wall.now + random.choice((-1, 5, 50, 500, 5000)),
            restart=restart,
        )

    def _note(self) -> Note:
        random = self.random
        value = random.choice((None, b"", b"one", b"two"))
        return Note(
            random.choice("ab"),
            random.choice(_OWNERS),
            random.choice("xy"),
            value,
            self.wall.now + random.choice((0, 9, 99)),
        )

    async def look(self) -> None:
        stream, after = self.random.choice(_STREAMS), self.random.randrange(30)
        limit = self.random.choice((0, 100, 1 << 30))
        await self.both(f"head {stream}", lambda store: store.head(stream))
        await self.both(f"pieces {stream} {after} {limit}", lambda store: store.pieces(stream, after, limit))

    async def list_all(self) -> None:
        limit = self.random.choice((2, 1000))
        owner, kind, key = self.random.choice(_OWNERS), self.random.choice("ab"), self.random.choice("xy")
        await self.both(f"heads {owner} {limit}", lambda store: store.heads(owner, limit))
        await self.both(f"orphans {limit}", lambda store: store.orphans(limit))
        await self.both(f"recall {kind} {owner} {key}", lambda store: store.recall(kind, owner, key))
        await self.both("figures", _counted)

    async def forget(self) -> None:
        streams = self.random.sample(_STREAMS, self.random.choice((1, 1, 3)))
        await self.both(f"forget {streams}", lambda store: store.forget(streams))
        for stream in streams:
            self.last[stream] = 0

    async def sweep(self) -> None:
        now = self.wall.now
        await self.both(f"sweep {now}", lambda store: _swept(store, now))

    async def wait(self) -> None:
        self.wall.now += self.random.choice((1, 10, 100, 1000, TOMBSTONE_SECONDS))
        self.said.append(f"it is {self.wall.now}")

    async def restart(self) -> None:
        self.said.append("restart")
        for store in (self.model, self.store):
            await store.close()
        self.store = self._make()
        await self.model.open()
        await self.store.open()

    async def everything(self) -> None:
        await self.both("everything", _all)


async def _all(store: Store) -> list[object]:
    heads = [await store.head(stream) for stream in _STREAMS]
    pieces = [await store.pieces(stream, 0, 1 << 30) for stream in _STREAMS]
    return [heads, pieces, *[await store.heads(owner) for owner in _OWNERS]]


async def _counted(store: Store) -> tuple[int, ...]:
    return tuple((await store.figures())[:5])


async def _swept(store: Store, now: float) -> int:
    total = 0
    while swept := await store.sweep(now):
        total += swept
    return total


async def play(make: Callable[[], Store], wall: Wall, seed: int, steps: int) -> None:
    """See ``tokenwire.testing.store_contract.run_schedule``."""
    pair = _Pair(make, wall, seed)
    await pair.model.open()
    await pair.store.open()
    steps_and_weights = {
        pair.write: 30, pair.look: 6, pair.list_all: 6, pair.forget: 2, pair.sweep: 2, pair.wait: 2, pair.restart: 2
    }  # fmt: skip
    try:
        for step in pair.random.choices(list(steps_and_weights), list(steps_and_weights.values()), k=steps):
            await step()
        await pair.everything()
        await pair.restart()
        await pair.everything()
    finally:
        await pair.store.close()
