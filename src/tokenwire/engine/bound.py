"""What a stream may hold, and whom that holds back.

A reader that is behind needs what the log has, so at its bound the upstream waits for that reader. With nobody behind
there is nobody to wait for: then one entry more ends the stream, for no bound would be left. A base and not an object
beside the stream, as ``engine.record``: ``append`` looks at the bound for each token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.dialects.deltas import Failed
from tokenwire.engine.record import Record
from tokenwire.engine.states import Pause, Policy, Source

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect
    from tokenwire.engine.clock import Clock


class Bounded(Record):
    """The part of a ``Stream`` that pauses its source and forgets what all have had.

    Attributes:
        source: what is paused; None before it began its work, and after the terminal.
    """

    __slots__ = ("_full", "_max_bytes", "source")

    def __init__(
        self, clock: Clock, stream_id: str, *, owner: str, dialect: Dialect, model: str, policy: Policy, hide: bool
    ) -> None:
        super().__init__(clock, stream_id, owner=owner, dialect=dialect, model=model, policy=policy, hide=hide)
        self.source: Source | None = None
        self._max_bytes = policy.max_bytes
        self._full = False  # the log was above its bound with nobody behind: the next entry is one too many

    def pause(self, reason: Pause) -> None:
        """Stop reading the upstream for *reason*; deadlines stand still meanwhile."""
        if not self.paused and self.source is not None:
            self.source.pause()
        self.paused |= reason

    def unpause(self, reason: Pause) -> None:
        if self.paused & reason:
            self.paused &= ~reason
            if not self.paused and self.source is not None:
                self.source.resume()

    def bound_reached(self) -> Failed | None:
        """The log is full. A reader that is behind pauses the upstream (until it leaves or is detached); else this is
        what ends the stream. An answer that is whole ends too: what follows its end marker is not worth more memory."""
        if self.log.done_seq is None and not self._full and any(not reader.live for reader in self.readers):
            self.pause(Pause.MEMORY)
            return None
        message = f"the answer is larger than the {self._max_bytes} bytes that a stream may hold"
        return Failed(code="log_limit", message=message)

    def caught_up(self) -> None:
        """A reader stands at the end of the log: if none is behind any more, nothing justifies holding the upstream."""
        if self.paused is not Pause.NONE and self.paused & Pause.MEMORY and all(reader.live for reader in self.readers):
            # Else a reader that falls behind by the very next read would pause again, and so on: the log would grow
            # past its bound, a read at a time.
            self._full = self.log.size > self._max_bytes
            self.unpause(Pause.MEMORY)

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
