"""One process on a store that outlives it, and that can be told to fail, to be slow, or to have a bug."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tokenwire import dialects
from tokenwire.engine.clock import LoopClock
from tokenwire.engine.hub import Hub
from tokenwire.engine.keeping import Keep
from tokenwire.engine.recorder import Recorder
from tokenwire.engine.retention import Retention
from tokenwire.engine.states import Policy
from tokenwire.engine.stores.memory import MemoryStore
from tokenwire.engine.stores.port import PAGE, Append, Note, Piece
from tokenwire.engine.stream import Stream
from tokenwire.errors import StoreFailed
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.sinks import ScriptedSource

KEEP = Keep(flush=0.02)


class Faulty(MemoryStore):
    """A store that can be told to fail, to be silent, or to write and lose its answer.

    Attributes:
        failing: what every write says, if anything.
        gate: writes wait for it.
        lost: so many answers are still to be lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failing: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.lost = 0
        self.writes: list[Sequence[Append]] = []

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        await self.gate.wait()
        if self.failing is not None:
            raise StoreFailed(self.failing)
        await super().write(appends, notes)
        self.writes.append(list(appends))
        if self.lost:
            self.lost -= 1
            raise StoreFailed("the answer was lost")


class Odd(Faulty):
    """One with a bug, too, or slow.

    Attributes:
        bug: what a write raises, if anything.
        busy: of whom there is more to write after each write.
        undeletable: whether nothing can be forgotten.
        small: pages are of one piece, and the hub looks around after each of them.
    """

    bug: Exception | None = None
    busy: tuple[Recorder, Stream] | None = None
    undeletable = False
    small: Hub | None = None

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        if self.bug is not None:
            raise self.bug
        await super().write(appends, notes)
        if self.busy is not None:
            await asyncio.sleep(0)
            self.busy[0].changed(self.busy[1])

    async def forget(self, streams: Sequence[str]) -> None:
        if self.undeletable:
            raise StoreFailed("the disk is full")
        await super().forget(streams)

    async def pieces(self, stream: str, after: int = 0, limit: int = PAGE) -> list[Piece]:
        if self.small is None:
            return await super().pieces(stream, after, limit)
        found = await super().pieces(stream, after, 1)
        self.small._cool()
        return found


async def odd() -> Odd:
    store = Odd()
    await store.open()
    return store


class Node:
    """One process: a hub on a store that outlives it."""

    def __init__(self, store: MemoryStore, *, keep: Keep = KEEP, retention: Retention | None = None) -> None:
        self.store = store
        self.hub = Hub(LoopClock(), retention)
        self.hub.keep_in(store, keep, Policy())

    def stream(self, *texts: str, end: bool = False, dialect: str = "openai.chat") -> Stream:
        stream = self.hub.open(owner="me", dialect=dialects.get(dialect), model="up/m", policy=Policy())
        stream.connecting(ScriptedSource())
        stream.begin()
        self.say(stream, *texts)
        if end:
            self.end(stream)
        return stream

    def say(self, stream: Stream, *texts: str) -> None:
        for text in texts:
            stream.append([chat.text(text)], self.hub.clock.now_ns())

    def end(self, stream: Stream) -> None:
        stream.append([chat.finish(), chat.DONE], self.hub.clock.now_ns())
        stream.finish()

    async def stored(self, stream: Stream) -> None:
        """Until the store has everything of it."""
        kept = stream.kept
        assert kept is not None
        await until(lambda: kept.stored == stream.log.last_frame and kept.acknowledged and not kept.queued)

    def kill(self) -> None:
        """The process is gone: nothing more is written."""
        assert self.hub.recorder is not None
        self.hub.recorder.close()
        self.hub.close()


def play(main: Callable[[Faulty], Awaitable[None]]) -> None:
    async def inside() -> None:
        store = Faulty()
        await store.open()
        await main(store)

    run_in("uvloop", inside)


def recorder_of(node: Node) -> Recorder:
    assert node.hub.recorder is not None
    return node.hub.recorder


def frames(stream: Stream) -> list[bytes]:
    return [stream.log.frame(seq) for seq in range(1, stream.log.last_frame + 1)]
