"""``uvicorn.run(app, http="tokenwire.fastapi:HttpProtocol")``: the standalone relay's edge, under anybody's app."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from tokenwire.engine.clock import LoopClock
from tokenwire.engine.timers import Wheel
from tokenwire.fastapi.express import EXTENSION, Express
from tokenwire.gateway.edge import EdgeProtocol
from tokenwire.gateway.edge_limits import EdgeLimits

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

_WEBSOCKET: Final = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)

#: One wheel of timers for the connections of a server.
_wheels: WeakKeyDictionary[ServerState, Wheel] = WeakKeyDictionary()


class HttpProtocol(EdgeProtocol):
    """uvicorn's httptools protocol, with what streams need: a client's leaving is known in the turn in which the kernel
    tells it, slow and vanished clients have deadlines, and an app's `Relay` may write chunks to the transport.

    Everything else is uvicorn's: settings, access log, keep-alive, WebSockets. Needs ``httptools`` and works with
    either event loop; ``loop="uvloop"`` is what the figures of the documentation were measured with.
    """

    __slots__ = ()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        wheel = _wheels.get(server_state)
        if wheel is None:
            wheel = _wheels[server_state] = Wheel(LoopClock(_loop))
        super().__init__(config, server_state, app_state, _loop, limits=EdgeLimits(), wheel=wheel)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() and self._should_upgrade():  # the connection becomes a WebSocket's
            self._in_body = False
            self._due = None
            self._timer.cancel()
            return
        super().on_message_complete()

    def _offer(self, cycle: RequestResponseCycle) -> dict[str, Any]:
        return {EXTENSION: Express(self, cycle, self.transport)}

    def _declined(self, data: bytes) -> bytes:
        if self.ws_protocol_class is not None and _WEBSOCKET.search(data):
            return data
        return super()._declined(data)
