"""One attempt to get an answer: a request, a connection, its deadlines, and the stream that it feeds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import structs

from tokenwire.dialects.deltas import Failed
from tokenwire.engine.ingest import Ingest
from tokenwire.errors import ConnectFailed, RemoteProtocolError, UnreadableAnswer, UpstreamStatus
from tokenwire.upstream.deadlines import Deadlines, Timed
from tokenwire.upstream.origin import refused_by_proxy
from tokenwire.wire.frames import MAX_FRAME

if TYPE_CHECKING:
    from tokenwire.engine.lane import Offer
    from tokenwire.engine.stream import Stream
    from tokenwire.upstream.connection import Connection, Headers
    from tokenwire.upstream.pool import Pool
    from tokenwire.upstream.request import Request

#: An error body worth keeping; longer ones are pages, not messages.
MAX_ERROR_BODY = 1024 * 1024

# How an event stream may begin: told from JSON and HTML by these, where it comes under another label.
_BOM = b"\xef\xbb\xbf"
_STREAM = (b"data:", b"event:", b"id:", b"retry:", b":")


class Attempt(Timed):
    """Feeds *stream* with the answer to *request*. ``start`` returns at once; everything else happens in the loop.

    *on_head* is called once with the provider's status and headers when it said yes (2xx). *number* is the attempt's
    among those for this stream, and *began_ns* when the first of them was sent (default: this is it).

    Attributes:
        headers: of the answer; empty before its head.
    """

    __slots__ = (
        "_connection",
        "_ingest",
        "_max_event",
        "_number",
        "_on_head",
        "_over",
        "_pacing",
        "_pool",
        "_request",
        "_reused",
        "_task",
        "_undecided",
        "_whole",
        "_whole_size",
        "headers",
    )

    def __init__(
        self,
        stream: Stream,
        pool: Pool,
        request: Request,
        *,
        streaming: bool,
        deadlines: Deadlines,
        on_head: Callable[[int, Headers], None] | None = None,
        pacing: bool = True,
        max_event: int = MAX_FRAME,
        number: int = 1,
        began_ns: int | None = None,
    ) -> None:
        super().__init__(stream, deadlines, streaming=streaming, began_ns=began_ns)
        self._pool = pool
        self._request: Request | None = request  # until an answer begins: it may be large, and its answer take an hour
        self._number = number
        self._on_head = on_head
        self._pacing = pacing
        self._max_event = max_event
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._ingest: Ingest | None = None
        self.headers: Headers = []
        self._whole: list[bytes] | None = None  # a body that must be read whole: an error, or an answer not streamed
        self._whole_size = 0
        self._undecided = b""  # the first bytes of an unlabelled body, while they do not tell what it is
        self._reused = False
        self._over = False

    # ------------------------------------------------------------------ engine.stream.Source

    def start(self) -> None:
        """Send the request over an idle connection now, or connect first."""
        if self._stream.source is None:  # nobody makes several attempts
            self._stream.connecting(self)
        assert self._request is not None
        connection = self._pool.take(self._request.origin)
        if connection is not None:
            self._reused = True
            self._send(connection)
        else:
            self._task = asyncio.get_running_loop().create_task(self._connect())

    def abort(self) -> None:
        self._over = True
        self._ingest = None
        if self._task is not None:
            self._task.cancel()
        connection = self._release()  # None when the answer has ended
        if connection is not None:
            connection.abort()

    def pause(self) -> None:
        self._stand_still()
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        self._go_on()
        if self._connection is not None:
            self._connection.resume()

    # ------------------------------------------------------------------ upstream.connection.Exchange

    def on_head(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        kind = dict(headers).get(b"content-type", b"").partition(b";")[0].strip().lower()
        if status >= 300:
            self._whole = []
        elif not self._streaming:
            self._whole = []
            self._begin(unary=True)
        elif self._is_stream(kind):
            self._begin(unary=False)
        else:
            self._whole = []  # JSON, HTML or an unlabelled stream: the first bytes tell

    def _is_stream(self, kind: bytes) -> bool:
        """Whether a body of that type is a stream in the provider's dialect. Lines of JSON are told from nothing else
        by their label: an error among them reads like any other line."""
        dialect = self._stream.dialect
        return kind == dialect.content_type.encode() or (dialect.framing == "ndjson" and kind.endswith(b"json"))

    def on_body(self, data: bytes, chunk: bytes | None) -> None:
        self._collect(data)  # an event stream's goes to its ingest directly

    def on_end(self) -> None:
        self._end()
        ingest, self._ingest = self._ingest, None  # it holds us, and we it
        if ingest is not None:
            ingest.end()
            return
        body = self._undecided + b"".join(self._whole or ())
        if self.status >= 300:
            self._refused(body)
        elif self._streaming:
            self._not_a_stream(body)
        else:
            self._unary(body)

    def on_lost(self, error: RemoteProtocolError, *, answered: bool) -> None:
        if self._reused and not answered:
            # A kept-alive connection that the server had already closed: nothing came back, so nothing was begun
            # (RFC 9112 section 9.3.1 allows the repeat for that case), and a fresh connection is asked.
            self._reused = False
            self._release()
            self._task = asyncio.get_running_loop().create_task(self._connect())
            return
        self._end()
        ingest, self._ingest = self._ingest, None
        if ingest is not None:
            ingest.lost(str(error))
        elif self.status >= 300:  # it had said no already: that counts, not how it left
            self._refused(b"".join(self._whole or ()))
        elif isinstance(error, UnreadableAnswer):
            self._fail("bad_answer", str(error), retryable=False)
        else:
            self._fail("upstream_closed" if not self.status else "bad_answer", str(error))

    # ------------------------------------------------------------------ inside

    async def _connect(self) -> None:
        assert self._request is not None
        try:
            connection = await self._pool.connect(self._request.origin, self._deadlines.connect)
        except ConnectFailed as error:
            self._task = None  # the end of the stream aborts its source: not us, who tell it
            self._end()
            self._fail(error.code, str(error), retryable=error.retryable)
            return
        self._task = None
        if self._over:
            connection.abort()
        else:
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        assert self._request is not None
        self._connection = connection
        connection.send(self, self._request.encode(), pacing=self._pacing)
        self._stream.sent = True
        if self._paused_ns is not None:
            connection.pause()
        self._sent()

    def _begin(self, *, unary: bool) -> None:
        self._request = None
        self._stream.begin(attempt=self._number, unary=unary)
        if not unary:
            assert self._connection is not None
            self._ingest = Ingest(self._stream, self._max_event, self._express)
            self._connection.body_to(self._ingest.body)
        if self._on_head is not None:
            self._on_head(self.status, self.headers)

    def _express(self, offer: Offer | None) -> None:
        if self._connection is not None:  # else the answer has ended
            self._connection.express(offer)

    def _collect(self, data: bytes) -> None:
        """A piece of a body that is not labelled an event stream."""
        assert self._whole is not None
        if self.status < 300 and self._streaming and not self._whole and self._stream.dialect.framing == "sse":
            begin = (self._undecided + data).lstrip()
            if begin.removeprefix(_BOM).startswith(_STREAM):
                self._whole = None
                self._begin(unary=False)
                assert self._ingest is not None
                self._ingest.body(begin)
                return
            if any(start.startswith(begin.removeprefix(_BOM)) for start in _STREAM) or _BOM.startswith(begin):
                self._undecided = begin
                return
            data, self._undecided = begin, b""
        self._whole.append(data)
        self._whole_size += len(data)
        limit = MAX_ERROR_BODY if self.status >= 300 or self._streaming else self._max_event
        if self._whole_size > limit:
            if self.status >= 300:  # either way the stream ends, and so do we
                self._refused(b"".join(self._whole)[:limit])
            else:
                message = f"the upstream's answer is larger than {limit} bytes and is no event stream"
                self._fail("bad_answer", message, retryable=False)

    def _refused(self, body: bytes) -> None:
        """An HTTP error: the provider's own words, in the terminal and (same dialect) to the reader as they came."""
        assert self._request is not None  # nothing has begun
        by_proxy = refused_by_proxy(self._request.origin, self.status)
        if by_proxy is not None:
            self._fail(by_proxy.code, str(by_proxy), retryable=False)
            return
        if self.status < 400:
            where = dict(self.headers).get(b"location", b"somewhere").decode("latin-1")[:200]
            message = f"the upstream redirects ({self.status}) to {where}: set base_url to where it points"
            self._fail("redirected", message, retryable=False)
            return
        failed = self._stream.dialect.describe_error(body, self.status)
        self._stream.meta["refused"] = UpstreamStatus(self.status, self.headers, body, failed.message)
        self._stream.attempt_failed(failed)

    def _not_a_stream(self, body: bytes) -> None:
        """200, and not an event stream although one was asked for: an error in disguise, a page, or a whole answer."""
        deltas = self._stream.dialect.decode_response(body)
        failed = next((delta for delta in deltas if isinstance(delta, Failed)), None)
        if failed is not None:
            self._stream.attempt_failed(self._labelled(failed))
        elif deltas:
            self._begin(unary=True)
            self._unary(body)
        else:
            self._fail("bad_answer", f"the upstream answered {self.status} with {len(body)} bytes that hold no answer")

    def _unary(self, body: bytes) -> None:
        if self._stream.append_unary(body, self._stream.clock.now_ns()):
            self._stream.finish()

    def _labelled(self, failed: Failed) -> Failed:
        """*failed*, and as what it came where that is no JSON: a proxy's page is not the model's error."""
        kind = dict(self.headers).get(b"content-type", b"nothing").decode("latin-1")
        if "json" in kind or isinstance(failed.raw, dict):
            return failed
        message = f"the upstream sent {kind[:100]} instead of an event stream: {failed.message}"
        return structs.replace(failed, message=message)

    def _fail(self, code: str, message: str, *, retryable: bool = True) -> None:
        self._stream.attempt_failed(Failed(code=code, message=message, retryable=retryable))

    def _late(self, message: str) -> None:
        self._fail("upstream_timeout", message)

    def _end(self) -> None:
        self._over = True
        self._release()

    def _release(self) -> Connection | None:
        """The connection is no longer ours to time, pause or abort: it may serve another already."""
        self._stop()
        connection, self._connection = self._connection, None
        return connection
