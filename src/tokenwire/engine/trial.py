"""An attempt that may still be taken back: until it has brought a generated event, what it brings is nobody's.

Were it in the log, readers would be told of an answer that another attempt then begins anew, or every view would have
to know which entries count. So it waits here, in the order and with the times of its arrival, and the log gets either
all of it or nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.dialects.deltas import Failed
    from tokenwire.engine.log import Log

#: What an attempt may bring without a token and still be taken back. An opening, an echo of the whole request and some
#: pings are within it. More than that is an answer in words that we do not know (sound, say), for which nobody is to
#: wait: a second of it.
MOST_FRAMES = 16
MOST_BYTES = 256 * 1024


class Attempts(Protocol):
    """Who makes the attempts."""

    def again(self, failed: Failed) -> bool:
        """The present attempt has failed before anything was generated. True: it was taken back
        (``Stream.take_back``), and another follows."""
        ...

    def settled(self) -> None:
        """The present attempt counts: no other will follow."""
        ...


class Trial:
    """What one attempt has brought so far.

    Attributes:
        attempts: decides whether a failed one is repeated.
        frames: how many are kept here.
    """

    __slots__ = ("_reads", "_size", "attempts", "frames")

    def __init__(self, attempts: Attempts) -> None:
        self.attempts = attempts
        self.frames = 0
        self._size = 0
        self._reads: list[tuple[Sequence[bytes], int]] = []

    def keep(self, frames: Sequence[bytes], now_ns: int, held: Log) -> None:
        """The frames of one read, that arrived now. They weigh on *held*, so that the process knows its memory."""
        self._reads.append((frames, now_ns))
        size = sum(map(len, frames))
        self.frames += len(frames)
        self._size += size
        held.run_size += size

    @property
    def full(self) -> bool:
        """Whether it has kept as much as it may."""
        return self.frames > MOST_FRAMES or self._size > MOST_BYTES

    def write(self, held: Log) -> list[bytes]:
        """Everything goes into the log, with its own times; returns it."""
        held.run_size -= self._size
        for frames, arrival_ns in self._reads:
            held.extend(frames, arrival_ns)
        return [frame for frames, _ in self._reads for frame in frames]
