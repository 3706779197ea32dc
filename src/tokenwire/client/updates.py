"""What following a stream brings: the model's deltas, and beside them what happens to the stream and its connection."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from tokenwire.dialects.deltas import Delta, TerminalState, Usage


class Notice(Struct, frozen=True):
    """News of the relay, not of the model: ``queued``, ``failover``, ``budget_warning`` … and what comes with it."""

    code: str
    fields: dict[str, Any] = {}


class Reset(Struct, frozen=True):
    """What was delivered so far cannot be continued: drop it. The deltas of a snapshot follow.

    *earliest* is the first id that the relay still holds, where it says so.
    """

    reason: str
    earliest: str | None = None


class Dropped(Struct, frozen=True):
    """The connection is gone, not the stream: in *delay* seconds it is followed on. *attempt* counts from 1."""

    cause: str
    attempt: int
    delay: float


class Resumed(Struct, frozen=True):
    """Connected again; what comes next is what follows the event *after* (None: the beginning)."""

    after: str | None


class Done(Struct, frozen=True):
    """The stream is over. Always the last update.

    Attributes:
        state: ``completed``, or how else it ended; then the failure came before, as ``Failed``.
        ttft_ms, e2e_ms: the relay's own times, from its request to the first generated event and to the last.
        verified: text and number of events are what the relay says they must be; None: it did not say, or the
            stream was not followed from a point where that could be known.
        mismatch: what is not, in a sentence.
    """

    state: TerminalState
    reason: str | None = None
    native_reason: str | None = None
    usage: Usage | None = None
    ttft_ms: float | None = None
    e2e_ms: float | None = None
    verified: bool | None = None
    mismatch: str | None = None


Update: TypeAlias = Delta | Notice | Reset | Dropped | Resumed | Done

__all__ = ["Done", "Dropped", "Notice", "Reset", "Resumed", "Update"]
