"""The two ends of a stream as fakes: where its bytes come from, and where a reader's bytes go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenwire.wire.chunked import chunk as one_chunk
from tokenwire.wire.chunked import contents

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Terminal


class ScriptedSink:
    """``tokenwire.engine.reader.Sink``: remembers what it was given, is full when told so, and holds its caller to
    the contract.

    Args:
        high_water: bytes that it holds before it says that it is full; they leave it by ``drain`` only. 0: it takes
            one write at a time. None: its client reads at once, and it never is full.
        express: whether it offers an outlet for HTTP/1.1 chunks (``tokenwire.engine.lane``).

    Attributes:
        expressed: how many of the writes came through the outlet.
        writes: each piece of data in the order of writing; ``data`` is all of it.
        chunks: beside each of them, the HTTP/1.1 chunk that came with it, or None.
        closed: whether ``close`` was called; ``terminal`` is what it was given.
        raises: an exception that the next ``write`` raises, and every one after it.
        raises_on_close: the same for ``close``.
        breaches: every breach of the sink's contract by its caller, in words: a test should end with none.
    """

    def __init__(self, high_water: int | None = None, *, express: bool = False) -> None:
        self.high_water = high_water
        self.outlet = _ScriptedOutlet(self) if express else None
        self.expressed = 0
        self.writes: list[bytes] = []
        self.chunks: list[bytes | None] = []
        self.closed = False
        self.terminal: Terminal | None = None
        self.raises: Exception | None = None
        self.raises_on_close: Exception | None = None
        self.breaches: list[str] = []
        self._held = 0

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        if self.raises is not None:
            raise self.raises
        if self.closed:
            self.breaches.append(f"written to after close: {data[:60]!r}")
        if self.full:
            self.breaches.append(f"written to while full: {data[:60]!r}")
        if not data:
            self.breaches.append("an empty write")
        if chunk is not None and chunk != b"%x\r\n%b\r\n" % (len(data), data):
            self.breaches.append(f"the chunk is not that of the data: {chunk[:60]!r}")
        self.writes.append(data)
        self.chunks.append(chunk)
        if self.high_water is not None:
            self._held += len(data)
        return not self.full

    def close(self, terminal: Terminal | None) -> None:
        if self.closed:
            self.breaches.append("closed twice")
        self.closed = True
        self.terminal = terminal
        if self.raises_on_close is not None:
            raise self.raises_on_close

    @property
    def unsent(self) -> int:
        """Bytes written and not drained."""
        return self._held

    @property
    def full(self) -> bool:
        return self.high_water is not None and self._held > 0 and self._held >= self.high_water

    @property
    def data(self) -> bytes:
        """Everything written."""
        return b"".join(self.writes)

    def drain(self, size: int | None = None) -> bool:
        """Its client reads *size* of the held bytes, or all of them. Returns whether it can take more now; then
        calling ``Reader.resume`` is up to the test."""
        self._held = 0 if size is None else max(0, self._held - size)
        return not self.full

    def take(self) -> bytes:
        """Everything written since the last ``take``. ``data`` begins anew."""
        data = self.data
        self.writes.clear()
        self.chunks.clear()
        return data


class _ScriptedOutlet:
    """``tokenwire.engine.lane.Outlet``: what is written to it is the sink's."""

    def __init__(self, sink: ScriptedSink) -> None:
        self._sink = sink

    @property
    def writable(self) -> bool:
        return not self._sink.full

    def queued(self) -> int:
        return self._sink.unsent

    def send(self, chunk: bytes) -> int:
        """Takes what is written while nothing is held; all of it, unless it makes the sink hold something."""
        if self._sink.high_water is not None:
            raise BlockingIOError
        self.write(chunk)
        return len(chunk)

    def write(self, chunk: bytes) -> None:
        """One chunk, or several."""
        data = contents(chunk) or b""
        self._sink.write(data, chunk if chunk == one_chunk(data) else None)
        self._sink.expressed += 1


class ScriptedSource:
    """``tokenwire.engine.stream.Source``: remembers what it was told.

    Attributes:
        calls: ``abort``, ``pause`` and ``resume`` in the order in which they came.
        on_resume: called within ``resume``, as an upstream that has something at hand would go on at once.
    """

    def __init__(self, on_resume: Callable[[], None] | None = None) -> None:
        self.calls: list[str] = []
        self.on_resume = on_resume

    def abort(self) -> None:
        self.calls.append("abort")

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")
        if self.on_resume is not None:
            self.on_resume()

    @property
    def aborted(self) -> bool:
        return "abort" in self.calls

    @property
    def paused(self) -> bool:
        """Whether its reading is paused now."""
        return self.calls.count("pause") > self.calls.count("resume")
