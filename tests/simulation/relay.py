"""The relay's process: the real application behind the real edge, on a virtual loop. It can be killed."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from tests.simulation.answers import SPOKEN
from tests.simulation.provider import PORT as PROVIDER
from tests.simulation.world import Process, SimulatedClock, World, sleep
from uvicorn import Config
from uvicorn.server import ServerState

from tokenwire.errors import StoreFailed
from tokenwire.gateway import core
from tokenwire.gateway import port as gateway_port
from tokenwire.gateway.app import Gateway
from tokenwire.gateway.page import Page
from tokenwire.gateway.server import configure
from tokenwire.gateway.settings import (
    DeadlineSettings,
    LimitSettings,
    RetrySettings,
    Settings,
    StoreSettings,
    UpstreamSettings,
)
from tokenwire.upstream import reading

if TYPE_CHECKING:
    from tests.simulation.disk import Disk
    from tests.simulation.network import Descriptor

    from tokenwire.engine.stores.port import Store
    from tokenwire.engine.stream import Stream

PORT = 8787
#: The address of a store on the simulated disk, and for how long it keeps what is over, seconds.
STORED = "sqlite:///disk"
KEPT = 150.0
#: Of the callers' requests: who asks without keys.
OWNER = "local"


class Relay:
    """One machine on which a relay runs, mostly.

    Attributes:
        process, gateway: the present incarnation's; the gateway None until it serves.
        started: incarnations so far.
        seen: every stream that any incarnation had, by its id: all the objects that there were of it.
        born: the process that opened it.
        killed_ns: when each incarnation that was killed was.
    """

    def __init__(self, world: World, settings: Settings, disk: Disk | None) -> None:
        self.world = world
        self.settings = settings
        self.disk = disk
        self.supervisor = Process(world, "supervisor")
        self.process: Process
        self.gateway: Gateway | None = None
        self.started = 0
        self.seen: dict[str, list[Stream]] = {}
        self.born: dict[str, Process] = {}
        self.crashes: list[Crash] = []

    def start(self) -> None:
        self.started += 1
        self.process = process = Process(self.world, f"relay {self.started}")
        process.call_soon(lambda: process.create_task(self._boot(process)))

    @property
    def alive(self) -> bool:
        return not self.process.dead

    @property
    def serves(self) -> bool:
        """It is up, and will be."""
        return self.gateway is not None and not self.gateway.draining

    def kill(self, again: float) -> None:
        """kill -9; in *again* seconds it is started anew."""
        if self.gateway is not None:
            self.crashes.append(Crash(self.world.now_ns, self.gateway.hub.running()))
        self._gone(again)

    def stop(self, again: float) -> None:
        """SIGTERM; it is started anew *again* seconds after its end."""
        gateway = self.gateway
        if gateway is not None and not gateway.draining:
            process = self.process
            process.call_soon(lambda: process.create_task(self._wind_down(gateway, again)))

    async def _wind_down(self, gateway: Gateway, again: float) -> None:
        """As ``gateway.server.Server`` ends."""
        await gateway.wind_down()
        await sleep(0.02)
        await gateway.shutdown()
        self._gone(again)

    def _gone(self, again: float) -> None:
        self.gateway = None
        self.process.kill()
        if self.disk is not None:
            self.disk.crash()
        self.supervisor.call_later(again, self.start)

    async def _boot(self, process: Process) -> None:
        gateway = Gateway(self.settings)
        self._watch(gateway.hub)
        config = configure(gateway)
        config.load()
        state = ServerState()
        try:
            await gateway.startup()
        except StoreFailed:  # so it says, and ends; whoever started it tries again
            self._gone(1.0)
            return
        if gateway.hub.archive is not None:
            gateway.hub.archive._random = self.world.random
        self.gateway = gateway
        self.world.network.listen(PORT, process, lambda: _protocol(config, state))

    def _watch(self, hub: Any) -> None:
        """Remember every stream that *hub* has, made or found."""
        opened, adopt = hub.open, hub.adopt

        def watched_open(**arguments: Any) -> Stream:
            stream: Stream = opened(**arguments)
            self.seen[stream.id] = [stream]
            self.born[stream.id] = running()
            return stream

        def watched_adopt(stream: Stream) -> None:
            adopt(stream)
            self.seen.setdefault(stream.id, []).append(stream)

        hub.open, hub.adopt = watched_open, watched_adopt


class Crash(NamedTuple):
    """When it was, and what ran then."""

    at_ns: int
    running: list[Stream]


def _protocol(config: Config, state: ServerState) -> Any:
    make: Any = config.http_protocol_class
    return make(config=config, server_state=state, app_state={})


def settings(chance: Random, *, stored: bool) -> Settings:
    """Bounds that short schedules reach."""
    upstreams = {
        name.replace(".", "-"): UpstreamSettings(
            base_url=f"http://127.0.0.1:{PROVIDER}/" + ("" if name in ("anthropic", "gemini", "ollama") else "v1"),
            dialect=name,
            models=[],
            deadlines=DeadlineSettings(headers=6.0, first_token=8.0, between_tokens=chance.choice((2.0, 7.0))),
            retry=RetrySettings(attempts=2),
        )
        for name in SPOKEN
    }
    limits = LimitSettings(
        stream_bytes=chance.choice((1 << 20, 1 << 20, 1 << 20, 3000)),
        ended_seconds=20.0,
        heartbeat=chance.choice((0.5, 3.0, 10.0)),
        linger=chance.choice((0.0, 2.0, 10.0)),
        reader_timeout=5.0,
        hold=chance.choice((0.0, 10.0)),
        drain=2.0,
    )
    store = StoreSettings(
        url=STORED if stored else None,
        unstored_bytes=chance.choice((1 << 20, 1 << 20, 4000)),
        ended_seconds=KEPT,
        hot_bytes=chance.choice((1 << 18, 2000)),
        rest_seconds=chance.choice((60.0, 0.5)),
    )
    return Settings(upstreams=upstreams, limits=limits, store=store)


#: What is said of a disk that is not well: the relay is stopped, or gives up for now.
EXPECTED = ("the store did not take the last of it", "stream %s was running when the process before")


class Complaints(logging.Handler):
    """What was logged as an error: in a simulation, somebody's bug."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith(EXPECTED):
            return
        self.told.append(logging.Formatter().format(record))


class Machine:
    """What of the real machine a simulation must not touch, and what stands in its place.

    Attributes:
        complaints: of all that is logged meanwhile.
    """

    def __init__(self) -> None:
        self.complaints = Complaints()
        self._world: World | None = None
        self._noise = Random(0)

    def host(self, world: World, seed: int) -> None:
        """From now on *world* is the machine."""
        self._world = world
        self._noise = Random(~seed)
        random.seed(seed)
        self.complaints.told.clear()

    def read(self, descriptor: int, most: int) -> bytes:
        assert self._world is not None
        return self._world.network.end(descriptor).receive(most)

    def borrowed(self, sock: Descriptor) -> Callable[[bytes], int]:
        assert self._world is not None
        return self._world.network.end(sock.fileno()).send

    def token_bytes(self, count: int = 32) -> bytes:
        return self._noise.randbytes(count)

    def open_store(self, url: str, *, wall: Callable[[], float]) -> Store | None:
        assert self._world is not None
        return self._world.disk.open(running(), wall) if url == STORED else None

    def clock(self) -> SimulatedClock:
        return SimulatedClock(running())


def running() -> Process:
    process = asyncio.get_running_loop()
    assert isinstance(process, Process)
    return process


@contextmanager
def machine() -> Iterator[Machine]:
    """Put the simulated machine in place of the real one, until the context is left."""
    made = Machine()
    state = random.getstate()
    page = Page.load()  # files: read once
    names = ("tokenwire", "uvicorn.error", "asyncio")
    with (
        mock.patch.object(core, "LoopClock", made.clock),
        mock.patch.object(core, "open_store", made.open_store),
        mock.patch.object(Page, "load", return_value=page),
        mock.patch.object(reading, "os", SimpleNamespace(read=made.read)),
        mock.patch.object(gateway_port, "borrowed", made.borrowed),
        mock.patch.object(Config, "configure_logging"),
        mock.patch.object(secrets, "token_bytes", made.token_bytes),
    ):
        for name in names:
            logging.getLogger(name).addHandler(made.complaints)
        try:
            yield made
        finally:
            random.setstate(state)
            for name in names:
                logging.getLogger(name).removeHandler(made.complaints)
