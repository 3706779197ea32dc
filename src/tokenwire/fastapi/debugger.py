"""When did which bytes leave? An ASGI middleware that says so of every chunk, around any app on any server. ::

    app = FastAPI()
    ...
    app = StreamDebugger(app, trace="trace.jsonl")

It passes every message on as it is and at once, and holds none. A wait is either the app's (nothing came) or the
reader's (`send` did not return): the two are told apart, as "the stream stalls" never is.
"""

from __future__ import annotations

import itertools
import os
import time
from array import array
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from statistics import median_high
from typing import IO, Any, Final

from tokenwire.fastapi.boundaries import Counter, counter_for
from tokenwire.fastapi.tracing import Begin, Chunk, End, Gap, Record, Trace, trace_to

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: What is looked at unless something else is asked for.
EVENT_STREAMS: Final = frozenset({"text/event-stream", "application/x-ndjson"})

# Our own servers offer our relay ways to the transport beside `send` (`tokenwire.port` and others of that name), and
# this would see nothing of what takes them. They are taken out of the scope; the relay then writes by `send`.
_OURS: Final = "tokenwire."

# So many gaps are kept for the median: half a megabyte, an hour of 18 chunks a second.
_GAPS: Final = 65_536


class StreamDebugger:
    """An ASGI app: *app*, with the time, gap and size of every chunk that it streams written down.

    Only HTTP responses are looked at; lifespan and websockets are passed through. Nothing changes for the app and its
    clients: exceptions and cancellation pass, and a trace that cannot be written is given up, with an error in the
    log of `tokenwire.debug`.

    Whether the client left is known only if the app listens for it, or the server raises in `send`: under a server
    that drops what is sent to nobody, an app that never asks ends "by itself".

    Args:
        app: any ASGI 3 app.
        trace: where the records go, as lines of JSON: a path (appended to) or an open file. They are there after a
            second, and when a stream has ended. A callable gets the `Begin`, `Chunk` and `End` records themselves,
            at once, in the event loop. None: the logger `tokenwire.debug`, a DEBUG line a chunk and an INFO line a
            stream.
        content_types: the media types that are looked at; None for every response.
        first_bytes: so many bytes of each chunk are written down as text. 0 keeps what is said private.
        now_ns: a monotonic clock, nanoseconds.
        wall: seconds since 1970.

    Raises:
        UnusableTrace: *trace* is none of these.
    """

    def __init__(
        self,
        app: App,
        *,
        trace: str | os.PathLike[str] | IO[Any] | Callable[[Record], object] | None = None,
        content_types: Collection[str] | None = EVENT_STREAMS,
        first_bytes: int = 0,
        now_ns: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.app = app
        self.trace: Trace = trace_to(trace)
        self.content_types = content_types
        self.first_bytes = first_bytes
        self.now_ns = now_ns
        self.wall = wall
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        extensions = scope.get("extensions") or {}
        others = {name: value for name, value in extensions.items() if not name.startswith(_OURS)}
        if len(others) < len(extensions):
            scope = {**scope, "extensions": others}
        watch = _Watch(self, f"{os.getpid()}-{next(self._numbers)}", scope, receive, send)
        try:
            await self.app(scope, watch.receive, watch.send)
        except BaseException as error:
            watch.end(error)
            raise
        watch.end(None)

    def close(self) -> None:
        """Write what waits to be written, and return when it is. Python does it when it exits."""
        self.trace.close()


class _Watch:
    """One request."""

    __slots__ = (
        "_begun", "_chunks", "_counter", "_debugger", "_events", "_gaps", "_last", "_last_wait", "_left", "_longest",
        "_over", "_receive", "_scope", "_send", "_size", "_status", "_stream", "_ttfb", "_waited", "_watched",
    )  # fmt: skip

    def __init__(self, debugger: StreamDebugger, stream: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._debugger = debugger
        self._stream = stream
        self._scope = scope
        self._receive = receive
        self._send = send
        self._begun = self._last = debugger.now_ns()
        self._watched = debugger.content_types is None
        self._over = False
        self._status: int | None = None
        self._counter: Counter | None = None
        self._chunks = self._size = self._events = 0
        self._gaps = array("q")
        self._longest: Gap | None = None
        self._ttfb: int | None = None
        self._left: int | None = None
        self._waited = self._last_wait = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._leave()
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            message = self._start(message)
        elif kind == "http.response.body" and self._watched and not self._over:
            await self._pass_on(message)
            return
        try:
            await self._send(message)
        except OSError:  # how a server says that the client is gone (ASGI's HTTP specification 2.4)
            self._leave()
            raise

    def _start(self, message: Message) -> Message:
        headers = message.get("headers", ())
        if iter(headers) is headers:  # it can be gone through only once
            message = {**message, "headers": (headers := list(headers))}
        fields = {bytes(name).lower(): bytes(value) for name, value in headers}
        content_type = fields.get(b"content-type", b"").decode("latin-1")
        media_type = content_type.partition(";")[0].strip().lower()
        debugger = self._debugger
        if debugger.content_types is not None and media_type not in debugger.content_types:
            return message
        self._watched = True
        self._status = message["status"]
        if fields.get(b"content-encoding", b"identity") == b"identity":
            self._counter = counter_for(media_type)
        now, wall = debugger.now_ns(), debugger.wall()
        method, path = self._scope["method"], self._scope["path"]
        record = Begin(self._stream, now, wall, method, path, message["status"], content_type, now - self._begun)
        debugger.trace.put(record)
        return message

    async def _pass_on(self, message: Message) -> None:
        """A body message: first its time, then the message itself, then what is to be said of it."""
        debugger = self._debugger
        body = message.get("body", b"")
        now, wall = debugger.now_ns(), debugger.wall()
        number = gap = 0
        events: int | None = None
        between: bool | None = None
        if body:
            number, gap = self._count(now, len(body))
            if self._counter is not None:  # before it is sent: another task may send the next chunk meanwhile
                events = self._counter.feed(bytes(body))
                between = self._counter.between
                self._events += events
        try:
            await self._send(message)
        except OSError:
            self._leave()
            raise
        finally:
            if body:
                wait = self._last_wait = debugger.now_ns() - now
                self._waited += wait
                count = debugger.first_bytes
                first = bytes(body[:count]).decode("utf-8", "replace") if count else None
                record = Chunk(self._stream, number, now, wall, gap, wait, len(body), events, between, first)
                debugger.trace.put(record)
        if not message.get("more_body", False):
            self.end(None, complete=True)  # what the app does after its answer is not the stream's

    def _count(self, now: int, size: int) -> tuple[int, int]:
        """A chunk of *size* bytes begins; its number, and the gap before it."""
        gap = now - self._last
        self._chunks = number = self._chunks + 1
        self._size += size
        if number == 1:
            self._ttfb = gap
        else:
            if len(self._gaps) < _GAPS:
                self._gaps.append(gap)
            else:
                self._gaps[number % _GAPS] = gap
            if self._longest is None or gap > self._longest.ns:
                self._longest = Gap(gap, number, self._last - self._begun, min(self._last_wait, gap))
        self._last = now
        return number, gap

    def _leave(self) -> None:
        if not self._over and self._left is None:
            self._left = self._debugger.now_ns() - self._begun

    def end(self, error: BaseException | None, *, complete: bool = False) -> None:
        """It is over: the last message was sent, or the app has returned or raised. The first word counts."""
        if self._over or not self._watched:
            return
        self._over = True
        if self._left is not None:
            by = "client"
        elif error is not None:
            by = "error" if isinstance(error, Exception) else "cancelled"
        else:
            by = "app" if complete else "nobody"
        now = self._debugger.now_ns()
        record = End(
            stream=self._stream,
            ns=now,
            wall=self._debugger.wall(),
            method=self._scope["method"],
            path=self._scope["path"],
            status=self._status,
            ended_by=by,
            error=None if error is None else f"{type(error).__name__}: {error}",
            total_ns=now - self._begun,
            ttfb_ns=self._ttfb,
            chunks=self._chunks,
            size=self._size,
            events=None if self._counter is None else self._events,
            median_gap_ns=median_high(self._gaps) if self._gaps else None,
            longest_gap=self._longest,
            waited_ns=self._waited,
            left_ns=self._left,
        )
        self._debugger.trace.put(record)
