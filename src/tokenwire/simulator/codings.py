"""Content codings for faults: each compresses a body piece by piece, so that every piece can be read at once.

Brotli without a compressor: its format (RFC 7932) has blocks that are stored as they are, and those are easy to write.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TypeAlias

#: (piece, whether it is the last one) -> bytes.
Packer: TypeAlias = Callable[[bytes, bool], bytes]

# RFC 7932, section 9.2: a stored block has a length of at most 2^16, with lengths of four nibbles.
_BLOCK = 1 << 16


def _zlib(wbits: int) -> Callable[[], Packer]:
    """*wbits* as in ``zlib.compressobj``: 31 is gzip's frame, 15 zlib's own, -15 none."""

    def start() -> Packer:
        packer = zlib.compressobj(wbits=wbits)
        return lambda piece, last: packer.compress(piece) + packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)

    return start


def _brotli() -> Packer:
    opened = False

    def pack(piece: bytes, last: bool) -> bytes:
        nonlocal opened
        out = []
        for start in range(0, len(piece), _BLOCK):
            block = piece[start : start + _BLOCK]
            # From the lowest bit: ISLAST 0, MNIBBLES 00 (four), MLEN - 1 in 16 bits, ISUNCOMPRESSED 1, padding. The
            # first block is preceded by WBITS, a 0 for a window of 64 KiB (section 9.1).
            bits = (len(block) - 1) << 3 | 1 << 19
            out.append((bits if opened else bits << 1).to_bytes(3, "little") + block)
            opened = True
        if last:
            out.append(b"\x03" if opened else b"\x06")  # ISLAST and ISLASTEMPTY
        return b"".join(out)

    return pack


#: Fault -> (its label in content-encoding, what makes a packer).
CODINGS: dict[str, tuple[bytes, Callable[[], Packer]]] = {
    "gzip": (b"gzip", _zlib(31)),
    "deflate": (b"deflate", _zlib(15)),
    "deflate-raw": (b"deflate", _zlib(-15)),
    "brotli": (b"br", _brotli),
}
