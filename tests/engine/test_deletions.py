"""A stream that was deleted while something of it was on its way into the store is gone from there all the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from tokenwire.engine.deletions import AGAIN, Deletions
from tokenwire.engine.stores.memory import MemoryStore
from tokenwire.engine.stores.port import Append
from tokenwire.errors import StoreFailed
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import run_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.engine.writing import Writer


class Writing:
    """Stands for the writer: what it has on its way."""

    def __init__(self) -> None:
        self.streams: set[str] = set()

    def has(self, stream_id: str) -> bool:
        return stream_id in self.streams


class Store(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []
        self.failing = False

    async def forget(self, streams: Sequence[str]) -> None:
        self.asked.append(sorted(streams))
        if self.failing:
            raise StoreFailed("it is away")
        await super().forget(streams)


def deletions(store: Store, clock: ManualClock) -> tuple[Deletions, Writing]:
    writing = Writing()
    return Deletions(store, clock, cast("Writer", writing)), writing


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_is_on_its_way_is_waited_for() -> None:
    """A store that is told to forget a stream before it hears of it would keep it."""

    async def main() -> None:
        store = Store()
        await store.open()
        deleted, writing = deletions(store, ManualClock())
        deleted.streams.update(st_1="me", st_2="me")
        writing.streams.add("st_1")
        deleted.look()
        await turns()
        assert (store.asked, [*deleted.streams]) == ([["st_2"]], ["st_1"])
        deleted.look()
        await turns()
        assert store.asked == [["st_2"]]
        await store.write([Append("st_1", "me", (), b"head", True, 2e9)])
        writing.streams.clear()
        deleted.look()
        await turns()
        assert (store.asked, deleted.streams) == ([["st_2"], ["st_1"]], {})
        assert await store.head("st_1") is None

    run_in("asyncio", main)


def test_whoever_cannot_wait_for_it_has_it_forgotten_twice() -> None:
    async def main() -> None:
        store = Store()
        await store.open()
        deleted, writing = deletions(store, ManualClock())
        deleted.streams["st_1"] = "me"
        writing.streams.add("st_1")
        await deleted.forget(["st_1"])
        assert [*deleted.streams] == ["st_1"]
        writing.streams.clear()
        await deleted.forget(["st_1"])
        assert deleted.streams == {}

    run_in("asyncio", main)


def test_a_store_that_fails_is_left_alone_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        clock, store = ManualClock(), Store()
        await store.open()
        deleted, _ = deletions(store, clock)
        deleted.streams["st_1"] = "me"
        store.failing = True
        for _ in range(3):
            deleted.look()
            await turns()
        assert store.asked == [["st_1"]]
        assert "tried again" in caplog.text
        store.failing = False
        clock.advance(AGAIN)
        deleted.look()
        await turns()
        assert (len(store.asked), deleted.streams) == (2, {})

    run_in("asyncio", main)


@pytest.mark.parametrize("failing", [False, True])
def test_the_last_try_says_whether_nothing_is_left(failing: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        store = Store()
        await store.open()
        deleted, _ = deletions(store, ManualClock())
        deleted.streams["st_1"] = "me"
        store.failing = failing
        deleted.look()
        assert await deleted.finish(5.0) is not failing
        assert ("1 deleted streams are still in the store: it is away" in caplog.text) == failing

    run_in("asyncio", main)
