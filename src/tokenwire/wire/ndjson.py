"""Newline-delimited JSON (Ollama's streams): bytes -> lines and back. One JSON text a line, LF or CRLF, UTF-8.

The decoder cuts lines and decodes them; whether they are JSON is their reader's question. A line ends at LF and
nowhere else: U+2028 and its like may stand in JSON strings, and a CR that is not before an LF is plain space to JSON.
It holds one unfinished line, and searches, copies and decodes each byte a fixed number of times.
"""

from __future__ import annotations

from typing import Final

from tokenwire.errors import EventTooLarge, LocalProtocolError
from tokenwire.wire.whole_json import is_whole_json

DEFAULT_LIMIT: Final = 16 * 1024 * 1024  # as for `sse`: answers with images or whole traces come in one line

_WHAT: Final = "an NDJSON line"
_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = " \t\r"


class Decoder:
    """One stream of bytes -> lines. Make a new one for each response; not for several threads at once.

    What comes out does not depend on where chunks are cut, errors included: the lines before an oversized one
    are delivered, then the error is raised, and raised again by every later call. Received bytes raise nothing
    but `EventTooLarge`.

    Args:
        limit: the longest line in bytes, without its LF.
    """

    __slots__ = ("_at_start", "_closed", "_failed", "_limit", "_pending")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if limit < len(_BOM):  # which may have to be held
            raise ValueError(f"limit must be at least {len(_BOM)} bytes, not {limit}")
        self._limit = limit
        self._pending = bytearray()  # the unfinished line; at the start perhaps a piece of a BOM
        self._at_start = True
        self._failed = False
        self._closed = False

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes, cut anywhere, and return the lines that they complete, in order.

        Lines come without their ends and without the spaces around them; blank lines are left out, and one byte
        order mark at the start is dropped. Invalid UTF-8 is replaced by U+FFFD.

        Raises:
            EventTooLarge: A line is above the limit. The lines before it have been returned, nothing is held.
            LocalProtocolError: The decoder was closed.
        """
        if self._failed:
            raise EventTooLarge(_WHAT, self._limit)
        if self._closed:
            raise LocalProtocolError("fed after close: a new response needs a new decoder")
        pending = self._pending
        if self._at_start:
            chunk = bytes(pending) + chunk
            pending.clear()
            self._at_start = len(chunk) < len(_BOM) and _BOM.startswith(chunk)
            if not self._at_start:
                chunk = chunk.removeprefix(_BOM)
        end = chunk.rfind(b"\n") + 1
        lines: list[str] = []
        if end:
            finished = bytes(pending) + chunk[:end]
            pending.clear()
            lines = self._lines(finished)
        pending += chunk[end:]
        if len(pending) > self._limit:
            self._failed = True
        if self._failed:
            pending.clear()
            if not lines:  # with lines before it, the error waits for the next call
                raise EventTooLarge(_WHAT, self._limit)
        return lines

    def close(self, *, lenient: bool = False) -> list[str]:
        """Say that the bytes have ended.

        Args:
            lenient: also deliver a last line that has no line end, if it is one whole JSON value; a bare number
                is not taken for one, as more digits may be missing.

        Returns:
            That line, or nothing.

        Raises:
            EventTooLarge: A line was above the limit.
        """
        if self._failed:
            raise EventTooLarge(_WHAT, self._limit)
        self._closed = True
        line = self._pending.decode("utf-8", "replace").strip(_SPACE)
        self._pending.clear()
        return [line] if lenient and is_whole_json(line) else []

    def _lines(self, finished: bytes) -> list[str]:
        """The lines of *finished*, which ends with LF, up to the first that is too large."""
        if len(finished) > self._limit:
            raw_lines = finished.split(b"\n")
            for number, raw_line in enumerate(raw_lines):
                if len(raw_line) > self._limit:
                    self._failed = True
                    finished = b"\n".join(raw_lines[:number])
                    break
        lines = [line.strip(_SPACE) for line in finished.decode("utf-8", "replace").split("\n")]
        return [line for line in lines if line]


def encode(text: str) -> bytes:
    """One JSON text as a line.

    Raises:
        ValueError: *text* contains a raw LF or CR, which JSON only needs for layout, or nothing but spaces; or a
            lone surrogate, which JSON writes as an escape.
    """
    if "\n" in text or "\r" in text:
        raise ValueError("a line of NDJSON must not contain a line end; write the JSON without layout")
    if not text.strip(_SPACE):
        raise ValueError("a line of NDJSON must not be blank: readers skip it")
    return text.encode() + b"\n"


__all__ = ["DEFAULT_LIMIT", "Decoder", "encode"]
