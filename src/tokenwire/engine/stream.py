"""One stream: a log, a state, a source, and whoever reads.

Every change is one synchronous step, so that nothing can be torn by cancellation: a cancel that races with the
natural end finds either a running stream or a finished one, and the first terminal entry wins.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tokenwire.dialects.base import Decoder, Dialect, Encoder
from tokenwire.dialects.deltas import Failed, Terminal, TerminalState
from tokenwire.dialects.transcript import Transcript
from tokenwire.engine.ids import EventId
from tokenwire.engine.log import LEARN, RUN, Attempt, Log
from tokenwire.engine.reader import Reader, Sink
from tokenwire.engine.states import MOVES, Pause, Policy, Source, State
from tokenwire.engine.view import FoldedView, RawView, View, parse
from tokenwire.engine.watch import Watch
from tokenwire.errors import LocalProtocolError, NotResumable, StreamClosed

if TYPE_CHECKING:
    from tokenwire.engine.clock import Clock
    from tokenwire.engine.hub import Hub
    from tokenwire.engine.ingest import Ingest
    from tokenwire.engine.lane import Envelope, Outlet, Peek
    from tokenwire.engine.timers import Timer, Wheel

log = logging.getLogger(__name__)


class StreamStatistics(NamedTuple):
    id: str
    state: str
    entries: int
    bytes_held: int
    readers: int
    live_readers: int
    furthest_lag: int
    unsent: int
    paused: str


class Stream:
    """One generation. Made by ``Hub.open``; all methods are plain calls in the loop's thread.

    Attributes:
        owner: the caller whose stream it is; the gateway shows it to nobody else.
        dialect: what the provider speaks.
        generated_ns: arrival of the first generated event (text, reasoning, tool arguments), None before it.
        on_open: called once, in the turn of the first generated event or of the terminal, whichever is first.
        on_end: called once, in the turn of the terminal.
    """

    __slots__ = (
        "_drain_timer",
        "_early",
        "_envelope",
        "_express",
        "_full",
        "_linger_timer",
        "_max_bytes",
        "_pause",
        "_watch",
        "clock",
        "created",
        "created_ns",
        "dialect",
        "ended_ns",
        "generated_ns",
        "hide_usage",
        "hub",
        "id",
        "ingest",
        "log",
        "meta",
        "model",
        "on_end",
        "on_open",
        "owner",
        "policy",
        "readers",
        "source",
        "state",
        "views",
        "wheel",
    )

    def __init__(
        self,
        hub: Hub,
        stream_id: str,
        *,
        owner: str,
        dialect: Dialect,
        model: str,
        policy: Policy,
        hide: bool = False,
    ) -> None:
        self.hub = hub
        self.id = stream_id
        self.owner = owner
        self.dialect = dialect
        self.model = model
        self.policy = policy
        self.hide_usage = hide
        self.clock: Clock = hub.clock
        self.wheel: Wheel = hub.wheel
        self.state = State.QUEUED
        self.source: Source | None = None
        self.created = hub.clock.wall()
        self.created_ns = hub.clock.now_ns()
        self.ended_ns: int | None = None
        self.generated_ns: int | None = None
        self.meta: dict[str, object] = {}
        self.log = Log(dialect.holes)
        self.readers: list[Reader] = []
        self.views: list[View] = []
        self.on_open: list[Callable[[], None]] = []
        self.on_end: list[Callable[[], None]] = []
        self.ingest: Ingest | None = None
        self._express = False
        self._early = False  # a lane would do, but its envelope is not known yet
        self._envelope: Envelope | None = None
        self._max_bytes = policy.max_bytes
        self._watch: Watch | None = Watch(dialect)  # until the terminal
        self._linger_timer: Timer | None = None
        self._drain_timer: Timer | None = None
        self._pause = Pause.NONE
        self._full = False  # the log was above its bound with nobody behind: the next entry is one too many

    # ------------------------------------------------------------------ the source's side

    def connecting(self, source: Source) -> None:
        """*source* began its work and is what a cancel aborts."""
        self._move(State.CONNECTING)
        self.source = source

    def begin(self, *, attempt: int = 1, unary: bool = False) -> None:
        """The provider's answer begins (its head said yes)."""
        self._move(State.STREAMING)
        self.log.attempts.append(Attempt(self.log.last + 1, attempt, self.dialect.name, unary))
        if unary:
            # One JSON body is no event stream: who already follows in this very dialect needs it folded into events.
            for reader in [each for each in self.readers if not each.view.folded]:
                reader.change_view(self.view(reader.view.dialect, ids=reader.view.ids))

    def append(self, frames: Sequence[bytes], now_ns: int, chunk: bytes | None = None) -> None:
        """New frames of the provider, in order. *chunk* is a lone frame in the HTTP/1.1 chunk that carried it.

        The hot path: per frame one append, one scan and one write per live reader. After the terminal it does nothing.
        Frames that are more than plain text are decoded as they come (a handful per stream), and until the first
        generated event all are: that moment is TTFT, and opens held responses.
        """
        held, watch = self.log, self._watch
        if watch is None:
            return
        first = held.last + 1
        begun = self.generated_ns is not None
        frames, marked, failed = watch.see(frames, held, begun=begun)
        held.extend(frames, now_ns)
        for view in self.views:
            view.push(frames, first, chunk, marked)
        if watch.generated and not begun:
            self.generated_ns = now_ns
            self._opened()
            self.reroute()
        if failed is not None:
            self.fail(failed)
        elif held.done_seq is not None and self._drain_timer is None and held.terminal is None:
            # The answer is whole; what may follow (the end of the HTTP body) is not waited for without end.
            self._drain_timer = self.wheel.after(self.policy.drain, self.finish)
        if self._early and len(held.run) >= LEARN:
            self.reroute()
        if len(held.run) >= RUN or held.size > self._max_bytes:
            self.tidy()

    def reroute(self) -> None:
        """Who reads live has changed: see whether the express lane serves the present constellation."""
        if self.ingest is None:
            return
        lane: tuple[Peek, Reader, Outlet, Envelope | None] | None = None
        self._early = False
        live = [reader for view in self.views for reader in view.live]
        if len(live) == 1 and self.log.terminal is None and self.dialect.peek is not None:
            reader = live[0]
            if self.generated_ns is not None and not reader.view.folded:
                outlet: Outlet | None = getattr(reader.sink, "outlet", None)  # an optional power of a sink
                if outlet is not None:
                    self._envelope = self.log.envelope()
                    self._early = self.log.curious
                    if not self._early:
                        lane = (self.dialect.peek, reader, outlet, self._envelope)
        if lane is not None or self._express:
            self._express = lane is not None
            self.ingest.route(lane)

    def tidy(self) -> None:
        """What need not be done for each entry: pack, find the frames' envelope, and keep the bound."""
        held = self.log
        if len(held.run) >= RUN:
            self.hub.pack(self)
        if self._express and held.envelope() != self._envelope:
            self.reroute()
        if held.size > self._max_bytes:
            self._bound_reached()

    def append_unary(self, body: bytes, now_ns: int) -> None:
        """The whole body of an answer that was not streamed: one entry."""
        if self._watch is not None:
            seq = self.log.append(body, now_ns)
            self._watch.see_whole(body, self.log, seq)
            for view in self.views:
                view.push([body], seq, None, True)
            self.generated_ns = now_ns
            self._opened()

    def finish(self) -> None:
        """The provider's bytes ended where its protocol says they may. Completed, if the end marker came."""
        if self._watch is not None:
            failed = self._watch.verdict(self.log, unary=self.unary)
            self._terminate("completed" if failed is None else "failed", failed)

    def fail(self, failed: Failed) -> None:
        """Generation failed. Does nothing after the terminal."""
        if self.log.terminal is None:
            self._terminate("failed", failed)

    # ------------------------------------------------------------------ the readers' side

    def view(self, dialect: Dialect, *, ids: bool) -> View:
        """The shared view of this log in *dialect*."""
        folded = dialect is not self.dialect or self.unary
        for view in self.views:
            if view.dialect is dialect and view.ids == ids and view.folded == folded:
                return view
        made: View
        if folded:
            made = FoldedView(self, dialect, ids=ids)
        else:
            made = RawView(self, dialect, ids=ids, hide_usage=self.hide_usage)
        self.views.append(made)
        return made

    def attach(self, sink: Sink, dialect: Dialect, *, ids: bool, after: EventId | None = None) -> Reader:
        """A new reader of this stream, from *after* on (default: the start). Nothing is written before ``start``.

        Raises ``NotResumable`` when continuity from *after* cannot be proven.
        """
        view = self.view(dialect, ids=ids)
        cursor = view.position(EventId(self.log.epoch, 0) if after is None else after)
        reader = Reader(self, view, sink, cursor)
        self.readers.append(reader)
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
        return reader

    def detach(self, reader: Reader, *, finished: bool) -> None:
        """*reader* is over. When the last one leaves before the end, the policy decides: cancel, linger or finish."""
        self.readers.remove(reader)
        if finished:
            self.caught_up()
        else:
            self._after_leave()

    def trim(self, keep: int) -> int:
        """Forget the oldest entries that every reader has had, down to *keep* bytes; returns the bytes freed."""
        had = min((reader.view.had(reader) for reader in self.readers), default=self.log.last)
        freed = 0
        while self.log.size > keep:
            step = self.log.trim(had)
            if not step:
                break
            freed += step
        return freed

    def caught_up(self) -> None:
        """A reader stands at the end of the log: if none is behind any more, nothing justifies holding the upstream."""
        if self._pause is not Pause.NONE and self._pause & Pause.MEMORY and all(reader.live for reader in self.readers):
            # Else a reader that falls behind by the very next read would pause again, and so on: the log would grow
            # past its bound, a read at a time.
            self._full = self.log.size > self._max_bytes
            self.unpause(Pause.MEMORY)

    def reader_gave_up(self, reader: Reader) -> None:
        """*reader* took nothing for its whole time: told how to resume, and let go."""
        log.info("stream %s: a reader took nothing for %g s and is detached", self.id, self.policy.reader_timeout)
        where = EventId(self.log.epoch, reader.cursor.seq, reader.cursor.frames)
        message = f"this reader took nothing for {self.policy.reader_timeout:g} s; resume after {where}"
        terminal = Terminal(state="failed", error=Failed(code="reader_timeout", message=message, retryable=True))
        reader.give_up(terminal)

    def expect_reader(self) -> None:
        """Nobody reads yet: the linger begins now (a started stream that nobody follows costs money)."""
        if not self.readers:
            self._after_leave()

    def cancel(self, message: str = "cancelled on request") -> bool:
        """Stop generation now, from anywhere. Idempotent; False when the stream was already over."""
        if self.log.terminal is not None:
            return False
        self._terminate("cancelled", Failed(code="cancelled", message=message))
        return True

    # ------------------------------------------------------------------ pausing

    def pause(self, reason: Pause) -> None:
        """Stop reading the upstream for *reason*; deadlines stand still meanwhile."""
        if not self._pause and self.source is not None:
            self.source.pause()
        self._pause |= reason

    def unpause(self, reason: Pause) -> None:
        if self._pause & reason:
            self._pause &= ~reason
            if not self._pause and self.source is not None:
                self.source.resume()

    # ------------------------------------------------------------------ questions

    def trimmed(self) -> NotResumable:
        """The answer to whoever wants what is no longer held."""
        earliest = str(EventId(self.log.epoch, self.log.first))
        return NotResumable(
            410,
            "trimmed",
            f"the beginning of this stream is no longer held; the earliest is {earliest}",
            earliest=earliest,
        )

    @property
    def terminal(self) -> Terminal | None:
        return self.log.terminal

    @property
    def last_ns(self) -> int:
        """When the newest entry came; the stream's creation before the first."""
        arrivals = self.log.arrivals_ns
        return arrivals[-1] if arrivals else self.created_ns

    @property
    def timeline(self) -> array[int]:
        """Arrival of each entry, CLOCK_MONOTONIC nanoseconds."""
        return self.log.arrivals_ns

    def encoder(self, dialect: Dialect) -> Encoder:
        return dialect.encoder(self.id, self.created, self.model)

    def decoder(self) -> Decoder:
        return self.dialect.decoder()

    def transcript(self, upto: int | None = None) -> Transcript:
        """The fold of all entries (or of the first *upto*): text, tool calls, usage. Linear in the log.

        Raises ``NotResumable`` (410) when the log's beginning was trimmed.
        """
        if self.log.first > 1:
            raise self.trimmed()
        fold = Transcript()
        decoder = self.decoder()
        held = self.log
        seq = 0
        end = held.last_frame if upto is None else min(upto, held.last_frame)
        while seq < end:
            for frame in held.after(seq, end - seq):
                seq += 1
                if held.attempt_at(seq).unary:
                    deltas = self.dialect.decode_response(frame)
                elif held.done_seq is not None and seq > held.done_seq:
                    continue
                else:
                    deltas = [delta for event in parse(frame) for delta in decoder.feed(event)]
                for delta in deltas:
                    fold.apply(delta)
        return fold

    def statistics(self) -> StreamStatistics:
        """Frozen figures of this moment."""
        readers = [reader.statistics() for reader in self.readers]
        return StreamStatistics(
            self.id,
            self.state.value,
            self.log.last,
            self.log.size,
            len(readers),
            sum(reader.live for reader in readers),
            max((reader.lag for reader in readers), default=0),
            sum(reader.unsent for reader in readers),
            (self._pause.name or "") if self._pause else "",
        )

    # ------------------------------------------------------------------ inside

    @property
    def unary(self) -> bool:
        """The answer came whole, not as a stream."""
        return any(attempt.unary for attempt in self.log.attempts)

    def _move(self, to: State) -> None:
        if to not in MOVES[self.state]:
            if self.log.terminal is not None:
                raise StreamClosed(self.state.value)
            raise LocalProtocolError(f"stream {self.id}: no move from {self.state.value} to {to.value}")
        self.state = to

    def _opened(self) -> None:
        callbacks, self.on_open = self.on_open, []
        _call(callbacks)

    def _terminate(self, state: TerminalState, failed: Failed | None) -> None:
        self._move(State(state))
        now = self.clock.now_ns()
        watch, self._watch = self._watch, None
        assert watch is not None  # as long as there is no terminal
        opened, last = self.generated_ns, self.last_ns
        terminal = Terminal(
            state=state,
            reason=watch.finish.reason,
            native_reason=watch.finish.native_reason,
            error=failed,
            usage=watch.usage,
            ttft_ms=None if opened is None else (opened - self.created_ns) / 1e6,
            e2e_ms=None if opened is None else (last - self.created_ns) / 1e6,
        )
        self.ended_ns = now
        self.log.close(terminal, now)
        self.reroute()
        source, self.source, self.ingest = self.source, None, None
        if source is not None:
            source.abort()  # does nothing to a connection whose answer has ended: that one goes back to its pool
        for timer in (self._linger_timer, self._drain_timer):
            if timer is not None:
                timer.cancel()
        for view in self.views:
            view.end()
        self._opened()
        callbacks, self.on_end = self.on_end, []
        _call(callbacks)
        self.hub.ended(self)

    def _after_leave(self) -> None:
        self.caught_up()  # with no reader attached the bound never pauses an upstream
        if self.readers:
            return
        if self.log.terminal is not None:
            return
        if self._watch is not None and self._watch.is_whole(self.log, unary=self.unary):
            self._linger_timer = self.wheel.after(self.policy.drain, self._drained)
        elif self.policy.linger <= 0:
            self._terminate("cancelled", Failed(code="client_left", message="the reader left"))
        elif self.policy.linger != float("inf"):
            self._linger_timer = self.wheel.after(self.policy.linger, self._lapsed)

    def _drained(self) -> None:
        self._linger_timer = None
        if not self.readers and self.log.terminal is None:
            self.finish()

    def _lapsed(self) -> None:
        self._linger_timer = None
        if not self.readers and self.log.terminal is None:
            message = f"nobody read for {self.policy.linger:g} s"
            self._terminate("cancelled", Failed(code="client_left", message=message))

    def _bound_reached(self) -> None:
        """The log is full. A reader that is behind pauses the upstream (until it leaves or is detached); else fail."""
        if self.log.done_seq is not None:
            self.finish()  # the answer is whole, and what follows its end marker is not worth more memory
        elif not self._full and any(not reader.live for reader in self.readers):
            self.pause(Pause.MEMORY)
        elif self.log.terminal is None:
            message = f"the answer is larger than the {self.policy.max_bytes} bytes that a stream may hold"
            self._terminate("failed", Failed(code="log_limit", message=message))


def _call(callbacks: list[Callable[[], None]]) -> None:
    """One response's bug must not reach the stream, nor another response."""
    for callback in callbacks:
        try:
            callback()
        except Exception:
            log.exception("a response to a stream failed")
