"""A reader: a sink over a cursor. Many, cheap, and none can harm another.

Two ways of being fed, and one seam between them. A *live* reader stands at the end of the log and is handed each new
frame in the loop turn in which it arrives. Any other reader pulls from the log whenever its socket takes more
(``pump``), and becomes live in the same call in which nothing is left: no event can fall between the two, because
nothing here ever waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tokenwire.dialects.deltas import Failed, Terminal
from tokenwire.engine.ids import EventId
from tokenwire.engine.sealed import Away

if TYPE_CHECKING:
    from tokenwire.engine.folded import Fold
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.timers import Timer
    from tokenwire.engine.view import View

log = logging.getLogger(__name__)

#: What one pull takes from the log at a time: one socket buffer's worth, so that a replay is paged and stays fair.
PAGE = 64 * 1024


class Sink(Protocol):
    """Where a reader's bytes go. Called in the loop turn of the upstream's read, so it must be quick.

    ``write`` takes whole frames (and, where it is at hand, the same bytes as one HTTP/1.1 chunk) and says whether it
    can take more at once; after False it calls ``Reader.resume`` when it can. It never raises and never calls back
    into the reader: a sink that is broken answers False and lets its own transport report the loss.
    ``unsent`` is how many bytes it still holds: progress is that figure falling.
    """

    def write(self, data: bytes, chunk: bytes | None = None) -> bool: ...

    def close(self, terminal: Terminal | None) -> None: ...

    @property
    def unsent(self) -> int: ...


class ReaderStatistics(NamedTuple):
    dialect: str
    live: bool
    lag: int
    unsent: int


class Reader:
    """One reader of one stream. Made by ``Stream.attach``; ``start`` begins delivery, ``leave`` ends it.

    Attributes:
        cursor: everything up to here was handed to the sink; meaningless while live (then it is the log's end).
        fold: a private fold, while a reader of another dialect is behind the shared one.
        returns: its client comes back by itself when its connection ends, and can be told when.
    """

    __slots__ = (
        "_fetching",
        "_idle_timer",
        "_stall_timer",
        "_unsent",
        "cursor",
        "fold",
        "live",
        "on_detached",
        "over",
        "returns",
        "sink",
        "started",
        "stream",
        "view",
        "write",
        "wrote_ns",
    )

    def __init__(self, stream: Stream, view: View, sink: Sink, cursor: EventId) -> None:
        self.stream = stream
        self.view = view
        self.sink = sink
        self.write = sink.write  # bound once: called per token
        self.cursor = cursor
        self.fold: Fold | None = None
        self.live = False
        self.started = False
        self.over = False
        self.returns = False
        self.on_detached: Callable[[], None] | None = None
        self.wrote_ns = 0
        self._stall_timer: Timer | None = None
        self._idle_timer: Timer | None = None
        self._unsent = 0
        self._fetching = False

    # ------------------------------------------------------------------ delivery

    def start(self, preface: bytes = b"") -> None:
        """Begin delivery: *preface* first (a priming comment, a prefix), then the log from the cursor on."""
        self.started = True
        self.wrote_ns = self.stream.clock.now_ns()
        self._idle_timer = self.stream.wheel.after(self.stream.policy.heartbeat, self._beat)
        if preface and not self._write(preface):
            self.stalled(self.cursor)
            return
        self.pump()

    def pump(self) -> None:
        """Hand over what the log has, until the sink is full or nothing is left."""
        while not self.over:
            try:
                data, cursor, finished = self.view.read(self, PAGE)
            except Away as away:
                self._fetch(away.seq)
                return
            self.cursor = cursor
            writable = not data or self._write(data)
            if finished:
                self.finish()
                return
            if not writable:
                self.stalled(cursor)
                return
            if not data:
                self.live = True
                self.view.join(self)
                self.stream.caught_up()
                return

    def _fetch(self, seq: int) -> None:
        """What comes next is in the store only: this reader goes on when it is here."""
        archive = self.stream.hub.archive
        assert archive is not None  # who else has it
        if not self._fetching:
            self._fetching = True
            archive.fetch(self.stream, seq, self._fetched)

    def _fetched(self, error: Exception | None) -> None:
        self._fetching = False
        if self.over:
            return
        if error is None:
            self.pump()
            return
        log.warning("stream %s: a reader cannot be given what is stored: %s", self.stream.id, error)
        self.dismiss("store_away", "needs entries that cannot be read from the store now")

    def resume(self) -> None:
        """The sink can take more."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        if self.started and not (self.live or self._fetching):
            self.pump()

    def _write(self, data: bytes) -> bool:
        self.wrote_ns = self.stream.clock.now_ns()
        try:
            return self.sink.write(data)
        except Exception:  # a sink's bug must not reach the log
            log.exception("a sink failed; its reader is detached")
            self.broke()
            return False

    def stalled(self, cursor: EventId) -> None:
        """The sink is full: fall out of the live set; from now on frames are pulled, and progress is watched."""
        self.live = False
        self.cursor = cursor
        if self.over or self._stall_timer is not None:
            return
        self._unsent = self.sink.unsent
        self._stall_timer = self.stream.wheel.after(self.stream.policy.reader_timeout, self._check_progress)

    def _check_progress(self) -> None:
        self._stall_timer = None
        unsent = self.sink.unsent
        if unsent < self._unsent:
            self._unsent = unsent
            self._stall_timer = self.stream.wheel.after(self.stream.policy.reader_timeout, self._check_progress)
            return
        self._give_up()

    def _beat(self) -> None:
        """A heartbeat, if nothing was written for its period; never while the sink is full."""
        if self.over:
            return
        period = self.stream.policy.heartbeat
        last = self.wrote_ns
        if self.live and (told := self.view.told()):
            last = max(last, self.stream.timeline[told - 1])
        idle = (self.stream.clock.now_ns() - last) / 1e9
        if idle >= period and self.live and self.view.heartbeat:
            self.tell(self.view.heartbeat)
            idle = 0.0
        self._idle_timer = self.stream.wheel.after(max(period - idle, period / 10), self._beat)

    def tell(self, data: bytes) -> None:
        """News beside the log, between two of its entries: only for who is live, and so can take more."""
        if self.live and not self._write(data):
            self.view.drop(self)
            self.stalled(EventId(self.stream.log.epoch, self.stream.log.last))

    def change_view(self, view: View) -> None:
        """Go on in *view*, another projection of the same log, from where this reader stands."""
        live = self.live
        if live:
            self.live = False
            self.cursor = EventId(self.stream.log.epoch, self.stream.log.last)
        self.view.drop(self)
        self.view = view
        if live:
            self.pump()

    def fall_behind(self, cursor: EventId) -> None:
        """What follows *cursor* cannot be handed to who is live: it is pulled."""
        self.live = False
        self.cursor = cursor
        self.view.drop(self)
        self.pump()

    # ------------------------------------------------------------------ ends

    def end(self, data: bytes) -> None:
        """The log is over and this reader is live: *data* is all that is left."""
        if data:
            self._write(data)
        self.finish()

    def finish(self) -> None:
        """Everything was handed over: the sink closes when it has written it."""
        if self.over:
            return
        self._end()
        self._close(self.stream.log.terminal)
        self.stream.detach(self, finished=True)

    def leave(self) -> None:
        """The reader is gone (disconnect, refusal, error). Idempotent; the stream's policy decides what follows."""
        if self.over:
            return
        self._end()
        self.stream.detach(self, finished=False)

    def _give_up(self) -> None:
        """The sink took nothing for its whole time: it is closed with how to resume, and this reader leaves."""
        timeout = self.stream.policy.reader_timeout
        log.info("stream %s: a reader took nothing for %g s and is detached", self.stream.id, timeout)
        self.dismiss("reader_timeout", f"took nothing for {timeout:g} s")

    def dismiss(self, code: str, why: str) -> None:
        """Close the sink with that (*why*: what it did) and how to resume, and leave. Not if it is over already."""
        if self.over:
            return
        held = self.stream.log
        where = EventId(held.epoch, held.last) if self.live else self.cursor
        place = EventId(held.epoch, where.seq, where.frames)
        # The stream by name, too: not every dialect has ids, and not every client sees the answer's head.
        message = f"this reader of stream {self.stream.id} {why}; resume after {place}"
        self._close(Terminal(state="failed", error=Failed(code=code, message=message, retryable=True)))
        self.leave()

    def broke(self) -> None:
        """The sink raised: its response ends, if it still can, and this reader leaves."""
        self._close(None)
        self.leave()

    def _close(self, terminal: Terminal | None) -> None:
        try:
            self.sink.close(terminal)
        except Exception:  # as in writing: it is this reader's trouble alone
            log.exception("a sink failed in closing")

    def _end(self) -> None:
        self.over = True
        self.live = False
        self.fold = None
        self.view.drop(self)
        for timer in (self._stall_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        if self.on_detached is not None:
            self.on_detached()

    def statistics(self) -> ReaderStatistics:
        """Frozen figures: entries not yet handed over, bytes the sink still holds."""
        lag = 0 if self.live else self.stream.log.last - self.cursor.seq
        return ReaderStatistics(self.view.dialect.name, self.live, lag, self.sink.unsent)
