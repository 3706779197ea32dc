"""One Server-Sent Event: what it is, and what one finished block of lines means (WHATWG HTML section 9.2.6).

`tokenwire.wire.sse` cuts bytes into such blocks and exports the event.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

# Longer reconnection times are neither read nor written, as browsers ignore what overflows them. 15 digits are
# what every client holds exactly, JavaScript's numbers included; `int` of a million digits would stop the world.
RETRY_DIGITS: Final = 15


class Event(Struct, frozen=True, gc=False):
    """One dispatched event. Compares by value.

    Attributes:
        event: the event type; ``message`` where the block names none.
        data: the data lines, joined by LF.
        id: the last event id in force at dispatch, from this block or an earlier one; None until one was set.
        retry: the reconnection time in milliseconds, on the event that comes with or after a retry field.
    """

    event: str = "message"
    data: str = ""
    id: str | None = None
    retry: int | None = None


def interpret(block: str, last_event_id: str | None, retry: int | None) -> tuple[Event | None, str | None, int | None]:
    """Go through a block line by line.

    Args:
        block: its lines, LF between them; empty lines mean nothing here.
        last_event_id: the id in force before it.
        retry: a reconnection time that no event has carried yet, in milliseconds.

    Returns:
        The event, or None if the block dispatches nothing, having no data; then both arguments as they are after
        it: an id counts without data too, and a retry waits for the next event.
    """
    kind = ""
    data: list[str] = []
    start = 0
    while start < len(block):  # not `split`: millions of short lines in one list take 20 times their own size
        end = block.find("\n", start)
        if end < 0:
            end = len(block)
        name, _, value = block[start:end].partition(":")  # a comment is a line whose name is empty
        start = end + 1
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            if "\0" not in value:
                last_event_id = value
        elif name == "retry":
            # ASCII digits only: `int` would also take "+5", " 5", "1_000" and the digits of other scripts.
            digits = value.lstrip("0") or value[:1]
            if digits.isascii() and digits.isdigit() and len(digits) <= RETRY_DIGITS:
                retry = int(digits)
    if not data:
        return None, last_event_id, retry
    return Event(kind or "message", "\n".join(data), last_event_id, retry), last_event_id, None


def simple(frame: bytes) -> Event | None:
    """The event of a whole frame, if it has one of the usual forms: one line of data, a line ``event: …`` before it or
    not, LF framing. None of any other: that is for a `Decoder`, which takes ten times as long to set up as this."""
    if not frame.endswith(b"\n\n") or b"\r" in frame:
        return None
    if frame.startswith(b"data: "):
        if frame.find(b"\n") != len(frame) - 2:
            return None
        return Event(data=frame[6:-2].decode("utf-8", "replace"))
    end = frame.find(b"\n")
    if not frame.startswith(b"event: ") or not frame.startswith(b"data: ", end + 1):
        return None
    if frame.find(b"\n", end + 1) != len(frame) - 2:
        return None
    kind = frame[7:end].decode("utf-8", "replace")
    return Event(kind or "message", frame[end + 7 : -2].decode("utf-8", "replace"))


__all__ = ["RETRY_DIGITS", "Event", "interpret", "simple"]
