"""Ids as Anthropic makes them (reference section 14)."""

from __future__ import annotations

import random
import string

# Base 58: without 0, O, I and l, which look alike.
_BASE58 = "".join(sorted(set(string.digits + string.ascii_letters) - set("0OIl")))


def new_id(prefix: str, rng: random.Random, length: int = 22) -> str:
    """*prefix* and *length* characters: ``msg_01``, ``toolu_01``, ``srvtoolu_01`` with 22."""
    return prefix + "".join(rng.choices(_BASE58, k=length))


def new_request_id(rng: random.Random) -> str:
    return new_id("req_011C", rng, 20)
