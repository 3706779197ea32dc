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
    from tokenwire.engine.stream import Stream
    from tokenwire.engine.watch import Watch

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
    """What one attempt has brought so far. As in ``engine.leaving``, the stream is an argument and never kept.

    Attributes:
        attempts: decides whether a failed one is repeated.
    """

    __slots__ = ("_frames", "_reads", "_size", "attempts")

    def __init__(self, attempts: Attempts) -> None:
        self.attempts = attempts
        self._frames = 0
        self._size = 0
        self._reads: list[tuple[Sequence[bytes], int]] = []

    def append(self, stream: Stream, frames: Sequence[bytes], now_ns: int, watch: Watch) -> None:
        """``Stream.append`` while the attempt is on trial."""
        held = stream.log
        frames, _, failed = watch.see(frames, held, held.last + 1 + self._frames, begun=False)
        self._keep(frames, now_ns, held)
        if not watch.generated and failed is not None:
            stream.attempt_failed(failed)
            return
        if watch.generated:
            stream.generated_ns = now_ns
        elif held.done_seq is None and not self._full():
            return
        stream.attempt_counts()
        if watch.generated:
            stream.opened()
            stream.reroute()
        if failed is not None:
            stream.fail(failed)
        elif held.done_seq is not None:
            stream.leaving.whole(stream)
        stream.tidy()

    def passed(self, stream: Stream) -> None:
        """The attempt counts: everything goes into the log, with its own times, and to who reads live."""
        first = stream.log.last + 1
        frames = self._write(stream.log)
        if frames:
            for view in stream.views:
                view.push(frames, first, None, True)
        self.attempts.settled()

    def _keep(self, frames: Sequence[bytes], now_ns: int, held: Log) -> None:
        """The frames of one read, that arrived now. They weigh on *held*, so that the process knows its memory."""
        self._reads.append((frames, now_ns))
        size = sum(map(len, frames))
        self._frames += len(frames)
        self._size += size
        held.run_size += size

    def _full(self) -> bool:
        """Whether it has kept as much as it may."""
        return self._frames > MOST_FRAMES or self._size > MOST_BYTES

    def _write(self, held: Log) -> list[bytes]:
        held.run_size -= self._size
        for frames, arrival_ns in self._reads:
            held.extend(frames, arrival_ns)
        return [frame for frames, _ in self._reads for frame in frames]
