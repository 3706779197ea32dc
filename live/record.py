"""One request to a provider over our own upstream client: every byte of the answer's body, and when it came."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tokenwire.dialects.deltas import GENERATED
from tokenwire.engine.framing import parse
from tokenwire.wire.frames import Cutter
from tokenwire.wire.lines import LineCutter

if TYPE_CHECKING:
    from live.ways import Way
    from tokenwire.dialects.base import Dialect
    from tokenwire.dialects.deltas import Delta
    from tokenwire.errors import RemoteProtocolError
    from tokenwire.upstream.pool import Pool

CONNECT_SECONDS = 10.0
#: The whole of one case; reasoning models may think for a minute.
CASE_SECONDS = 180.0


class Read(NamedTuple):
    """Body bytes that came at once. *ms*: since the request was sent."""

    ms: float
    data: bytes


@dataclass
class Recording:
    """An answer as it came.

    Attributes:
        status: 0 if there was no answer.
        how: ``complete``, ``cancelled`` (by us), ``timeout``, or why the connection broke.
        first_ms: when the first generated event had come; None if none did.
    """

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    how: str = "timeout"
    first_ms: float | None = None

    @property
    def body(self) -> bytes:
        return b"".join(read.data for read in self.reads)


class _Recorder:
    """``upstream.connection.Exchange``. *stop_after* generated events it has enough."""

    def __init__(self, dialect: Dialect, stop_after: int | None) -> None:
        self.recording = Recording()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sent = time.monotonic()
        self._dialect = dialect
        self._cutter = LineCutter() if dialect.framing == "ndjson" else Cutter()
        self._decoder = dialect.decoder()
        self._stop_after = stop_after
        self._generated = 0

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.recording.status = status
        self.recording.headers = list(headers)

    def on_body(self, data: bytes, chunk: bytes | None) -> None:
        ms = (time.monotonic() - self._sent) * 1000
        self.recording.reads.append(Read(ms, bytes(data)))
        if self.recording.status != 200:
            return
        events = [event for frame in self._cutter.feed(data) for event in parse(frame, self._dialect)]
        deltas: list[Delta] = [delta for event in events for delta in self._decoder.feed(event)]
        self._generated += sum(isinstance(delta, GENERATED) for delta in deltas)
        if self._generated and self.recording.first_ms is None:
            self.recording.first_ms = ms
        if self._stop_after is not None and self._generated >= self._stop_after:
            self._end("cancelled")

    def on_end(self) -> None:
        self._end("complete")

    def on_lost(self, error: RemoteProtocolError, *, answered: bool) -> None:
        self._end(str(error))

    def _end(self, how: str) -> None:
        if not self.over.done():
            self.recording.how = how
            self.over.set_result(None)


async def record(
    pool: Pool, way: Way, model: str, body: bytes, *, stop_after: int | None, seconds: float = CASE_SECONDS
) -> Recording:
    """Ask a provider for *model*, and keep what comes until the end, *stop_after* generated events, or *seconds*.

    Raises ``ConnectFailed``. Cancelling closes the connection.
    """
    connection = await pool.connect(way.provider.origin, CONNECT_SECONDS)
    recorder = _Recorder(way.dialect, stop_after)
    try:
        connection.send(recorder, way.request(model, body).encode(), pacing=False)
        async with asyncio.timeout(seconds):
            await recorder.over
    except TimeoutError:
        pass  # the recording says so itself
    finally:
        if recorder.recording.how != "complete":
            connection.abort()
    return recorder.recording
