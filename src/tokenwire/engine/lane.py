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
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from tokenwire.engine.ids import EventId
from tokenwire.engine.log import OVERHEAD
from tokenwire.wire.chunked import LIMIT, SIZE_LINES, SIZE_LINES_UPPER, chunk
from tokenwire.wire.envelope import PLAIN
from tokenwire.wire.json_spans import Kind, is_string_body

if TYPE_CHECKING:
    from tokenwire.engine.reader import Reader
    from tokenwire.engine.stream import Stream
    from tokenwire.wire.envelope_template import Template
    from tokenwire.wire.frames import Cutter

log = logging.getLogger(__name__)

Peek: TypeAlias = Callable[[bytes], object]
#: A template and its number in the log's open run.
Envelope: TypeAlias = tuple[int, "Template"]
#: Gives the entries just kept to the reader: their bytes in chunks, and how many they are.
Deliver: TypeAlias = Callable[[bytes, int], None]
#: A protocol's ``data_received``, for as long as its ``Offer`` is ready.
Lane: TypeAlias = Callable[[bytes], None]

#: Every so many entries a lane looks at what need not be looked at for each: the pace, the bound, the memory.
CHECK_EVERY = 16

_LINES = {False: SIZE_LINES, True: SIZE_LINES_UPPER}
_END = b"\n\n\r\n"
#: Raises ValueError unless it is given one JSON string: no control characters, UTF-8, no half of a surrogate pair.
is_string = msgspec.json.Decoder(str).decode


@cache
def _starts(opening: bytes, upper: bool) -> list[bytes]:
    """What a whole chunk of that size begins with, if it is one frame. 300 KiB for each dialect in use."""
    return [line + opening for line in _LINES[upper]]


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
    """A stream's lane for *reader*, to a source that reads HTTP/1.1.

    *peek* raises ValueError unless a frame's JSON is plain text; *envelope* is what the newest frames are in, if known.
    """

    __slots__ = ("_cutter", "_envelope", "_outlet", "_peek", "_reader", "_stream")

    def __init__(
        self, stream: Stream, cutter: Cutter, peek: Peek, reader: Reader, outlet: Outlet, envelope: Envelope | None
    ) -> None:
        self._stream = stream
        self._cutter = cutter
        self._peek = peek
        self._reader = reader
        self._outlet = outlet
        self._envelope = envelope

    def ready(self) -> bool:
        """Whether the next byte begins an event. Only the general way can change that."""
        return self._cutter.clean

    def make(self, general: Callable[[bytes], None], check: Callable[[], None], *, upper: bool = False) -> Lane:
        """The lane. It gives what it does not take to *general*, and calls *check* every ``CHECK_EVERY`` entries.
        *upper*: the sizes of chunks are written with capitals.

        Its source calls it only while ``ready`` and between two chunks.
        """
        deliver = self._delivery(check)
        opening = self._stream.dialect.opening
        lane = self._plain_lane(deliver, general, opening, _starts(opening, upper))
        if self._envelope is not None and _fits(self._envelope[1], opening, self._peek):
            lane = self._several_lane(self._envelope, deliver, lane, _LINES[upper])
            lane = self._envelope_lane(self._envelope, deliver, lane, _LINES[upper])
        return lane

    def _plain_lane(
        self, deliver: Deliver, general: Callable[[bytes], None], opening: bytes, starts: list[bytes]
    ) -> Lane:
        """Takes every frame of plain text, and keeps it as it is."""
        # Bound once: these are used per token.
        peek = self._peek
        held = self._stream.log
        run = held.run
        plain_append, numbers_append = run.plain.append, run.numbers.append
        arrivals_append, now_ns = held.arrivals_ns.append, self._stream.clock.now_ns
        ids, with_ids = self._reader.view.ids, self._with_ids
        before = len(opening)
        extra = OVERHEAD + before - 2  # the chunk's end is no part of the frame

        def lane(data: bytes) -> None:
            size = len(data)
            begin = starts[size] if size < LIMIT else opening
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
            plain_append(data[start - before : -2])
            numbers_append(PLAIN)
            held.run_size += size - start + extra
            arrivals_append(now_ns())
            held.last += 1
            if ids:
                data = with_ids([data[start - before : -2]])
            deliver(data, 1)

        return lane

    def _envelope_lane(self, envelope: Envelope, deliver: Deliver, otherwise: Lane, lines: list[bytes]) -> Lane:
        """Takes the frames of one envelope, and keeps their holes: less to look at, to copy and to hold."""
        held = self._stream.log
        run = held.run
        numbers_append = run.numbers.append
        holes_append = run.holes.append
        arrivals_append, now_ns = held.arrivals_ns.append, self._stream.clock.now_ns
        ids, with_ids = self._reader.view.ids, self._with_ids
        number, template = envelope
        head, tail = template.literals[0], template.literals[-1] + b"\r\n"
        inner = template.literals[1] if len(template.kinds) == 2 else None
        padded = template.kinds[-1] is Kind.SPACES
        begins = len(head) - 1  # at the quote before the hole
        ends = -len(tail) if padded else 1 - len(tail)  # after the quote behind it
        seam = 1 - len(inner or b"")  # from there to the spaces
        extra = OVERHEAD * len(template.kinds) - len(head) - len(tail) - len(inner or b"")

        def lane(data: bytes) -> None:
            size = len(data)
            line = lines[size] if size < LIMIT else b"\xff"
            start = len(line)
            if not (data.startswith(line) and data.startswith(head, start) and data.endswith(tail)):
                otherwise(data)
                return
            text = data[start + begins : ends]
            try:
                if inner is None:
                    is_string(text)
                    holes_append(text[1:-1])
                elif padded:
                    rest = text.rstrip(b" ")
                    if not rest.endswith(inner):
                        otherwise(data)
                        return
                    is_string(rest[:seam] if seam else rest)
                    holes_append(rest[1 : seam - 1])
                    holes_append(text[len(rest) :])
                else:
                    text, _, second = text.rpartition(inner)
                    is_string(b"%b %b" % (text, second))  # at once: a space completes nothing that the first began
                    holes_append(text[1:])
                    holes_append(second[:-1])
            except (ValueError, RecursionError):
                otherwise(data)
                return
            numbers_append(number)
            held.run_size += size - start + extra
            arrivals_append(now_ns())
            held.last += 1
            if ids:
                data = with_ids([data[start:-2]])
            deliver(data, 1)

        return lane

    def _several_lane(self, envelope: Envelope, deliver: Deliver, otherwise: Lane, lines: list[bytes]) -> Lane:
        """Takes several such chunks in one read: what a fast upstream's reads are, once they are paced."""
        held = self._stream.log
        run, arrivals = held.run, held.arrivals_ns
        now_ns = self._stream.clock.now_ns
        ids, with_ids = self._reader.view.ids, self._with_ids
        number, template = envelope
        head, tail = template.literals[0], template.literals[-1] + b"\r\n"
        inner = template.literals[1] if len(template.kinds) == 2 else None
        padded = template.kinds[-1] is Kind.SPACES
        ends = len(tail)

        def lane(data: bytes) -> None:
            pieces = data.split(tail)
            if len(pieces) < 3 or pieces.pop():
                otherwise(data)
                return
            holes: list[bytes] = []
            frames: list[bytes] = []
            for piece in pieces:
                size = len(piece) + ends
                line = lines[size] if size < LIMIT else b"\xff"
                start = len(line)
                if not (piece.startswith(line) and piece.startswith(head, start)):
                    otherwise(data)
                    return
                text = piece[start + len(head) :]
                if inner is None:
                    holes.append(text)
                else:
                    text, found, second = text.rpartition(inner)
                    if not found or (padded and second.strip(b" ")):
                        otherwise(data)
                        return
                    holes += (text, second)
                if ids:
                    frames.append(piece[start:] + tail[:-2])
            if not is_string_body(b" ".join(holes)):  # all at once: no hole can complete what another began
                otherwise(data)
                return
            count = len(pieces)
            run.holes.extend(holes)
            run.numbers.extend(bytes([number]) * count)
            arrivals.extend([now_ns()] * count)
            held.run_size += sum(map(len, holes)) + OVERHEAD * len(holes)
            held.last += count
            deliver(with_ids(frames) if ids else data, count)

        return lane

    def _with_ids(self, frames: list[bytes]) -> bytes:
        """The newest frames with their ids, as one chunk."""
        held = self._stream.log
        first = held.last + 1 - len(frames)
        lines = [b"%bid: %d-%d\n\n" % (frame[:-1], held.epoch, seq) for seq, frame in enumerate(frames, first)]
        return chunk(b"".join(lines))

    def _delivery(self, check: Callable[[], None]) -> Deliver:
        """What follows when the entries are kept: the reader gets its bytes."""
        stream, reader, outlet = self._stream, self._reader, self._outlet
        held = stream.log
        send, queued, write = outlet.send, outlet.queued, outlet.write

        def deliver(data: bytes, count: int) -> None:
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
                        reader.stalled(EventId(held.epoch, held.last))
            except Exception:  # one bad sink must not touch the stream
                log.exception("a sink failed; its reader is detached")
                reader.broke()
            if held.last % CHECK_EVERY < count:
                stream.tidy()
                check()

        return deliver


def _fits(template: Template, opening: bytes, peek: Peek) -> bool:
    """Whether every frame of *template* is surely plain text after its *opening*: one or two strings, or one and the
    spaces behind it, and nothing beside."""
    kinds = template.kinds
    if kinds[0] is not Kind.STRING or len(kinds) > 2 or kinds[-1] is Kind.INTEGER:
        return False
    frame = template.fill(iter([b"", b""]))
    if not frame.startswith(opening) or frame.find(b"\n", len(opening)) != len(frame) - 2 or b"\r" in frame:
        return False
    try:
        peek(frame[len(opening) :])
    except (ValueError, RecursionError):
        return False
    return True
