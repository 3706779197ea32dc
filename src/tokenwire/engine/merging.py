"""Runs of text as one frame, for readers who are behind.

Who reads as it comes sees every delta when it comes. Who is behind gets what has gathered, and need not be told that it
came in pieces: consecutive deltas of one text (of one kind, choice and block) become one frame. Its id is that of the
last of them, so the ids are the log's, and a reader who was told the pieces may go on from the midst of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from tokenwire.dialects.base import feed_run
from tokenwire.dialects.deltas import ToolCallDelta
from tokenwire.engine.framing import encode
from tokenwire.engine.ids import EventId
from tokenwire.engine.runs import SAID

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect, Encoder
    from tokenwire.dialects.deltas import Delta
    from tokenwire.engine.runs import Run, Said

#: Entries that a reader must be behind: at 50 tokens/s more than a second, and as many as are packed at a time. Who is
#: nearer gets every frame: there is next to nothing to be saved, and text that has just come keeps its pieces.
BEHIND: Final = 64
#: Characters of a run, at most: a quarter of a page's bytes, as they may take four each.
MOST: Final = 16 * 1024
#: Bytes that are added to a page at a time, so that it is not much more than one.
STEP: Final = 4096


class Page:
    """What one pull of one reader gets: runs in, bytes out.

    Args:
        epoch: of the ids; None: without ids.

    Attributes:
        size: bytes so far, and characters that wait to become some.
    """

    __slots__ = ("_count", "_dialect", "_encoder", "_epoch", "_first", "_last", "_parts", "_said", "_texts", "size")

    def __init__(self, dialect: Dialect, encoder: Encoder, epoch: int | None) -> None:
        self._dialect = dialect
        self._encoder = encoder
        self._epoch = epoch
        self._parts: list[bytes] = []
        self._said: Said | None = None  # the newest run's first delta; what it has said is in _texts
        self._texts: list[str] = []
        self._count = 0  # deltas that it joins
        self._first = 0  # the entry in which it begins
        self._last = 0
        self.size = 0

    def add(self, run: Run, seq: int) -> None:
        """Entries up to *seq*."""
        deltas = run.deltas
        if not deltas:
            return  # they move nothing
        delta = deltas[0]
        text = _text(delta)
        if len(deltas) > 1 or not text:
            self._flush()
            frames = [frame for each in deltas for frame in self._encoder.feed(each)]
            self._write(encode(frames, self._dialect, self._id(seq)))
            return
        assert isinstance(delta, SAID)
        if not self._goes_on(delta, len(text)):
            self._flush()
            self._said = delta
            self._first = seq - run.size + 1
        self._texts.append(text)
        self._count += run.size
        self._last = seq
        self.size += len(text)

    def done(self) -> bytes:
        """All of it."""
        self._flush()
        return b"".join(self._parts)

    def _goes_on(self, delta: Said, length: int) -> bool:
        said = self._said
        if said is None or type(said) is not type(delta) or said.block != delta.block or said.choice != delta.choice:
            return False
        return sum(map(len, self._texts)) + length <= MOST

    def _flush(self) -> None:
        said = self._said
        if said is None:
            return
        text = "".join(self._texts)
        self.size -= len(text)
        joined = structs.replace(said, **{"json" if isinstance(said, ToolCallDelta) else "text": text})
        frames = feed_run(self._encoder, joined, self._count)
        # What begins a part of text stands before it: as if the first entry had given it, which it would have.
        self._write(encode(frames, self._dialect, self._id(self._last), 0, self._last - self._first + 1))
        self._said = None
        self._texts = []
        self._count = 0

    def _write(self, data: bytes) -> None:
        self._parts.append(data)
        self.size += len(data)

    def _id(self, seq: int) -> EventId | None:
        return None if self._epoch is None else EventId(self._epoch, seq)


def _text(delta: Delta) -> str:
    """The text of a delta that may be joined with others; "" of any other."""
    if isinstance(delta, ToolCallDelta):
        return delta.json
    return delta.text if isinstance(delta, SAID) else ""
