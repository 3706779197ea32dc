"""Views: what a log looks like in one dialect, shared by all readers of that dialect.

``RawView`` is the dialect that the provider spoke: the log's own bytes. Any other is a ``folded.FoldedView``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tokenwire.dialects.base import Dialect, Frame, Mark
from tokenwire.engine.framing import encode
from tokenwire.engine.ids import EventId
from tokenwire.engine.sealed import Away
from tokenwire.errors import NotResumable
from tokenwire.wire.chunked import chunk as one_chunk

if TYPE_CHECKING:
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.stream import Stream

log = logging.getLogger(__name__)


class View:
    """One projection of one stream's log. Subclasses say what an entry looks like; delivery is the same for all."""

    __slots__ = ("dialect", "heartbeat", "ids", "live", "stream")

    #: Whether entries are decoded and encoded again.
    folded = False

    def __init__(self, stream: Stream, dialect: Dialect, *, ids: bool) -> None:
        self.stream = stream
        self.dialect = dialect
        self.ids = ids
        # With ids on, the comment ends in ONE newline: official SDKs dispatch an empty event on comment + blank line.
        self.heartbeat = b": hb\n" if ids else dialect.heartbeat
        self.live: list[Reader] = []

    def anew(self) -> View:
        """Where its readers go on when the stream's views are made anew: nothing has been delivered yet."""
        return self.stream.view(self.dialect, ids=self.ids)

    def join(self, reader: Reader) -> None:
        """*reader* stands at the end of the log and wants what comes."""
        self.live.append(reader)
        self.stream.reroute()

    def drop(self, reader: Reader) -> None:
        if reader in self.live:
            self.live.remove(reader)
            self.stream.reroute()

    def push(self, frames: Sequence[bytes], first_seq: int, chunk: bytes | None, marked: bool) -> None:
        """Deliver new entries to the live readers; *chunk* is a lone frame as the HTTP chunk it came in."""
        raise NotImplementedError

    def read(self, reader: Reader, limit: int) -> tuple[bytes, EventId, bool]:
        """What follows the reader's cursor: bytes (about *limit*), the cursor after them, and whether that is all."""
        raise NotImplementedError

    def renamed(self) -> None:
        """The stream's model is another than when this view was made. Nothing has been delivered yet."""

    def over_at(self, cursor: EventId) -> bool:
        """Whether nothing is left after *cursor* in this projection."""
        raise NotImplementedError

    def had(self, reader: Reader) -> int:
        """The newest entry that *reader* will not need again, nor any before it."""
        return self.stream.log.last if reader.live else reader.cursor.seq

    def told(self) -> int:
        """The newest entry that gave the live readers something; 0 for none."""
        raise NotImplementedError

    def position(self, event_id: EventId) -> EventId:
        """*event_id* as a cursor of this view. Raises ``NotResumable`` (409) if continuity cannot be proven."""
        held = self.stream.log
        # Frames of the entry after seq were delivered: then there is one.
        if not held.continues(event_id.epoch, event_id.seq + (event_id.frames > 0)):
            raise NotResumable(409, "discontinuous", f"event {event_id} is not of this stream's log as it is now")
        if event_id.seq < held.first - 1:
            raise self.stream.trimmed()
        return event_id

    def earliest(self) -> EventId:
        """The cursor from which the most can be read. Raises ``NotResumable`` (410) if there is none."""
        held = self.stream.log
        return EventId(held.epoch, held.first - 1)

    def deliver(self, data: bytes, chunk: bytes | None, last_seq: int) -> None:
        """Write to every live reader; whoever cannot take more falls out and pulls from then on."""
        if chunk is None and len(self.live) > 1:
            chunk = one_chunk(data)  # once for all
        full: list[Reader] | None = None
        broken: list[Reader] | None = None
        for reader in self.live:
            try:
                if not reader.write(data, chunk):
                    full = full or []
                    full.append(reader)
            except Exception:  # one bad sink must not touch the stream's other readers
                log.exception("a sink failed; its reader is detached")
                broken = broken or []
                broken.append(reader)
        if full is not None:
            for reader in full:
                self.drop(reader)
                reader.stalled(EventId(self.stream.log.epoch, last_seq))
        if broken is not None:
            for reader in broken:
                reader.broke()

    def tell(self, frame: Frame) -> None:
        """News beside the log, for the live readers. It has the newest entry's id: whoever resumes after it resumes
        after that."""
        if self.live:
            held = self.stream.log
            data = encode([frame], self.dialect, EventId(held.epoch, held.last) if self.ids else None)
            self.deliver(data, None, held.last)

    def end(self) -> None:
        """The log is over: live readers get its ending and are closed."""
        if not self.live:
            return
        try:
            data = self.ending()
        except Away:  # it follows on what is in the store only: each reader waits for that by itself
            held = self.stream.log
            for reader in list(self.live):
                reader.fall_behind(EventId(held.epoch, held.last_frame))
            return
        for reader in list(self.live):
            reader.end(data)

    def ending(self) -> bytes:
        """The terminal entry in this projection, for readers that have everything before it. Raises ``Away``."""
        raise NotImplementedError


class RawView(View):
    """The provider's own bytes, with or without ids; usage chunks that only we asked for can be hidden."""

    __slots__ = ("hide",)

    def __init__(self, stream: Stream, dialect: Dialect, *, ids: bool, hide_usage: bool) -> None:
        super().__init__(stream, dialect, ids=ids)
        self.hide = Mark.SWALLOWED | Mark.USAGE_ONLY if hide_usage else Mark.SWALLOWED

    def push(self, frames: Sequence[bytes], first_seq: int, chunk: bytes | None, marked: bool) -> None:
        if not self.live:
            return
        last_seq = first_seq + len(frames) - 1
        if marked or self.ids:
            data = self._render(frames, first_seq)
            chunk = None
        else:
            data = frames[0] if len(frames) == 1 else b"".join(frames)
        if data:
            self.deliver(data, chunk, last_seq)
        done = self.stream.log.done_seq
        if marked and done is not None and done <= last_seq:
            for reader in list(self.live):  # nothing after the end marker is relayed: this projection is over
                reader.finish()

    def read(self, reader: Reader, limit: int) -> tuple[bytes, EventId, bool]:
        held = self.stream.log
        seq = reader.cursor.seq
        parts: list[bytes] = []
        size = 0
        last = held.last_frame if held.done_seq is None else held.done_seq
        while size < limit and seq < last:
            try:
                frames = held.after(seq, min(last - seq, 1 + (limit - size) // 256))
            except Away:
                if size:  # that much can be given
                    return b"".join(parts), EventId(held.epoch, seq), False
                raise
            for frame in frames:
                data = self._render((frame,), seq + 1)
                parts.append(data)
                size += len(data)
                seq += 1
                if size >= limit:
                    break
        over = seq >= last and (held.terminal is not None or held.done_seq is not None)
        if over and held.done_seq is None and seq < held.last:  # after the end marker nothing is relayed
            parts.append(self._terminal(reader.cursor.frames))
            seq = held.last
        return b"".join(parts), EventId(held.epoch, seq), over

    def told(self) -> int:
        held = self.stream.log
        seq = held.last_frame
        while held.notable.get(seq, Mark.PLAIN) & self.hide:
            seq -= 1
        return seq

    def ending(self) -> bytes:
        return self._terminal()

    def over_at(self, cursor: EventId) -> bool:
        held = self.stream.log
        if held.done_seq is not None:
            return cursor.seq >= held.done_seq
        if held.terminal is None:
            return False
        rest = range(cursor.seq + 1, held.last_frame + 1)
        hidden = all(held.notable.get(seq, Mark.PLAIN) & self.hide for seq in rest)
        return hidden and (cursor.seq >= held.last or not self._end())

    def position(self, event_id: EventId) -> EventId:
        if event_id.frames:  # an entry is one frame here, but for the end, where that is in our words
            at_end = event_id.seq == self.stream.log.last_frame
            if not at_end or event_id.frames >= len(self._end()):
                raise NotResumable(
                    409, "discontinuous", f"{event_id} was given in another dialect than {self.dialect.name}"
                )
        return super().position(event_id)

    def _render(self, frames: Sequence[bytes], seq: int) -> bytes:
        notable = self.stream.log.notable
        done = self.stream.log.done_seq
        epoch = self.stream.log.epoch
        parts: list[bytes] = []
        for frame in frames:
            if notable.get(seq, Mark.PLAIN) & self.hide or (done is not None and seq > done):
                pass
            elif not self.ids:
                parts.append(frame)
            elif frame[-2:] == b"\n\n":
                parts.append(b"%bid: %d-%d\n\n" % (frame[:-1], epoch, seq))
            else:  # CRLF or CR framing: the id line goes directly before the blank line
                blank = 2 if frame.endswith(b"\r\n") else 1
                parts.append(b"%bid: %d-%d\n%b" % (frame[:-blank], epoch, seq, frame[-blank:]))
            seq += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def last_frames(self) -> list[Frame]:
        """The dialect's own words for an end that was not clean; none if the provider's error already said it. Raises
        ``Away`` where they follow on an entry that is in the store only."""
        held = self.stream.log
        frames = self._end()
        follow = self.dialect.follow
        if follow is None or not frames or not held.last_frame:
            return frames
        return follow(frames, self._first(), self._newest())

    def _end(self) -> list[Frame]:
        """``last_frames``, whatever came before."""
        held = self.stream.log
        terminal = held.terminal
        if terminal is None or terminal.state == "completed":
            return []
        if any(mark & Mark.ERROR and not mark & Mark.SWALLOWED for mark in held.notable.values()):
            return []
        return self.stream.encoder(self.dialect).close(terminal)

    def shows(self, seq: int) -> bool:
        """Whether readers are given entry *seq*, a frame."""
        held = self.stream.log
        return not held.notable.get(seq, Mark.PLAIN) & self.hide and (held.done_seq is None or seq <= held.done_seq)

    def _first(self) -> bytes:
        """The first frame that was sent; b"" where nobody has it any more. Raises ``Away``."""
        held = self.stream.log
        try:
            return held.frame(1) if held.first == 1 else b""
        except Away:
            if self.stream.hub.archive is None:
                return b""
            raise

    def _newest(self) -> Iterator[bytes]:
        held = self.stream.log
        return (held.frame(seq) for seq in range(held.last_frame, held.first - 1, -1) if self.shows(seq))

    def _terminal(self, skip: int = 0) -> bytes:
        """``last_frames`` as bytes, less the first *skip*."""
        held = self.stream.log
        frames = self.last_frames()
        return encode(frames[skip:], self.dialect, EventId(held.epoch, held.last) if self.ids else None, skip)
