"""The events of a Responses stream on their way out: numbered from 0 without gaps, their items in order."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tokenwire.dialects.base import Frame
from tokenwire.dialects.pieces import Pieces

_json: Final = msgspec.json.encode


class Events:
    """What counts on through a stream.

    Args:
        stream: our stream id; the ids of items are made of it, and of their numbers.

    Attributes:
        number: the sequence number of the next event.
        closed: the items that are over, each with its number.
    """

    __slots__ = ("_next", "_stream", "closed", "number")

    def __init__(self, stream: str) -> None:
        self._stream = stream.removeprefix("st_")
        self._next = 0
        self.number = 0
        self.closed: Pieces[tuple[int, dict[str, Any]]] = Pieces()

    def copy(self) -> Events:
        twin = Events("")
        twin._stream = self._stream  # as it is: one id in a quarter of a million begins with the prefix once more
        twin._next, twin.number, twin.closed = self._next, self.number, self.closed.copy()
        return twin

    def event(self, kind: str, fields: dict[str, Any]) -> Frame:
        """An event with the next number, which stands last in it."""
        frame = Frame(kind, _json({"type": kind, **fields, "sequence_number": self.number}).decode())
        self.number += 1
        return frame

    def take(self, kind: str) -> tuple[str, int]:
        """Id and place of a new item."""
        index = self._next
        self._next += 1
        return f"{kind}{self._stream}{index:04x}", index

    def added(self, index: int, item: dict[str, Any]) -> Frame:
        return self.event("response.output_item.added", {"output_index": index, "item": item})

    def done(self, index: int, item: dict[str, Any]) -> Frame:
        """The item is over."""
        self.closed.append((index, item))
        return self.event("response.output_item.done", {"output_index": index, "item": item})
