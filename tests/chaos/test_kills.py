"""Relays that are killed in the middle of everything, and started again: what they stored is what their readers have."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from random import Random

import pytest
from tests.chaos.lives import Lives
from tests.chaos.world import World, run

from tokenwire import simulator
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
def test_what_was_stored_survives_every_kill(tmp_path: Path, seeds: range) -> None:
    lives = seeds if len(seeds) else range(seeds.start, seeds.start + KILLS)

    async def main() -> dict[str, int]:
        model = await simulator.serve()
        config = tmp_path / "tokenwire.toml"
        config.write_text(CONFIG.format(url=model.url))
        with refusing_port() as port:
            world = World(port, mortal=True)
            async with Lives(config, tmp_path, port) as relay:
                await relay.start()
                for seed in lives:
                    playing = [asyncio.create_task(world.play(10 * seed + number)) for number in range(3)]
                    await asyncio.sleep(Random(seed).uniform(0.0, 0.45))
                    assert await relay.end(signal.SIGKILL) == -signal.SIGKILL
                    await relay.start()
                    await asyncio.gather(*playing)
                assert await relay.end(signal.SIGTERM) == 0
                await relay.start()
                await world.judge()
        await model.close()
        return world.figures

    figures = run(main)
    print(figures)
    assert figures["orphaned"] > len(lives) / 4
