"""Who takes part: the upstreams of the relay, and the clients whose dialect it has."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.clients.matrix.driver import Kind
from tests.clients.matrix.everyone import CLIENTS
from tests.clients.matrix.said import VENDORS

from tokenwire import dialects
from tokenwire.simulator.exchange import Request
from tokenwire.simulator.vendors import VENDORS as ROUTES

_NAMES: Final = {
    "openai.chat": "chat", "openai.responses": "responses", "anthropic": "claude", "gemini": "gemini",
    "ollama": "ollama",
}  # fmt: skip


def _simulated(dialect: str) -> bool:
    """Whether the simulator answers as this dialect's providers do."""
    vendor = VENDORS[dialect]
    request = Request("POST", vendor.path.format(model="instant"), headers=dict(vendor.headers))
    return any(route(request) is not None for route in ROUTES)


#: Dialect -> the relay's name of its upstream: those that both the relay and the simulator speak.
UPSTREAMS: Final = {
    dialect: name for dialect, name in _NAMES.items() if dialect in dialects.names() and _simulated(dialect)
}

#: The clients of a dialect that the relay speaks.
READERS: Final[tuple[Kind, ...]] = tuple(kind for kind in CLIENTS if kind.dialect in dialects.names())


class World(NamedTuple):
    """Addresses: of the relay, and of the simulator behind it."""

    relay: str
    simulator: str
