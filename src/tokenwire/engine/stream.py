"""One stream: a log, a state, a source, and whoever reads.

Every change is one synchronous step, so that nothing can be torn by cancellation: a cancel that races with the
natural end finds either a running stream or a finished one, and the first terminal entry wins.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tokenwire.dialects.deltas import Failed, Terminal, TerminalState
from tokenwire.engine.bound import Bounded
from tokenwire.engine.folded import FoldedView
from tokenwire.engine.ids import EventId
from tokenwire.engine.leaving import Leaving
from tokenwire.engine.log import LEARN, RUN, Attempt
from tokenwire.engine.reader import Reader, Sink
from tokenwire.engine.routing import Routing
from tokenwire.engine.states import MOVES, Policy, Source, State
from tokenwire.engine.tally import Tally
from tokenwire.engine.trial import Attempts, Trial
from tokenwire.engine.view import RawView, View
from tokenwire.engine.watch import Watch
from tokenwire.errors import LocalProtocolError, StreamClosed

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.ingest import Ingest
    from tokenwire.engine.registry import Registry
    from tokenwire.engine.timers import Wheel

log = logging.getLogger(__name__)


class Stream(Bounded):
    """One generation. Made by ``Hub.open``; all methods are plain calls in the loop's thread.

    What is known of it is in ``engine.record``, what it may hold in ``engine.bound``: its bases. Its other parts get it
    as an argument.

    Attributes:
        leaving: what is due when nobody reads any more, or the answer is whole.
        on_open: called once, in the turn of the first generated event or of the terminal, whichever is first.
        on_end: called once, in the turn of the terminal.
    """

    __slots__ = ("_routing", "_trial", "_watch", "hub", "ingest", "leaving", "on_end", "on_open", "wheel")

    def __init__(
        self,
        hub: Registry,
        stream_id: str,
        *,
        owner: str,
        dialect: Dialect,
        model: str,
        policy: Policy,
        hide: bool = False,
    ) -> None:
        super().__init__(hub.clock, stream_id, owner=owner, dialect=dialect, model=model, policy=policy, hide=hide)
        self.hub = hub
        self.wheel: Wheel = hub.wheel
        self.ingest: Ingest | None = None
        self.on_open: list[Callable[[], None]] = []
        self.on_end: list[Callable[[], None]] = []
        self._watch: Watch | None = Watch(dialect)  # until the terminal
        self.leaving = Leaving()
        self._routing = Routing()
        self._trial: Trial | None = None  # while the present attempt may be taken back

    # ------------------------------------------------------------------ the source's side

    def connecting(self, source: Source) -> None:
        """*source* began its work and is what a cancel aborts."""
        self._move(State.CONNECTING)
        self.source = source

    def on_trial(self, attempts: Attempts) -> None:
        """What comes from now on is kept out of the log until the first generated event, or an end that is final: if
        it fails before, *attempts* may take it back and begin anew."""
        self._trial = Trial(attempts)

    def take_back(self) -> None:
        """The attempt on trial never was: nothing of it is in the log, and the stream waits for another."""
        assert self._trial is not None
        self._trial = self.ingest = None
        self._watch = Watch(self.dialect)
        self.state = State.CONNECTING  # no move: what was begun is undone
        self.log.take_back()

    def rename(self, model: str) -> None:
        """Another model answers than the one that was asked first. Only while nothing is in the log."""
        self.model = model
        for view in self.views:
            view.renamed()

    def speaks(self, dialect: Dialect) -> None:
        """The provider that is asked next speaks *dialect*. Only while nothing is in the log: whoever follows already
        then reads what comes in another projection."""
        if dialect is self.dialect:
            return
        self.dialect = dialect
        self._watch = Watch(dialect)
        self.log.expect(dialect.holes)
        self.views.clear()
        for reader in self.readers:
            reader.change_view(reader.view.anew())

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
        if not begun and self._trial is not None:
            self._trial.append(self, frames, now_ns, watch)
            return
        frames, marked, failed = watch.see(frames, held, first, begun=begun)
        held.extend(frames, now_ns)
        for view in self.views:
            view.push(frames, first, chunk, marked)
        if watch.generated and not begun:
            self.generated_ns = now_ns
            self.opened()
            self.reroute()
        if failed is not None:
            self.fail(failed)
        elif held.done_seq is not None:
            self.leaving.whole(self)
        if self._routing.early and len(held.run) >= LEARN:
            self.reroute()
        if len(held.run) >= RUN or held.size > self._max_bytes:
            self.tidy()

    def opened(self) -> None:
        """Generation has begun, or is over before it did: responses that waited for that begin now."""
        callbacks, self.on_open = self.on_open, []
        _call(callbacks)
        if self.kept is not None and self.hub.recorder is not None:
            self.hub.recorder.changed(self)

    def reroute(self) -> None:
        """Who reads live has changed: see whether the express lane serves the present constellation."""
        if self.ingest is not None:
            self._routing.decide(self, self.ingest)

    def tidy(self) -> None:
        """What need not be done for each entry: pack, find the frames' envelope, and keep the bound."""
        held = self.log
        if len(held.run) >= RUN:
            self.hub.pack(self)
        if self._routing.outdated(held):
            self.reroute()
        if held.size > self._max_bytes:
            failed = self.bound_reached()
            if failed is not None:
                self.fail(failed)

    def append_unary(self, body: bytes, now_ns: int) -> bool:
        """The whole body of an answer that was not streamed: one entry. False: it was taken back."""
        if self._watch is not None:
            seq = self.log.last + 1
            failed = self._watch.see_whole(body, self.log, seq)
            if failed is not None and self._taken_back(failed):
                return False
            self.attempt_counts()
            self.log.append(body, now_ns)
            for view in self.views:
                view.push([body], seq, None, True)
            self.generated_ns = now_ns
            self.opened()
        return True

    def finish(self) -> None:
        """The provider's bytes ended where its protocol says they may. Completed, if the end marker came."""
        if self._watch is not None:
            failed = self._watch.verdict(self.log, unary=self.unary)
            if failed is None:
                self._terminate("completed", None)
            elif not self._taken_back(failed):
                self._terminate("failed", failed)

    def replayed(self) -> None:
        """All of an answer that was proven whole has come again. Not ``finish``: that would prove it once more, which
        for a dialect without an end marker means to decode all of it."""
        if self._watch is not None:
            self._terminate("completed", None)

    def attempt_failed(self, failed: Failed) -> None:
        """The present attempt has failed; and so has the stream, unless it is taken back."""
        if not self._taken_back(failed):
            self.fail(failed)

    def fail(self, failed: Failed) -> None:
        """Generation failed for good, unless the end marker has come. Does nothing after the terminal."""
        if self.log.done_seq is not None:
            self.finish()
        elif self.log.terminal is None:
            self._terminate("failed", failed)

    def attempt_counts(self) -> None:
        """No other attempt follows the present one: if it was on trial, the log begins with what it has brought."""
        trial, self._trial = self._trial, None
        if trial is not None:
            trial.passed(self)

    def _taken_back(self, failed: Failed) -> bool:
        return self._trial is not None and self._trial.attempts.again(failed)

    # ------------------------------------------------------------------ the readers' side

    def view(self, dialect: Dialect, *, ids: bool) -> View:
        """The shared view of this log in *dialect*; with ids only where there is a place for them."""
        ids = ids and dialect.ids is not None
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
        self.leaving.joined()
        return reader

    def detach(self, reader: Reader, *, finished: bool) -> None:
        """*reader* is over. When the last one leaves before the end, the policy decides: cancel, linger or finish."""
        self.readers.remove(reader)
        self.caught_up()  # with no reader attached the bound never pauses an upstream
        if not finished:
            self.leaving.left(self)

    def expect_reader(self) -> None:
        """Nobody reads yet: the linger begins now (a started stream that nobody follows costs money)."""
        self.leaving.awaited(self)

    def is_whole(self) -> bool:
        """Whether only bookkeeping is missing: to stop now would save nothing."""
        return self._watch is not None and self._watch.is_whole(self.log, unary=self.unary)

    def pass_by(self, upto: int, steps: int) -> int:
        """Entries up to *upto* are about to leave memory: what the end depends on is read of them, in at most so many
        *steps*. Returns the steps (``Watch.pass_by``)."""
        return 0 if self._watch is None else self._watch.pass_by(self, upto, steps)

    @property
    def passed(self) -> int:
        """The newest entry that need not stay in memory for that."""
        return self.log.last if self._watch is None else self._watch.passed

    def cancel(self, message: str = "cancelled on request", *, code: str = "cancelled") -> bool:
        """Stop generation now, from anywhere. Idempotent; False when there was nothing left to stop: an answer whose
        end marker has come is complete, and its readers have been told so."""
        if self.log.terminal is not None:
            return False
        if self.log.done_seq is not None:
            self.finish()
            return False
        self._terminate("cancelled", Failed(code=code, message=message))
        return True

    def expire(self, message: str) -> None:
        """It has been there for too long, or has brought nothing for too long."""
        if self.log.done_seq is not None:
            self.finish()
        elif self.log.terminal is None:
            self._terminate("expired", Failed(code="expired", message=message))

    def restore_end(self, terminal: Terminal, at_ns: int) -> None:
        """It ended in another process, which has settled its usage. Only for a stream that was read from a store."""
        self._watch = None
        self._settled = terminal
        self.ended_ns = at_ns
        self.log.close(terminal, at_ns)

    def orphan(self) -> None:
        """The process that had its source is gone, and every stored entry is here again: it ends, as far as it came. An
        answer that was whole but for its end is complete."""
        held, watch = self.log, self._watch
        assert watch is not None
        seq = 0
        failed: Failed | None = None
        while seq < held.last and failed is None:
            frames = held.after(seq)
            if self.unary:
                failed = watch.see_whole(frames[0], held, seq + 1)
            else:
                failed = watch.see(frames, held, seq + 1, begun=watch.generated).failed
            seq += len(frames)
        held.begin_epoch()
        if failed is not None:
            self._terminate("failed", failed)
        elif held.last and (self.unary or self.is_whole()):
            self._terminate("completed", None)
        else:
            message = "the relay was restarted while this answer came; what had come and was stored is kept"
            self._terminate("orphaned", Failed(code="orphaned", message=message, retryable=True))

    # ------------------------------------------------------------------ inside

    @property
    def expires(self) -> float | None:
        """When it will be forgotten at the latest, seconds since 1970; None: not known before it is over."""
        recorder, bounds = self.hub.recorder, self.hub.retention
        if recorder is not None and self.kept is not None:
            return recorder.expires(self)
        if self.ended_ns is None:
            return None
        return self.created + (self.ended_ns - self.created_ns) / 1e9 + bounds.ended_seconds

    @property
    def counted_exactly(self) -> bool:
        """Whether a tokenizer counts along: then what was said so far is looked at whether or not anybody reads."""
        return bool(self.hub.tokenizers) and self.model.partition("/")[0] in self.hub.tokenizers

    def _tokens(self) -> float:
        tally = self.tally or Tally()
        tally.look(self)
        return tally.tokens(self)

    def _move(self, to: State) -> None:
        if to not in MOVES[self.state]:
            if self.log.terminal is not None:
                raise StreamClosed(self.state.value)
            raise LocalProtocolError(f"stream {self.id}: no move from {self.state.value} to {to.value}")
        self.state = to

    def _terminate(self, state: TerminalState, failed: Failed | None) -> None:
        self.attempt_counts()
        if self._watch is None:  # a reader's sink broke at that, and it was the last reader
            return
        self._move(State(state))
        self.ended_ns = now = self.clock.now_ns()
        watch, self._watch = self._watch, None
        self.prefixes = None
        assert watch is not None  # as long as there is no terminal
        self.log.close(self.ending(state, failed, watch), now)
        self.reroute()
        source, self.source, self.ingest = self.source, None, None
        if source is not None:
            source.abort()  # does nothing to a connection whose answer has ended: that one goes back to its pool
        if self.meter is not None:
            self.meter.close(
                estimate=self.billed and (watch.usage is None or watch.usage.input is None),
                count=self.hub.estimator.counter(self.model),
            )
        self.leaving.over()
        for view in self.views:
            view.end()
        self.opened()
        callbacks, self.on_end = self.on_end, []
        _call(callbacks)
        self.hub.ended(self)


def _call(callbacks: list[Callable[[], None]]) -> None:
    """One response's bug must not reach the stream, nor another response."""
    for callback in callbacks:
        try:
            callback()
        except Exception:
            log.exception("a response to a stream failed")
