"""Random schedules over real sockets, on a store that stalls, fails and loses answers: no reader is any the wiser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest
from tests.chaos.world import World, pretended, run

from tokenwire.engine.stores.port import Append, Note
from tokenwire.engine.stores.sqlite import SqliteStore
from tokenwire.errors import StoreFailed
from tokenwire.gateway import core
from tokenwire.gateway.settings import LimitSettings, RetrySettings, Settings, StoreSettings, UpstreamSettings
from tokenwire.testing.relay import serving

SCHEDULES = 200
#: Schedules that are under way at the same time.
AT_ONCE = 20


class FaultyStore(SqliteStore):
    """A SQLite store whose writes have accidents once streams are written. *random* says which."""

    def __init__(self, path: Path, wall: Callable[[], float], random: Random) -> None:
        super().__init__(path, wall=wall)
        self._random = random
        self.accidents = 0

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        fate = self._random.random() if appends else 1.0
        self.accidents += fate < 0.4
        if fate < 0.1:
            await asyncio.sleep(self._random.uniform(0.01, 0.3))
        elif fate < 0.25:
            raise StoreFailed("the disk is full")
        await super().write(appends, notes)
        if 0.25 <= fate < 0.4:
            raise StoreFailed("the answer was lost")


@pytest.mark.slow
@pytest.mark.untraced
def test_readers_of_a_store_with_accidents(
    tmp_path: Path, seeds: Callable[[int], range], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each reader folded is what another relay finds in the store."""
    schedules = seeds(SCHEDULES)
    stores: list[FaultyStore] = []

    def faulty(url: str, *, wall: Callable[[], float]) -> FaultyStore:
        stores.append(FaultyStore(tmp_path / "tokenwire.db", wall, Random(schedules.start)))
        return stores[-1]

    monkeypatch.setattr(core, "open_store", faulty)

    async def main() -> dict[str, int]:
        async with pretended() as model:
            world = World(0, mortal=False)
            settings = settings_of(model.url)
            async with serving(settings) as relay:
                world.port = relay.port
                turns = asyncio.Semaphore(AT_ONCE)

                async def play(seed: int) -> None:
                    async with turns:
                        await world.play(seed)

                async with asyncio.TaskGroup() as group:
                    for seed in schedules:
                        group.create_task(play(seed))
            async with serving(settings) as relay:
                world.port = relay.port
                await world.judge()
        return world.figures

    figures = run(main)
    print(f"{len(schedules)} schedules, {stores[0].accidents} accidents: {figures}")
    assert stores[0].accidents > len(schedules) / 10


def settings_of(model: str) -> Settings:
    upstream = UpstreamSettings(
        base_url=f"{model}/v1", dialect=["openai.chat", "anthropic"], retry=RetrySettings(attempts=1)
    )
    return Settings(
        upstreams={"sim": upstream}, limits=LimitSettings(reader_timeout=0.5), store=StoreSettings(flush=0.05)
    )
