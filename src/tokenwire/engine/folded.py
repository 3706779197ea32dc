"""A log in another dialect than it was written in: entries decoded and encoded again, once for all live readers.

A reader that is behind folds privately from the nearest checkpoint, so that no resume decodes a whole log. One who is
far behind is told runs of text at once, where the dialect is not a vendor's (``engine.merging``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokenwire.dialects.base import Decoder, Dialect, Encoder, Frame, feed_run
from tokenwire.engine.framing import encode
from tokenwire.engine.ids import EventId
from tokenwire.engine.merging import BEHIND, STEP, Page
from tokenwire.engine.runs import Reading
from tokenwire.engine.sealed import Away
from tokenwire.engine.view import View
from tokenwire.errors import NotResumable

if TYPE_CHECKING:
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.stream import Stream

#: Entries between two checkpoints of a fold. A resume decodes at most this many before it goes on.
CHECKPOINT = 256


class Fold(Reading):
    """Decoder and encoder at one position of a log: entry by entry, to frames of *dialect*."""

    __slots__ = ("_dialect", "_stream", "encoder", "ids")

    def __init__(
        self, stream: Stream, dialect: Dialect, decoder: Decoder, encoder: Encoder, ids: bool, seq: int = 0
    ) -> None:
        super().__init__(decoder, seq)
        self._stream = stream
        self._dialect = dialect
        self.encoder = encoder
        self.ids = ids

    @classmethod
    def at_start(cls, stream: Stream, dialect: Dialect, ids: bool) -> Fold:
        return cls(stream, dialect, stream.decoder(), stream.encoder(dialect), ids)

    def copy(self) -> Fold:
        twin = Fold(self._stream, self._dialect, self.decoder.copy(), self.encoder.copy(), self.ids, self.seq)
        twin.holes = self.holes  # what was found out of envelopes holds for the whole stream
        return twin

    def next_frames(self) -> int:
        """How many frames the next entry gives. This fold is of no use afterwards."""
        held = self._stream.log
        if self.seq < held.last_frame:
            return len(self.frames(held.after(self.seq, 1)[0]))
        return len(self.last_frames()) if held.terminal is not None else 0

    def feed(self, frame: bytes, skip: int = 0) -> bytes:
        """Fold the next entry; its bytes, less its first *skip* frames."""
        return self._encoded(self.frames(frame), skip)

    def close(self, skip: int = 0) -> bytes:
        """The terminal entry's frames, less the first *skip* of them."""
        return self._encoded(self.last_frames(), skip)

    def pass_over(self, upto: int) -> None:
        """Fold through entry *upto*, for a reader who has all of it: runs of text at once."""
        for run in self.runs(self._stream, upto):
            if run.said is not None:
                feed_run(self.encoder, run.said, run.size)
            else:
                for delta in run.deltas:
                    self.encoder.feed(delta)

    def merged(self, upto: int, limit: int) -> bytes:
        """Fold through entry *upto*, or about *limit* bytes: deltas of one text that follow one another as one frame,
        which has the id of the last."""
        page = Page(self._dialect, self.encoder, self._stream.log.epoch if self.ids else None)
        for run in self.runs(self._stream, upto, STEP):
            page.add(run, self.seq)
            if page.size >= limit:
                break
        return page.done()

    def _encoded(self, frames: list[Frame], skip: int) -> bytes:
        event_id = EventId(self._stream.log.epoch, self.seq) if self.ids else None
        return encode(frames[skip:], self._dialect, event_id, skip)

    def frames(self, frame: bytes) -> list[Frame]:
        """Fold the next entry; what it becomes."""
        deltas = self.decode(self._stream, frame)
        if len(deltas) == 1:  # nearly always, and one that gives one frame
            return self.encoder.feed(deltas[0])
        return [out for delta in deltas for out in self.encoder.feed(delta)]

    def last_frames(self) -> list[Frame]:
        """Fold the terminal entry; what it becomes."""
        held = self._stream.log
        terminal = self._stream.settled
        assert terminal is not None
        frames: list[Frame] = []
        if terminal.state == "completed" and not held.attempts[-1].unary:
            frames = [out for delta in self.decoder.close() for out in self.encoder.feed(delta)]
        frames += self.encoder.close(terminal)
        self.seq += 1
        return frames


class FoldedView(View):
    """The log in another dialect than it was written in."""

    __slots__ = ("_checkpoints", "_shared", "_told")

    folded = True

    def __init__(self, stream: Stream, dialect: Dialect, *, ids: bool) -> None:
        super().__init__(stream, dialect, ids=ids)
        self._shared: Fold | None = None
        self._checkpoints = [Fold.at_start(stream, dialect, ids)]
        self._told = 0

    def renamed(self) -> None:
        self._checkpoints = [Fold.at_start(self.stream, self.dialect, self.ids)]
        if self._shared is not None:
            self._shared = self._checkpoints[0].copy()
        for reader in self.stream.readers:
            if reader.view is self:
                reader.fold = None

    def join(self, reader: Reader) -> None:
        fold = reader.fold
        assert fold is not None
        if self._shared is None or self._shared.seq < fold.seq:
            self._shared = fold
        reader.fold = None
        super().join(reader)

    def push(self, frames: Sequence[bytes], first_seq: int, chunk: bytes | None, marked: bool) -> None:
        fold = self._shared
        if not self.live or fold is None:
            self._shared = None  # nobody stands at the end: whoever arrives there next brings a fold
            return
        data = b"".join([self._step(fold, frame) for frame in frames])
        if data:
            self._told = first_seq + len(frames) - 1
            self.deliver(data, None, self._told)

    def read(self, reader: Reader, limit: int) -> tuple[bytes, EventId, bool]:
        held = self.stream.log
        cursor = reader.cursor
        fold = reader.fold
        if fold is None or fold.seq != cursor.seq:
            fold = reader.fold = self._fold_at(cursor.seq)
        parts: list[bytes] = []
        size = 0
        skip = cursor.frames
        merges = self.dialect.merges and held.last_frame - fold.seq >= BEHIND
        while size < limit and fold.seq < held.last_frame:
            given = fold.seq
            try:
                if merges and not skip:
                    data = fold.merged(self._next_checkpoint(fold), limit - size)
                    self._pass(fold)
                    parts.append(data)
                    size += len(data)
                    continue
                frames = held.after(fold.seq, 1 if merges else 64)
            except Away:
                if size:  # that much can be given; the fold, which may be further, is made anew
                    return b"".join(parts), EventId(held.epoch, given), False
                raise
            for frame in frames:
                data = self._step(fold, frame, skip)
                skip = 0
                parts.append(data)
                size += len(data)
                if size >= limit:
                    break
        over = held.terminal is not None and fold.seq == held.last_frame
        if over and cursor.seq < held.last:
            parts.append(fold.close(skip))
        return b"".join(parts), EventId(held.epoch, max(fold.seq, cursor.seq)), over

    def told(self) -> int:
        return self._told

    def ending(self) -> bytes:
        assert self._shared is not None  # live readers stand on it
        return self._shared.close()

    def over_at(self, cursor: EventId) -> bool:
        held = self.stream.log
        return held.terminal is not None and cursor.seq >= held.last

    def had(self, reader: Reader) -> int:
        return self._checkpoint(super().had(reader)).seq

    def position(self, event_id: EventId) -> EventId:
        held = self.stream.log
        seq = super().position(event_id).seq
        if held.first > 1 and not any(held.first - 1 <= point.seq <= seq for point in self._checkpoints):
            raise self.stream.trimmed()  # the entries are there, but not the state in which to fold them
        if event_id.frames and event_id.frames >= self._fold_at(seq).next_frames():
            raise NotResumable(
                409, "discontinuous", f"entry {seq + 1} has no frame {event_id.frames} in {self.dialect.name}"
            )
        return event_id

    def earliest(self) -> EventId:
        held = self.stream.log
        seq = next((point.seq for point in self._checkpoints if point.seq >= held.first - 1), None)
        if seq is None:
            raise self.stream.trimmed()
        return EventId(held.epoch, seq)

    def _step(self, fold: Fold, frame: bytes, skip: int = 0) -> bytes:
        data = fold.feed(frame, skip)
        if fold.seq % CHECKPOINT == 0:
            self._pass(fold)
        return data

    def _pass(self, fold: Fold) -> None:
        """*fold* has moved on, at most to the next place of a checkpoint."""
        if fold.seq % CHECKPOINT == 0 and fold.seq > self._checkpoints[-1].seq:
            self._checkpoints.append(fold.copy())

    def _next_checkpoint(self, fold: Fold) -> int:
        """How far *fold* may move at once: no place of a checkpoint is passed without making it."""
        return min(self.stream.log.last_frame, fold.seq - fold.seq % CHECKPOINT + CHECKPOINT)

    def _fold_at(self, seq: int) -> Fold:
        """A private fold after entry *seq*, from the nearest checkpoint before it."""
        fold = self._checkpoint(seq).copy()
        upto = min(seq, self.stream.log.last_frame)
        while fold.seq < upto:
            fold.pass_over(min(upto, self._next_checkpoint(fold)))
            self._pass(fold)
        return fold

    def _checkpoint(self, seq: int) -> Fold:
        """The newest checkpoint at or before entry *seq*: from there a fold can be had again."""
        return self._checkpoints[min(seq // CHECKPOINT, len(self._checkpoints) - 1)]
