"""Server-Sent Events: bytes -> events and back. The rules are WHATWG HTML section 9.2, to the letter.

How the decoder works. It holds the bytes of the one block that is not finished, and nothing else: a block
ends with a blank line, and is interpreted once, when it is whole. Line ends are made LF on the way in, a CR at
once, so that a block always ends in two LF and no event waits to see what follows it; if an LF then comes
after the CR, be it in the next chunk, it belongs to that line end and is dropped. Text is decoded after
cutting, never before: CR, LF, colon and space are ASCII and cannot be part of a longer UTF-8 sequence, so a
character that the network cut is whole again in its block, and invalid bytes are replaced as they would be if
the stream were decoded in one piece.

Invariants between calls: the pending bytes hold no CR and no blank line, do not begin with a line end, and are
no more than the limit. Each received byte is searched, copied and decoded a fixed number of times, however the
bytes are cut.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from tokenwire.errors import EventTooLarge, LocalProtocolError
from tokenwire.wire.whole_json import is_whole_json

# A `response.completed` event repeats the whole answer, and images come as base64 in one line, so that megabytes
# are normal; lower bounds (64 to 512 KiB in asyncio and aiohttp) are a known failure. Twice the limit is twice
# what a peer can make us hold per connection.
DEFAULT_LIMIT: Final = 16 * 1024 * 1024

# Longer reconnection times are ignored, as browsers ignore what overflows them. 15 digits are what every client
# holds exactly, JavaScript's numbers included; `int` of a million digits would be a denial of service.
_RETRY_DIGITS: Final = 15

# Up to this size a chunk is tried as one event. Larger ones mostly hold several, and the try would be lost on them.
_ONE_EVENT: Final = 1024

_WHAT: Final = "a server-sent event"
_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 10
_CR: Final = 13


class Event(Struct, frozen=True, gc=False):
    """One dispatched event. Compares by value.

    Attributes:
        event: the event type; ``message`` where the block names none.
        data: the data lines, joined by LF.
        id: the last event id in force at dispatch, from this block or an earlier one; None until one was set.
        retry: the reconnection time in milliseconds, on the event that comes with or after a retry field.
    """

    event: str = "message"
    data: str = ""
    id: str | None = None
    retry: int | None = None


class Decoder:
    """One stream of bytes -> events. Make a new one for each response; not for several threads at once.

    What comes out does not depend on where chunks are cut, errors included: the events before an oversized
    block are delivered, then the error is raised, and raised again by every later call. Received bytes raise
    nothing but `EventTooLarge`.

    Args:
        limit: the largest block, in bytes: all its lines, comments included, each line end counted as one.
    """

    __slots__ = (
        "_after_cr", "_at_start", "_closed", "_failed", "_last_event_id", "_limit", "_line_end", "_pending",
        "_plain", "_retry", "_room", "_small",
    )  # fmt: skip

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1 byte, not {limit}")
        self._limit = limit
        # The unfinished block; a bytearray once it came in several chunks. At the start perhaps part of a BOM.
        self._pending: bytes | bytearray = b""
        self._last_event_id: str | None = None
        self._retry: int | None = None  # waits for the next event
        self._at_start = True  # a BOM may still come
        self._after_cr = False  # an LF, if it comes next, belongs to the CR before it
        self._failed = False
        self._closed = False
        self._plain = False  # none of the four states above
        self._line_end = "\n"  # what the fast path expects; a stream rarely mixes them
        self._small = min(limit, _ONE_EVENT)
        self._room = -1  # the largest chunk for the fast path: `_small`, or -1 while that is closed

    @property
    def last_event_id(self) -> str | None:
        """What to send as ``Last-Event-ID`` on reconnecting; None until a finished block set an id."""
        return self._last_event_id

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes, cut anywhere, and return the events that they complete, in order.

        Raises:
            EventTooLarge: A block is above the limit. The events before it have been returned, nothing is held.
            LocalProtocolError: The decoder was closed.
        """
        # The fast path: nothing is pending, and the chunk is one event of one data line, at most with a type
        # before it, as most chunks from a model are. A third of the time of `_feed`, which makes the same of it.
        if len(chunk) <= self._room:
            line_end = self._line_end
            kind = "message"
            name, _, rest = chunk.decode("utf-8", "replace").partition(": ")
            value, _, rest = rest.partition(line_end)
            if name == "event" and "\r" not in value and "\n" not in value:
                kind = value or kind
                name, _, rest = rest.partition(": ")
                value, _, rest = rest.partition(line_end)
            if name == "data" and rest == line_end and "\r" not in value and "\n" not in value:
                return [Event(kind, value, self._last_event_id)]
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
        self._plain = False
        self._room = -1
        pending, self._pending = self._pending, b""
        return self._rescue(pending.decode("utf-8", "replace")) if lenient else []

    def _feed(self, chunk: bytes) -> list[Event]:
        """The general route: any bytes in any state."""
        if not self._plain or chunk.find(_CR) >= 0:  # `b"\r" in chunk` takes three times as long in CPython 3.11
            chunk = self._with_lf_only(chunk)
        pending = self._pending
        events: list[Event] = []
        end = chunk.rfind(b"\n\n") + 2
        if end == 1:  # no blank line within the chunk, but perhaps one across its edge
            end = 1 if pending.endswith(b"\n") and chunk.startswith(b"\n") else 0
        if end:
            blocks = pending + chunk[:end]
            self._pending = pending = chunk[end:]
            events = self._interpret(blocks)
        elif isinstance(pending, bytearray):
            pending += chunk
        else:
            # Blank lines before a block mean nothing; if they were kept, they would count against its limit.
            self._pending = pending = bytearray(pending + chunk if pending else chunk.lstrip(b"\n"))
        if len(pending) > self._limit:
            self._fail()
        if self._failed and not events:  # with events before it, the error waits for the next call
            raise EventTooLarge(_WHAT, self._limit)
        self._room = -1 if pending or not self._plain or self._retry is not None else self._small
        return events

    def _with_lf_only(self, chunk: bytes) -> bytes:
        """*chunk* without BOM and with each line end an LF, whatever state it came in."""
        if self._failed:
            raise EventTooLarge(_WHAT, self._limit)
        if self._closed:
            raise LocalProtocolError("fed after close: a new response needs a new decoder")
        if self._at_start:  # one BOM is dropped; the first bytes are held while they may be its beginning
            chunk = bytes(self._pending + chunk)
            self._pending = b""
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._pending = chunk
                return b""
            self._at_start = False
            chunk = chunk.removeprefix(_BOM)
        if chunk:
            if self._after_cr:
                chunk = chunk.removeprefix(b"\n")
            self._after_cr = chunk.endswith(b"\r")
        self._plain = not self._after_cr
        self._line_end = "\r\n" if chunk.endswith(b"\r\n\r\n") else "\n"
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _interpret(self, blocks: bytes | bytearray) -> list[Event]:
        """The events of finished blocks; *blocks* ends with their last blank line."""
        last_event_id = self._last_event_id
        if len(blocks) <= self._limit and self._retry is None:
            # The two shapes that models send, if all blocks have the same: a half to a third of the time of going
            # line by line. Should a line end turn up where none belongs, nothing has changed yet.
            if blocks.startswith(b"data: "):
                datas = blocks[6:-2].split(b"\n\ndata: ")
                if b"".join(datas).find(_LF) < 0:
                    return [Event("message", data.decode("utf-8", "replace"), last_event_id) for data in datas]
            elif blocks.startswith(b"event: "):
                pairs = [pair.partition(b"\ndata: ") for pair in blocks[7:-2].split(b"\n\nevent: ")]
                if all(found and kind.find(_LF) < 0 and data.find(_LF) < 0 for kind, found, data in pairs):
                    return [
                        Event(kind.decode("utf-8", "replace") or "message", data.decode("utf-8", "replace"), last_event_id)
                        for kind, _, data in pairs
                    ]
        events: list[Event] = []
        for block in blocks[:-2].split(b"\n\n"):
            if len(block) >= self._limit and len(block.strip(b"\n")) >= self._limit:  # lacks its last line end
                self._fail()
                break
            event = self._interpret_block(block.decode("utf-8", "replace"))
            if event is not None:
                events.append(event)
        return events

    def _interpret_block(self, block: str) -> Event | None:
        """One block, line by line: the rules of the standard. None if it dispatches nothing, having no data."""
        kind = ""
        data: list[str] = []
        start = 0
        while start < len(block):  # not `split`: millions of short lines in one list take 20 times the limit
            end = block.find("\n", start)
            if end < 0:
                end = len(block)
            name, _, value = block[start:end].partition(":")  # a comment is a line whose name is empty
            start = end + 1
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id":
                if "\0" not in value:
                    self._last_event_id = value
            elif name == "retry":
                self._take_retry(value)
        if not data:
            return None
        retry, self._retry = self._retry, None
        return Event(kind or "message", "\n".join(data), self._last_event_id, retry)

    def _take_retry(self, value: str) -> None:
        # ASCII digits only: `int` would also take "+5", " 5", "1_000" and the digits of other scripts.
        if value.isascii() and value.isdigit():
            digits = value.lstrip("0") or "0"
            if len(digits) <= _RETRY_DIGITS:
                self._retry = int(digits)

    def _rescue(self, block: str) -> list[Event]:
        """The event of a block that the end of the bytes cut off, if it is whole all the same."""
        lines, _, last_line = block.rpartition("\n")
        if not last_line.startswith("data:"):
            block = lines  # whatever the last line was going to be, it is no part of the data
        last_event_id = self._last_event_id
        event = self._interpret_block(block)
        if event is not None and (not last_line or event.data == "[DONE]" or is_whole_json(event.data)):
            return [event]
        self._last_event_id = last_event_id
        return []

    def _fail(self) -> None:
        self._failed = True
        self._plain = False
        self._pending = b""


def encode(data: str, event: str | None = None, id: str | None = None, retry: int | None = None) -> bytes:
    """One event as bytes, through its blank line; the id line stands directly before that.

    Args:
        data: any text. Each CR, CRLF or LF begins a new data line, so that a reader gets an LF for it; a surrogate
            pair becomes its character, a lone surrogate U+FFFD. Empty data is an event, too.
        event: its type; None or empty for the default, ``message``.
        id: its id; an empty one takes back the ids before it.
        retry: a reconnection time in milliseconds.

    Raises:
        ValueError: *event* or *id* contains CR, LF or NUL, or *retry* is no integer from 0 to 999,999,999,999,999.
    """
    if "\r" in data:
        data = data.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" in data:
        data = data.replace("\n", "\ndata: ")
    head = tail = ""
    if event:
        head = f"event: {_one_line('event', event)}\n"
    if retry is not None:
        # bool is an int to Python, but `retry: True` would be none to a reader
        if not isinstance(retry, int) or isinstance(retry, bool) or not 0 <= retry < 10**_RETRY_DIGITS:
            raise ValueError(f"retry must be whole milliseconds, 0 or more, at most {_RETRY_DIGITS} digits: {retry!r}")
        head += f"retry: {retry}\n"
    if id is not None:
        tail = f"id: {_one_line('id', id)}\n"
    return _utf8(f"{head}data: {data}\n{tail}\n")


def comment(text: str) -> bytes:
    """A comment, which readers ignore: a heartbeat or a note. Each CR, CRLF or LF begins a new comment line.

    It ends with one line end, not with a blank line: some SDKs dispatch an empty event on comment and blank line once
    an id was seen. Add ``b"\\n"`` where a reader wants blocks.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\n: ")
    return _utf8(f": {text}\n")


def _one_line(name: str, value: str) -> str:
    # A line end would let the value forge fields and events; an id with NUL is ignored by readers (section 9.2.6).
    if "\n" in value or "\r" in value or "\0" in value:
        raise ValueError(f"{name} must not contain CR, LF or NUL: {value!r}")
    return value


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # JSON escapes can put half a surrogate pair into any text, at a cut both halves
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


__all__ = ["DEFAULT_LIMIT", "Decoder", "Event", "comment", "encode"]
