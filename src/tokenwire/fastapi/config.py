"""What a `Relay` is given to work with: upstreams from a file, a mapping, the environment; and the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tokenwire.errors import BadArgument
from tokenwire.gateway.settings import (
    SIMULATED,
    ServerSettings,
    Settings,
    from_environment,
    from_mapping,
    load,
)

#: A settings file, its content, checked settings; None: the environment.
Config: TypeAlias = Settings | Mapping[str, Any] | Path | str | None


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
