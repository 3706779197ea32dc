"""What memory may hold, and what it holds."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct


class Retention(Struct, frozen=True, kw_only=True):
    """Bounds of what is in memory.

    Attributes:
        max_bytes: frames of all streams together. Ended streams go oldest first; when only running ones are left, the
            part of their logs that every reader has had is trimmed (who comes later is told: 410), and new streams are
            refused (503). A third of a small container's memory.
        ended_seconds: how long an ended stream can still be followed, at most, where memory is all there is.
        rest_seconds: where there is a store: how long a stream that is over stays in memory after its last use. Who
            lost the connection comes back within seconds.
        hot_bytes: where there is a store: what stays in memory of one log.
        idle_seconds, hard_seconds: a running stream that brought nothing for so long, or is so old, expires. The first
            is above every deadline towards providers: it ends what they do not (a source of one's own that hangs).
        max_streams: running streams; doubling it doubles what a burst may cost (about 20 KiB each, and a socket).
    """

    max_bytes: int = 256 * 1024 * 1024
    ended_seconds: float = 600.0
    rest_seconds: float = 60.0
    hot_bytes: int = 256 * 1024
    idle_seconds: float = 3600.0
    hard_seconds: float = 24 * 3600.0
    max_streams: int = 20_000


class HubStatistics(NamedTuple):
    streams: int
    running: int
    readers: int
    bytes_held: int
    opened: int
    completed: int
    failed: int
    cancelled: int
    evicted: int
    refused: int
