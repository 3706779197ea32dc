"""Relays that are killed in mid-stream, and started again: what they stored is what their readers have."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from tests.chaos.lives import Lives
from tests.chaos.world import World, pretended, run

from tokenwire.testing.ports import refusing_port

KILLS = 50
CONFIG = """
[limits]
reader_timeout = 0.5
[upstreams.sim]
base_url = "{url}/v1"
dialect = ["openai.chat", "anthropic"]
retry = {{ attempts = 1 }}
"""


@pytest.mark.slow
@pytest.mark.untraced
def test_what_was_stored_survives_every_kill(tmp_path: Path, seeds: Callable[[int], range]) -> None:
    """Three schedules begin in each life, and end in the next."""
    lives = seeds(KILLS)

    async def main() -> dict[str, int]:
        config = tmp_path / "tokenwire.toml"
        with refusing_port() as port:
            world = World(port, mortal=True)
            async with pretended() as model, Lives(config, tmp_path, port) as relay:
                config.write_text(CONFIG.format(url=model.url))
                await relay.start()
                for seed in lives:
                    async with asyncio.TaskGroup() as group:
                        for number in range(3):
                            group.create_task(world.play(10 * seed + number))
                        await asyncio.sleep(Random(seed).uniform(0.0, 0.4))
                        world.kills.append(asyncio.get_running_loop().time())
                        assert await relay.end(signal.SIGKILL) == -signal.SIGKILL
                        await relay.start()
                assert await relay.end(signal.SIGTERM) == 0
                await relay.start()
                await world.judge()
        return world.figures

    figures = run(main)
    print(f"{len(lives)} kills: {figures}")
    assert figures["orphaned"] > len(lives) / 4
