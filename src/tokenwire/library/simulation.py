"""The simulator, for processes that have no ``tokenwire serve`` beside them: ``sim/…`` models need no key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tokenwire.gateway.environment import SPOKEN
from tokenwire.gateway.settings import UpstreamSettings

if TYPE_CHECKING:
    from tokenwire.gateway.core import Core
    from tokenwire.simulator.server import Simulator

#: The upstream that the simulator is, where the settings have none of that name.
NAME: Final = "sim"


class Simulation:
    """The simulator, in this very loop and on a port of its own, from the first question for one of its models."""

    def __init__(self) -> None:
        self._starting: asyncio.Task[Simulator] | None = None

    async def start(self, core: Core) -> None:
        """Have *core* know it. Idempotent; whoever comes meanwhile waits for the same one, and a cancelled wait leaves
        it to the others. Raises ``OSError`` if there is no port to listen on."""
        if self._starting is None:
            from tokenwire import simulator

            self._starting = asyncio.get_running_loop().create_task(simulator.serve())
        running = await asyncio.shield(self._starting)
        # Without a list: a model of a vendor whose key is missing is not to be answered by a look-alike.
        if NAME not in core.directory.upstreams:
            core.directory.add(
                NAME,
                UpstreamSettings(
                    base_url=f"{running.url}/v1", dialect=SPOKEN[NAME], api_key="simulated", proxy="none", models=[]
                ),
            )

    async def close(self) -> None:
        starting, self._starting = self._starting, None
        if starting is not None:
            await (await starting).close()
