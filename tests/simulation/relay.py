"""The relay's process: the real application behind the real edge, on a virtual loop. It can be killed and started again."""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from uvicorn import Config
from uvicorn.server import ServerState

from tests.simulation.answers import SPOKEN
from tests.simulation.provider import PORT as PROVIDER
from tests.simulation.world import Process, SimulatedClock, World
from tokenwire.gateway import core
from tokenwire.gateway import port as gateway_port
from tokenwire.gateway.app import Gateway
from tokenwire.gateway.page import Page
from tokenwire.gateway.server import configure
from tokenwire.gateway.settings import DeadlineSettings, LimitSettings, RetrySettings, Settings, UpstreamSettings
from tokenwire.upstream import reading

if TYPE_CHECKING:
    from tokenwire.engine.stream import Stream

PORT = 8787
#: Of the callers' requests: who asks without keys.
OWNER = "local"


class Relay:
    """One machine on which a relay runs, mostly.

    Attributes:
        process, gateway: the present incarnation's; the gateway None until it has started.
        started: incarnations so far.
        seen: every stream that any incarnation had, by its id; the newest object of each.
    """

    def __init__(self, world: World, settings: Settings) -> None:
        self.world = world
        self.settings = settings
        self.process: Process
        self.gateway: Gateway | None = None
        self.started = 0
        self.dead: list[Process] = []

    def start(self) -> None:
        self.started += 1
        self.process = Process(self.world, f"relay {self.started}")
        self.process.call_soon(self._boot)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.dead.append(self.process)
        self.gateway = None

    @property
    def alive(self) -> bool:
        return not self.process.dead

    def stream(self, stream: str) -> Stream | None:
        """The stream of that id, if this incarnation has it."""
        return None if self.gateway is None else self.gateway.hub._streams.get(stream)

    def _boot(self) -> None:
        gateway = Gateway(self.settings)
        config = configure(gateway)
        config.load()
        state = ServerState()
        self.gateway = gateway
        self.world.network.listen(PORT, self.process, lambda: _protocol(config, state))


def _protocol(config: Config, state: ServerState) -> Any:
    make: Any = config.http_protocol_class
    return make(config=config, server_state=state, app_state={})


def settings(chance: Random) -> Settings:
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
    )
    return Settings(upstreams=upstreams, limits=limits)


class Complaints(logging.Handler):
    """What was logged as an error: in a simulation, somebody's bug."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
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

    def write(self, descriptor: int, data: bytes) -> int:
        assert self._world is not None
        return self._world.network.end(descriptor).send(data)

    def token_bytes(self, count: int = 32) -> bytes:
        return self._noise.randbytes(count)

    def clock(self) -> SimulatedClock:
        return SimulatedClock(running())


def running() -> Process:
    import asyncio

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
    descriptors = SimpleNamespace(read=made.read, write=made.write)
    with (
        mock.patch.object(core, "LoopClock", made.clock),
        mock.patch.object(Page, "load", lambda: page),
        mock.patch.object(reading, "os", descriptors),
        mock.patch.object(gateway_port, "os", descriptors),
        mock.patch.object(Config, "configure_logging", lambda config: None),
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
