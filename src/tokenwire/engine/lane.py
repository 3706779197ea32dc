"""The express lane: one function for what nearly every read is, a frame of plain text for one reader at the log's end.

``Stream.append`` and the views say what happens to a frame, in eight short functions. Between two tokens of a busy
relay the kernel's network code has passed through the processor's caches, so what counts is how much code and data a
token touches: the same steps in one function cost half. A lane is made for one constellation (one live reader, the
provider's own dialect, nothing pending in the cutter) and thrown away when that changes; it takes only what it is
certain of, and whatever it does not take goes the general way. The tests hold the two against each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tokenwire.engine.ids import EventId
from tokenwire.engine.log import OVERHEAD

if TYPE_CHECKING:
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.stream import Stream
    from tokenwire.wire.frames import Cutter

log = logging.getLogger(__name__)

#: Takes one whole HTTP/1.1 chunk, whose content begins at the offset; False if it has to go the general way.
Lane: TypeAlias = Callable[[bytes, int], bool]


class Outlet(Protocol):
    """What a sink may offer besides ``write``: HTTP/1.1 chunks as they are, straight to its transport.

    ``writable`` is looked at after each write; False means that this one was taken, and no more should come.
    """

    writable: bool
    write: Callable[[bytes], object]


def make_lane(stream: Stream, cutter: Cutter, peek: Callable[[bytes], object], reader: Reader, outlet: Outlet) -> Lane:
    """The lane of *stream* for *reader*; *peek* raises ValueError unless a frame's JSON is plain text."""
    held = stream.log
    # Bound once: these are called per token. The log's lists stay the same objects for its whole life.
    tail_append = held.tail.append
    arrivals_append = held.arrivals_ns.append
    now_ns = stream.clock.now_ns
    write = outlet.write
    bound = stream.policy.max_bytes
    ids = reader.view.ids
    epoch = held.epoch

    def lane(chunk: bytes, start: int) -> bool:
        frame = chunk[start:-2]
        if (
            not frame.startswith(b"data: ")
            or frame.find(b"\n") != len(frame) - 2
            or frame[-1] != 10
            or b"\r" in frame
            or not cutter.clean
            or held.size > bound
        ):
            return False
        try:
            peek(frame[6:])
        except (ValueError, RecursionError):
            return False
        tail_append(frame)
        arrivals_append(now_ns())
        held.size += len(frame) + OVERHEAD
        held.last = seq = held.last + 1
        try:
            if ids:
                frame = b"%bid: %d-%d\n\n" % (frame[:-1], epoch, seq)
                write(b"%x\r\n%b\r\n" % (len(frame), frame))
            else:
                write(chunk)
        except Exception:  # one bad sink must not touch the stream
            log.exception("a sink failed; its reader is detached")
            reader.broke()
            return True
        if not outlet.writable:
            reader.view.drop(reader)
            reader.stalled(EventId(epoch, seq))
        return True

    return lane
