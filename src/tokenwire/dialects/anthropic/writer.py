"""The content blocks of a Messages stream on their way out: one after the other, numbered without gaps.

Blocks never interleave in this dialect, and deltas of another one may (two calls whose arguments come in turns). So a
block that begins while a call's arguments are still open waits, with everything that is said in it, until they are
whole.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from tokenwire.dialects.base import Frame
from tokenwire.dialects.json_text import Balance
from tokenwire.dialects.pieces import Pieces

_json = msgspec.json.encode


class _Block:
    """A block that is being sent, or that waits: with the deltas that wait with it, as JSON."""

    __slots__ = ("balance", "deltas", "ended", "head", "index", "key", "start")

    def __init__(self, key: tuple[str, int], start: dict[str, Any]) -> None:
        self.key = key
        self.start = start
        self.index = 0
        self.head = ""  # of its deltas, once it has its index
        self.deltas: Pieces[str] = Pieces()
        self.balance = Balance() if key[0] == "tool_use" else None
        self.ended = False

    @property
    def open(self) -> bool:
        """Whether others must wait for it."""
        return self.balance is not None and not (self.ended or self.balance.complete)

    def copy(self) -> _Block:
        twin = _Block(self.key, self.start)
        twin.index, twin.head, twin.deltas, twin.ended = self.index, self.head, self.deltas.copy(), self.ended
        twin.balance = None if self.balance is None else self.balance.copy()
        return twin


class Writer:
    """Blocks -> frames.

    A block is named by its kind and a number, both the caller's; ``tool_use`` is the kind that others wait for. Which
    blocks there are, and their order, depends on the order of what is said alone, never on how it is cut into deltas.

    Attributes:
        newest: kind and number of the block that began last, sent or not, over or not; None before the first.
    """

    __slots__ = ("_block", "_last", "_named", "_next", "_waiting", "newest")

    def __init__(self) -> None:
        self._block: _Block | None = None  # the one that is being sent
        self._last: _Block | None = None  # the one that began last, while it takes more
        self._next = 0
        self._waiting: deque[_Block] = deque()
        self._named: dict[tuple[str, int], _Block] = {}  # those that somebody will end: calls, opaque ones
        self.newest: tuple[str, int] | None = None

    def put(self, kind: str, number: int, start: dict[str, Any], delta: str | None) -> list[Frame]:
        """Say *delta*, JSON, in that block if it began last, else in a new one, which begins with *start*; None only
        begins it."""
        key = (kind, number)
        last = self._last
        if last is not None and last.key == key and delta is not None:
            if last is self._block:
                return [Frame("content_block_delta", f"{last.head}{delta}}}")]  # nearly every token
            last.deltas.append(delta)
            return []
        block = self._last = _Block(key, start)
        self._waiting.append(block)
        self.newest = key
        if kind in ("tool_use", "opaque"):
            self._named[key] = block
        if delta is not None:
            block.deltas.append(delta)
        return self._advance()

    def part(self) -> None:
        """The newest block takes nothing more; the next one of its name is another."""
        self._last = None

    def add(self, kind: str, number: int, delta: str) -> list[Frame]:
        """Say *delta*, JSON, in that call or opaque block; nothing if it is over."""
        block = self._named.get((kind, number))
        if block is None:
            return []
        block.deltas.append(delta)
        return self._advance()

    def arguments(self, number: int, text: str) -> list[Frame]:
        """A fragment of a call's arguments; nothing if the call is over."""
        block = self._named.get(("tool_use", number))
        if block is not None:
            assert block.balance is not None
            block.balance.feed(text)
        return self.add("tool_use", number, f'{{"type":"input_json_delta","partial_json":{_json(text).decode()}}}')

    def end(self, kind: str, number: int) -> list[Frame]:
        """That block is whole."""
        block = self._named.get((kind, number))
        if block is not None:
            block.ended = True
        return self._advance()

    def close(self) -> list[Frame]:
        """All blocks are over, whole or not."""
        for block in (self._block, *self._waiting):
            if block is not None:
                block.ended = True
        return self._advance()

    def copy(self) -> Writer:
        twin = Writer()
        copies = {id(block): block.copy() for block in (self._block, *self._waiting) if block is not None}
        twin._block = None if self._block is None else copies[id(self._block)]
        twin._waiting = deque(copies[id(block)] for block in self._waiting)
        twin._last = None if self._last is None else copies[id(self._last)]
        twin._named = {key: copies[id(block)] for key, block in self._named.items()}
        twin._next, twin.newest = self._next, self.newest
        return twin

    def _advance(self) -> list[Frame]:
        """Send what may be sent: the deltas of the present block, then its end, then the next block."""
        frames: list[Frame] = []
        while True:
            block = self._block
            if block is not None:
                if said := block.deltas.items():
                    frames += [Frame("content_block_delta", f"{block.head}{delta}}}") for delta in said]
                    block.deltas = Pieces()
                if not block.ended and (block.open or not self._waiting):
                    return frames
                frames.append(Frame("content_block_stop", f'{{"type":"content_block_stop","index":{block.index}}}'))
                self._block = None
                self._last = None if self._last is block else self._last
                if self._named.get(block.key) is block:
                    del self._named[block.key]
            if not self._waiting:
                return frames
            block = self._block = self._waiting.popleft()
            block.index = self._next
            block.head = f'{{"type":"content_block_delta","index":{block.index},"delta":'
            self._next += 1
            start = {"type": "content_block_start", "index": block.index, "content_block": block.start}
            frames.append(Frame("content_block_start", _json(start).decode()))
