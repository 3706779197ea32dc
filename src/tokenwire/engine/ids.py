"""Event ids: ``E-S`` and ``E-S.k`` (INTERFACES section 2).

``E-S`` means that everything through entry S of epoch E was delivered; ``.k`` adds the first k frames that entry S+1
gives in the reader's dialect. Ids are compared as integers, never as text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tokenwire.errors import NotResumable

# Bounded digits: an id comes from a header that anybody can write.
_ID = re.compile(r"([0-9]{1,10})-([0-9]{1,18})(?:\.([0-9]{1,9}))?", re.ASCII)


class EventId(NamedTuple):
    epoch: int
    seq: int
    frames: int = 0

    def __str__(self) -> str:
        base = f"{self.epoch}-{self.seq}"
        return f"{base}.{self.frames}" if self.frames else base


def parse_event_id(text: str) -> EventId:
    """*text* as an id. Raises ``NotResumable`` (400) when it is none."""
    match = _ID.fullmatch(text.strip())
    if match is None:
        raise NotResumable(400, "not_an_id", f"{text[:80]!r} is not an event id (expected EPOCH-SEQ or EPOCH-SEQ.K)")
    epoch, seq, frames = match.groups()
    return EventId(int(epoch), int(seq), int(frames or 0))
