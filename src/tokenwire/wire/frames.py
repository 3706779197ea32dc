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
from tokenwire.wire import sse
from tokenwire.wire.whole_json import is_whole_json

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

    Args:
        limit: the most bytes of an unfinished event that are held. A larger event is ``EventTooLarge``, raised by
            ``feed`` or ``close`` after the frames before it were returned, and again by every later call.
    """

    __slots__ = ("_begun", "_buffer", "_cr", "_failed", "_limit", "_searched", "_swallow", "clean")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._searched = 0  # nothing ends before this offset of the buffer
        self._limit = limit
        self.clean = False  # begun, and between two events: the state in which the fast routes may be taken
        self._cr = False  # a CR was seen: lines may end in more than one way
        self._begun = False  # a leading byte-order mark can no longer come
        self._swallow = False  # the last frame ended in a lone CR: an LF that follows belongs to it
        self._failed = False  # an event passed the limit

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that *data* completes, oldest first."""
        # Nearly every read is one or a few whole LF-framed events of one data line each, all named or none.
        # The general route below gives the same answer (tested); this one costs a tenth of it.
        if (
            (self.clean or not (self._begun or self._buffer))  # no byte-order mark begins with "d" or "e"
            and data.endswith(b"\n\n")
            and b"\r" not in data
        ):
            frames: list[bytes] = []
            if data.startswith(b"data:"):
                if data.count(b"\n") == 2:
                    frames = [data]
                else:
                    blocks = data[:-2].split(b"\n\n")
                    if data.count(b"\n") == 2 * len(blocks) and data.count(b"\n\ndata:") == len(blocks) - 1:
                        frames = [block + b"\n\n" for block in blocks]
            elif _is_named(data):  # Anthropic's framing: the event's name on a line before
                if data.count(b"\n") == 3:
                    frames = [data]
                else:
                    blocks = data[:-2].split(b"\n\n")
                    if data.count(b"\n") == 3 * len(blocks) and all(map(_is_named, blocks)):
                        frames = [block + b"\n\n" for block in blocks]
            if frames:
                self.clean = self._begun = True
                return frames
        return self._feed(data)

    def _feed(self, data: bytes) -> list[bytes]:
        if self._failed:
            raise EventTooLarge("an upstream event", self._limit)
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
            self._failed = True
            self.clean = False
            buffer.clear()
            if not frames:  # with frames before it, the error waits for the next call
                raise EventTooLarge("an upstream event", self._limit)
        return frames

    def close(self) -> list[bytes]:
        """The body ended: the pending event, if it is whole but for its blank line (some servers end like that).

        Whole is what ``sse.Decoder.close(lenient=True)`` takes for whole: a connection may break off anywhere, and
        half an event must not be passed on as one.
        """
        if self._failed:
            raise EventTooLarge("an upstream event", self._limit)
        if not self._buffer:
            return []
        block = bytes(self._buffer)
        self._buffer = bytearray()
        lines = [line for line in _LINE.findall(block) if line]
        is_cut = not block.endswith((b"\n", b"\r"))
        has_data = any(line.rstrip(b"\r\n").partition(b":")[0] == b"data" for line in lines)
        if is_cut and has_data and not lines[-1].startswith(b"data:"):
            del lines[-1]  # whatever it was going to be, it is no part of the data
        end = b"\r\n" if b"\r\n" in block else b"\r" if b"\r" in block else b"\n"
        block = b"".join(lines)
        frame = _frame(block + (end if block.endswith((b"\n", b"\r")) else end + end))
        if frame is None:
            return []
        if is_cut or not has_data:
            data = sse.Decoder(len(frame)).feed(frame)[0].data
            if data != "[DONE]" and not is_whole_json(data):
                return []
        return [frame]

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


def _is_named(block: bytes) -> bool:
    """Whether *block* begins with a line ``event:`` and then one of data."""
    return block.startswith(b"event:") and block.startswith(b"data:", block.find(b"\n") + 1)


def _frame(block: bytes) -> bytes | None:
    """One block through its blank line -> the frame, or None if it dispatches nothing."""
    if b"\r" not in block and (
        (block.startswith(b"data:") and block.count(b"\n") == 2) or (block.count(b"\n") == 3 and _is_named(block))
    ):
        return block
    lines = _LINE.findall(block)
    kept: list[bytes] = []
    foreign = False
    has_data = False
    for line in lines:
        name = line.rstrip(b"\r\n").partition(b":")[0]
        if name == b"data":
            has_data = True
        elif name in (b"id", b"retry") or line.startswith(b":"):
            continue
        elif name != b"event":
            foreign = foreign or _is_foreign(line)
        kept.append(line)  # fields that the standard ignores, too: they are not ours to drop
    if not has_data:
        return _adopt(kept) if foreign else None
    if len(kept) == len(lines):
        return block
    frame = b"".join(kept)
    # A line that ended in CR, and the blank line in LF, are one line end now that nothing stands between them.
    return frame + b"\n" if frame.endswith(b"\r\n") and frame[-3] not in b"\r\n" else frame


def _is_foreign(line: bytes) -> bool:
    """Whether JSON begins here that lacks its ``data:``."""
    return line.lstrip()[:1] in (b"{", b"[") or (line.startswith(b"error:") and b"{" in line)


def _adopt(lines: list[bytes]) -> bytes:
    """Unprefixed JSON as an event of its own; ``error: {…}`` as the error object that was meant."""
    head = b""
    text: list[bytes] = []
    for line in lines:
        bare = line.rstrip(b"\r\n")
        if bare.startswith(b"event:"):
            head = bare + b"\n"
        elif bare and (text or _is_foreign(line)):
            text.append(bare)
    if text[0].startswith(b"error:"):
        text[0] = b'{"error":' + text[0][6:].strip()
        text[-1] += b"}"
    return head + b"".join(b"data: " + line + b"\n" for line in text) + b"\n"
