"""The blocks of an answer that an app makes itself: numbered in order of appearance, and calls that are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from tokenwire.dialects import deltas as vocabulary
from tokenwire.dialects.deltas import (
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
)
from tokenwire.dialects.json_text import whole
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta


class Blocks:
    """Makes deltas of one answer, and checks those that were made by somebody else.

    Attributes:
        finished: why the first choice ended, once that was said.
    """

    def __init__(self) -> None:
        self.finished: Finished | None = None
        self._next = 0
        self._kind = ""  # of the newest block of choice 0, with its number
        self._block = 0
        self._calls: dict[tuple[int, int], ToolCallStarted] = {}
        self._open: dict[tuple[int, int], None] = {}
        self._called = False

    def text(self, text: str) -> list[Delta]:
        return [*self._at("text"), TextDelta(whole(text), 0, self._block)] if text else []

    def reasoning(self, text: str) -> list[Delta]:
        return [*self._at("reasoning"), ReasoningDelta(whole(text), 0, self._block)] if text else []

    def call(self, call_id: str, name: str) -> tuple[int, list[Delta]]:
        """A call begins; its block and what tells it."""
        self._kind = "call"
        block = self._next
        return block, self.take(ToolCallStarted(whole(call_id), whole(name), 0, block))

    def arguments(self, block: int, json: str) -> list[Delta]:
        return [ToolCallDelta(whole(json), 0, block)] if json else []

    def result(self, call_id: str, content: str, *, error: bool) -> list[Delta]:
        """What a tool gave for the call of that id; nothing for one that was never told."""
        ended = self.close_calls()
        for (choice, block), call in self._calls.items():
            if call.id == call_id and choice == 0:
                return [*ended, *self.take(ToolResult(call.id, call.name, whole(content), error, 0, block))]
        return ended

    def take(self, delta: Delta) -> list[Delta]:
        """*delta* as it came, with what must come before it. Raises ``LocalProtocolError`` for one that cannot be."""
        if isinstance(delta, Finished):
            if delta.choice == 0:
                self.finished = self.finished or delta
            return [delta]
        place = (getattr(delta, "choice", 0), getattr(delta, "block", 0))
        if isinstance(delta, ToolCallStarted):
            self._calls[place] = delta
            self._open[place] = None
            self._called = True
        elif isinstance(delta, ToolCallDelta | ToolCallEnded | ToolResult):
            if place not in self._calls:
                raise LocalProtocolError(f"{type(delta).__name__} for block {place[1]}, where no call has started")
            if isinstance(delta, ToolCallEnded):
                self._open.pop(place, None)
            elif not isinstance(delta, ToolCallDelta):
                self._called = False  # whoever asked for it goes on
        elif not isinstance(delta, TextDelta | ReasoningDelta | ReasoningSignature | RefusalDelta):
            return [delta]
        if place[0] == 0:
            if place[1] >= self._next:
                self._next = place[1] + 1
            if not isinstance(delta, ToolCallDelta | ToolCallEnded):
                self._kind, self._block = _KINDS.get(type(delta), ""), place[1]
        return [delta]

    def close_calls(self) -> list[Delta]:
        """The arguments of every call are whole."""
        ended: list[Delta] = [ToolCallEnded(choice, block) for choice, block in self._open]
        self._open.clear()
        return ended

    def end(self) -> list[Delta]:
        """The answer is over, and nobody cut it: what is still to be said."""
        said = self.close_calls()
        if self.finished is None:
            reason: FinishReason = "tool_use" if self._called else "stop"
            said += self.take(Finished(reason, reason))
        return said

    def _at(self, kind: str) -> list[Delta]:
        """Be in a block of that kind."""
        ended: list[Delta] = []
        if self._kind != kind:
            ended = self.close_calls()
            self._kind, self._block = kind, self._next
            self._next += 1
            self._called = False
        return ended


_KINDS: Final[dict[type, str]] = {TextDelta: "text", ReasoningDelta: "reasoning", ToolCallStarted: "call"}


_DELTAS: Final[tuple[type, ...]] = get_args(vocabulary.Delta)


def is_delta(item: object) -> bool:
    return isinstance(item, _DELTAS)
