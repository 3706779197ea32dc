"""What a `Relay` is given to work with: upstreams from a file, a mapping, the environment; and the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tokenwire.errors import BadArgument
from tokenwire.gateway.environment import SPOKEN
from tokenwire.gateway.settings import (
    SIMULATED,
    ServerSettings,
    Settings,
    UpstreamSettings,
    from_environment,
    from_mapping,
    load,
)

if TYPE_CHECKING:
    from tokenwire.gateway.core import Core
    from tokenwire.simulator.server import Simulator

#: A settings file, its content, checked settings; None: the environment.
Config: TypeAlias = Settings | Mapping[str, Any] | Path | str | None

#: The upstream that the simulator is, where the settings have none of that name.
NAME: Final = "sim"


def settings_of(config: Config, environ: Mapping[str, str]) -> Settings:
    """*config* as settings; ``${NAME}`` in it and a proxy come from *environ*. Raises ``ConfigError``."""
    if config is None:
        found = from_environment(environ, None)
        # As for ``tokenwire serve``: without a word of the owner nothing is spent.
        return Settings(server=ServerSettings(default_model=SIMULATED), upstreams=found.upstreams)
    if isinstance(config, Settings):
        return config
    if isinstance(config, str | Path):
        return load(Path(config), environ)
    if isinstance(config, Mapping):
        return from_mapping(config, environ)
    raise BadArgument("config", f"a path, a mapping or Settings is wanted, not {type(config).__name__}")


class Simulation:
    """The simulator, in this very loop and on a port of its own, from the first question for one of its models."""

    def __init__(self) -> None:
        self._simulator: Simulator | None = None
        self._starting = asyncio.Lock()

    async def start(self, core: Core) -> None:
        """Have *core* know it. Idempotent. Raises ``OSError`` if there is no port to listen on."""
        async with self._starting:
            if self._simulator is None:
                from tokenwire import simulator

                self._simulator = await simulator.serve()
                core.directory.add(
                    NAME,
                    UpstreamSettings(
                        base_url=f"{self._simulator.url}/v1", dialect=SPOKEN[NAME], api_key="simulated", proxy="none"
                    ),
                )

    async def close(self) -> None:
        if self._simulator is not None:
            await self._simulator.close()
            self._simulator = None
