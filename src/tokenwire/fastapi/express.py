"""Chunks past the middleware, where that has nothing to say about them.

In an app of somebody else's, ``send`` goes through middleware: it adds headers, compresses, logs. So the head, the
first chunk and the end of an answer always take that way, and what arrives below tells what it did to them. If the
head has all of our fields and neither a length nor a coding, and the chunk is the one that was sent, the chunks that
follow go straight to the transport. Middleware that wants to see each of them takes the extension out of the scope
before it calls the app.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tokenwire.gateway.port import Port
from tokenwire.gateway.sinks import AsgiSink
from tokenwire.wire import chunked

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from tokenwire.engine.lane import Outlet
    from tokenwire.gateway.answers import Headers
    from tokenwire.gateway.edge import EdgeProtocol
    from tokenwire.gateway.sinks import Message, Owner, Send

#: Where ``HttpProtocol`` offers an `Express` in the scope's ``extensions``. Middleware that is to see every chunk
#: removes it.
EXTENSION: Final = "tokenwire.express"

#: What changes the bytes of a body, or counts them.
_FRAMING: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


def _nothing() -> None:
    """Nobody wants to know."""


class Express(Port):
    """A `Port` that watches what comes down from the app by ``send``, and tells whether it may be used.

    Attributes:
        on_arrived: called when all that was expected has come through unchanged.
    """

    __slots__ = ("_below", "_expected", "_fields", "_headed", "_spoiled", "on_arrived")

    def __init__(self, protocol: EdgeProtocol, cycle: RequestResponseCycle, transport: asyncio.Transport) -> None:
        super().__init__(protocol, cycle, transport)
        self._below: Callable[[Any], Any] = cycle.send
        self._expected: deque[bytes] = deque()
        self._fields: Headers | None = None
        self._headed = False
        self._spoiled = False
        self.on_arrived: Callable[[], None] = _nothing
        cycle.send = self.pass_on  # type: ignore[method-assign]

    def expect_head(self, headers: Headers) -> None:
        """The answer that begins with these fields is ours: what follows is looked at."""
        self._fields = headers

    def expect(self, body: bytes) -> None:
        """That is sent next."""
        if not self._spoiled:
            self._expected.append(body)

    @property
    def clear(self) -> bool:
        """Whether everything that was sent has come through as it was, a chunk at least."""
        return self._headed and not self._spoiled and not self._expected

    async def pass_on(self, message: Any) -> None:
        """ASGI's ``send``, at the bottom of the app."""
        watched = self._fields is not None and not self._spoiled
        if watched:
            self._look(message)
        if not message.get("more_body") and message["type"] == "http.response.body":
            self._let_go()
        await self._below(message)
        if watched and not self._expected and message["type"] == "http.response.body":
            self.on_arrived()

    def release(self) -> None:
        self.on_arrived = _nothing
        super().release()

    def _look(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            fields = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
            assert self._fields is not None
            ours = message["status"] == 200 and not {*self._fields} - {*fields}
            self._spoiled = not ours or not _FRAMING.isdisjoint(name for name, _ in fields)
        elif self._expected and message.get("body") == self._expected.popleft() and message.get("more_body"):
            self._headed = True
        else:
            self._spoiled = True
        if self._spoiled:
            self._expected.clear()

    def _let_go(self) -> None:
        """The answer is over: cycle, scope and this one hold each other."""
        self._spoiled = True
        vars(self.cycle).pop("send", None)
        extensions = self.cycle.scope.get("extensions")
        if extensions is not None:
            extensions.pop(EXTENSION, None)


class ExpressSink(AsgiSink):
    """By ``send``, until it is known that the way below is free; then into the transport.

    Attributes:
        on_open: called once, when that is known: there is an ``outlet`` from then on.
    """

    __slots__ = ("_express", "_open", "_sending", "on_open")

    def __init__(self, express: Express) -> None:
        super().__init__(_never)
        self._express = express
        self._open = False
        self._sending = False
        self.on_open: Callable[[], None] = _nothing

    def watch(self, owner: Owner) -> bool:
        self._owner = owner
        self._express.on_arrived = self._arrived
        self.is_lost = not self._express.engage(self._left, self._writable)
        return not self.is_lost

    def begin(self, headers: Headers) -> None:
        self._express.expect_head(headers)
        super().begin(headers)

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        if not self._open:
            return super().write(data, chunk)
        express = self._express
        if express.transport.is_closing():
            return False
        express.write(chunked.chunk(data) if chunk is None else chunk)
        return express.writable

    @property
    def outlet(self) -> Outlet | None:
        """Where ``engine.lane`` may write chunks itself."""
        return self._express.outlet() if self._open else None

    def end(self, data: bytes) -> None:
        if data and self._open:
            self.write(data)
            data = b""
        super().end(data)

    @property
    def unsent(self) -> int:
        return self._express.queued() if self._open else super().unsent

    def release(self) -> None:
        self._express.release()

    async def _send(self, send: Send, body: bytes) -> None:
        self._express.expect(body)
        self._sending = True
        try:
            await super()._send(send, body)
        finally:
            self._sending = False
        self._arrived()

    def _arrived(self) -> None:
        """Open the direct way, if nothing is on the other one that it could overtake."""
        if self._open or self._sending or self._parts or self._last is not None or not self._express.clear:
            return
        self._open = True
        self._express.transport.set_write_buffer_limits(high=0)  # it is said at once when the socket is full
        self.on_open()

    def _left(self) -> None:
        self.is_lost = True
        self._wake.set()
        if not self._closed and self._owner is not None:
            self._owner.lost()

    def _writable(self) -> None:
        if self._open and self._owner is not None:
            self._owner.writable()


async def _never() -> Message:
    raise AssertionError("the transport tells of the client's leaving")
