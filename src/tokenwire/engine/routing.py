"""Whether a stream's tokens may take the express lane (``engine.lane``) now, and in which envelope.

Asked again whenever the answer may have changed: a reader joins the live ones or leaves them, generation begins or
ends, the frames come in another envelope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenwire.engine.ingest import Ingest
    from tokenwire.engine.lane import Envelope, Outlet, Peek
    from tokenwire.engine.log import Log
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.stream import Stream


class Routing:
    """One per stream: what its source was last told. As in ``engine.leaving``, the stream is an argument, never kept.

    Attributes:
        early: a lane would do, but its envelope is not known yet.
    """

    __slots__ = ("_envelope", "_express", "early")

    def __init__(self) -> None:
        self.early = False
        self._express = False
        self._envelope: Envelope | None = None

    def decide(self, stream: Stream, ingest: Ingest) -> None:
        """See whether the lane serves the present constellation, and tell *ingest* if it does, or no longer does."""
        lane = self._lane(stream)
        if lane is not None or self._express:
            self._express = lane is not None
            ingest.route(lane)

    def outdated(self, held: Log) -> bool:
        """Whether there is a lane, and the newest frames of *held* are no longer in its envelope."""
        return self._express and held.envelope() != self._envelope

    def _lane(self, stream: Stream) -> tuple[Peek, Reader, Outlet, Envelope | None] | None:
        self.early = False
        held, peek = stream.log, stream.dialect.peek
        live = [reader for view in stream.views for reader in view.live]
        if len(live) != 1 or held.terminal is not None or peek is None or stream.dialect.framing != "sse":
            return None
        reader = live[0]
        if stream.generated_ns is None or reader.view.folded:
            return None
        outlet: Outlet | None = getattr(reader.sink, "outlet", None)  # an optional power of a sink
        if outlet is None:
            return None
        self._envelope = held.envelope()
        self.early = held.curious
        return None if self.early else (peek, reader, outlet, self._envelope)
