"""``uvicorn.run(app, http="tokenwire.fastapi:HttpProtocol")``: the standalone relay's edge, under anybody's app."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tokenwire.engine.clock import LoopClock
from tokenwire.engine.loop_end import at_loop_end
from tokenwire.engine.timers import Wheel
from tokenwire.fastapi.accepting import Beside, beside
from tokenwire.fastapi.express import EXTENSION, Express
from tokenwire.gateway.edge import EdgeProtocol
from tokenwire.gateway.edge_limits import EdgeLimits

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

_LOOK_SECONDS: Final = 0.5
_SHARED: Final = "tokenwire_shared"
_WEBSOCKET: Final = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)


class _Shared:
    """What the connections of one server have in common.

    Attributes:
        acceptor: takes connections beside the server, once there was one; None where none does.
        looked: it has been looked for.
    """

    __slots__ = ("_lifetime", "acceptor", "looked", "wheel")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.wheel = Wheel(LoopClock(loop))
        self.acceptor: Beside | None = None
        self.looked = False

    def accept_beside(self, acceptor: Beside) -> None:
        """Until the server listens no more, which it tells nobody."""
        self.acceptor = acceptor
        self._lifetime = at_loop_end(acceptor.close)  # until the next look may be too long
        self._look()

    def _look(self) -> None:
        if self.acceptor is not None and self.acceptor.look():
            self.wheel.after(_LOOK_SECONDS, self._look)


class HttpProtocol(EdgeProtocol):
    """uvicorn's httptools protocol, with what streams need: a client's leaving is known in the turn in which the kernel
    tells it, slow and vanished clients have deadlines, and an app's `Relay` may write chunks to the transport.

    Everything else is uvicorn's: settings, access log, keep-alive, WebSockets. Needs ``httptools`` and works with
    either event loop; ``loop="uvloop"`` is what the figures of the documentation were measured with.
    """

    __slots__ = ("_shared",)

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        shared = vars(server_state).get(_SHARED)  # there it lives as long as the server, and no longer
        if shared is None:
            shared = vars(server_state)[_SHARED] = _Shared(_loop)
        self._shared: _Shared = shared
        super().__init__(config, server_state, app_state, _loop, limits=EdgeLimits(), wheel=shared.wheel)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        shared = self._shared
        if not shared.looked:
            shared.looked = True
            make = partial(type(self), self.config, self.server_state, self.app_state, self.loop)
            acceptor = beside(transport, make)
            if acceptor is not None:
                shared.accept_beside(acceptor)

    def shutdown(self) -> None:
        if self._shared.acceptor is not None:  # the server accepts no more
            self._shared.acceptor.close()
        super().shutdown()

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
