"""Reasoning as it is handed out: summaries, and contents that only OpenAI can read.

The sealed contents hold a digest of themselves, so that the simulator sees whether they were sent back whole.
"""

from __future__ import annotations

import base64
import hashlib
import random

from tokenwire.simulator.tokens import pieces

# How real ones begin: a version and a time, `gAAAAAB…` in base64.
_KIND = b"\x80\x00\x00\x00\x00"
_DIGEST = 16
_TITLES = ("**Reading the question**\n\n", "**Planning the answer**\n\n")


def summaries(thought: list[str]) -> list[list[str]]:
    """The parts of a summary of *thought*, as tokens: what comes before its first blank line, and the rest."""
    cut = next((place + 1 for place, piece in enumerate(thought) if piece.startswith("\n\n")), len(thought))
    parts = [thought[: cut - 1], thought[cut:]]
    return [[*pieces(title), *part] for title, part in zip(_TITLES, parts, strict=True) if part]


def seal(rng: random.Random, *, final: bool = True) -> str:
    """Encrypted content. One that is not *final* is of the same form, and worth nothing afterwards."""
    filler = rng.randbytes(rng.randrange(120, 300))
    digest = _digest(filler) if final else rng.randbytes(_DIGEST)
    return base64.urlsafe_b64encode(_KIND + digest + filler).decode()


def genuine(sealed: str) -> bool:
    """Whether *sealed* is ours, final, and whole."""
    try:
        raw = base64.urlsafe_b64decode(sealed)
    except ValueError:
        return False
    start = len(_KIND) + _DIGEST
    return raw.startswith(_KIND) and raw[len(_KIND) : start] == _digest(raw[start:])


def _digest(filler: bytes) -> bytes:
    return hashlib.blake2b(filler, digest_size=_DIGEST).digest()
