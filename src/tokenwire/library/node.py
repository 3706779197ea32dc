"""The engine in a user's own process: one per event loop, made when it is first needed, gone with its loop.

It holds what is worth keeping from one answer to the next: connections to providers, the clients of relays, and the
simulator, once a ``sim/…`` model was asked for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Final

from tokenwire.client import Client
from tokenwire.engine.loop_end import at_loop_end
from tokenwire.errors import LocalProtocolError, UnknownModel
from tokenwire.gateway.core import Core
from tokenwire.gateway.directory import PREFIXES
from tokenwire.gateway.environment import KEYS
from tokenwire.gateway.settings import Config, Settings, from_environment, settings_of
from tokenwire.library.simulation import NAME, Simulation
from tokenwire.measure import prices

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tokenwire.engine.stream import Stream

#: Names the settings file that is read where none is named.
CONFIG_VARIABLE: Final = "TOKENWIRE_CONFIG"


class Node:
    """Upstreams, connections and streams in this process. ``tokenwire.stream`` makes one for the running loop where
    none is given; one of your own has settings of its own::

        async with tokenwire.Node("tokenwire.toml") as node:
            print(await tokenwire.stream("smart", "hi", node=node).text())

    Args:
        settings: a settings file, its content as a mapping, or checked ``Settings``. None: the file that
            ``TOKENWIRE_CONFIG`` names, else the keys of vendors in the environment.

    Raises:
        ConfigError: settings that cannot work; from the first stream, or from ``async with``.

    Leaving the ``async with`` cancels what still runs, and closes every connection.
    """

    def __init__(self, settings: Config | None = None) -> None:
        self._given = settings
        self._core: Core | None = None
        self._simulation = Simulation()
        self._clients: dict[str, Client] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def core(self) -> Core:
        """Hub, pool and directory; made when first asked for, inside the running loop."""
        if self._closed:
            raise LocalProtocolError("this Node is closed; make another")
        if self._core is None:
            self._core = Core(settings_for(self._given))
        return self._core

    async def open(self, model: str, begin: Callable[[Core], Stream]) -> Stream:
        """A stream that *begin* starts, once whoever may answer *model* is known.

        Raises what *begin* does; ``UnknownModel`` only after the upstreams were asked for their lists.
        """
        core = self.core
        if model.partition("/")[0] == NAME and NAME not in core.directory.upstreams:
            await self._simulation.start(core)
        if core.sells:
            self.keep(asyncio.to_thread(prices.load), once="prices")
        try:
            return begin(core)
        except UnknownModel:
            await core.directory.refresh()
        try:
            return begin(core)
        except UnknownModel as error:
            if self._given is not None or os.environ.get(CONFIG_VARIABLE):
                raise
            raise UnknownModel(model, error.candidates, variable=key_of(model)) from None

    def client(self, url: str) -> Client:
        """The client of the relay at *url*."""
        client = self._clients.get(url)
        if client is None:
            client = self._clients[url] = Client(url)
        return client

    def keep(self, work: Any, *, once: str | None = None) -> None:
        """Do *work* beside everything else, until the node is closed; of one name (*once*) only the first."""
        if self._closed:
            work.close()
            return
        if once is not None and any(task.get_name() == once for task in self._tasks):
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=once)
        self._tasks.add(task)
        if once is None:
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel what still runs, close every connection. Idempotent."""
        self._closed = True
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        core, self._core = self._core, None
        if core is not None:
            await core.shutdown()
        await self._simulation.close()

    async def __aenter__(self) -> Self:
        _ = self.core
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def key_of(model: str) -> str | None:
    """The variable with the key of the vendor that has *model*, if the environment lacks it."""
    for variable, (name, _, _) in KEYS.items():
        if model.startswith((f"{name}/", *PREFIXES.get(name, ()))) and not os.environ.get(variable):
            return variable
    return None


def settings_for(given: Config | None) -> Settings:
    """What *given* means as settings; ``${NAME}`` in it is the environment's. Raises ``ConfigError``."""
    wanted = given if given is not None else os.environ.get(CONFIG_VARIABLE) or None
    return from_environment(os.environ, None) if wanted is None else settings_of(wanted, os.environ)


_nodes: dict[int, tuple[asyncio.AbstractEventLoop, Node, AsyncGenerator[None, None]]] = {}


def node_of_loop() -> Node:
    """The running loop's own node. It is closed when the loop ends as ``asyncio.run`` ends it."""
    loop = asyncio.get_running_loop()
    found = _nodes.get(id(loop))
    if found is not None and found[0] is loop:
        return found[1]
    for key, (other, *_) in list(_nodes.items()):
        if other.is_closed():  # and not as asyncio.run does it: what it left open is the garbage collector's
            del _nodes[key]
    node = Node()

    async def end() -> None:
        _nodes.pop(id(loop), None)
        await node.close()

    _nodes[id(loop)] = (loop, node, at_loop_end(end))
    return node
