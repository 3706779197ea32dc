"""One attempt to get an answer: a request, a connection, its deadlines, and the stream that it feeds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from tokenwire.dialects.deltas import Failed
from tokenwire.engine.ingest import Ingest
from tokenwire.errors import (
    ConnectFailed,
    LocalProtocolError,
    RemoteProtocolError,
    UnreadableAnswer,
    UpstreamStatus,
)
from tokenwire.upstream.origin import refused_by_proxy
from tokenwire.upstream.pool import Origin, Pool
from tokenwire.wire.frames import MAX_FRAME

if TYPE_CHECKING:
    from tokenwire.engine.lane import Offer
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Timer
    from tokenwire.upstream.connection import Connection, Headers

#: An error body worth keeping; longer ones are pages, not messages.
MAX_ERROR_BODY = 1024 * 1024

# How an event stream may begin: told from JSON and HTML by these, where it comes under another label.
_BOM = b"\xef\xbb\xbf"
_STREAM = (b"data:", b"event:", b"id:", b"retry:", b":")
# Nothing else may stand in a request's head (RFC 9110 section 5.5): a line end that came in with a key would end the
# line, and what follows would be a header of its own.
_NO_FIELD = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


class Deadlines(Struct, frozen=True, kw_only=True):
    """Seconds; INTERFACES section 5 has the defaults. They stand still while it is we who pause the reading.

    ``headers`` counts from the request's last byte, ``first_token`` too (to the first generated event);
    ``between_tokens`` from one event to the next (comments do not count), ``total`` from the request.
    """

    connect: float = 5.0
    headers: float = 60.0
    first_token: float = 120.0
    between_tokens: float = 60.0
    total: float = 3600.0


def encode_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """Fields of many requests, encoded once. Raises ``LocalProtocolError`` for what no head can hold."""
    fields = list(fields)
    _check_fields(fields)
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")


def _check_fields(fields: Iterable[tuple[str, str]]) -> None:
    for name, value in fields:
        if _NO_FIELD.search(name) or _NO_FIELD.search(value):
            raise LocalProtocolError(f"{name!r}: a line end, a control or a non-Latin character in a request's head")


class Request(Struct, frozen=True, kw_only=True):
    """What is sent: *fields* are the header fields besides Host and Content-Length; *head* more of them, as
    ``encode_fields`` made them.

    Raises ``LocalProtocolError`` for a path or field that no HTTP head can hold.
    """

    origin: Origin
    path: str
    fields: Sequence[tuple[str, str]]
    body: bytes
    method: str = "POST"
    head: bytes = b""

    def __post_init__(self) -> None:
        _check_fields((("path", self.path), *self.fields))

    def encode(self) -> bytes:
        """Head and body."""
        origin, relayed = self.origin, self.origin.relayed
        target, to_proxy = (self.path, "") if relayed is None else (f"{origin}{self.path}", relayed.field)
        first = f"{self.method} {target} HTTP/1.1\r\nhost: {origin.header}\r\n{to_proxy}".encode("latin-1")
        fields = "".join([f"{name}: {value}\r\n" for name, value in self.fields]).encode("latin-1")
        return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (first, self.head, fields, len(self.body), self.body)


class Attempt:
    """Feeds *stream* with the answer to *request*. ``start`` returns at once; everything else happens in the loop.

    *on_head* is called once with the provider's status and headers when it said yes (2xx).
    """

    __slots__ = (
        "_connection",
        "_deadlines",
        "_headers",
        "_ingest",
        "_max_event",
        "_on_head",
        "_over",
        "_pacing",
        "_paused_ns",
        "_pool",
        "_request",
        "_resumed_ns",
        "_reused",
        "_sent_ns",
        "_standing_ns",
        "_status",
        "_stream",
        "_streaming",
        "_task",
        "_timer",
        "_undecided",
        "_whole",
        "_whole_size",
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
    ) -> None:
        self._stream = stream
        self._pool = pool
        self._request = request
        self._streaming = streaming
        self._deadlines = deadlines
        self._on_head = on_head
        self._pacing = pacing
        self._max_event = max_event
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._ingest: Ingest | None = None
        self._status = 0
        self._headers: Headers = []
        self._whole: list[bytes] | None = None  # a body that must be read whole: an error, or an answer not streamed
        self._whole_size = 0
        self._undecided = b""  # the first bytes of an unlabelled body, while they do not tell what it is
        self._sent_ns = 0
        self._paused_ns: int | None = None
        self._resumed_ns = 0
        self._standing_ns = 0  # how long deadlines stood still
        self._timer: Timer | None = None
        self._reused = False
        self._over = False

    # ------------------------------------------------------------------ engine.stream.Source

    def start(self) -> None:
        """Send the request over an idle connection now, or connect first."""
        self._stream.connecting(self)
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
        self._paused_ns = self._stream.clock.now_ns()
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        if self._paused_ns is not None:
            self._resumed_ns = self._stream.clock.now_ns()
            self._standing_ns += self._resumed_ns - self._paused_ns
            self._paused_ns = None
        if self._connection is not None:
            self._connection.resume()

    # ------------------------------------------------------------------ upstream.connection.Exchange

    def on_head(self, status: int, headers: Headers) -> None:
        self._status = status
        self._headers = headers
        kind = dict(headers).get(b"content-type", b"").partition(b";")[0].strip().lower()
        if status >= 300:
            self._whole = []
        elif not self._streaming:
            self._whole = []
            self._begin(unary=True)
        elif kind == b"text/event-stream":
            self._begin(unary=False)
        else:
            self._whole = []  # JSON, HTML or an unlabelled stream: the first bytes tell

    def on_body(self, data: bytes, chunk: bytes | None) -> None:
        self._collect(data)  # an event stream's goes to its ingest directly

    def on_end(self) -> None:
        self._end()
        ingest, self._ingest = self._ingest, None  # it holds us, and we it
        if ingest is not None:
            ingest.end()
            return
        body = self._undecided + b"".join(self._whole or ())
        if self._status >= 300:
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
        elif self._status >= 300:  # it had said no already: that counts, not how it left
            self._refused(b"".join(self._whole or ()))
        elif isinstance(error, UnreadableAnswer):
            self._fail("bad_answer", str(error), retryable=False)
        else:
            self._fail("upstream_closed" if not self._status else "bad_answer", str(error))

    # ------------------------------------------------------------------ inside

    async def _connect(self) -> None:
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
        self._connection = connection
        connection.send(self, self._request.encode(), pacing=self._pacing)
        self._sent_ns = self._stream.clock.now_ns()
        self._standing_ns = 0
        if self._paused_ns is not None:
            self._paused_ns = self._sent_ns
            connection.pause()
        self._arm(self._deadlines.total)

    def _begin(self, *, unary: bool) -> None:
        self._stream.begin(unary=unary)
        if not unary:
            assert self._connection is not None
            self._ingest = Ingest(self._stream, self._max_event, self._express)
            self._connection.body_to(self._ingest.body)
        if self._on_head is not None:
            self._on_head(self._status, self._headers)

    def _express(self, offer: Offer | None) -> None:
        if self._connection is not None:  # else the answer has ended
            self._connection.express(offer)

    def _collect(self, data: bytes) -> None:
        """A piece of a body that is not labelled an event stream."""
        assert self._whole is not None
        if self._status < 300 and self._streaming and not self._whole:
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
        limit = MAX_ERROR_BODY if self._status >= 300 or self._streaming else self._max_event
        if self._whole_size > limit:
            if self._status >= 300:  # either way the stream ends, and so do we
                self._refused(b"".join(self._whole)[:limit])
            else:
                self._fail("bad_answer", f"the upstream's answer is larger than {limit} bytes and is no event stream")

    def _refused(self, body: bytes) -> None:
        """An HTTP error: the provider's own words, in the terminal and (same dialect) to the reader as they came."""
        by_proxy = refused_by_proxy(self._request.origin, self._status)
        if by_proxy is not None:
            self._fail(by_proxy.code, str(by_proxy), retryable=False)
            return
        if self._status < 400:
            where = dict(self._headers).get(b"location", b"somewhere").decode("latin-1")[:200]
            message = f"the upstream redirects ({self._status}) to {where}: set base_url to where it points"
            self._fail("redirected", message, retryable=False)
            return
        failed = self._stream.dialect.describe_error(body, self._status)
        self._stream.meta["refused"] = UpstreamStatus(self._status, self._headers, body, failed.message)
        self._stream.fail(failed)

    def _not_a_stream(self, body: bytes) -> None:
        """200, and not an event stream although one was asked for: an error in disguise, a page, or a whole answer."""
        deltas = self._stream.dialect.decode_response(body)
        failed = next((delta for delta in deltas if isinstance(delta, Failed)), None)
        if failed is not None:
            self._stream.fail(self._labelled(failed))
        elif deltas:
            self._begin(unary=True)
            self._unary(body)
        else:
            self._fail("bad_answer", f"the upstream answered {self._status} with {len(body)} bytes that hold no answer")

    def _unary(self, body: bytes) -> None:
        self._stream.append_unary(body, self._stream.clock.now_ns())
        self._stream.finish()

    def _labelled(self, failed: Failed) -> Failed:
        """*failed*, and as what it came where that is no JSON: a proxy's page is not the model's error."""
        kind = dict(self._headers).get(b"content-type", b"nothing").decode("latin-1")
        if "json" in kind or isinstance(failed.raw, dict):
            return failed
        message = f"the upstream sent {kind[:100]} instead of an event stream: {failed.message}"
        return structs.replace(failed, message=message)

    def _fail(self, code: str, message: str, *, retryable: bool = True) -> None:
        self._stream.fail(Failed(code=code, message=message, retryable=retryable))

    def _end(self) -> None:
        self._over = True
        self._release()

    def _release(self) -> Connection | None:
        """The connection is no longer ours to time, pause or abort: it may serve another already."""
        if self._timer is not None:
            self._timer.cancel()
        connection, self._connection = self._connection, None
        return connection

    # ------------------------------------------------------------------ deadlines

    def _arm(self, seconds: float) -> None:
        """Look again after *seconds*, but within the shortest limit: no phase that begins meanwhile is then missed."""
        limits = self._deadlines
        soonest = min(seconds, limits.headers, limits.first_token, limits.between_tokens)
        self._timer = self._stream.wheel.after(max(soonest, 0.001), self._check)

    def _check(self) -> None:
        """One timer for four deadlines: find the one in force, and wait for what is left of it."""
        now = self._stream.clock.now_ns()
        if self._paused_ns is not None:
            self._arm(self._deadlines.between_tokens)  # we are the ones pausing: nothing can be late
            return
        since_sent = (now - self._sent_ns - self._standing_ns) / 1e9
        if not self._streaming:  # a whole answer: not even its head comes before the last token
            phase, limit, elapsed = "total", self._deadlines.total, since_sent
        elif not self._status:
            phase, limit, elapsed = "headers", self._deadlines.headers, since_sent
        elif self._stream.generated_ns is None:
            phase, limit, elapsed = "first_token", self._deadlines.first_token, since_sent
        else:
            since_last = (now - max(self._stream.last_ns, self._resumed_ns)) / 1e9
            phase, limit, elapsed = "between_tokens", self._deadlines.between_tokens, since_last
        if since_sent >= self._deadlines.total:
            phase, limit, elapsed = "total", self._deadlines.total, since_sent
        left = min(limit - elapsed, self._deadlines.total - since_sent)
        if left > 0:
            self._arm(left)
            return
        self._fail("upstream_timeout", f"nothing from the upstream within {limit:g} s ({phase.replace('_', ' ')})")
