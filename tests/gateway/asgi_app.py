"""The relay as a plain ASGI application, for servers of other makes: made in the loop that serves it.

``RELAY_UPSTREAM`` is the base URL of its one upstream ``up``; or ``RELAY_CONFIG`` a settings file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tokenwire.gateway.app import Gateway
from tokenwire.gateway.settings import load
from tokenwire.testing.relay import settings_for

_gateway: Gateway | None = None


async def app(scope: Any, receive: Any, send: Any) -> None:
    global _gateway
    if _gateway is None:
        config = os.environ.get("RELAY_CONFIG")
        settings = load(Path(config), os.environ) if config else settings_for(os.environ["RELAY_UPSTREAM"], linger=1.0)
        _gateway = Gateway(settings)
    await _gateway(scope, receive, send)
