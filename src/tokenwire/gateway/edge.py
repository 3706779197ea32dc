"""The HTTP edge: uvicorn's httptools protocol, taught what endless answers need.

Why not stock uvicorn, where each difference is tested:

- after a large body it leaves reading paused, and a pipelined request pauses it too: then no disconnect is ever seen.
  While a reader is attached we keep reading, and hold further input unparsed, 64 KiB at most;
- FIN from a client counts as leaving, at once: ``close()`` would first wait for a full socket to drain;
- request heads have neither a size limit nor a deadline there, and slow bodies no deadline;
- an HTTP/1.0 client cannot read chunks: its answers end with the connection (``close_delimited``);
- a body that follows an offer to upgrade is lost there (llhttp takes it for the other protocol's), and Java's
  HttpClient makes that offer with its first request.

The protocol offers its transport to the app through the ASGI scope (``port``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tokenwire.engine.timers import Timer
from tokenwire.gateway import light, quick
from tokenwire.gateway.close_delimited import CloseDelimited
from tokenwire.gateway.port import EXTENSION, Port
from tokenwire.gateway.sockets import set_user_timeout, tune

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import ASGI3Application

    from tokenwire.engine.timers import Wheel
    from tokenwire.gateway.edge_limits import EdgeLimits
    from tokenwire.gateway.quick import Quick

_UPGRADE = re.compile(rb"(?<=\r\n)upgrade(?=:)", re.IGNORECASE)


class EdgeProtocol(HttpToolsProtocol):
    """Made per connection by the server; see the module's first lines."""

    # With these in its dictionary it would have over thirty members, and no longer share their names with its like:
    # 1.1 KiB a connection.
    __slots__ = (
        "_answering",
        "_awaiting",
        "_due",
        "_head_bytes",
        "_held",
        "_in_body",
        "_in_head",
        "_last",
        "_limits",
        "_port",
        "_quick",
        "_read_bytes",
        "_timer",
        "_timer_due",
        "_wheel",
    )

    def __init__(self, *args: Any, limits: EdgeLimits, wheel: Wheel, quick: Quick | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pipeline = light.Pipeline()  # type: ignore[assignment]  # as far as a deque is used here
        self._quick = quick
        self._awaiting: RequestResponseCycle | None = None  # it is answered without a task, when its body is there
        self._limits = limits
        self._wheel = wheel
        self._port: Port | None = None  # engaged: a reader is, or will be, attached
        self._answering: RequestResponseCycle | None = None
        self._held = bytearray()
        self._last = False  # the last request of this connection has come
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._read_bytes = 0
        self._due: float | None = None  # loop time by which the client must have gone on
        self._timer = Timer(self._check)
        self._timer.cancel()  # none yet
        self._timer_due = 0.0

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = light.Flow(transport)
        tune(transport, unsent_bytes=self._limits.unsent_bytes, user_timeout=self._limits.user_timeout)
        self._expect(self._limits.head_seconds)  # even a client that never says a word has a deadline

    def data_received(self, data: bytes) -> None:
        if self._last:
            return  # nothing that follows is answered; it is read all the same, for the sake of the FIN behind it
        if self._port is not None or self._held:  # held input goes first, and may not have been parsed yet
            self._held += data
            if len(self._held) > self._limits.pipelined_bytes:
                self.drop()
            return
        if self._due is None:  # a request begins, or a blank line before one
            self._expect(self._limits.head_seconds)
        if not self._in_body and b"pgrade:" in data:
            data = self._declined(data)
        self._read_bytes = len(data)
        super().data_received(data)
        if self._awaiting is not None and not self._awaiting.more_body:
            self._answer(self._awaiting)  # not within the parser: it may find another request behind this
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self._refuse(431, "request head too large")

    def eof_received(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._due = None
        self._timer.cancel()
        self._lose()
        cycle = self._answering
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # uvicorn tells only the newest request, which may be a pipelined one
            cycle.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        set_user_timeout(self.transport, self._limits.stalled_timeout)
        if self._port is not None:
            self._port.writable = False

    def resume_writing(self) -> None:
        super().resume_writing()
        set_user_timeout(self.transport, self._limits.user_timeout)
        port = self._port
        if port is not None and not port.writable and not port.lost:
            port.writable = True
            port.on_writable()

    # ------------------------------------------------------------------ httptools' callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._last:
            self._in_head = True
            self._head_bytes = -self._read_bytes  # this read may hold the end of another request: it is not counted

    def on_headers_complete(self) -> None:
        if self._last:
            return
        self._in_head = False
        self._in_body = True
        self._expect(self._limits.body_seconds)
        super().on_headers_complete()
        cycle = self.cycle
        if self.expect_100_continue:
            # Answered without its body being asked for, the client need not send it, and where the next request
            # begins is anybody's guess (RFC 9110 section 10.1.1): such a connection is not used again.
            cycle.keep_alive = False
        if self._quick is not None and self._quick.draining:
            cycle.keep_alive = False  # and the answer says so: a client asks elsewhere next time

    def on_body(self, body: bytes) -> None:
        if self._last:
            return
        if not self.cycle.response_complete:
            self._expect(self._limits.body_seconds)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._last:
            return
        self._in_body = False
        self._due = None
        super().on_message_complete()
        self._last = not self.cycle.keep_alive

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        scope: Any = cycle.scope
        if scope["http_version"] != "1.1":
            cycle.send = CloseDelimited(cycle).send  # type: ignore[method-assign]
        elif scope["method"] != "HEAD":
            scope["extensions"] = self._offer(cycle)
        if self._quick is None or not quick.takes(self._quick, cycle):
            super()._start_asgi_task(cycle, app)
            return
        cycle.message_event = light.UNHEARD
        if cycle.more_body:
            self._awaiting = cycle
        else:  # it was pipelined, and is here already
            self._answer(cycle)

    def _offer(self, cycle: RequestResponseCycle) -> dict[str, Any]:
        """What the scope of an HTTP/1.1 request has beside ASGI."""
        return {EXTENSION: Port(self, cycle, self.transport)}

    def _declined(self, data: bytes) -> bytes:
        """A request head, less offers to speak another protocol."""
        return _without_upgrade(data)

    def _answer(self, cycle: RequestResponseCycle) -> None:
        self._awaiting = None
        assert self._quick is not None
        quick.answer(self._quick, cycle)

    @property
    def receiving(self) -> bool:
        """A request is on its way in: it gets its answer, whatever becomes of the connection."""
        return self._in_head or self._in_body

    # ------------------------------------------------------------------ the port's side

    def engage(self, port: Port) -> bool:
        if self.transport.is_closing():
            port.lost = True
            port.cycle.disconnected = True
            return False
        self._port = port
        self._due = None  # a request that was pipelined behind this one is not late: we are not reading it
        self.flow.resume_reading()  # a large body or a pipelined request had paused it: FIN must be seen
        return True

    def release(self, port: Port) -> None:
        if self._port is not port:
            return
        self._port = None
        if port.lost or self.transport.is_closing():
            return
        self.transport.set_write_buffer_limits()
        if self._in_body:
            self._expect(self._limits.body_seconds)
        elif self._in_head:
            self._expect(self._limits.head_seconds)
        if self._held:
            self.loop.call_soon(self._parse_held)

    def _parse_held(self) -> None:
        """In the turn after the answer's end: then a request that it holds finds no other being answered."""
        held, self._held = bytes(self._held), bytearray()
        if not self.transport.is_closing():
            self.data_received(held)

    def drop(self) -> None:
        """End the connection now. Its reader is told first: a token of this very turn must not be written to it."""
        self._lose()
        self.transport.abort()

    def _lose(self) -> None:
        port = self._port
        if port is not None and not port.lost:
            port.lost = True
            port.writable = False
            port.cycle.disconnected = True
            port.on_lost()

    # ------------------------------------------------------------------ deadlines

    def _expect(self, seconds: float) -> None:
        """The client must have gone on within *seconds*. To move a deadline later costs no timer: one looks again."""
        self._due = due = self.loop.time() + seconds
        if self._timer.active:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer = self._wheel.after(seconds, self._check)
        self._timer_due = due

    def _check(self) -> None:
        due = self._due
        if due is None or self.transport.is_closing():
            return
        left = due - self.loop.time()
        if left > 0:
            self._expect(left)
        elif self._in_head or self._in_body:
            self._refuse(408, "request not complete in time")
        else:
            self.transport.close()  # a connection made for later, and left

    def _refuse(self, status: int, message: str) -> None:
        """An answer from below the app: the request never got there, or is not going to be finished."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if self._in_head:
            mute = cycle is not None and not cycle.response_complete  # an earlier request is still being answered
        else:
            mute = bool(self.pipeline) or cycle.response_started
        if not mute:
            fields = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(message)
            self.transport.write(STATUS_LINE[status] + fields + b"connection: close\r\n\r\n" + message.encode())
        self.transport.close()


def _without_upgrade(data: bytes) -> bytes:
    """A request head without its offer to speak another protocol, which a server may ignore (RFC 9110 section 7.8).

    By renaming the field: llhttp cannot be told. A head that is cut within that very word is not seen through.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"ignored", head) + end + rest
