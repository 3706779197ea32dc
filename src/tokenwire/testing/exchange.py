"""The two sides of an upstream connection as fakes: who asked, and the transport beneath."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tokenwire.upstream.connection import Connection

if TYPE_CHECKING:
    from tokenwire.errors import RemoteProtocolError
    from tokenwire.upstream.connection import Headers

#: What an exchange is told, by the name of the call.
Call = Literal["head", "body", "end", "lost"]


class RecordedExchange:
    """``tokenwire.upstream.connection.Exchange``: remembers what it was told, and holds its caller to the contract.

    Args:
        then: called within the call of that name, after it was noted: to abort in mid-callback, or to raise.

    Attributes:
        status, headers: of the answer; 0 and nothing before its head.
        body: the bytes so far; ``reads`` is how many calls brought them.
        chunks: the whole chunk that came with each call, or None.
        ended: ``on_end`` was called.
        error, answered: what ``on_lost`` was called with.
        breaches: every breach of the contract by the caller, in words: a test should end with none.
        connection: where the request was sent, for what ``play`` and ``Rig.exchange`` send.
    """

    connection: Connection

    def __init__(self, then: dict[Call, Callable[[], None]] | None = None) -> None:
        self._then = then or {}
        self.status = 0
        self.headers: Headers = []
        self.body = b""
        self.chunks: list[bytes | None] = []
        self.ended = False
        self.error: RemoteProtocolError | None = None
        self.answered: bool | None = None
        self.breaches: list[str] = []
        self._over: asyncio.Event = asyncio.Event()

    @property
    def reads(self) -> int:
        return len(self.chunks)

    @property
    def is_over(self) -> bool:
        return self.ended or self.error is not None

    async def over(self) -> None:
        """Until the answer has ended or was lost."""
        await self._over.wait()

    def on_head(self, status: int, headers: Headers) -> None:
        self._check("head", self.status == 0)
        self.status = status
        self.headers = headers
        self._now("head")

    def on_body(self, data: bytes, chunk: bytes | None) -> None:
        self._check("body", self.status != 0)
        if chunk is not None and chunk.partition(b"\r\n")[2] != data + b"\r\n":
            self.breaches.append(f"the chunk is not that of the data: {chunk[:60]!r}")
        self.body += data
        self.chunks.append(chunk)
        self._now("body")

    def on_end(self) -> None:
        self._check("end", self.status != 0)
        self.ended = True
        self._over.set()
        self._now("end")

    def on_lost(self, error: RemoteProtocolError, *, answered: bool) -> None:
        self._check("lost", answered or self.status == 0)
        self.error = error
        self.answered = answered
        self._over.set()
        self._now("lost")

    def _check(self, call: Call, fits: bool) -> None:
        if self.is_over:
            self.breaches.append(f"{call} after the end")
        elif not fits:
            self.breaches.append(f"{call} out of turn")

    def _now(self, call: Call) -> None:
        if call in self._then:
            self._then[call]()


class RecordedTransport(asyncio.Transport):
    """A transport to nowhere: keeps what is written, and tells nobody when it is closed.

    Attributes:
        written: all bytes, in order.
        aborted: ``abort`` was called.
        reading: whether reading is on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.aborted = False
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Asked anew with every read: nothing to do."""

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading


class Played(NamedTuple):
    """What came of some reads. ``kept``: the connection said that it can be used again."""

    exchange: RecordedExchange
    connection: Connection
    transport: RecordedTransport
    kept: bool


def play(
    reads: Iterable[bytes],
    *,
    then: Literal["open", "eof", "reset"] = "open",
    exchange: RecordedExchange | None = None,
) -> Played:
    """Send a request over a new connection and let the answer arrive in these *reads*, without a socket or a loop.

    Args:
        reads: empty ones are left out. As with every transport, nothing is read after an abort.
        then: what follows the last read.
    """
    connection, transport = Connection(lambda: 0), RecordedTransport()
    kept: list[Connection] = []
    connection.on_idle = kept.append
    connection.connection_made(transport)
    exchange = exchange or RecordedExchange()
    exchange.connection = connection
    connection.send(exchange, b"GET / HTTP/1.1\r\n\r\n")
    for data in reads:
        if data and not transport.aborted:
            connection.data_received(data)
    if transport.aborted or then == "eof":
        connection.connection_lost(None)
    elif then == "reset":
        connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
    return Played(exchange, connection, transport, bool(kept))
