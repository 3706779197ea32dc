"""Content codings of answers (RFC 9110 section 8.4). We ask for identity; some providers and proxies compress anyway.

A compressed stream is inflated as it comes: whatever the compressor has flushed is handed on at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from tokenwire.errors import EventTooLarge, RemoteProtocolError, UnreadableAnswer

#: What is handed on at a time, bytes: whoever has had enough can stop in between.
PIECE: Final = 64 * 1024
#: Bytes that one read (256 KiB at most) may become. Streams shrink to a tenth; a bomb grows to a thousand times.
MOST: Final = 16 * 1024 * 1024

# zlib's codes for the formats (zlib.h, inflateInit2): gzip's own header, zlib's, and neither.
_GZIP, _ZLIB, _RAW = 31, 15, -15

Inflate = Callable[[bytes], Iterator[bytes]]


def inflater(coding: bytes) -> Inflate | None:
    """What reads a body of that ``Content-Encoding``: bytes as they come in, pieces of content out; None: as it is.

    The pieces' iterator raises ``EventTooLarge`` for a bomb and ``RemoteProtocolError`` for damaged bytes. Raises
    ``UnreadableAnswer`` for a coding that nobody here can read.
    """
    name = coding.strip().lower()
    if name in (b"", b"identity"):
        return None
    if name not in (b"gzip", b"x-gzip", b"deflate"):
        shown = coding[:40].decode("latin-1")
        raise UnreadableAnswer(f"the upstream answered in the content coding {shown!r}; it was asked for none")
    return _Inflater(gzip=name != b"deflate").feed


class _Inflater:
    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._stream = zlib.decompressobj(_GZIP) if gzip else None  # deflate: its first byte tells which format

    def feed(self, data: bytes) -> Iterator[bytes]:
        total = 0
        full = False  # zlib may have taken all the input and still hold output
        while data or full:
            if self._stream is None:
                # "deflate" means zlib's format, and some servers send it bare: in that, such a byte is all but absent.
                self._stream = zlib.decompressobj(_ZLIB if data[0] & 0x8F == 0x08 else _RAW)
            try:
                piece = self._stream.decompress(data, PIECE)
            except zlib.error as error:
                raise RemoteProtocolError(f"the upstream's compressed answer is damaged: {error}") from error
            full = len(piece) == PIECE
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data = self._stream.unused_data
                if not self._gzip:
                    data = b""
                elif data:  # members may follow one another (RFC 1952 section 2.2)
                    self._stream = zlib.decompressobj(_GZIP)
            total += len(piece)
            if total > MOST:
                raise EventTooLarge("what one read of the upstream's compressed answer becomes", MOST)
            if piece:
                yield piece
