"""The express lane: one function for what nearly every read is, a frame of plain text for one reader at the log's end.

``Stream.append`` and the views say what happens to a frame, in eight short functions. Between two tokens of a busy
relay the kernel's network code has passed through the processor's caches, so what counts is how much code and data a
token touches: the same steps in one function, called by the event loop itself, cost a third. A lane is made for one
constellation (one live reader, the provider's own dialect, nothing pending in the cutter) and thrown away when that
changes; it takes only what it is certain of, and whatever it does not take goes the general way. The tests hold the
two against each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tokenwire.engine.ids import EventId
from tokenwire.engine.log import OVERHEAD
from tokenwire.wire.chunked import LIMIT, SIZE_LINES

if TYPE_CHECKING:
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.stream import Stream
    from tokenwire.wire.frames import Cutter

log = logging.getLogger(__name__)

#: A protocol's ``data_received``, for as long as its ``Offer`` is ready.
Lane: TypeAlias = Callable[[bytes], None]

#: Every so many entries a lane looks at what need not be looked at for each: the pace, the bound, the memory.
CHECK_EVERY = 16

_FIELD = b"data: "
#: What a whole chunk of that size begins with, if it is one frame.
_STARTS = [line + _FIELD for line in SIZE_LINES]
_END = b"\n\n\r\n"


class Outlet(Protocol):
    """What a sink may offer besides ``write``: HTTP/1.1 chunks as they are, straight to its socket.

    Attributes:
        send: gives bytes to the socket now; returns how many it took, raises ``OSError`` if none. Only to be used
            while ``queued`` says 0, or bytes would overtake others.
        queued: how many bytes wait in the transport.
        write: gives bytes to the transport, which sends them when it can.
        writable: looked at after each ``write``: False means that this one was taken, and no more should come.
    """

    writable: bool
    send: Callable[[bytes], int]
    queued: Callable[[], int]
    write: Callable[[bytes], object]


class Offer:
    """A stream's lane for *reader*, to a source that reads HTTP/1.1; *peek* raises ValueError unless a frame's JSON is
    plain text."""

    __slots__ = ("_cutter", "_outlet", "_peek", "_reader", "_stream")

    def __init__(
        self, stream: Stream, cutter: Cutter, peek: Callable[[bytes], object], reader: Reader, outlet: Outlet
    ) -> None:
        self._stream = stream
        self._cutter = cutter
        self._peek = peek
        self._reader = reader
        self._outlet = outlet

    def ready(self) -> bool:
        """Whether the next byte begins an event. Only the general way can change that."""
        return self._cutter.clean

    def make(self, general: Callable[[bytes], None], check: Callable[[], None]) -> Lane:
        """The lane. It gives what it does not take to *general*, and calls *check* every ``CHECK_EVERY`` entries.

        Its source calls it only while ``ready`` and between two chunks.
        """
        # Bound once: these are used per token. The log's lists stay the same objects for its whole life.
        stream, reader, outlet, peek = self._stream, self._reader, self._outlet, self._peek
        held = stream.log
        tail_append = held.tail.append
        arrivals_append = held.arrivals_ns.append
        now_ns = stream.clock.now_ns
        send, queued, write = outlet.send, outlet.queued, outlet.write
        ids = reader.view.ids
        epoch = held.epoch

        def lane(data: bytes) -> None:
            size = len(data)
            begin = _STARTS[size] if size < LIMIT else _FIELD
            start = len(begin)
            if (
                not data.startswith(begin)
                or not data.endswith(_END)
                or data.find(b"\n", start) != size - 4
                or data.find(b"\r", start) != size - 2
            ):
                general(data)
                return
            try:
                peek(data[start:-4])
            except (ValueError, RecursionError):
                general(data)
                return
            tail_append(data[start - 6 : -2])
            arrivals_append(now_ns())
            held.size += size - start + (4 + OVERHEAD)
            held.last = seq = held.last + 1
            if ids:
                frame = b"%bid: %d-%d\n\n" % (data[start - 6 : -3], epoch, seq)
                data = b"%x\r\n%b\r\n" % (len(frame), frame)
            try:
                sent = 0
                if not queued():
                    try:
                        sent = send(data)
                    except OSError:  # full, or gone: the transport finds out which
                        pass
                if sent < len(data):
                    write(data[sent:])
                    if not outlet.writable:
                        reader.view.drop(reader)
                        reader.stalled(EventId(epoch, seq))
            except Exception:  # one bad sink must not touch the stream
                log.exception("a sink failed; its reader is detached")
                reader.broke()
            if not seq % CHECK_EVERY:
                stream.tidy()
                check()

        return lane
