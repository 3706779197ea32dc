"""Responses that can be asked for again: as they stand by now, or as the rest of their stream (reference 4.8).

A response in the background goes on without its client. Nothing runs for that: its events were all made when it began,
each with its time, and what has happened by now follows from the clock. Faults are of one reply: what is kept is whole.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tokenwire.simulator.exchange import Frame
from tokenwire.simulator.vendors.openai_responses.requests import Item
from tokenwire.simulator.vendors.openai_responses.stream import Play

_PADDING = re.compile(rb',"obfuscation":"[^"]*"')


@dataclass
class Kept:
    """One response.

    Attributes:
        items: the conversation with the answer in it, for the next turn.
        events: of a response in the background, else None.
        started: when that began, Unix time in seconds.
        cancelled: when it was cancelled, None if it was not.
    """

    play: Play
    items: list[Item]
    events: list[Frame] | None = None
    started: float = 0.0
    cancelled: float | None = None

    def response(self, now: float) -> dict[str, Any]:
        """The response as it stands at *now*."""
        writer = self.play.writer
        if self.events is None:
            return writer.final(self.play.seconds)
        if self.cancelled is not None:
            return writer.response("cancelled")
        if self.over(now):
            return writer.final(self.play.seconds)
        return writer.response("in_progress" if now > self.started else "queued")

    def over(self, now: float) -> bool:
        """Whether everything has happened by *now*."""
        return self.cancelled is not None or now >= self.started + self.play.seconds

    def cancel(self, now: float) -> None:
        """Stop generating, unless all is generated: what is due after *now* never comes."""
        if self.events is None or self.over(now):
            return
        due = itertools.accumulate(frame.delay for frame in self.events)
        del self.events[sum(1 for each in due if self.started + each <= now) :]
        self.cancelled = now

    def live(self) -> Iterator[Frame]:
        """The events at their times, from the beginning, as long as nobody cancels."""
        number = 0
        while self.events and number < len(self.events):
            yield self.events[number]
            number += 1

    def rest(self, start: int, now: float, *, padded: bool) -> Iterator[Frame]:
        """The events from the number *start* on: at once what has happened by *now*, the others at their times."""
        due, reached = self.started, now
        number = 0
        while self.events and number < len(self.events):
            frame = self.events[number]
            due += frame.delay
            if number >= start:
                data = frame.data if padded else _PADDING.sub(b"", frame.data)
                yield frame._replace(data=data, delay=max(0.0, due - reached))
                reached = max(reached, due)
            number += 1
