"""What `StreamDebugger` records of a response, and where it puts it: a file, a callable, or the log."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Final, Protocol, TypeAlias, cast

import msgspec

from tokenwire.errors import UnusableTrace

log = logging.getLogger("tokenwire.debug")

#: How long a record may wait before it is in the file, seconds.
FLUSH_SECONDS: Final = 1.0


class Begin(msgspec.Struct, frozen=True, gc=False, tag="begin", tag_field="kind"):
    """A response has begun: its head is on its way.

    Attributes:
        stream: names the response in the records that follow; unique among the processes that write to one file.
        ns: monotonic time, nanoseconds, as in all records.
        wall: seconds since 1970, as in all records.
        path: without the query, which may hold secrets.
        status, content_type: as the app sent them.
        head_ns: from the request's arrival to this head.
    """

    stream: str
    ns: int
    wall: float
    method: str
    path: str
    status: int
    content_type: str
    head_ns: int


class Chunk(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="chunk", tag_field="kind"):
    """One body message that is not empty. Written when `send` has taken or refused it; its time is that of the call.

    Attributes:
        n: from 1.
        gap_ns: since the chunk before it; of the first one, since the request's arrival.
        wait_ns: how long `send` kept the app waiting with this chunk. Much of it: the reader is slow.
        size: bytes.
        events: how many events end in this chunk; None where the type has none, or the body is compressed.
        between: it ends between two events, not within one; None likewise.
        first: its first bytes as text, if they were asked for.
    """

    stream: str
    n: int
    ns: int
    wall: float
    gap_ns: int
    wait_ns: int
    size: int
    events: int | None = None
    between: bool | None = None
    first: str | None = None


class Gap(msgspec.Struct, frozen=True, gc=False):
    """The time between two chunks.

    Attributes:
        ns: all of it.
        before: the number of the chunk that ended it.
        at_ns: when it began, since the request's arrival.
        waited_ns: the part of it in which `send` had not taken the chunk before: the reader's. The rest is the app's.
    """

    ns: int
    before: int
    at_ns: int
    waited_ns: int


class End(msgspec.Struct, frozen=True, gc=False, tag="end", tag_field="kind"):
    """The response is over.

    Attributes:
        ended_by: `app` (its last message was sent), `client` (it left before that), `error` (the app raised),
            `cancelled` (its task was), or `nobody` (the app returned in the middle of its answer).
        error: the exception, as `Type: message`.
        total_ns: from the request's arrival.
        ttfb_ns: from the request's arrival to the first chunk; None if there was none.
        chunks, size: how many, and their bytes. A client that left may not have got the last of them.
        events: None where they were not counted.
        median_gap_ns: of the last 65,536 gaps.
        longest_gap: among all but the wait for the first chunk.
        waited_ns: how long `send` kept the app waiting in all.
        left_ns: when the client was known to have left, since the request's arrival. What the app did between this
            and `total_ns`, nobody saw.
    """

    stream: str
    ns: int
    wall: float
    method: str
    path: str
    status: int | None
    ended_by: str
    error: str | None
    total_ns: int
    ttfb_ns: int | None
    chunks: int
    size: int
    events: int | None
    median_gap_ns: int | None
    longest_gap: Gap | None
    waited_ns: int
    left_ns: int | None


Record: TypeAlias = Begin | Chunk | End


class Trace(Protocol):
    """Where records go. Neither call blocks, and neither raises."""

    def put(self, record: Record) -> None: ...

    def close(self) -> None:
        """Write what waits. Blocks until that is done; records put later are written, too."""
        ...


class FileTrace:
    """One line of JSON a record, written by a thread of its own: a slow disk delays no token.

    Args:
        target: a path, to whose file is appended, or an open file, of text or of bytes, which is never closed.
        flush_seconds: a record waits no longer; the end of a stream is not waited with.
    """

    def __init__(self, target: str | os.PathLike[str] | IO[Any], flush_seconds: float = FLUSH_SECONDS) -> None:
        self._target = target
        self._seconds = flush_seconds
        self._lines: deque[bytes] = deque()
        self._now = threading.Event()
        self._asked = False
        self._broken = False
        self._executor: ThreadPoolExecutor | None = None

    def put(self, record: Record) -> None:
        if self._broken:
            return
        try:
            self._lines.append(msgspec.json.encode(record) + b"\n")
            if not self._asked:
                self._asked = True
                if self._executor is None:
                    self._executor = ThreadPoolExecutor(1, "tokenwire-trace")  # Python waits for it when it exits
                self._executor.submit(self._write_soon)  # not to be had any more once Python exits
        except Exception:
            self._give_up()
        if isinstance(record, End):
            self._now.set()

    def close(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            self._now.set()
            executor.shutdown()

    def _write_soon(self) -> None:
        self._now.wait(self._seconds)
        self._now.clear()
        self._asked = False  # before they are taken: what comes from here on asks again
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        try:
            if lines:  # else they were taken by the call before
                self._write(b"".join(lines))
        except Exception:
            self._give_up()

    def _give_up(self) -> None:
        self._broken = True
        log.exception("the trace cannot be written, and ends here")

    def _write(self, data: bytes) -> None:
        target = self._target
        if isinstance(target, (str, os.PathLike)):
            # Opened anew each time: so it may be rotated, and whole lines of several processes do not mix.
            with open(target, "ab", buffering=0) as file:
                file.write(data)
            return
        binary = isinstance(target, (io.RawIOBase, io.BufferedIOBase)) or "b" in str(getattr(target, "mode", ""))
        target.write(data if binary else data.decode())
        target.flush()


class CallTrace:
    """Gives each record to a callable, at once and in the event loop. One that raises is not called again."""

    def __init__(self, call: Callable[[Record], object]) -> None:
        self._call: Callable[[Record], object] | None = call

    def put(self, record: Record) -> None:
        if self._call is not None:
            try:
                self._call(record)
            except Exception:
                self._call = None
                log.exception("the trace's callable raised, and is not called again")

    def close(self) -> None:
        """Nothing waits."""


class LogTrace:
    """The logger `tokenwire.debug`: chunks at level DEBUG, the summary at INFO."""

    def put(self, record: Record) -> None:
        if isinstance(record, End):
            log.info("%s", summary(record))
        elif isinstance(record, Chunk) and log.isEnabledFor(logging.DEBUG):
            events = "" if record.events is None else f", {record.events} events"
            within = "" if record.between is not False else ", ends within an event"
            first = "" if record.first is None else f": {record.first!r}"
            log.debug(
                "%s chunk %d: gap %s, %d bytes%s%s, send waited %s%s",
                *(record.stream, record.n, ms(record.gap_ns), record.size, events, within, ms(record.wait_ns), first),
            )

    def close(self) -> None:
        """Nothing waits."""


def summary(end: End) -> str:
    """One line for people."""
    parts = [f"{end.chunks} chunks, {end.size} bytes in {ms(end.total_ns)}"]
    if end.ttfb_ns is not None:
        parts.append(f"first byte after {ms(end.ttfb_ns)}")
    if end.median_gap_ns is not None:
        parts.append(f"median gap {ms(end.median_gap_ns)}")
    if (gap := end.longest_gap) is not None:
        shares = f"app {ms(gap.ns - gap.waited_ns)}, reader {ms(gap.waited_ns)}"
        parts.append(f"longest gap {ms(gap.ns)} before chunk {gap.before} ({shares})")
    parts.append(f"send waited {ms(end.waited_ns)}")
    if end.left_ns is not None:
        parts.append(f"client left at {ms(end.left_ns)}")
    parts.append(f"ended by {end.ended_by}" + (f": {end.error}" if end.error else ""))
    status = "no answer" if end.status is None else end.status
    return f"{end.stream} {end.method} {end.path} {status}: " + "; ".join(parts)


def ms(ns: int) -> str:
    return f"{ns / 1e6:.1f} ms"


def trace_to(target: str | os.PathLike[str] | IO[Any] | Callable[[Record], object] | None) -> Trace:
    """The trace for *target*. Raises ``UnusableTrace`` if it is none."""
    if target is None:
        return LogTrace()
    if isinstance(target, (str, os.PathLike)):
        return FileTrace(target)
    if hasattr(target, "write"):
        return FileTrace(cast("IO[Any]", target))
    if callable(target):
        return CallTrace(target)
    raise UnusableTrace(type(target).__name__)
