"""What a store is to keep of streams, and what it has of one."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct


class Keep(Struct, frozen=True, kw_only=True):
    """How long a store keeps streams, and how much may wait to be stored. Seconds and bytes.

    Attributes:
        flush: what a running stream has brought is written after so long, at most.
        unstored_bytes: what may wait in memory while the store is away; past it new streams are refused.
        ended_seconds: an ended stream can be followed for so long.
        hard_seconds: no stream is kept longer than this after its creation.
    """

    flush: float = 0.25
    unstored_bytes: int = 64 * 1024 * 1024
    ended_seconds: float = 3600.0
    hard_seconds: float = 24 * 3600.0


class Kept:
    """What the store has of one stream.

    Attributes:
        stored: the newest entry that it surely has.
        sent: the newest entry that was given to it, or is in the batch under way.
        changed: the head is another than the one given to it last.
        ended: it was told the end.
        acknowledged: the store has what it was told last.
        shape: how many envelopes and attempts the head told of that was given to it last: entries mean nothing without.
        unsettled: the head that was given to it last lacks the usage, which was still to be estimated.
        over: nothing more is written of it: it was deleted, or the store does not take it.
    """

    __slots__ = ("acknowledged", "changed", "ended", "over", "queued", "sent", "shape", "stored", "unsettled")

    def __init__(self, stored: int = 0) -> None:
        self.stored = stored
        self.sent = stored
        self.acknowledged = True
        self.changed = True
        self.ended = False
        self.over = False
        self.queued = False
        self.shape = (0, 0)
        self.unsettled = False


class RecorderStatistics(NamedTuple):
    """*lag*: seconds since the write under way was first tried; *waiting*: bytes that the store does not have."""

    writes: int
    failures: int
    lag: float
    waiting: int
    degraded: bool
