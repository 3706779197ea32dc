"""One relay for all cells of the matrix: its upstreams are the simulator and the player of recordings, each once for
every dialect that a provider speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from tests.clients.matrix.cells import Matrix
from tests.clients.matrix.driver import Client, Kind
from tests.clients.matrix.listening import Listening
from tests.clients.matrix.player import playing
from tests.clients.matrix.said import VENDORS
from tests.clients.matrix.tasks import Task
from tests.clients.matrix.world import UPSTREAMS, World

from tokenwire.testing.processes import Running, running_relay

_UPSTREAM = """
[upstreams.{name}]
base_url = "{url}"
dialect = "{dialect}"
api_key = "none"
models = []
retry = {{ attempts = 1 }}
"""


@pytest.fixture(scope="session")
def world(simulator: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The relay, and whom it asks."""
    with ExitStack() as stack:
        player = stack.enter_context(playing())
        config = ""
        for dialect, name in UPSTREAMS.items():
            base = VENDORS[dialect].base
            config += _UPSTREAM.format(name=name, url=simulator.url + base, dialect=dialect)
            config += _UPSTREAM.format(name=f"recorded-{name}", url=player + base, dialect=dialect)
        relay = stack.enter_context(running_relay(config, tmp_path_factory.mktemp("matrix")))
        yield World(relay.url, simulator.url)


@pytest.fixture(scope="session")
def client(world: World) -> Iterator[Callable[[Kind], Client]]:
    """client(kind) -> the one client of that kind, in front of the relay."""
    made: dict[str, Client] = {}
    with ExitStack() as stack:

        def find(kind: Kind) -> Client:
            if kind.name not in made:
                made[kind.name] = stack.enter_context(closing(kind.make(world.relay)))
            return made[kind.name]

        yield find


@pytest.fixture(scope="session")
def asked() -> Iterator[Callable[[Kind, Task], bytes]]:
    """asked(kind, task) -> the body of the request that this client makes of the task."""
    with Listening() as listening:
        yield listening.body


@pytest.fixture(scope="session")
def matrix(world: World, client: Callable[[Kind], Client], asked: Callable[[Kind, Task], bytes]) -> Matrix:
    """The cells, each found out when it is first asked for."""
    return Matrix(world, client, asked)
