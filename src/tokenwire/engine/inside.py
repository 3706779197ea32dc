"""What a reader within this process is made of: it is a reader of its stream like any other, and nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire import dialects
from tokenwire.dialects.native.encode import NAME
from tokenwire.engine.ids import EventId
from tokenwire.engine.reader import Reader
from tokenwire.engine.view import View

if TYPE_CHECKING:
    from tokenwire.dialects.base import Frame
    from tokenwire.dialects.deltas import Terminal
    from tokenwire.engine.stream import Stream


class InsideView(View):
    """Where its reader is told that something came. A subclass says what that is (``push``, ``end``)."""

    __slots__ = ()

    folded = True  # for it, an answer that is not streamed is nothing special

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, dialects.get(NAME), ids=False)

    def reader(self) -> InsideReader:
        """The reader of this view, at the beginning."""
        return InsideReader(self.stream, self, _Nowhere(), EventId(self.stream.log.epoch, 0))

    def anew(self) -> View:
        self.stream.views.append(self)
        return self

    def drop(self, reader: Reader) -> None:
        super().drop(reader)
        if reader.over:  # a new list: it may be the stream's very end that goes through the old one
            self.stream.views = [view for view in self.stream.views if view is not self]

    def had(self, reader: Reader) -> int:
        return reader.cursor.seq

    def told(self) -> int:
        return self.stream.log.last_frame

    def tell(self, frame: Frame) -> None:
        """News for readers of a relay: there is none here."""


class InsideReader(Reader):
    """Never started: nothing is written, so nothing stalls and nobody needs a heartbeat."""

    __slots__ = ()

    def change_view(self, view: View) -> None:
        """Its view is its own, and stays."""


class _Nowhere:
    """A sink that nothing is written to: its user is told by the view."""

    unsent = 0

    def write(self, data: bytes, chunk: bytes | None = None) -> bool:
        return False

    def close(self, terminal: Terminal | None) -> None:
        """Its user knows by the view."""
