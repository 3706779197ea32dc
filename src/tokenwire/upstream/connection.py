"""One HTTP/1.1 connection to a provider: an asyncio Protocol that hands body bytes on in the turn they arrive.

httptools (llhttp) parses. Only one thing is done by hand: a read that is exactly one or more whole chunks of a chunked
body, which is what a provider's token looks like on the wire, is taken apart by slicing. Skipping whole chunks leaves
llhttp in the state that it was in, so the two can be mixed freely; the general route is the oracle in the tests, and
anything unusual (a chunk extension, a cut, the last chunk, a trailer) goes there.
"""

from __future__ import annotations

import asyncio
import enum
import re
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from tokenwire.engine.lane import CHECK_EVERY
from tokenwire.errors import EventTooLarge, RemoteProtocolError, UnreadableAnswer
from tokenwire.upstream.coding import Inflate, inflater
from tokenwire.upstream.reading import FLOOD, Reading
from tokenwire.upstream.tls import words_of
from tokenwire.wire import chunked

if TYPE_CHECKING:
    from tokenwire.engine.lane import Offer
    from tokenwire.engine.pacing import FrameClock

Headers = list[tuple[bytes, bytes]]

#: Header bytes of one response, and trailer bytes: nginx gives 32 KiB to all its buffers, Node 16 KiB; cookies and rate
#: limits fit twice. Looked at once per read, so one read more may come.
MAX_HEAD = 64 * 1024
#: A linger of no time at all: RST instead of FIN (POSIX close; the members are shorts on Windows).
_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
# What a server says of keeping this connection, as Apache, Node and nginx write it (in no RFC but RFC 2068's appendix).
_KEEP_ALIVE = re.compile(rb"(timeout|max)\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


class Exchange(Protocol):
    """Who asked. Called in the loop turn of the read; after ``on_end`` or ``on_lost`` nothing more comes."""

    def on_head(self, status: int, headers: Headers) -> None: ...

    def on_body(self, data: bytes, chunk: bytes | None) -> None: ...

    def on_end(self) -> None:
        """The body ended where HTTP says it may."""
        ...

    def on_lost(self, error: RemoteProtocolError, *, answered: bool) -> None:
        """The connection is gone, or spoke nonsense. *answered*: at least one byte of the answer had come."""
        ...


class Phase(enum.Enum):
    IDLE = 0
    HEAD = 1
    BODY = 2
    CLOSED = 3


class Connection(Reading, asyncio.Protocol):
    """Made by the pool. One exchange at a time; ``on_idle`` takes it back when an answer ended and it can be reused."""

    __slots__ = (
        "_answered",
        "_boundary",
        "_exchange",
        "_framed",
        "_head_bytes",
        "_headers",
        "_inflate",
        "_keep",
        "_lane",
        "_left",
        "_offer",
        "_on_body",
        "_pace_body",
        "_parser",
        "_parts",
        "_phase",
        "_reads",
        "_upper",
        "born_ns",
        "data_received",
        "expires_ns",
        "idle_since_ns",
        "on_closed",
        "on_idle",
        "rest_ns",
    )

    data_received: Callable[[bytes], None]  # type: ignore[assignment]  # a lane may stand here

    def __init__(self, now_ns: Callable[[], int], pacing: FrameClock | None = None) -> None:
        super().__init__(now_ns, pacing)
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._on_body: Callable[[bytes, bytes | None], None] | None = None
        self._offer: Offer | None = None
        self._lane: Callable[[bytes], None] | None = None
        self.data_received = self._receive
        self._phase = Phase.IDLE
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self._head_bytes = 0
        self._answered = False
        self._boundary = False  # llhttp stands between two chunks (never said of a compressed body)
        self._inflate: Inflate | None = None
        self._framed = False  # the body says where it ends; otherwise the end of the connection is its end
        self._keep = False
        self._pace_body = False
        self._reads = 0
        self._upper = False  # sizes of chunks are written with capitals
        self._left: int | None = None  # requests that the server still takes here, if it said so
        self.born_ns = now_ns()
        self.idle_since_ns = 0
        self.rest_ns: int | None = None  # how long it may be idle, if the server said so
        self.expires_ns = 0  # the pool's: when it is too old to be used again
        self.on_idle: Callable[[Connection], None] | None = None
        self.on_closed: Callable[[Connection], None] | None = None

    # ------------------------------------------------------------------ the caller's side

    def send(self, exchange: Exchange, request: bytes, *, pacing: bool = True) -> None:
        """Write *request* (head and body) and deliver its answer to *exchange*. The connection must be idle."""
        assert self._phase is Phase.IDLE
        assert self._transport is not None
        self._exchange = exchange
        self._on_body = exchange.on_body
        self._phase = Phase.HEAD
        self._answered = False
        self._head_bytes = 0
        self._headers = []
        self._reads = 0
        self._pace_body = pacing and self._pacing is not None
        self._transport.write(request)

    @property
    def usable(self) -> bool:
        """Idle, and not known to be closed."""
        transport = self._transport
        return self._phase is Phase.IDLE and transport is not None and not transport.is_closing()

    def express(self, offer: Offer | None) -> None:
        """From now on a lane of *offer* receives what is read, whenever it may (engine.lane); None: no more."""
        self._offer = offer
        self._lane = None
        if offer is not None:
            self._lane = offer.make(self._receive_beside_lane, self._check, upper=self._upper)
        self._settle()

    def body_to(self, on_body: Callable[[bytes, bytes | None], None]) -> None:
        """From now on body bytes go there directly: one call less per token."""
        self._on_body = on_body

    def abort(self) -> None:
        """Close at once (TLS ``close()`` would wait for a goodbye, up to 30 s); the exchange hears nothing more."""
        self._hang_up()
        self._close()

    # ------------------------------------------------------------------ the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._socket = transport.get_extra_info("socket")
        self._secured = transport.get_extra_info("sslcontext") is not None

    def _receive(self, data: bytes) -> None:
        """``data_received``, unless a lane stands in its place."""
        on_body = self._on_body
        if on_body is None:
            self._close()  # nobody asked for this: a late answer, or a server that talks out of turn
            return
        self._reads = reads = self._reads + 1
        if not reads % CHECK_EVERY:
            self._check()
        if self._boundary:
            # One whole chunk, nearly every read: its length alone says how it must begin.
            size = len(data)
            if size < chunked.LIMIT and data.endswith(b"\r\n"):
                head = chunked.SIZE_LINES[size]
                if data.startswith(head) or self._capitals(data, size):
                    on_body(data[len(head) : -2], data)
                    return
            if size >= FLOOD:
                self._flooded()
            body = chunked.contents(data)
            if body is not None:
                on_body(body, None)
                return
        elif len(data) >= FLOOD:
            self._flooded()
        self._parse(data)

    def _capitals(self, data: bytes, size: int) -> bool:
        """Whether *data* is one whole chunk after all: its size written with capitals, which servers do or do not."""
        if not data.startswith(chunked.SIZE_LINES_UPPER[size]):
            return False
        if not self._upper:
            self._upper = True
            self.express(self._offer)
        return True

    def _receive_beside_lane(self, data: bytes) -> None:
        """What a lane leaves to us, or came while none could be used."""
        self._receive(data)
        self._settle()

    def _settle(self) -> None:
        """Put in place who receives. The loop asks for ``data_received`` only once: so it is told."""
        receive: Callable[[bytes], None] = self._receive
        if self._offer is not None and self._lane is not None:
            usable = self._boundary and self._offer.ready()
            receive = self._lane if usable else self._receive_beside_lane
        if receive != self.data_received:
            self.data_received = receive
            if self._transport is not None and not self._transport.is_closing():
                self._transport.set_protocol(self)

    def _hang_up(self) -> None:
        """This answer is nobody's business any more."""
        self._exchange = self._on_body = None
        self.may_pace = False
        self.express(None)

    def eof_received(self) -> None:
        """Close our side too: connection_lost says what it means."""

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self._exchange
        self._hang_up()
        phase, self._phase = self._phase, Phase.CLOSED
        self._unpace()
        self._transport = None  # asyncio's must not be aborted any more: it would report its end twice, and fail
        if self.on_closed is not None:
            self.on_closed(self)
        if exchange is None:
            return
        if phase is Phase.BODY and not self._framed and exc is None:
            exchange.on_end()
            return
        where = "before it answered" if not self._answered else "in its answer's head"
        if phase is Phase.BODY:
            where = "in mid-answer"
        cause = f": {words_of(exc) if isinstance(exc, ssl.SSLError) else exc}" if exc is not None else ""
        exchange.on_lost(
            RemoteProtocolError(f"the upstream closed the connection {where}{cause}"), answered=self._answered
        )

    # ------------------------------------------------------------------ httptools' callbacks

    def on_message_begin(self) -> None:
        if self._phase is not Phase.HEAD:  # nobody asked for a second answer (RFC 9112 section 9.2)
            raise RemoteProtocolError("bytes after the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase is Phase.HEAD:  # later ones are trailers: they say nothing that a reader could use
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                raise RemoteProtocolError("the upstream switched protocols (101), which nobody asked for")
            return
        names = dict(self._headers)
        coding = names.get(b"transfer-encoding", b"").lower().rpartition(b",")[2].strip()
        self._framed = coding == b"chunked" or b"content-length" in names or status in (204, 304)
        self._head_bytes = 0
        try:
            self._inflate = inflater(names.get(b"content-encoding", b""))
        except UnreadableAnswer as error:
            raise UnreadableAnswer(f"{error} (status {status})") from None
        self._keep = self._parser.should_keep_alive()  # llhttp knows only until the message ends
        if b"keep-alive" in names:
            self._heed(names[b"keep-alive"])
        self._phase = Phase.BODY
        self.may_pace = self._pace_body
        assert self._exchange is not None
        self._exchange.on_head(status, self._headers)

    def on_chunk_header(self) -> None:
        self._boundary = False

    def on_chunk_complete(self) -> None:
        self._boundary = self._inflate is None

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        if self._phase is not Phase.BODY:  # an informational response (1xx): the answer is still to come
            self._headers = []
            return
        self._phase = Phase.IDLE
        self._boundary = False

    # ------------------------------------------------------------------ inside

    def _heed(self, keep_alive: bytes) -> None:
        """The server's own limits of keeping this connection."""
        said = {name.lower(): int(number) for name, number in _KEEP_ALIVE.findall(keep_alive)}
        seconds, most = said.get(b"timeout"), said.get(b"max")
        if seconds is not None:
            # Its clock began before ours, and the next request has yet to get there: a second, or half of a short time.
            self.rest_ns = int(max(seconds - 1.0, seconds / 2) * 1e9)
        if most is not None:
            # Some count down what is left, some repeat what they take in all and end it by "Connection: close".
            self._left = most if self._left is None else min(self._left - 1, most)
            self._keep = self._keep and self._left > 0

    def _parse(self, data: bytes) -> None:
        self._answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
            if cause is not None and not isinstance(cause, RemoteProtocolError):
                raise cause from None  # a bug of ours, or of the exchange: the loop reports it and closes
            # What came whole before the nonsense is still the answer's: deliver it first.
            self._flush()
            if self._phase is Phase.IDLE:  # the answer was whole: what follows it costs only the connection
                self._keep = False
                self._ended()
            else:
                self._protocol_error(
                    cause or RemoteProtocolError(f"the upstream does not speak HTTP/1.1 here: {error}")
                )
            return
        if self._boundary and not data.endswith(b"\r\n"):
            self._boundary = False  # llhttp has begun with the next chunk's size
        if self._phase is Phase.HEAD or not self._parts:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:  # a head, a trailer or a chunk extension without an end
                self._protocol_error(EventTooLarge("the head of the upstream's answer", MAX_HEAD))
                return
        else:
            self._head_bytes = 0
        self._flush()
        if self._phase is Phase.IDLE:
            self._ended()

    def _flush(self) -> None:
        """Hand over the body bytes of this read, once."""
        if self._parts:
            parts, self._parts = self._parts, []
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            if self._inflate is not None:
                self._hand_over_inflated(self._inflate(data))
            elif self._on_body is not None:
                self._on_body(data, None)

    def _hand_over_inflated(self, pieces: Iterator[bytes]) -> None:
        try:
            for piece in pieces:
                if self._on_body is None:  # had enough, and hung up
                    return
                self._on_body(piece, None)
        except RemoteProtocolError as error:
            self._protocol_error(error)

    def _ended(self) -> None:
        exchange = self._exchange
        self._hang_up()
        self._unpace()
        if self._paused:
            self.resume()
        if not self._keep or self._transport is None or self._transport.is_closing():
            self._close()
        elif self.on_idle is not None:
            self.idle_since_ns = self._now_ns()
            self.on_idle(self)
        assert exchange is not None
        exchange.on_end()

    def _protocol_error(self, error: RemoteProtocolError) -> None:
        exchange = self._exchange
        self._hang_up()
        self._close()
        if exchange is not None:
            exchange.on_lost(error, answered=True)

    def _close(self) -> None:
        asked = self._phase is Phase.HEAD or self._phase is Phase.BODY
        self._phase = Phase.CLOSED
        self._unpace()
        transport = self._transport
        if transport is None:
            return
        if asked and self._socket is not None and (self._secured or transport.get_write_buffer_size()):
            # A FIN would stand behind what the upstream does not take: one that reads nothing would never see it. How
            # much waits there is not told over TLS; and a FIN without TLS's own goodbye is a broken connection anyway.
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:  # closing by itself
                pass
        transport.abort()
