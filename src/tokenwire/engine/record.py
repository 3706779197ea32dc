"""What is known of one stream, and what can be asked about it. Nothing here changes anything.

``engine.stream`` is how it changes, ``engine.bound`` the base between the two. Bases and not objects beside the stream:
there are many streams, and a token passes through each of these names without a step more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct, structs

from tokenwire.dialects.deltas import Terminal
from tokenwire.dialects.transcript import Transcript
from tokenwire.engine.framing import parse
from tokenwire.engine.ids import EventId
from tokenwire.engine.log import Log
from tokenwire.engine.prefixes import Prefixes, folded
from tokenwire.engine.runs import Reading
from tokenwire.engine.sealed import Away
from tokenwire.engine.states import Pause, Policy, State
from tokenwire.engine.view import View
from tokenwire.errors import NotResumable

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator

    from tokenwire.dialects.base import Decoder, Dialect, Encoder, Frame
    from tokenwire.dialects.deltas import Failed, TerminalState
    from tokenwire.engine.clock import Clock
    from tokenwire.engine.keeping import Kept
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.tally import Tally
    from tokenwire.engine.watch import Watch
    from tokenwire.measure.usage import Meter

#: So many entries are decoded at most to estimate the tokens of an answer (2 ms): with those that are in an envelope,
#: nearly always all. Else they speak for the rest of a longer one.
SAMPLE: Final = 256
#: Entries that one step of a fold takes, at least: 2 ms, if each has to be decoded.
STEP: Final = 256
#: Ends before the first token that are our doing: the provider works on the request, and will want its money.
_OURS: Final = frozenset({"shutting_down", "upstream_timeout"})
#: Pings that are told from tokens since the last look: 5 ms of work. One that sends more of them is not stalled.
MOST_PINGS = 1000


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


class AttemptRecord(Struct, gc=False):
    """One attempt to get the answer, as its stream remembers it.

    Attributes:
        upstream, model: who was asked for what, and in which dialect.
        started_ns, ended_ns: CLOCK_MONOTONIC; the latter None while it runs.
        status: of the HTTP answer's head, None if there was none.
        error: why it failed, if it did.
    """

    upstream: str
    model: str
    dialect: str
    started_ns: int
    ended_ns: int | None = None
    status: int | None = None
    error: Failed | None = None


class Record:
    """The part of a ``Stream`` that can be read.

    Attributes:
        attempts: who was asked, in order; the last one is the one that counts.
        owner: the caller whose stream it is; the gateway shows it to nobody else.
        dialect: what the provider speaks.
        generated_ns: arrival of the first generated event (text, reasoning, tool arguments), None before it.
        paused: why the upstream is not read now.
        prefixes: what was read for those who joined late, while it runs; None before the first.
        sent: the provider has the request (a whole one, at least once).
        meter: what says its usage and cost; None: only what the provider tells is known.
        tally: what it has used so far, where somebody asks for it while it runs.
        kept: what a store has of it; None: it is not stored.
        rests_ns: since when it is over and in memory, CLOCK_MONOTONIC.
    """

    __slots__ = (
        "_settled",
        "attempts",
        "clock",
        "created",
        "created_ns",
        "dialect",
        "ended_ns",
        "generated_ns",
        "hide_usage",
        "id",
        "kept",
        "log",
        "meta",
        "meter",
        "model",
        "owner",
        "paused",
        "policy",
        "prefixes",
        "readers",
        "rests_ns",
        "sent",
        "state",
        "tally",
        "views",
    )

    def __init__(
        self, clock: Clock, stream_id: str, *, owner: str, dialect: Dialect, model: str, policy: Policy, hide: bool
    ) -> None:
        self.id = stream_id
        self.owner = owner
        self.dialect = dialect
        self.model = model
        self.policy = policy
        self.hide_usage = hide
        self.clock = clock
        self.state = State.QUEUED
        self.created = clock.wall()
        self.created_ns = clock.now_ns()
        self.ended_ns: int | None = None
        self.generated_ns: int | None = None
        self.meta: dict[str, object] = {}
        self.attempts: list[AttemptRecord] = []
        self.log = Log(dialect.holes)
        self.readers: list[Reader] = []
        self.views: list[View] = []
        self.paused = Pause.NONE
        self.prefixes: Prefixes | None = None
        self.sent = False
        self.meter: Meter | None = None
        self.tally: Tally | None = None
        self.kept: Kept | None = None
        self.rests_ns = 0
        self._settled: Terminal | None = None

    @property
    def unary(self) -> bool:
        """The answer came whole, not as a stream."""
        return any(attempt.unary for attempt in self.log.attempts)

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
    def settled(self) -> Terminal | None:
        """The terminal with what the stream used and cost, estimated where the provider did not tell; None before it.

        Found out when it is first asked for: of a stream that was cut, that reads up to ``SAMPLE`` entries.
        """
        terminal = self.log.terminal
        if self._settled is None and terminal is not None:
            meter, self.meter = self.meter, None
            if meter is not None and self.billed:
                finished = terminal.state == "completed"
                usage = meter.settle(terminal.usage, self._tokens, self.created, finished=finished)
                terminal = structs.replace(terminal, usage=usage)
            self.tally = None
            self._settled = terminal
        return self._settled

    @property
    def estimates(self) -> bool:
        """Whether ``settled`` has to read the answer, and has not yet."""
        terminal = self.log.terminal
        if terminal is None or self.meter is None or not self.billed:
            return False
        return terminal.state != "completed" or terminal.usage is None or terminal.usage.output is None

    @property
    def billed(self) -> bool:
        """Whether the provider is thought to charge for this stream, which is over: it answered, or was at it when we
        cut it short. Refusals and failures before the first token are free."""
        terminal = self.log.terminal
        assert terminal is not None
        if terminal.state == "completed" or self.generated_ns is not None:
            return True
        return self.sent and (
            terminal.state != "failed" or (terminal.error is not None and terminal.error.code in _OURS)
        )

    def _tokens(self) -> float:
        """About how many tokens were generated. Said by ``Stream``, which knows whose estimates hold."""
        raise NotImplementedError

    @property
    def last_ns(self) -> int:
        """When the newest entry came; the stream's creation before the first."""
        arrivals = self.log.arrivals_ns
        return arrivals[-1] if arrivals else self.created_ns

    def spoke_ns(self) -> int:
        """When the newest entry came that is no ping: no event of the name that the dialect's own heartbeat has.

        Asked once a period and not per token: 2 us where the newest entry is none, as in an answer that goes on.
        """
        ping = parse(self.dialect.heartbeat, self.dialect)
        if not ping:  # it beats with comments, which are no entries
            return self.last_ns
        held = self.log
        seq = newest = held.last_frame
        while seq >= max(held.first, newest - MOST_PINGS):
            try:
                event = parse(held.frame(seq), self.dialect)[0].event
            except Away:  # in the store only: it is not worth the wait
                break
            if event != ping[0].event:
                break
            seq -= 1
        return held.arrivals_ns[seq - 1] if seq else self.created_ns

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
        fold = Transcript()
        for _ in self.folding(fold, upto):
            pass
        return fold

    def folding(self, fold: Transcript, upto: int | None = None) -> Iterator[None]:
        """``transcript`` into *fold* in steps of some milliseconds, for who has other things to do between them."""
        if self.log.first > 1:
            raise self.trimmed()
        end = self.log.last_frame if upto is None else min(upto, self.log.last_frame)
        reading = Reading(self.decoder())
        due = STEP
        for _ in folded(self, reading, fold, end):
            if reading.seq >= due:
                due = reading.seq + STEP
                yield

    def prefix(self, dialect: Dialect, upto: int) -> list[Frame]:
        """What a reader of *dialect* is told of the entries up to *upto*, to go on from there; nothing, where they say
        nothing: what follows then begins the answer. Linear in what came since the last call, and in what is told; of a
        stream that is over, in the log.

        Raises ``NotResumable`` (410) when the log's beginning was trimmed before anybody asked.
        """
        prefixes = self.prefixes or Prefixes()
        if self.log.terminal is None and self.log.last:  # before its first entry its dialect may still change
            self.prefixes = prefixes
        return prefixes.of(self, dialect, upto)

    def ending(self, state: TerminalState, failed: Failed | None, watch: Watch) -> Terminal:
        """The terminal entry, if the answer that *watch* has seen ended now."""
        opened, last = self.generated_ns, self.last_ns
        return Terminal(
            state=state,
            reason=watch.finish.reason,
            native_reason=watch.finish.native_reason,
            error=failed,
            usage=watch.usage,
            ttft_ms=None if opened is None else (opened - self.created_ns) / 1e6,
            e2e_ms=None if opened is None else (last - self.created_ns) / 1e6,
        )

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
            (self.paused.name or "") if self.paused else "",
        )
