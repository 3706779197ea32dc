"""What a `Relay` has while it runs: the engine, and the tasks that belong to its streams. One per lifespan."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Final

from tokenwire.fastapi.completed import tell
from tokenwire.gateway.app import LAST_WORDS_SECONDS
from tokenwire.gateway.chats import Chats
from tokenwire.gateway.core import Core
from tokenwire.gateway.idempotency import Keys
from tokenwire.gateway.signals import Signals
from tokenwire.library.simulation import NAME, Simulation

if TYPE_CHECKING:
    from tokenwire.engine.stream import Stream
    from tokenwire.fastapi.completed import OnComplete
    from tokenwire.gateway.settings import Settings

log = logging.getLogger(__name__)

#: How long what an app does with completed answers may take at the end of the process.
COMPLETION_SECONDS: Final = 10.0


class Running:
    """Made inside the running loop; ``start`` first, ``close`` in the end.

    Attributes:
        core: hub, pool and directory.
        keys, chats: which streams are asked for again, by ``Idempotency-Key`` and by chat.
        answering: requests that their server waits for.
    """

    def __init__(self, settings: Settings, *, simulates: bool) -> None:
        self.core = Core(settings)
        self.keys = Keys(self.core.clock, self.core.hub)
        self.chats = Chats(self.core.hub)
        self.answering = 0
        self._simulation = Simulation() if simulates else None
        self._sources: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._collector: tuple[int, int, int] | None = None  # how often it ran before us, if we changed that

    async def start(self) -> None:
        await self.core.startup()
        # Servers of other makes wait for open responses before they say that it is the end.
        self._signals = Signals(asyncio.get_running_loop(), self.core.asked_to_end)
        self._collector = _calm_collector()

    async def close(self, *, at_once: bool) -> None:
        """End as the standalone relay does: no new streams, time for those that run (unless *at_once*), a reason for
        those that are cut; then what is told of completed answers."""
        core = self.core
        self._signals.close()
        if self._collector is not None:
            gc.set_threshold(*self._collector)
            gc.unfreeze()
        if not at_once:
            await core.wind_down()
            await core.wait_while(lambda: self.answering > 0, LAST_WORDS_SECONDS)
        await core.shutdown()
        for task in self._sources:
            task.cancel()
        await _settled(self._sources, LAST_WORDS_SECONDS, "a source did not end")
        await _settled(self._telling, COMPLETION_SECONDS, "on_complete did not end in time")
        if self._simulation is not None:
            await self._simulation.close()

    async def prepare(self, model: str) -> None:
        """Have at hand what answers *model*."""
        simulation = self._simulation
        if simulation is not None and model.partition("/")[0] == NAME and NAME not in self.core.directory.upstreams:
            await simulation.start(self.core)

    def keep(self, task: asyncio.Task[None]) -> None:
        """*task* pulls a source; it has ended when the relay has."""
        self._sources.add(task)
        task.add_done_callback(self._sources.discard)

    def tell_of(self, stream: Stream, on_complete: OnComplete | None) -> None:
        """When *stream* is over, tell *on_complete*."""
        if on_complete is None:
            return

        def ended() -> None:
            task = asyncio.get_running_loop().create_task(tell(stream, on_complete), name=f"completed {stream.id}")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

        if stream.terminal is None:
            stream.on_end.append(ended)
        else:
            ended()


def _calm_collector() -> tuple[int, int, int] | None:
    """As the standalone relay does: what lives long is many objects and never garbage, and to walk them again and again
    while tokens wait costs as much as the tokens. Only where nobody else has set the collector; returns what was set.
    """
    before = gc.get_threshold()
    if before[0] not in (700, 2000) or not gc.isenabled():  # the interpreter's own
        return None
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    return before


async def _settled(tasks: set[asyncio.Task[None]], seconds: float, complaint: str) -> None:
    """Every one of *tasks* has ended, or is cancelled for taking too long."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            log.error("%s: %s", complaint, task.get_name())
            task.cancel()
