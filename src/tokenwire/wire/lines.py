"""Cutting a provider's NDJSON bytes into frames: whole lines through their LF, kept byte for byte.

``ndjson.Decoder`` says what a line reads; the cutter here only finds where it ends, as ``frames.Cutter`` does for SSE
and with the same interface. A line ends at LF and nowhere else. Blank lines are no frames: nobody means anything by
them, and the stock Ollama client raises at one.
"""

from __future__ import annotations

from typing import Final

from tokenwire.errors import EventTooLarge
from tokenwire.wire.frames import MAX_FRAME
from tokenwire.wire.whole_json import is_whole_json

_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = b" \t\r"
_WHAT: Final = "an upstream event"


class LineCutter:
    """Body bytes in, frames out; cut anywhere, in linear time.

    ``clean`` says that the next byte begins a line: whoever knows *data* to be one whole line need not feed it.

    Args:
        limit: the most bytes of an unfinished line that are held. A larger line is ``EventTooLarge``, raised by
            ``feed`` or ``close`` after the frames before it were returned, and again by every later call.
    """

    __slots__ = ("_begun", "_buffer", "_failed", "_limit", "clean")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self.clean = False  # begun, and between two lines: the state in which the fast routes may be taken
        self._begun = False  # a leading byte-order mark can no longer come
        self._failed = False  # a line passed the limit

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that *data* completes, oldest first."""
        # Nearly every read is one whole line, which begins with a brace: neither blank nor a byte-order mark.
        if (
            data.startswith(b"{")
            and data.find(b"\n") == len(data) - 1
            and (self.clean or not (self._begun or self._buffer))
        ):
            self.clean = self._begun = True
            return [data]
        return self._feed(data)

    def _feed(self, data: bytes) -> list[bytes]:
        if self._failed:
            raise EventTooLarge(_WHAT, self._limit)
        buffer = self._buffer
        buffer += data
        if not self._begun and not self._skip_bom():
            return []
        frames: list[bytes] = []
        end = buffer.rfind(b"\n", max(0, len(buffer) - len(data)))
        if end >= 0:
            lines = bytes(buffer[:end]).split(b"\n")
            del buffer[: end + 1]
            frames = [line + b"\n" for line in lines if line.strip(_SPACE)]
        self.clean = not buffer
        if len(buffer) > self._limit:
            self._failed = True
            self.clean = False
            buffer.clear()
            if not frames:  # with frames before it, the error waits for the next call
                raise EventTooLarge(_WHAT, self._limit)
        return frames

    def close(self) -> list[bytes]:
        """The body ended: the pending line, with the LF that it lacks, if it is whole JSON.

        A connection may break off anywhere, and half a line must not be passed on as one.
        """
        if self._failed:
            raise EventTooLarge(_WHAT, self._limit)
        line = bytes(self._buffer)
        self._buffer.clear()
        return [line + b"\n"] if is_whole_json(line.decode("utf-8", "replace")) else []

    @property
    def pending(self) -> int:
        """Bytes held of a line that has not ended."""
        return len(self._buffer)

    def _skip_bom(self) -> bool:
        """Drop one leading byte-order mark; False while it may still be incomplete."""
        if self._buffer.startswith(_BOM):
            del self._buffer[:3]
        elif len(self._buffer) < 3 and _BOM.startswith(self._buffer):
            return False
        self._begun = True
        return True


__all__ = ["LineCutter"]
