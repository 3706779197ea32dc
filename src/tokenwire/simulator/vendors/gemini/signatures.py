"""Thought signatures: opaque to everybody else. Here they are bound to the function that they stand beside.

So the simulator sees, as the real API does, whether one was sent back whole, and with its own part.
"""

from __future__ import annotations

import base64
import hashlib
import random

_KIND = b"\x12\xc2\x05\x0a"
_DIGEST = 16

#: What Google lets people send for calls that its models did not make.
DUMMIES = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})


def sign(name: str, rng: random.Random) -> str:
    """The signature of a part that calls *name*, "" for one that calls nothing."""
    filler = rng.randbytes(rng.randrange(96, 200))
    return base64.b64encode(_KIND + _digest(name, filler) + filler).decode()


def genuine(signature: str, name: str) -> bool:
    """Whether *signature* is one of ours for such a part, or a dummy, which SDKs encode once more."""
    try:
        raw = base64.b64decode(signature.replace("-", "+").replace("_", "/") + "==", validate=False)
    except ValueError:
        return signature in DUMMIES
    if signature in DUMMIES or raw in {dummy.encode() for dummy in DUMMIES}:
        return True
    start = len(_KIND) + _DIGEST
    return raw.startswith(_KIND) and raw[len(_KIND) : start] == _digest(name, raw[start:])


def _digest(name: str, filler: bytes) -> bytes:
    return hashlib.blake2b(filler, digest_size=_DIGEST, key=name.encode("utf-8", "surrogatepass")[:64]).digest()
