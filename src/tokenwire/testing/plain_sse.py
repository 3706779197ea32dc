"""The rules of Server-Sent Events in their plainest form: the oracle that `tokenwire.wire.sse` is compared with.

Takes the bytes in one piece and goes by the steps of WHATWG HTML section 9.2.6, buffer by buffer. Slow, unbounded in
memory, and sharing nothing with the decoder but the type of its events: it must be right at a glance.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from tokenwire.wire.sse import DEFAULT_LIMIT, Event


@dataclass
class Reading:
    """What some bytes mean.

    Attributes:
        events: dispatched, in order.
        last_event_id: as of the last finished block; None until one was set.
        too_large: a block above the limit came after the events, and nothing behind it was read.
        at_end: what a lenient close adds, should the bytes end here.
        last_event_id_at_end: and the last event id then.
    """

    events: list[Event] = field(default_factory=list)
    last_event_id: str | None = None
    too_large: bool = False
    at_end: list[Event] = field(default_factory=list)
    last_event_id_at_end: str | None = None


class _Interpreter:
    """The buffers of section 9.2.6, and the two steps that work on them."""

    def __init__(self) -> None:
        self.data = ""
        self.event_type = ""
        self.last_event_id: str | None = None
        self.retry: int | None = None

    def process(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self.event_type = value
        elif name == "data":
            self.data += value + "\n"
        elif name == "id" and "\0" not in value:
            self.last_event_id = value
        elif name == "retry" and re.fullmatch("0*[0-9]{1,15}", value):  # longer: ignored, see `sse_encode`
            self.retry = int(value)

    def dispatch(self) -> list[Event]:
        events = []
        if self.data != "":
            events = [Event(self.event_type or "message", self.data[:-1], self.last_event_id, self.retry)]
            self.retry = None
        self.data = self.event_type = ""
        return events


def read(wire: bytes, limit: int = DEFAULT_LIMIT) -> Reading:
    """Everything that *wire*, the beginning of a stream, means so far; *limit* as for `tokenwire.wire.sse.Decoder`."""
    reading = Reading()
    interpreter = _Interpreter()
    wire = wire.removeprefix(b"\xef\xbb\xbf")
    raw_lines = re.split(rb"\r\n|\r|\n", wire)
    lines = re.split("\r\n|\r|\n", wire.decode("utf-8", "replace"))
    size = 0  # of the block so far
    for raw, line in zip(raw_lines[:-1], lines[:-1], strict=True):
        size += len(raw) + 1
        if line == "":
            size = 0
            reading.events += interpreter.dispatch()
            reading.last_event_id = interpreter.last_event_id
        elif size > limit:
            reading.too_large = True
            return reading
        else:
            interpreter.process(line)
    if size + len(raw_lines[-1]) > limit:
        reading.too_large = True
        return reading
    last_line = lines[-1]
    if last_line.startswith("data:"):
        interpreter.process(last_line)
    reading.last_event_id_at_end = reading.last_event_id
    pending = interpreter.dispatch()
    if pending and (last_line == "" or _is_whole(pending[0].data)):
        reading.at_end = pending
        reading.last_event_id_at_end = interpreter.last_event_id
    return reading


def _is_whole(data: str) -> bool:
    """Whether data that may have been cut off shows its own end: JSON, but not a number, or the ``[DONE]`` of chats."""
    if data == "[DONE]":
        return True
    try:
        value = json.loads(data, parse_constant=_refuse, parse_int=float)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list | str | bool | None)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is Python's, not JSON's")
