"""What stands between a socket and a connection's protocol if there is TLS, or should be.

Not asyncio's own: that one hides a FIN without a goodbye (close_notify) until the goodbye is overdue (uvloop), does not
let a reply go on after it, and waits for the client's before it closes. A simulator has to see at once that its client
has left, and relays leave without a word.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from tokenwire.simulator.tls import ALERT, PLAIN

#: A client has so many seconds for its handshake.
HANDSHAKE_SECONDS = 10.0

_READ = 65536


class TlsLayer(asyncio.Protocol, asyncio.Transport):
    """The protocol of a plain transport, and the transport of *inner*, which is connected after the handshake.

    Args:
        crowd: the set of open layers, kept up to date.
    """

    def __init__(self, context: ssl.SSLContext, inner: asyncio.Protocol, crowd: set[Any]) -> None:
        super().__init__()
        self._inner = inner
        self._crowd = crowd
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._open = False  # the handshake is done
        self._raw: asyncio.Transport
        self._deadline: asyncio.TimerHandle

    # The protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)
        self._crowd.add(self)
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._raw.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if not self._open:
                self._tls.do_handshake()
                self._opened()
            while plain := self._tls.read(_READ):
                self._inner.data_received(plain)
            self._left()  # an empty read is a close_notify
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError:
            self._flush()  # the alert that says why
            self._raw.close()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._open else False

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._crowd.discard(self)
        if self._open:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._open:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._open:
            self._inner.resume_writing()

    def _opened(self) -> None:
        self._deadline.cancel()
        self._flush()
        self._open = True
        self._inner.connection_made(self)

    def _left(self) -> None:
        if not self._inner.eof_received():
            self._raw.close()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    # The transport

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        self._flush()

    def close(self) -> None:
        if self.is_closing():
            return
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # what is wanted is the client's goodbye, for which nobody waits
        self._flush()
        self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)


class BrokenHandshake(asyncio.Protocol):
    """A connection whose handshake goes wrong.

    Args:
        fault: a key of ``tls.HANDSHAKE_FAULTS``.
        crowd: the set of open connections, kept up to date.
        reset: closes a transport by RST.
    """

    def __init__(self, fault: str, crowd: set[Any], reset: Callable[[asyncio.Transport], None]) -> None:
        self._fault = fault
        self._crowd = crowd
        self._reset = reset
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._crowd.add(self)

    def data_received(self, data: bytes) -> None:
        if self._fault == "stall":
            return
        if self._fault == "reset":
            self._reset(self._transport)
            return
        if self._fault == "alert":
            self._transport.write(ALERT)
        elif self._fault == "plain":
            self._transport.write(PLAIN)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.discard(self)

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()
