"""One client's connection: HTTP/1.1 in, parsed by httptools; one reply at a time out, through ``Playback``.

Written on bare asyncio because a simulator must control every byte and see at once that its client has left, which
server frameworks hide. While a reply is under way input is still read (FIN is seen only by a reader) and later requests
are queued, up to ``MAX_QUEUED``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import httptools

from tokenwire.simulator.exchange import Reply, Request
from tokenwire.simulator.playback import Playback, reset

if TYPE_CHECKING:
    from tokenwire.simulator.stats import Stats
    from tokenwire.simulator.ticker import Ticker

#: Bytes of a request head; nginx and uvicorn allow as much.
MAX_HEAD = 64 * 1024
#: Bytes of a request body, as the relay's own default.
MAX_BODY = 32 * 1024 * 1024
#: Requests that may wait behind the one being answered. Pipelining is rare, and more is an attack or a bug.
MAX_QUEUED = 16

_HEAD_TOO_LARGE = f"the request head is larger than {MAX_HEAD} bytes"

# The transport's own buffer: beyond this the reply waits for its client.
_HIGH_WATER = 64 * 1024


class Connection(asyncio.Protocol):
    """The protocol object of one connection.

    Args:
        handle: request -> reply.
        refuse: (what is known of a request, HTTP status, sentence) -> reply to one that is not HTTP, or too large.
        crowd: the set of open connections, kept up to date.
    """

    def __init__(
        self,
        handle: Callable[[Request], Reply],
        refuse: Callable[[Request, int, str], Reply],
        ticker: Ticker,
        stats: Stats,
        crowd: set[Connection],
    ) -> None:
        self._handle = handle
        self._refuse = refuse
        self._ticker = ticker
        self._stats = stats
        self._crowd = crowd
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request] = deque()
        self._playback: Playback | None = None
        self._transport: asyncio.Transport
        self._paused = False  # the client does not read
        self._last = False  # nothing more comes, or nothing that could be understood
        self._stale = False  # the next request finds the connection reset
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._in_head = True
        self._head_size = 0  # as the parser reports it
        self._head_read = 0  # as it was read, while the parser says nothing
        self._body_size = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its base class
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._crowd.add(self)

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        if self._stale and self._playback is None:
            reset(self._transport)
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            status = 431 if self._head_size > MAX_HEAD else 413 if self._body_size > MAX_BODY else 400
            self._give_up(status, str(error) or type(error).__name__)
            return
        if self._in_head:
            # A header is reported when it ends; one that never ends would pile up inside the parser. The first read
            # may belong to the body before, hence the allowance.
            self._head_read += len(data)
            if self._head_read > 2 * MAX_HEAD + len(data):
                self._give_up(431, _HEAD_TOO_LARGE)
                return
        # Not inside the parser's callback, where an error of ours would pass for one of the client's.
        self._next()

    def eof_received(self) -> bool:
        """FIN from the client counts as leaving. Returns whether the transport stays open for writing."""
        playback = self._playback
        if playback is None:
            return False
        playback.leave(lost=False)
        if playback.deaf:
            self._last = True
            return True
        self._transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.discard(self)
        if self._playback is not None:
            self._playback.leave(lost=True)

    def pause_writing(self) -> None:
        self._paused = True
        if self._playback is not None:
            self._playback.pause()

    def resume_writing(self) -> None:
        self._paused = False
        if self._playback is not None:
            self._playback.resume()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()

    # httptools: a raised exception stops the parser and comes out of feed_data as an HttpParserError

    def on_url(self, url: bytes) -> None:
        self._head_size += len(url)
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4  # ": " and CR LF
        if self._head_size > MAX_HEAD:
            raise ValueError(_HEAD_TOO_LARGE)
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._headers.get("expect", "").lower() == "100-continue" and self._playback is None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > MAX_BODY:
            raise ValueError(f"the request body is larger than {MAX_BODY} bytes")
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, _, query = self._url.decode("latin-1").partition("?")
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            path=path,
            query=query,
            headers=self._headers,
            body=b"".join(self._body),
            keep_alive=self._parser.should_keep_alive(),
            http_1_0=self._parser.get_http_version() == "1.0",
        )
        self._begin()
        self._queue.append(request)
        if len(self._queue) > MAX_QUEUED:
            raise ValueError(f"more than {MAX_QUEUED} requests are waiting")

    # Replies

    def _next(self) -> None:
        # A loop and not recursion: a client may pipeline many requests whose replies end at once.
        while self._playback is None and self._queue and not self._transport.is_closing():
            self._play(self._handle(self._queue.popleft()))

    def _play(self, reply: Reply) -> None:
        self._stale = reply.stale
        self._playback = Playback(reply, self._transport, self._ticker, self._stats, self._ended)
        if self._paused:
            self._playback.pause()
        self._playback.start()

    def _ended(self, keep_alive: bool) -> None:
        self._playback = None
        if self._last or not keep_alive:
            self._transport.close()
        elif self._queue:
            self._ticker.at(self._ticker.time(), lambda now: self._next())

    def _give_up(self, status: int, problem: str) -> None:
        """Refuse what cannot be parsed, if nothing else is being sent, and close."""
        self._last = True
        if self._playback is not None or self._transport.is_closing():
            self._transport.abort()
        else:
            path = self._url.decode("latin-1").partition("?")[0]
            known = Request(method="", path=path, headers=self._headers, keep_alive=False)
            self._play(self._refuse(known, status, problem))
