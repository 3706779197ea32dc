"""How many events end in a chunk, and whether it ends between two: counted as the bytes pass, none of them held.

`tokenwire.wire` decodes events, and holds each until it is whole. A counter needs the first bytes of a line at most,
so an event of any size costs it nothing. Counts agree with the decoders'; a test compares them.
"""

from __future__ import annotations

from typing import Final, Protocol

_BOM: Final = b"\xef\xbb\xbf"

#: Of an unfinished line: a byte order mark, and enough to know `data:` by.
_HELD: Final = len(_BOM) + len(b"data:")

_SPACE: Final = b" \t\r"

_LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})


class Counter(Protocol):
    """One response's bytes.

    Attributes:
        between: all that has come belongs to whole events.
    """

    between: bool

    def feed(self, chunk: bytes) -> int:
        """Take the next bytes, cut anywhere; how many events they complete."""
        ...


class SseCounter:
    """Server-Sent Events (WHATWG HTML section 9.2.5): blocks with a `data` line, each ended by a blank line.

    Comments belong to no event: `between` stays true after one.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_fields", "_held", "between")

    def __init__(self) -> None:
        self.between = True
        self._held = b""  # how the unfinished line begins
        self._at_start = True
        self._after_cr = False
        self._data = False  # this block dispatches an event
        self._fields = False  # this block has begun

    def feed(self, chunk: bytes) -> int:
        if not chunk:
            return 0
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        *lines, last = (self._held + chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).split(b"\n")
        if self._at_start and lines:
            lines[0] = lines[0].removeprefix(_BOM)
            self._at_start = False
        events = 0
        for line in lines:
            if not line:
                events += self._data
                self._data = self._fields = False
            elif not line.startswith(b":"):
                self._fields = True
                self._data = self._data or line.startswith(b"data:") or line == b"data"
        self._held = last[:_HELD]
        if self._at_start:
            last = last.removeprefix(_BOM)
        self.between = not self._fields and (not last or last.startswith(b":"))
        return events


class LineCounter:
    """Newline-delimited JSON: every line that is not blank is an event."""

    __slots__ = ("between",)

    def __init__(self) -> None:
        self.between = True

    def feed(self, chunk: bytes) -> int:
        *lines, last = chunk.split(b"\n")
        events = 0
        for line in lines:
            events += bool(line.strip(_SPACE)) or not self.between
            self.between = True
        self.between = self.between and not last.strip(_SPACE)
        return events


def counter_for(content_type: str) -> Counter | None:
    """The counter for a media type without its parameters; None for one that has no events."""
    if content_type == "text/event-stream":
        return SseCounter()
    return LineCounter() if content_type in _LINES else None
