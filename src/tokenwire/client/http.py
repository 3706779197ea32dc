"""HTTP towards one relay, over the same connections that the relay itself uses towards providers.

One request at a time per connection; a kept connection that turns out to be closed is replaced by a new one, once.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from tokenwire.errors import ConfigError, ConnectFailed, EventTooLarge, RelayUnreachable, RemoteProtocolError
from tokenwire.upstream.pool import Pool, parse_base_url
from tokenwire.upstream.request import Request
from tokenwire.wire import sse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.engine.clock import Clock, Handle
    from tokenwire.upstream.connection import Connection, Headers

#: A whole answer of a relay is a list of models or of streams: kilobytes.
MAX_BODY = 8 * 1024 * 1024
#: Events that wait for their reader, bytes: above it the socket is read no more until they are taken.
MAX_WAITING = 256 * 1024

# As the settings want an upstream's.
_KEY = re.compile(r"[\x21-\x7e]+")

Fields = list[tuple[str, str]]


class Reply:
    """The answer to one request, as it arrives. One task at a time may wait for it.

    Args:
        silence: seconds without a byte after which the connection counts as dead.

    Attributes:
        status: 0 until the head came.
        fields: of the head, names in lower case; the last of equal ones.
        answered: at least a byte of it came.
        standing_id: the id in force before the first event; None before that has come, and where none was said.
    """

    def __init__(self, url: str, clock: Clock, silence: float) -> None:
        self.status = 0
        self.fields: dict[str, str] = {}
        self.answered = False
        self.standing_id: str | None = None
        self._url = url
        self._clock = clock
        self._silence = silence
        self._connection: Connection | None = None
        self._timer: Handle | None = None
        self._last_ns = clock.now_ns()
        self._decoder: sse.Decoder | None = None
        self._begun = False  # an event has come
        self._events: list[sse.Event] = []
        self._waiting = 0
        self._body = bytearray()
        self._over = False
        self._lost: str | None = None
        self._news: asyncio.Future[None] | None = None

    # ------------------------------------------------------------------ the reader's side

    @property
    def last_event_id(self) -> str | None:
        """The id in force after all events that came, of those still waiting too."""
        return None if self._decoder is None else self._decoder.last_event_id

    @property
    def retry(self) -> int | None:
        """Milliseconds that a ``retry`` field has said, if no event came with it or after it."""
        return None if self._decoder is None else self._decoder.retry

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self._over

    @property
    def streams(self) -> bool:
        """It is an event stream; otherwise it has a body to be read whole."""
        return self._decoder is not None

    async def head(self) -> None:
        """Until the head is there. Raises ``RelayUnreachable``."""
        while not self.status:
            await self._more()

    async def whole(self) -> bytes:
        """The body, once it ended. Raises ``RelayUnreachable`` if it does not. Cancelling drops the connection."""
        try:
            while not self._over:
                await self._more()
        except BaseException:
            self.close()
            raise
        if self._lost is not None:
            raise RelayUnreachable(self._url, self._lost)
        return bytes(self._body)

    async def events(self) -> list[sse.Event]:
        """The next events, at least one; none when the answer ended. Raises ``RelayUnreachable`` if it was cut."""
        while not self._events and not self._over:
            await self._more()
        if not self._events and self._lost is not None:
            raise RelayUnreachable(self._url, self._lost)
        events, self._events = self._events, []
        self._waiting = 0
        if self._connection is not None:
            self._last_ns = self._clock.now_ns()  # the silence, if there was one, may have been ours
            self._connection.resume()
        return events

    def close(self) -> None:
        """Drop the connection, unless the answer ended and it is the pool's again. Idempotent."""
        connection = self._connection
        self._end(None)
        if connection is not None:
            connection.abort()

    # ------------------------------------------------------------------ upstream.connection.Exchange

    def on_head(self, status: int, headers: Headers) -> None:
        self._last_ns = self._clock.now_ns()
        self.answered = True
        self.status = status
        self.fields = {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in headers}
        kind = self.fields.get("content-type", "").partition(";")[0].strip().lower()
        if status == 200 and kind == "text/event-stream":
            self._decoder = sse.Decoder()
        self._tell()

    def on_body(self, data: bytes, chunk: bytes | None) -> None:
        self._last_ns = self._clock.now_ns()
        if self._decoder is None:
            self._body += data
            if len(self._body) > MAX_BODY:
                self._cut(f"its answer is larger than {MAX_BODY} bytes")
            return
        try:
            events = self._decoder.feed(data) if self._begun else self._first(self._decoder, data)
        except EventTooLarge as error:
            self._cut(str(error))
            return
        self._waiting += len(data)
        if events:
            self._events += events
            self._tell()
            if self._waiting > MAX_WAITING and self._connection is not None:
                self._connection.pause()

    def on_end(self) -> None:
        self._end(None)

    def on_lost(self, error: RemoteProtocolError, *, answered: bool) -> None:
        self.answered = self.answered or answered
        self._end(str(error).replace("the upstream", "it"))

    # ------------------------------------------------------------------ inside

    def sent(self, connection: Connection) -> None:
        """The request is on its way over *connection*."""
        self._connection = connection
        self._last_ns = self._clock.now_ns()
        self._timer = self._clock.call_later(self._silence, self._check)

    def _first(self, decoder: sse.Decoder, data: bytes) -> list[sse.Event]:
        """The events of *data*, none before which have come. Line by line up to the first: an event has the id in force
        when it came, and whether that is its own or stood there is told apart only now."""
        end = 0
        for line in data.splitlines(keepends=True):
            standing = decoder.last_event_id
            events = decoder.feed(line)
            end += len(line)
            if events:
                self._begun, self.standing_id = True, standing
                with suppress(EventTooLarge):  # raised again by the next call: what came before it counts
                    events += decoder.feed(data[end:])
                return events
        return []

    def _check(self) -> None:
        """One timer, not one per read: how long is the silence by now?"""
        silent = (self._clock.now_ns() - self._last_ns) / 1e9
        if self._waiting > MAX_WAITING:  # it is we who do not read
            silent = 0.0
        if silent < self._silence:
            self._timer = self._clock.call_later(self._silence - silent, self._check)
        else:
            self._cut(f"nothing came for {self._silence:g} s")

    def _cut(self, cause: str) -> None:
        connection = self._connection
        self._end(cause)
        if connection is not None:
            connection.abort()

    def _end(self, cause: str | None) -> None:
        if self._over:
            return
        self._over = True
        self._lost = cause
        self._connection = None
        if self._timer is not None:
            self._timer.cancel()
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _more(self) -> None:
        """Until something happened. Raises ``RelayUnreachable`` if nothing can any more."""
        if self._over:
            raise RelayUnreachable(self._url, self._lost or "it ended before it answered")
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None


def stream_path(stream: str) -> str:
    """The path of one stream."""
    return f"/v1/streams/{quote(stream, safe='')}"


class Http:
    """Requests to the relay at *url* (``http://HOST:PORT``, with a path if it stands behind one).

    Raises ``ConfigError`` for a URL that is none, and for a key that no header field can hold.
    """

    def __init__(self, url: str, *, key: str | None, clock: Clock, connect_timeout: float) -> None:
        if key is not None and not _KEY.fullmatch(key):  # it is not repeated: it is a secret
            raise ConfigError("the relay's key must be printable ASCII without blanks and line ends", where="key")
        self.url = url.rstrip("/")
        self._origin, self._path = parse_base_url(self.url)
        self._fields: Fields = [("accept-encoding", "identity"), ("user-agent", "tokenwire-client")]
        if key is not None:
            self._fields.append(("authorization", f"Bearer {key}"))
        self._clock = clock
        self._connect_timeout = connect_timeout
        self._pool = Pool(clock.now_ns)

    async def ask(
        self, method: str, path: str, *, body: bytes = b"", fields: Sequence[tuple[str, str]] = (), silence: float
    ) -> Reply:
        """Send a request; its answer from the head on. Cancelling drops the connection.

        Raises ``RelayUnreachable``: no connection, nothing for *silence* seconds, or a peer that is no HTTP server.
        """
        extra = [*self._fields, *fields]
        if body:
            extra.append(("content-type", "application/json"))
        request = Request(origin=self._origin, path=self._path + path, fields=extra, body=body, method=method)
        connection = self._pool.take(self._origin)
        if connection is not None:
            reply = self._send(connection, request, silence)
            try:
                await self._head(reply)
            except RelayUnreachable:
                if reply.answered:
                    raise
            else:
                return reply  # else: the server had closed it already
        try:
            connection = await self._pool.connect(self._origin, self._connect_timeout)
        except ConnectFailed as error:
            raise RelayUnreachable(self.url, str(error).partition(": ")[2]) from error
        reply = self._send(connection, request, silence)
        await self._head(reply)
        return reply

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _send(self, connection: Connection, request: Request, silence: float) -> Reply:
        reply = Reply(self.url, self._clock, silence)
        reply.sent(connection)
        connection.send(reply, request.encode(), pacing=False)
        return reply

    @staticmethod
    async def _head(reply: Reply) -> None:
        try:
            await reply.head()
        except BaseException:
            reply.close()
            raise
