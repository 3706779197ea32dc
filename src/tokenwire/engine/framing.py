"""Between frames and events: how each dialect's are read from a log, and written to a reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokenwire.engine.ids import EventId
from tokenwire.wire import sse

if TYPE_CHECKING:
    from tokenwire.dialects.base import Dialect, Frame


def parse(frame: bytes, dialect: Dialect) -> list[sse.Event]:
    """The events of one frame that a provider sent in *dialect* (one, unless the provider is very odd)."""
    if dialect.framing != "sse":
        line = frame.strip()
        return [sse.Event("message", line.decode("utf-8", "replace"), "", None)] if line else []
    if (event := sse.simple(frame)) is not None:
        return [event]
    decoder = sse.Decoder(len(frame) + 3)  # its bound was the cutter's business
    return decoder.feed(frame) + decoder.close(lenient=True)


def encode(
    frames: Sequence[Frame], dialect: Dialect, event_id: EventId | None, skipped: int = 0, entries: int = 1
) -> bytes:
    """Frames of one entry as bytes. With ids, the last carries ``E-S`` and the ones before it ``E-(S-1).k``, counted
    from *skipped*; a dialect whose framing has no place for ids is given none. Of several *entries*, the last of which
    is S, the frames before the last are those of the first entry."""
    if dialect.framing == "ndjson":
        return b"".join([frame.data.encode() + b"\n" for frame in frames])
    if dialect.framing == "raw":
        return "".join([frame.data for frame in frames]).encode()
    if event_id is None:
        return b"".join([sse.encode(frame.data, event=frame.event) for frame in frames])
    before = event_id.seq - entries
    last = len(frames) - 1
    parts: list[bytes] = []
    for index, frame in enumerate(frames):
        mark = event_id if index == last else EventId(event_id.epoch, before, skipped + index + 1)
        parts.append(sse.encode(frame.data, event=frame.event, id=str(mark)))
    return b"".join(parts)


def encode_prefix(frames: Sequence[Frame], dialect: Dialect, cursor: EventId | None) -> bytes:
    """A coalesced prefix: only its last frame carries an id, for nobody may resume inside it."""
    return encode(frames[:-1], dialect, None) + encode(frames[-1:], dialect, cursor)
