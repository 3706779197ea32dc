"""What streams need, without a server: the engine, the upstreams, and who answers which model.

The relay serves it (``app.Gateway``), and the Python library uses it in its user's own process.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from tokenwire.dialects.deltas import Failed
from tokenwire.engine.clock import LoopClock
from tokenwire.engine.hub import Hub
from tokenwire.engine.pacing import FrameClock
from tokenwire.engine.stores.address import open_store
from tokenwire.errors import StoreFailed
from tokenwire.gateway.cache import Cache
from tokenwire.gateway.coming_back import spread
from tokenwire.gateway.directory import Directory
from tokenwire.gateway.settings import tokenizers_of
from tokenwire.measure import prices
from tokenwire.upstream.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.engine.stores.port import Store
    from tokenwire.gateway.settings import Settings

log = logging.getLogger(__name__)

#: How often it is looked for what has expired, and the pause between two portions of that, seconds.
SWEEP_SECONDS: Final = 30.0
SWEEP_PAUSE: Final = 0.05
#: How long the end of the process waits for the store.
LAST_WRITE_SECONDS: Final = 5.0
LAST_CLOSE_SECONDS: Final = 10.0


class Core:
    """One engine with its upstreams. Made inside the running loop.

    Attributes:
        cache: answers that are kept for who asks the same again.
        draining: no stream begins any more.
        on_drain: told how many streams run when draining begins.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = LoopClock()
        self.hub = Hub(self.clock, settings.limits.retention(settings.store))
        self.hub.tokenizers.update(tokenizers_of(settings))
        limits = settings.limits
        self.cache = Cache(
            self.clock, self.hub.wheel, max_bytes=limits.cache_bytes, max_answer=limits.cache_answer_bytes
        )
        self.pacing = FrameClock(self.clock)
        self.pool = Pool(self.clock.now_ns, self.pacing)
        self.directory = Directory(settings, self.pool)
        self.store: Store | None = None
        self.draining = False
        self.on_drain: Callable[[int], None] = _ignore
        self.tasks: list[asyncio.Task[None]] = []

    async def startup(self) -> None:
        """Open the store, if there is one; begin to fetch the model lists; where models have prices, get those ready in
        a thread. Idempotent. Raises ``ConfigError`` when the store cannot be used."""
        if not self.tasks:
            loop = asyncio.get_running_loop()
            await self._open_store()
            self.tasks.append(loop.create_task(self.directory.run()))
            if self.sells:
                self.tasks.append(loop.create_task(_load_prices()))

    async def _open_store(self) -> None:
        settings = self.settings.store
        # What is to be kept for an hour must not go because somebody sets the clock: hence the hub's.
        store = open_store(settings.url or "memory://", wall=self.hub.wall)
        if store is None:
            return
        await store.open()
        self.store = store
        self.hub.keep_in(store, settings, self.settings.limits.policy(self.settings.limits.linger))
        assert self.hub.archive is not None
        loop = asyncio.get_running_loop()
        self.tasks += [loop.create_task(self.hub.archive.end_orphans()), loop.create_task(self._sweep(store))]

    async def _sweep(self, store: Store) -> None:
        """Forget what has expired, from time to time."""
        while True:
            try:
                while await store.sweep(self.hub.wall()):
                    await asyncio.sleep(SWEEP_PAUSE)
            except StoreFailed as error:
                log.warning("what has expired cannot be forgotten now: %s", error)
            await asyncio.sleep(SWEEP_SECONDS)

    @property
    def sells(self) -> bool:
        """Whether any upstream may have prices."""
        upstreams = self.directory.upstreams.values()
        return any(
            each.seller.url or each.seller.provider for upstream in upstreams for each in upstream.providers.values()
        )

    def drain(self) -> None:
        """No new streams from now on; the running ones go on, and native readers hear for how long; those
        that come back by themselves, when. Idempotent."""
        if not self.draining:
            self.draining = True
            self.on_drain(self.hub.statistics().running)
            spread(self.hub)
            self.hub.notice("shutting_down", seconds=self.settings.limits.drain)

    def busy(self) -> bool:
        """Whether a stream runs, or a reader of an ended one has not got it all."""
        figures = self.hub.statistics()
        return figures.running > 0 or figures.readers > 0

    def cut(self) -> None:
        """End every stream that still runs, each told why. Of an answer that is whole, only the end of its HTTP body
        was awaited: that is complete."""
        failed = Failed(code="shutting_down", message="the relay is shutting down", retryable=True)
        for stream in self.hub.running():
            if not stream.readers and stream.is_whole():
                stream.finish()
            else:
                stream.fail(failed)

    async def wait_while(
        self, condition: Callable[[], bool], seconds: float, hurry: Callable[[], bool] = lambda: False
    ) -> None:
        """Until *condition* is false, *seconds* are over, or there is a reason to *hurry*."""
        deadline = self.clock.now_ns() + int(seconds * 1e9)
        while condition() and not hurry() and self.clock.now_ns() < deadline:
            await asyncio.sleep(0.02)

    def asked_to_end(self) -> None:
        """A signal, heard beside the server's own handler: the first drains, a second one ends at once."""
        if self.draining:
            self.cut()
        else:
            self.drain()
            self.tasks.append(asyncio.get_running_loop().create_task(self.wind_down()))

    async def wind_down(self) -> None:
        """What our own server does: the streams get their time, then a reason."""
        self.drain()
        await self.wait_while(self.busy, self.settings.limits.drain)
        self.cut()

    async def shutdown(self) -> None:
        """End everything. Idempotent."""
        self.drain()
        self.cut()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()
        store, self.store = self.store, None
        if store is not None:
            await self._let_go(store)
        self.hub.close()
        self.pool.close()

    async def _let_go(self, store: Store) -> None:
        """Write what is still to be written, and close *store*."""
        recorder = self.hub.recorder
        assert recorder is not None
        if not await recorder.flush(LAST_WRITE_SECONDS):
            log.error("the store did not take the last of it: %s", recorder.degraded or "it is too slow")
        recorder.close()
        if self.hub.archive is not None:
            self.hub.archive.close()
        try:
            await asyncio.wait_for(store.close(), LAST_CLOSE_SECONDS)
        except TimeoutError:  # its threads do not hold the process up, nor must we
            log.error("the store does not answer, and is left as a killed process leaves it")


def _ignore(running: int) -> None:
    """Nobody wants to know."""


async def _load_prices() -> None:
    """A fifth of a second of imports: not in the turn of the first answer that has a price."""
    await asyncio.to_thread(prices.load)
