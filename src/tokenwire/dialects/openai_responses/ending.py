"""An ending of ours for an answer of a provider's: numbered on, and of the response that the provider began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.base import Frame
from tokenwire.dialects.openai_responses.condense import events, sequence_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What an ending knows better than the provider's first event.
_OURS: Final = ("status", "error", "incomplete_details", "output", "usage")
#: So many frames without a number (keepalives) are looked past: a provider that numbers nothing is not read through.
_LOOKED_AT: Final = 64


def follow(frames: Sequence[Frame], first: bytes, newest: Iterable[bytes]) -> list[Frame]:
    """*frames* of an ending as they follow on what was sent: its *first* frame (b"" where that is not at hand), and all
    of it from the *newest* on.

    Clients refuse to go on after a number that was given twice, and ask for the response by the name that its first
    event has.
    """
    number = -1
    for _, sent in zip(range(_LOOKED_AT), newest, strict=False):
        found = sequence_of(sent)
        if found is not None:
            number = found
            break
    begun = _response(first)
    told: list[Frame] = []
    for frame in frames:
        number += 1
        fields = msgspec.json.decode(frame.data, type=dict[str, Any])
        if begun and "response" in fields:
            ours = fields["response"]
            fields["response"] = begun | {name: ours[name] for name in _OURS if name in ours}
        told.append(Frame(frame.event, msgspec.json.encode(fields | {"sequence_number": number}).decode()))
    return told


def _response(frame: bytes) -> dict[str, Any]:
    """The response as the provider's first event has it; empty where that is something else."""
    for event in events(frame):
        try:
            value = msgspec.json.decode(event.data)
        except (ValueError, RecursionError):
            continue
        response = value.get("response") if isinstance(value, dict) else None
        if isinstance(response, dict):
            return response
    return {}
