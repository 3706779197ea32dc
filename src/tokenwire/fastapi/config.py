"""What a `Relay` is given to work with: upstreams from a file, a mapping, the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.gateway.settings import SIMULATED, Config, ServerSettings, Settings, from_environment, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def settings_for(config: Config | None, environ: Mapping[str, str]) -> Settings:
    """*config* as settings; None: the environment's. Raises ``ConfigError``, ``BadArgument``."""
    if config is not None:
        return settings_of(config, environ)
    found = from_environment(environ, None)
    # As for ``tokenwire serve``: without a word of the owner nothing is spent.
    return Settings(server=ServerSettings(default_model=SIMULATED), upstreams=found.upstreams)
