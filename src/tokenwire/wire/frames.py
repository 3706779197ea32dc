"""Cutting a provider's SSE bytes into frames: whole events, kept byte for byte.

The decoder in ``sse.py`` says what an event means; the cutter here only finds where it ends, because a relay that
re-serialises loses what it does not know. A frame is one event that a reader would be sent, through its blank line.
It equals the provider's bytes except that comments, ``id:`` and ``retry:`` lines are dropped (our readers get ids of
our own) and that a missing blank line at the end of the body is added. Blocks that dispatch nothing are no frames.

Two things that are not events become one, since a reader's SDK would swallow them in silence: bare JSON without
``data:`` (Gemini's errors), and a line ``error: {…}`` (old llama.cpp servers).
"""

from __future__ import annotations

import re

from tokenwire.errors import EventTooLarge

#: Providers send images and whole responses as single lines: reference/wire-formats.md, Q7.
MAX_FRAME = 16 * 1024 * 1024

# The end of an event: a line end, then an empty line. The groups are atomic, for a CRLF must not be read as an end
# of line (CR) followed by an empty line (LF).
_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"[^\r\n]*(?>\r\n|\n|\r|\Z)")
_BOM = b"\xef\xbb\xbf"


class Cutter:
    """Body bytes in, frames out; cut anywhere, in linear time.

    ``clean`` says that the next byte begins an event: whoever knows *data* to be one whole event need not feed it.
    ``feed`` raises ``EventTooLarge`` when one event passes *limit* bytes; the cutter is unusable afterwards.
    """

    __slots__ = ("_begun", "_buffer", "_cr", "_limit", "_searched", "_swallow", "clean")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._searched = 0  # nothing ends before this offset of the buffer
        self._limit = limit
        self.clean = False  # begun, and between two events: the state in which the fast routes may be taken
        self._cr = False  # a CR was seen: lines may end in more than one way
        self._begun = False  # a leading byte-order mark can no longer come
        self._swallow = False  # the last frame ended in a lone CR: an LF that follows belongs to it

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that *data* completes, oldest first."""
        # Nearly every read is one or a few whole LF-framed events of one data line each. The general route below gives
        # the same answer (tested); this one costs a tenth of it.
        if self.clean and data.endswith(b"\n\n") and data.startswith(b"data:") and b"\r" not in data:
            if data.count(b"\n") == 2:
                return [data]
            frames = [
                line + b"\n\n" for line in data[:-2].split(b"\n\n") if line.startswith(b"data:") and b"\n" not in line
            ]
            if 2 * len(frames) == data.count(b"\n"):
                return frames
        return self._feed(data)

    def _feed(self, data: bytes) -> list[bytes]:
        buffer = self._buffer
        buffer += data
        self._cr = self._cr or b"\r" in data
        if not self._begun and not self._skip_bom():
            return []
        frames: list[bytes] = []
        start = 0
        while True:
            start = self._skip_blank(start)
            end = self._find_end(max(start, self._searched - 3))
            if end < 0:
                break
            block = bytes(buffer[start:end])
            start = self._searched = end
            if block.endswith(b"\r"):
                self._swallow = True
                # Known before it arrives: in CRLF framing an LF follows. Waiting for it would hold the event back.
                if block.endswith(b"\r\n\r"):
                    block += b"\n"
            frame = _frame(block)
            if frame is not None:
                frames.append(frame)
        del buffer[:start]
        self._searched = len(buffer)
        self.clean = not buffer and not self._swallow
        if len(buffer) > self._limit:
            self._buffer = bytearray()
            raise EventTooLarge("an upstream event", self._limit)
        return frames

    def close(self) -> list[bytes]:
        """The body ended: the pending event, if it is whole but for its blank line (some servers end like that)."""
        block = bytes(self._buffer)
        self._buffer = bytearray()
        if not block.strip():
            return []
        end = b"\r\n" if b"\r\n" in block else b"\r" if b"\r" in block else b"\n"
        frame = _frame(block + (end if block.endswith((b"\n", b"\r")) else end + end))
        return [] if frame is None else [frame]

    @property
    def pending(self) -> int:
        """Bytes held of an event that has not ended."""
        return len(self._buffer)

    def _find_end(self, start: int) -> int:
        """Where the event ends that *start* is in, -1 if that has not come."""
        if not self._cr:  # a plain search is ten times as fast as the pattern
            at = self._buffer.find(b"\n\n", start)
            return at + 2 if at >= 0 else -1
        match = _END.search(self._buffer, start)
        return match.end() if match else -1

    def _skip_bom(self) -> bool:
        """Drop one leading byte-order mark; False while it may still be incomplete."""
        if self._buffer.startswith(_BOM):
            del self._buffer[:3]
        elif len(self._buffer) < 3 and _BOM.startswith(self._buffer):
            return False
        self._begun = True
        return True

    def _skip_blank(self, start: int) -> int:
        """Empty lines before an event dispatch nothing: step over them, and over the LF of a CRLF cut in two."""
        buffer = self._buffer
        size = len(buffer)
        if start < size and self._swallow:
            self._swallow = False
            if buffer[start] == 10:
                start += 1
        while start < size and buffer[start] in b"\r\n":
            start += 1
        return start


def _frame(block: bytes) -> bytes | None:
    """One block through its blank line -> the frame, or None if it dispatches nothing."""
    if block.startswith(b"data:") and block.count(b"\n") == 2 and b"\r" not in block:
        return block
    lines = _LINE.findall(block)
    kept: list[bytes] = []
    foreign = False
    has_data = False
    for line in lines:
        name = line.rstrip(b"\r\n").partition(b":")[0]
        if name in (b"data", b"event"):
            has_data = has_data or name == b"data"
            kept.append(line)
        elif line.lstrip()[:1] in (b"{", b"[") or (name == b"error" and b"{" in line):
            foreign = True
        elif not line.strip():
            kept.append(line)  # the blank line that ends the block, with its own line end
        elif name and name not in (b"id", b"retry"):
            kept.append(line)  # a field that the standard ignores; not ours to drop
    if has_data:
        return block if len(kept) == len(lines) else b"".join(kept)
    return _adopt(lines) if foreign else None


def _adopt(lines: list[bytes]) -> bytes:
    """Unprefixed JSON as an event of its own; ``error: {…}`` as the error object that was meant."""
    text = [line.rstrip(b"\r\n") for line in lines if line.strip()]
    if text[0].startswith(b"error:"):
        text[0] = b'{"error":' + text[0][6:].strip()
        text[-1] += b"}"
    return b"".join(b"data: " + line + b"\n" for line in text) + b"\n"
