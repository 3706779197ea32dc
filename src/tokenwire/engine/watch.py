"""What a stream must know of its answer while it comes: when it really began, whether it failed, how it ended.

Nearly every frame is plain text, tells nothing of that and is not decoded. The others are (a handful per stream), and
until the first generated event all are: that moment is TTFT, and opens held responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenwire.dialects.base import Mark
from tokenwire.dialects.deltas import GENERATED, Failed, Finished, ToolCallDelta, ToolCallEnded, Usage
from tokenwire.dialects.transcript import Choice, Transcript
from tokenwire.engine.framing import parse
from tokenwire.engine.runs import Reading
from tokenwire.engine.sealed import Away

if TYPE_CHECKING:
    from tokenwire.dialects.base import Decoder, Dialect
    from tokenwire.dialects.deltas import Delta
    from tokenwire.engine.log import Log
    from tokenwire.engine.record import Record

#: Text that is read in one step of ``pass_by``: that of about a packed run.
STEP_BYTES: Final = 1024


class Seen(NamedTuple):
    """Frames that count, whether one of them was marked in the log, and the failure that one told."""

    frames: Sequence[bytes]
    marked: bool
    failed: Failed | None


class Watch:
    """One per stream, from its beginning to its terminal.

    Attributes:
        generated: whether a generated event (text, reasoning, tool arguments) has come.
        passed: the newest entry that memory need not keep for the verdict (``pass_by``).
    """

    __slots__ = ("_decoder", "_dialect", "_fold", "_look", "_opening", "_past", "_peek", "_scan", "generated", "passed")

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._scan = dialect.scan
        self._peek = dialect.peek
        self._opening = dialect.opening
        self._look = dialect.look
        self._decoder: Decoder = dialect.decoder()  # sees the opening and the notable entries, nothing else
        self._past: Reading | None = None  # has read what memory has let go of
        self._fold = Transcript()  # what these say: finish, usage, failure
        self.generated = False
        self.passed = 0

    def see(self, frames: Sequence[bytes], held: Log, first: int, *, begun: bool) -> Seen:
        """Look at frames that will be entry *first* of *held* and those after it; *begun*: what is plain need not be
        decoded.

        A failure ends the answer. What the same read brought after it, an end marker that would hide the failure for
        instance, is dropped like what a later read would have brought.
        """
        marked = False
        failed: Failed | None = None
        for seq, frame in enumerate(frames, first):
            if begun and self._plain(frame):
                continue
            mark, deltas = self._look(frame, self._decoder)
            if mark & Mark.DONE:
                if begun:
                    deltas = self._last_words(deltas, frames[: seq - first], frame, held)
                failed = next((delta for delta in deltas if isinstance(delta, Failed)), None)
                if failed is not None:  # in the midst of a call (Q11): this end marker would hide it
                    return Seen(frames[: seq - first], marked, failed)
            if mark:
                held.mark(seq, mark)
                marked = True
            for delta in deltas:
                self._fold.apply(delta)
                if type(delta) in GENERATED:
                    self.generated = begun = True
                elif isinstance(delta, Failed):
                    failed = failed or delta
            if failed is not None:
                return Seen(frames[: seq - first + 1], marked, failed)
        return Seen(frames, marked, None)

    def see_whole(self, body: bytes, held: Log, seq: int) -> Failed | None:
        """Look at an answer that was not streamed, entry *seq* of *held*; the failure that it tells, if it does."""
        held.mark(seq, Mark.NOTABLE)
        for delta in self._dialect.decode_response(body):
            self._fold.apply(delta)
        return self._fold.failed

    @property
    def usage(self) -> Usage | None:
        return self._fold.usage

    @property
    def finish(self) -> Choice:
        """The first choice: it says why the answer ended."""
        return self._fold.choice(0)

    def verdict(self, held: Log, *, unary: bool, rest: bytes = b"") -> Failed | None:
        """If the bytes ended here, or after *rest*: was that a clean end? Asked at the end, and changes nothing."""
        if unary:
            return self._fold.failed
        if held.done_seq is not None:
            return None  # the decoder has seen the end marker, and would have said what was missing
        # Without an end marker every choice must have finished, and only the whole log says which choices there are:
        # the notable entries tell of a finish, not of a choice that was cut. 10 us an entry that is still here, once a
        # stream, with providers that send no marker. What was trimmed cannot be asked. Before anything was generated,
        # the decoder sees everything.
        decoder = self._read(held, ()) if self.generated else None
        if decoder is None:
            decoder = self._decoder.copy()
        last = [delta for event in parse(rest, self._dialect) for delta in decoder.feed(event)] + decoder.close()
        return next((delta for delta in last if isinstance(delta, Failed)), None)

    def is_whole(self, held: Log, *, unary: bool) -> bool:
        """Whether only bookkeeping is missing: who leaves now must not turn the answer into a cancelled one."""
        if held.done_seq is not None:
            return True
        return self.finish.reason is not None and self.verdict(held, unary=unary, rest=self._dialect.end) is None

    def pass_by(self, stream: Record, upto: int, most: int) -> int:
        """Entries up to *upto* are about to leave memory: read on through them, for the verdict depends on them too.
        At most *most* steps of 10 to 40 us, each of many entries where they are text in one envelope; returns the
        steps. 0.5 us an entry so, and 10 us where the choices of an answer take turns."""
        past = self._past
        if past is None:
            past = self._past = Reading(self._dialect.decoder())
        steps = 0
        try:
            if stream.log.first > past.seq + 1:
                raise Away(past.seq + 1, stream.log.first - 1)
            for _ in past.runs(stream, upto, STEP_BYTES) if most > 0 else ():
                steps += 1
                if steps == most:
                    break
            self.passed = past.seq
        except Away:  # some went unread, or were trimmed: the verdict will do without, and needs no others
            self.passed = upto
        return steps

    def _last_words(self, deltas: list[Delta], before: Sequence[bytes], frame: bytes, held: Log) -> list[Delta]:
        """*deltas*, those of *frame*, an end marker that comes after those of *held* and *before*. If nobody said why
        the answer ended, that depends on what was plain: whether it was cut within a call (so it seems of a call whose
        beginning was seen, and not its rest), whether it ends in calls."""
        if not any(
            isinstance(delta, Failed) or (isinstance(delta, Finished) and delta.native_reason is None)
            for delta in deltas
        ):
            return deltas
        decoder = self._read(held, before)
        if decoder is None:
            return deltas
        deltas = self._look(frame, decoder)[1]
        # Calls that were plain are none to the fold here.
        return [delta for delta in deltas if not isinstance(delta, ToolCallDelta | ToolCallEnded)]

    def _read(self, held: Log, more: Sequence[bytes]) -> Decoder | None:
        """A decoder that has seen all of *held*, and *more*; None where something is not here, and went unread."""
        past = self._past
        decoder, seq = (self._dialect.decoder(), 0) if past is None else (past.decoder.copy(), past.seq)
        if held.first > seq + 1:
            return None
        try:
            while seq < held.last_frame:
                for frame in held.after(seq):
                    seq += 1
                    for event in parse(frame, self._dialect):
                        decoder.feed(event)
        except Away:
            return None
        for frame in more:
            for event in parse(frame, self._dialect):
                decoder.feed(event)
        return decoder

    def _plain(self, frame: bytes) -> bool:
        """Whether *frame* is plain text, which needs no decoding now."""
        if self._peek is None:
            return not self._scan(frame)
        try:
            self._peek(frame[len(self._opening) :])
        except (ValueError, RecursionError):
            return False
        return frame.startswith(self._opening)
