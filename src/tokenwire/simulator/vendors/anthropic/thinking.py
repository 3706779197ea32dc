"""The seals on what the pretended model thinks.

Signatures are opaque to everybody else. Here they hold a digest of the text that they belong to, so that the simulator
sees, as the real API does, whether thinking was sent back as it was.
"""

from __future__ import annotations

import base64
import hashlib
import random

# How real ones begin: the first bytes of a serialised message, `Eq…` and `Em…` in base64.
_SIGNED = b"\x12\xa4\x01\x0a\x02\x18\x02\x12"
_REDACTED = b"\x12\x6c\x0a\x18\x01\x2a\x40\x22"
_DIGEST = 16


def sign(thinking: str, rng: random.Random) -> str:
    """The signature of a thinking block that shows *thinking*."""
    return _seal(_SIGNED, thinking.encode("utf-8", "surrogatepass"), rng.randbytes(rng.randrange(96, 200)))


def genuine(thinking: str, signature: str) -> bool:
    """Whether *signature* is one of ours for exactly this text."""
    return _unseal(_SIGNED, signature) == _digest(thinking.encode("utf-8", "surrogatepass"))


def redact(rng: random.Random) -> str:
    """The data of a redacted_thinking block."""
    filler = rng.randbytes(rng.randrange(160, 400))
    return _seal(_REDACTED, filler, filler)


def genuine_redacted(data: str) -> bool:
    """Whether *data* is ours, and whole."""
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError:
        return False
    start = len(_REDACTED)
    return raw.startswith(_REDACTED) and raw[start : start + _DIGEST] == _digest(raw[start + _DIGEST :])


def _seal(kind: bytes, sealed: bytes, filler: bytes) -> str:
    return base64.b64encode(kind + _digest(sealed) + filler).decode()


def _unseal(kind: bytes, text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return raw[len(kind) : len(kind) + _DIGEST] if raw.startswith(kind) else None


def _digest(sealed: bytes) -> bytes:
    return hashlib.blake2b(sealed, digest_size=_DIGEST).digest()
