"""The relay as a plain ASGI application, for servers of other makes: made in the loop that serves it.

``RELAY_UPSTREAM`` is the base URL of its one upstream ``up``.
"""

from __future__ import annotations

import os
from typing import Any

from tokenwire.gateway.app import Gateway
from tokenwire.testing.relay import settings_for

_gateway: Gateway | None = None


async def app(scope: Any, receive: Any, send: Any) -> None:
    global _gateway
    if _gateway is None:
        _gateway = Gateway(settings_for(os.environ["RELAY_UPSTREAM"], linger=1.0, drain=float(os.environ.get("RELAY_DRAIN", "30"))))
    await _gateway(scope, receive, send)
