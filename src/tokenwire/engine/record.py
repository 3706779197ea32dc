"""What is known of one stream, and what can be asked about it. Nothing here changes anything.

``engine.stream`` is how it changes. A base and not an object beside the stream: there are many streams, and a token
passes through each of these names without a step more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tokenwire.dialects.base import Mark
from tokenwire.dialects.deltas import Terminal
from tokenwire.dialects.transcript import Transcript
from tokenwire.engine.ids import EventId
from tokenwire.engine.log import Log
from tokenwire.engine.states import Pause, Policy, State
from tokenwire.engine.view import View, parse
from tokenwire.errors import NotResumable

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator

    from tokenwire.dialects.base import Decoder, Dialect, Encoder, Frame
    from tokenwire.dialects.deltas import Failed, TerminalState
    from tokenwire.engine.clock import Clock
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.watch import Watch


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


class Record:
    """The part of a ``Stream`` that can be read.

    Attributes:
        owner: the caller whose stream it is; the gateway shows it to nobody else.
        dialect: what the provider speaks.
        generated_ns: arrival of the first generated event (text, reasoning, tool arguments), None before it.
        paused: why the upstream is not read now.
    """

    __slots__ = (
        "clock",
        "created",
        "created_ns",
        "dialect",
        "ended_ns",
        "generated_ns",
        "hide_usage",
        "id",
        "log",
        "meta",
        "model",
        "owner",
        "paused",
        "policy",
        "readers",
        "state",
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
        self.log = Log(dialect.holes)
        self.readers: list[Reader] = []
        self.views: list[View] = []
        self.paused = Pause.NONE

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

    def prefix(self, dialect: Dialect, upto: int) -> list[Frame]:
        """What a reader of *dialect* is told of the entries up to *upto*, to go on from there. Linear in the log.

        Raises ``NotResumable`` (410) when the log's beginning was trimmed.
        """
        if dialect.condense is None or dialect is not self.dialect or self.unary:
            return self.encoder(dialect).prefix(self.transcript(upto))
        if self.log.first > 1:
            raise self.trimmed()
        return dialect.condense(self._shown(upto))

    def _shown(self, upto: int) -> Iterator[bytes]:
        """The frames up to *upto* that readers of the provider's own dialect get."""
        seq = 0
        while seq < upto:
            for frame in self.log.after(seq, upto - seq):
                seq += 1
                if not self.log.notable.get(seq, Mark.PLAIN) & Mark.SWALLOWED:
                    yield frame

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
