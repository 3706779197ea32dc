"""Server-Sent Events: bytes -> events and back. The rules are WHATWG HTML section 9.2, to the letter.

How the decoder works. It holds the bytes of the one block that is not finished, and nothing else: a block ends
with a blank line, and is interpreted once, when it is whole. Line ends are made LF on the way in, a CR at once,
so that a block always ends in two LF and no event waits to see what follows it; if an LF then comes after the
CR, be it in the next chunk, it belongs to that line end and is dropped. Text is decoded after cutting, never
before: CR, LF, colon and space are ASCII and cannot be part of a longer UTF-8 sequence, so a character that the
network cut is whole again in its block, and invalid bytes are replaced as if the stream were decoded in one.

`_feed` is the general route and takes any bytes in any state. Two fast paths look for what models really send;
each does what the general route would, or declines with nothing changed. They stand open only while every state
of the general route is the usual one: past the BOM, no line end cut, no retry waiting.

Invariants between calls: the pending bytes hold no CR and no blank line but the one they begin with, and their
block is no larger than the limit. Each received byte is searched, copied and decoded a fixed number of times,
however the bytes are cut.
"""

from __future__ import annotations

from typing import Final

from tokenwire.errors import EventTooLarge, LocalProtocolError
from tokenwire.wire.sse_encode import comment, encode
from tokenwire.wire.sse_event import Event, interpret, simple
from tokenwire.wire.whole_json import is_whole_json

# A `response.completed` event repeats the whole answer, and images come as base64 in one line, so that megabytes
# are normal; lower bounds (64 to 512 KiB in asyncio and aiohttp) are a known failure. Twice the limit is twice
# what a peer can make us hold per connection.
DEFAULT_LIMIT: Final = 16 * 1024 * 1024

# Up to this size a chunk is tried as one event. Larger ones mostly hold several, and would lose the try.
_ONE_EVENT: Final = 1024

_WHAT: Final = "a server-sent event"
_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = b"\n\n"
_DATA_FIRST: Final = b"\n\ndata: "
_TYPE_FIRST: Final = b"\n\nevent: "
_CR: Final = 13


class Decoder:
    """One stream of bytes -> events. Make a new one for each response; not for several threads at once.

    What comes out does not depend on where chunks are cut, errors included: the events before an oversized
    block are delivered, then the error is raised, and raised again by every later call. Received bytes raise
    nothing but `EventTooLarge`.

    Args:
        limit: the largest block, in bytes: all its lines, comments included, each line end counted as one.
    """

    __slots__ = (
        "_after_cr", "_at_start", "_blank", "_closed", "_failed", "_last_event_id", "_lead", "_limit", "_line_end",
        "_more", "_pending", "_plain", "_retry", "_room", "_small",
    )  # fmt: skip

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if limit < len(_BOM):  # which may have to be held
            raise ValueError(f"limit must be at least {len(_BOM)} bytes, not {limit}")
        self._limit = limit
        # The unfinished block (at the start, perhaps a piece of a BOM) after the two LF of the blank line before
        # it, so that all blocks look alike, the first one too; and what later chunks have added to it.
        self._pending = _BLANK
        self._more = bytearray()
        self._last_event_id: str | None = None
        self._retry: int | None = None  # waits for the next event
        self._at_start = True  # a BOM may still come
        self._after_cr = False  # an LF, if it comes next, belongs to the CR before it
        self._failed = False
        self._closed = False
        self._plain = False  # none of the four states above
        # What the fast paths go by; the general route sets it.
        self._small = min(limit, _ONE_EVENT)
        self._room = -1  # the largest chunk that is tried as one event; -1 where none may be
        self._line_end = "\n"  # as this stream has it
        self._blank = "\n\n"
        self._lead = b""  # how the blocks of a row begin, blank line included; empty where none may be tried

    @property
    def last_event_id(self) -> str | None:
        """What to send as ``Last-Event-ID`` on reconnecting; None until a finished block set an id."""
        return self._last_event_id

    @property
    def retry(self) -> int | None:
        """What a ``retry`` field has said that no event has carried yet, milliseconds."""
        return self._retry

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes, cut anywhere, and return the events that they complete, in order.

        Raises:
            EventTooLarge: A block is above the limit. The events before it have been returned, nothing is held.
            LocalProtocolError: The decoder was closed.
        """
        # The first fast path: nothing is pending, and the chunk is one event of one data line, with or without a
        # type before it, as most chunks from a model are. A quarter of the time of the general route.
        if len(chunk) <= self._room:
            try:
                line = chunk.decode()
            except UnicodeDecodeError:
                return self._feed(chunk)
            kind = "message"
            value = line.removeprefix("data: ")
            if value == line:
                head, _, line = line.partition(self._line_end)
                kind = head.removeprefix("event: ")
                value = line.removeprefix("data: ")
                if kind == head or "\r" in kind or "\n" in kind:
                    return self._feed(chunk)
            data = value.removesuffix(self._blank)
            if data != value != line and "\r" not in data and "\n" not in data:
                return [Event(kind or "message", data, self._last_event_id)]
        if self._lead and chunk.find(_CR) < 0:  # `b"\r" in chunk` takes three times as long in CPython 3.11
            row = self._feed_row(chunk)
            if row is not None:
                return row
        return self._feed(chunk)

    def close(self, *, lenient: bool = False) -> list[Event]:
        """Say that the bytes have ended.

        Args:
            lenient: also deliver a pending event that is whole, as some providers end without the blank line,
                or even without the line end. Whole means that all its lines are complete, or that its data is
                one JSON value or ``[DONE]``. A last line that may be cut off counts only as part of such data,
                never as type, id or retry.

        Returns:
            The pending event if lenient and whole; else nothing, as the standard drops an unfinished block.

        Raises:
            EventTooLarge: A block was above the limit.
        """
        if self._failed:
            raise EventTooLarge(_WHAT, self._limit)
        self._closed = True
        pending = (self._pending + self._more)[len(_BLANK) :]
        self._shut()
        return self._rescue(pending.decode("utf-8", "replace")) if lenient else []

    def _feed(self, chunk: bytes) -> list[Event]:
        """The general route."""
        if not self._plain or chunk.find(_CR) >= 0:
            chunk = self._with_lf_only(chunk)
            row = self._feed_row(chunk) if self._lead and self._plain else None
            if row is not None:
                return row
        more = self._more
        events: list[Event] = []
        lead = b""
        end = chunk.rfind(_BLANK) + 2
        if end == 1:  # no blank line within the chunk, but perhaps one across its edge
            end = 1 if chunk.startswith(b"\n") and (more or self._pending).endswith(b"\n") else 0
        if end:
            blocks = b"".join((self._pending, more, chunk[:end]))
            self._pending = _BLANK + chunk[end:]
            more.clear()
            events = self._interpret(blocks)
            lead = _TYPE_FIRST if blocks.startswith(_TYPE_FIRST) else _DATA_FIRST
        else:
            more += chunk
        size = len(self._pending) - len(_BLANK) + len(more)
        if size > self._limit:
            self._fail()
        if self._failed and not events:  # with events before it, the error waits for the next call
            raise EventTooLarge(_WHAT, self._limit)
        usual = self._plain and self._retry is None
        self._room = self._small if usual and not size else -1
        self._lead = lead if usual else b""
        return events

    def _feed_row(self, chunk: bytes) -> list[Event] | None:
        """The second fast path: such events in a row, cut anywhere. A third to a half of the time of the general route.

        None if anything else turns up, and then nothing has changed.
        """
        lead = self._lead
        text = self._pending + chunk
        if len(text) > self._limit:
            return None
        values = text.split(lead)
        rest = values.pop()
        blank = rest.rfind(_BLANK)
        if blank < 0:
            pending = lead + rest
        elif blank == len(rest) - len(_BLANK):
            pending = _BLANK
            values.append(rest[:blank])
        else:  # another shape, or the cut is within a lead
            return None
        # The first value is what stands before the first lead. If there is no second, then no event ends here, and
        # the general route must take the chunk: it won't search this text again when the next one comes.
        if len(values) < 2 or values[0]:
            return None
        del values[0]
        last_event_id = self._last_event_id
        events: list[Event] = []
        try:
            if lead is _DATA_FIRST:
                for value in values:
                    data = value.decode()
                    if "\n" in data:
                        return None
                    events.append(Event("message", data, last_event_id))
            else:
                for value in values:
                    kind, found, data = value.decode().partition("\ndata: ")
                    if not found or "\n" in kind or "\n" in data:
                        return None
                    events.append(Event(kind or "message", data, last_event_id))
        except UnicodeDecodeError:
            return None
        self._pending = pending
        self._room = self._small if pending is _BLANK else -1
        return events

    def _with_lf_only(self, chunk: bytes) -> bytes:
        """*chunk* without BOM and with each line end an LF, whatever state it comes in."""
        if self._failed:
            raise EventTooLarge(_WHAT, self._limit)
        if self._closed:
            raise LocalProtocolError("fed after close: a new response needs a new decoder")
        if self._at_start:  # one BOM is dropped; the first bytes are held while they may be its beginning
            chunk = bytes(self._more) + chunk
            self._more.clear()
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                return chunk
            self._at_start = False
            chunk = chunk.removeprefix(_BOM)
        if chunk:
            if self._after_cr:
                chunk = chunk.removeprefix(b"\n")
            self._after_cr = chunk.endswith(b"\r")
            self._line_end = "\r\n" if chunk.endswith(b"\r\n\r\n") else "\n"
            self._blank = self._line_end * 2
        self._plain = not self._after_cr
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _interpret(self, blocks: bytes) -> list[Event]:
        """The events of finished blocks, with the blank lines before and after them."""
        events: list[Event] = []
        for block in blocks[2:-2].split(_BLANK):
            if len(block) >= self._limit and len(block.strip(b"\n")) >= self._limit:  # lacks its last line end
                self._fail()
                break
            event, self._last_event_id, self._retry = interpret(
                block.decode("utf-8", "replace"), self._last_event_id, self._retry
            )
            if event is not None:
                events.append(event)
        return events

    def _rescue(self, block: str) -> list[Event]:
        """The event of a block that the end of the bytes cut off, if it is whole all the same."""
        lines, _, last_line = block.rpartition("\n")
        if not last_line.startswith("data:"):
            block = lines  # whatever the last line was going to be, it is no part of the data
        event, last_event_id, _ = interpret(block, self._last_event_id, self._retry)
        if event is None or not (last_line == "" or event.data == "[DONE]" or is_whole_json(event.data)):
            return []
        self._last_event_id = last_event_id
        return [event]

    def _fail(self) -> None:
        self._failed = True
        self._shut()

    def _shut(self) -> None:
        """Leave only the general route open, which says why nothing more is read; hold nothing."""
        self._plain = False
        self._room, self._lead = -1, b""
        self._pending = b""
        self._more.clear()


__all__ = ["DEFAULT_LIMIT", "Decoder", "Event", "comment", "encode", "simple"]
