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

_json = msgspec.json.encode


class _Block:
    """A block that is being sent, or that waits: with the deltas that wait with it, as JSON."""

    __slots__ = ("balance", "deltas", "ended", "index", "key", "start")

    def __init__(self, key: tuple[str, int], start: dict[str, Any]) -> None:
        self.key = key
        self.start = start
        self.index = 0
        self.deltas: list[str] = []
        self.balance = Balance() if key[0] == "tool_use" else None
        self.ended = False

    @property
    def open(self) -> bool:
        """Whether others must wait for it."""
        return self.balance is not None and not (self.ended or self.balance.complete)

    def copy(self) -> _Block:
        twin = _Block(self.key, self.start)
        twin.index, twin.deltas, twin.ended = self.index, list(self.deltas), self.ended
        twin.balance = None if self.balance is None else self.balance.copy()
        return twin


class Writer:
    """Blocks -> frames.

    A block is named by its kind and a number, both the caller's; ``tool_use`` is the kind that others wait for.

    Attributes:
        newest: the kind of the block that began last, sent or not; empty before the first.
    """

    __slots__ = ("_block", "_next", "_waiting", "newest")

    def __init__(self) -> None:
        self._block: _Block | None = None
        self._next = 0
        self._waiting: deque[_Block] = deque()
        self.newest = ""

    def at(self, kind: str) -> int | None:
        """The number of the block that is being sent, if it is of that kind."""
        block = self._block
        return block.key[1] if block is not None and block.key[0] == kind else None

    def has(self, kind: str, number: int) -> bool:
        """Whether that block has begun and not ended."""
        return self._find((kind, number)) is not None

    def put(self, kind: str, number: int, start: dict[str, Any], delta: str | None) -> list[Frame]:
        """Say *delta*, JSON, in that block, which begins with *start* if it has not; None only begins it."""
        key = (kind, number)
        block = self._block
        if block is not None and block.key == key and not self._waiting and delta is not None:
            return [_delta(block.index, delta)]  # nearly every token
        block = self._find(key)
        if block is None:
            block = _Block(key, start)
            self._waiting.append(block)
            self.newest = kind
        if delta is not None:
            block.deltas.append(delta)
        return self._advance()

    def arguments(self, number: int, text: str) -> list[Frame]:
        """A fragment of a call's arguments; nothing if the call is over."""
        block = self._find(("tool_use", number))
        if block is None:
            return []
        assert block.balance is not None
        block.balance.feed(text)
        block.deltas.append(f'{{"type":"input_json_delta","partial_json":{_json(text).decode()}}}')
        return self._advance()

    def end(self, kind: str, number: int) -> list[Frame]:
        """That block is whole."""
        block = self._find((kind, number))
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
        twin._block = None if self._block is None else self._block.copy()
        twin._waiting = deque(block.copy() for block in self._waiting)
        twin._next, twin.newest = self._next, self.newest
        return twin

    def _find(self, key: tuple[str, int]) -> _Block | None:
        return next((block for block in (self._block, *self._waiting) if block is not None and block.key == key), None)

    def _advance(self) -> list[Frame]:
        """Send what may be sent: the deltas of the present block, then its end, then the next block."""
        frames: list[Frame] = []
        while True:
            block = self._block
            if block is not None:
                frames += [_delta(block.index, delta) for delta in block.deltas]
                block.deltas.clear()
                if not block.ended and (block.open or not self._waiting):
                    return frames
                frames.append(Frame("content_block_stop", f'{{"type":"content_block_stop","index":{block.index}}}'))
                self._block = None
            if not self._waiting:
                return frames
            block = self._block = self._waiting.popleft()
            block.index = self._next
            self._next += 1
            start = {"type": "content_block_start", "index": block.index, "content_block": block.start}
            frames.append(Frame("content_block_start", _json(start).decode()))


def _delta(index: int, delta: str) -> Frame:
    return Frame("content_block_delta", f'{{"type":"content_block_delta","index":{index},"delta":{delta}}}')
