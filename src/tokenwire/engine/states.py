"""What a stream can be, and how it is to be treated."""

from __future__ import annotations

import enum
import math
from typing import Protocol

from msgspec import Struct


class State(enum.Enum):
    QUEUED = "queued"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ORPHANED = "orphaned"
    EXPIRED = "expired"


_ENDS = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.ORPHANED, State.EXPIRED})

#: Every legal move. What is absent is a bug in the caller and raises ``LocalProtocolError``.
MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.CONNECTING}) | _ENDS,
    State.CONNECTING: frozenset({State.STREAMING}) | _ENDS,
    State.STREAMING: _ENDS,
    **dict.fromkeys(_ENDS, frozenset[State]()),
}


class Pause(enum.IntFlag):
    """Why an upstream's reading is paused. It reads on when the set is empty."""

    NONE = 0
    MEMORY = 1
    ADMISSION = 2


class Source(Protocol):
    """Where a stream's bytes come from. The engine need not know that HTTP exists."""

    def abort(self) -> None:
        """Stop at once; nothing is delivered afterwards. Idempotent."""
        ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Policy(Struct, frozen=True, kw_only=True):
    """How one stream treats its readers and its end. Seconds throughout.

    Attributes:
        linger: how long generation goes on without a reader: 0 cancels at once, infinity never.
        drain: how long a finished answer without readers may still bring its usage.
        heartbeat: a reader that was written nothing for so long gets a comment.
        reader_timeout: a reader that takes nothing for so long is detached.
        max_bytes: bound of the log; reached with nobody behind, the stream fails (``log_limit``).
        unread_usd, unread_tokens: what may be generated while nobody reads, if the linger lets it go on: money where
            the price is known, else tokens.
    """

    linger: float = 15.0
    drain: float = 2.0
    heartbeat: float = 10.0
    reader_timeout: float = 60.0
    max_bytes: int = 16 * 1024 * 1024
    unread_usd: float = math.inf
    unread_tokens: float = math.inf
