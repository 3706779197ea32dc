"""The provider's body bytes on their way into a log: one attempt's cutter and the stream that it feeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.dialects.deltas import Failed
from tokenwire.engine.lane import Offer
from tokenwire.errors import EventTooLarge
from tokenwire.wire.frames import MAX_FRAME, Cutter
from tokenwire.wire.lines import LineCutter

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.engine.lane import Envelope, Outlet, Peek
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.stream import Stream


class Ingest:
    """Feeds one streaming answer. ``body`` is the hot path and is called once per network read."""

    __slots__ = ("_cut", "_cutter", "_express", "_now_ns", "_stream")

    def __init__(
        self, stream: Stream, limit: int = MAX_FRAME, express: Callable[[Offer | None], None] | None = None
    ) -> None:
        """*express*: told which lane is on offer from now on, for a source that reads HTTP/1.1 chunks."""
        self._stream = stream
        self._express = express
        stream.ingest = self
        self._cutter = Cutter(limit) if stream.dialect.framing == "sse" else LineCutter(limit)
        # Bound once: they are called per token.
        self._cut = self._cutter.feed
        self._now_ns = stream.clock.now_ns

    def route(self, lane: tuple[Peek, Reader, Outlet, Envelope | None] | None) -> None:
        """The constellation changed: an express lane for it, or none."""
        if self._express is not None:
            cutter = self._cutter
            self._express(Offer(self._stream, cutter, *lane) if lane and isinstance(cutter, Cutter) else None)

    def body(self, data: bytes, chunk: bytes | None = None) -> None:
        """Body bytes as they came; *chunk*: the same bytes as the one HTTP/1.1 chunk that carried them, if so."""
        try:
            frames = self._cut(data)
        except EventTooLarge as error:
            self._stream.fail(Failed(code="event_too_large", message=str(error)))
            return
        if frames:
            self._stream.append(frames, self._now_ns(), chunk if frames[0] is data else None)

    def end(self) -> None:
        """The body ended where HTTP says it may."""
        try:
            frames = self._cutter.close()
        except EventTooLarge as error:
            self._stream.fail(Failed(code="event_too_large", message=str(error)))
            return
        if frames:
            self._stream.append(frames, self._now_ns())
        if self._stream.ingest is self:  # else the stream is over, or these frames were taken back
            self._stream.finish()

    def lost(self, message: str) -> None:
        """The body was cut. What came whole stays; an answer whose end marker came before the cut is complete."""
        if self._stream.log.done_seq is not None:
            self._stream.finish()
        else:
            self._stream.attempt_failed(Failed(code="upstream_closed", message=message, retryable=True))
