"""Frames of a provider's Responses stream -> the fewest that say the same to a reader who goes on with the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from tokenwire.dialects.base import Frame
from tokenwire.wire import sse

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALIVE: Final = frozenset({"keepalive", "response.keep_alive", "response.keepalive"})


class _Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A piece of a text, of whichever kind. One with other members stays as it is."""

    type: str
    delta: str
    output_index: int
    item_id: str | None = None
    content_index: int | None = None
    summary_index: int | None = None
    logprobs: list[Any] | None = None
    obfuscation: str | None = None
    sequence_number: int | None = None


class _Numbered(msgspec.Struct, gc=False):
    sequence_number: int | None = None


_delta: Final = msgspec.json.Decoder(_Delta).decode
_number: Final = msgspec.json.Decoder(_Numbered).decode

#: Which text it is. Not by the item's id: that may change from event to event (reference, Q28).
_Place: TypeAlias = tuple[str, int, int | None, int | None]


def condense(frames: Iterable[bytes]) -> list[Frame]:
    """The events of *frames*, runs of deltas in one each, which has the number of the run's last; without padding and
    keepalives. All items stay, in order, so that what follows fits."""
    condensed: list[Frame] = []
    run: list[_Delta] = []
    place: _Place | None = None

    def flush() -> None:
        if not run:
            return
        last = run[-1]
        scores = None if last.logprobs is None else [entry for each in run for entry in each.logprobs or ()]
        whole = msgspec.structs.replace(
            last, delta="".join([each.delta for each in run]), logprobs=scores, obfuscation=None
        )
        condensed.append(Frame(last.type, msgspec.json.encode(whole).decode()))
        run.clear()

    for frame in frames:
        for event in events(frame):
            delta = _plain(event)
            if delta is None:
                if event.event not in _ALIVE:
                    flush()
                    condensed.append(Frame(None if event.event == "message" else event.event, event.data))
                continue
            here = delta.type, delta.output_index, delta.content_index, delta.summary_index
            if here != place:
                flush()
                place = here
            run.append(delta)
    flush()
    return condensed


def sequence_of(frame: bytes) -> int | None:
    """The ``sequence_number`` of a frame; None if it has none. What has several events counts as its last."""
    number: int | None = None
    for event in events(frame):
        try:
            found = _number(event.data).sequence_number
        except (ValueError, RecursionError):
            continue
        number = number if found is None else found
    return number


def events(frame: bytes) -> list[sse.Event]:
    """The event of *frame* (several, if the provider is very odd)."""
    event = sse.simple(frame)
    return [event] if event is not None else sse.Decoder(len(frame) + 8).feed(frame + b"\n\n")


def _plain(event: sse.Event) -> _Delta | None:
    """*event* as a piece of a text, if it is one and says nothing else."""
    if not event.event.endswith(".delta"):
        return None
    try:
        delta = _delta(event.data)
    except (ValueError, RecursionError):
        return None
    return delta if delta.type == event.event else None
