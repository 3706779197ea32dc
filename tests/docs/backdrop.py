"""What the documentation's blocks talk to: a relay with a simulator, and apps that they make. One thread, one loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import uvicorn

from tokenwire.gateway.cache_settings import CacheSettings
from tokenwire.gateway.server import listen
from tokenwire.gateway.settings import ModelSettings, from_environment
from tokenwire.simulator import serve as simulate
from tokenwire.testing.relay import serving

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

T = TypeVar("T")

#: What pages name beside the simulator's models.
MODELS = {"faq": ModelSettings(route=["sim/gpt-4o"], cache=CacheSettings(seconds=3600, share=True))}


class Backdrop:
    """A context manager. Leaving it raises ``AssertionError`` if the relay raised, or broke ASGI's rules.

    Attributes:
        relay: its address.
    """

    def __init__(self) -> None:
        self.relay = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="backdrop", daemon=True)
        self._over: asyncio.Event
        self._done: Any = None

    def __enter__(self) -> Self:
        self._thread.start()
        ready = threading.Event()
        self._done = asyncio.run_coroutine_threadsafe(self._run(ready), self._loop)
        self._done.add_done_callback(lambda _: ready.set())
        ready.wait()
        if not self.relay:
            self._done.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        try:
            self._done.result(30)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _run(self, ready: threading.Event) -> None:
        self._over = asyncio.Event()
        simulator = await simulate()
        try:
            settings = from_environment({}, f"{simulator.url}/v1")
            async with serving(msgspec.structs.replace(settings, models=MODELS)) as relay:
                self.relay = f"http://127.0.0.1:{relay.port}"
                ready.set()
                await self._over.wait()
        finally:
            await simulator.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in the backdrop's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


class Served:
    """An app of a page on uvicorn, in the backdrop's loop, lifespan included.

    Attributes:
        address: where it is.
    """

    def __init__(self, backdrop: Backdrop, app: Any) -> None:
        self._backdrop = backdrop
        self._sock = listen("127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, lifespan="on", access_log=False, log_level="warning"))
        self._task: asyncio.Task[None] = backdrop.run(self._start())

    def close(self) -> None:
        """As Ctrl-C does."""
        self._backdrop.run(self._stop())
        self._sock.close()

    async def _start(self) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[self._sock]))
        while not self._server.started:
            if task.done():
                task.result()
                raise AssertionError("the app did not start")
            await asyncio.sleep(0.005)
        return task

    async def _stop(self) -> None:
        self._server.should_exit = True
        await self._task
