"""One turn of a model within an answer of several: what of it is told, and what is kept to go on with.

The turns look like one answer from outside: blocks go on counting, ids of calls stay unique, counts are those of all
turns, the answer begins once, and it ends when the last turn does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from tokenwire.client.updates import Done, Reset
from tokenwire.dialects.deltas import (
    Citation,
    Failed,
    Finished,
    FinishReason,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
    Usage,
)
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import AnswerCut
from tokenwire.library.failures import failure
from tokenwire.library.tool_messages import assistant_message, is_object, redacted_of

if TYPE_CHECKING:
    from tokenwire.dialects.transcript import ToolCall

#: Ends after which a model waits for its tools. Not all servers have a word of their own for that; but after a limit, a
#: filter or a refusal the calls are not what the model wanted to say.
_CALLS: Final[frozenset[FinishReason | None]] = frozenset({"tool_use", "stop", "unknown", None})

#: What has a block, and so another number here than in its turn.
_NUMBERED: Final = (
    TextDelta, ReasoningDelta, ToolCallDelta, ToolCallStarted, ToolCallEnded, RefusalDelta, ReasoningSignature,
    Citation, ToolResult,
)  # fmt: skip


class TurnFold:
    """The fold of one turn's updates.

    Args:
        first: of the answer.
        base: the number of its block 0 in the answer.
        before: the counts of the turns before it.
        ids: of the calls in the answer so far; those of this turn are added. Some providers count anew in each turn.

    Attributes:
        transcript: what the turn says, under the ids of the answer, and its own blocks' numbers.
        base: the same; ``next``: the first number that is free after it.
        usage: of the answer, this turn included.
        ends: how it ended, by choice.
        redacted: see ``assistant_message``.
    """

    def __init__(self, *, first: bool, base: int, before: Usage | None, ids: set[str]) -> None:
        self.base = self.next = base
        self.usage = before
        self._before = before
        self._first = first
        self._ids = ids
        self._begin()

    def _begin(self) -> None:
        self.transcript = Transcript()
        self.ends: dict[int, Finished] = {}
        self.redacted: list[tuple[int, str]] = []
        self._state: str | None = None

    def take(self, update: Any) -> Any:
        """Fold *update* in; as what it is told, or None: ends wait for the last turn's, and only one is a beginning."""
        kind = type(update)
        if kind is TextDelta:  # nearly all of them
            self.transcript.apply(update)
            return self._numbered(update)
        if kind is Finished:
            self.transcript.apply(update)
            self.ends.setdefault(update.choice, update)
            return None
        if kind is Started:
            self.transcript.apply(update)
            return update if self._first else None
        if kind is Usage:
            self.transcript.apply(update)
            self.usage = total(self._before, self.transcript.usage)
            return self.usage
        if kind is Done:
            self._state = update.state
            return None
        if kind is Reset:
            self._ids -= {call.id for choice in self.transcript.choices.values() for call in choice.tool_calls.values()}
            self._begin()
            self.base = self.next  # what is dropped keeps its numbers
            self.usage = self._before
            return update
        if kind is ToolCallStarted:
            update = replace(update, id=self._unique(update.id))
        elif kind is ToolResult and (call := self.transcript.choice(update.choice).tool_calls.get(update.block)):
            update = replace(update, id=call.id)
        elif kind is Opaque and not update.choice and (data := redacted_of(update)) is not None:
            self.redacted.append((len(self.transcript.choice().segments()), data))
        if kind in _NUMBERED:
            self.transcript.apply(update)
            return self._numbered(update)
        if kind is Failed:
            self.transcript.apply(update)
        return update

    def _numbered(self, delta: Any) -> Any:
        block = self.base + delta.block
        self.next = max(self.next, block + 1)
        if not self.base:
            return delta
        if type(delta) is TextDelta:
            return TextDelta(delta.text, delta.choice, block)
        return replace(delta, block=block)

    def _unique(self, id: str) -> str:
        given, number = id, 1
        while id in self._ids:
            number += 1
            id = f"{given}-{number}"
        self._ids.add(id)
        return id

    def settle(self) -> list[ToolCallEnded]:
        """Ends of calls that nobody told, now that the turn is over, as the answer's.

        Anthropic ends a block that was cut like any other, so its decoder never ends a call whose JSON is open. But
        where the model says that it waits for its tools, nothing was cut: it wrote what is no JSON, and must be told.
        """
        choice = self.transcript.choice()
        if choice.reason != "tool_use" or self.transcript.failed is not None:
            return []
        calls = choice.tool_calls.values()
        ends = [ToolCallEnded(0, call.block) for call in calls if not (call.ended or is_object(call.arguments))]
        for end in ends:
            self.transcript.apply(end)
        return [self._numbered(end) for end in ends]

    def calls(self) -> list[ToolCall]:
        """The calls of the first choice that are to be run, now that the turn is over; those that somebody has answered
        already are not.

        Raises:
            AnswerFailed: the turn failed.
            AnswerCut: its end is missing (``truncated``), or it ended cleanly, waiting for a tool, and yet in the midst
                of a call's arguments (``incomplete_tool_call``).
        """
        failed, choice = self.transcript.failed, self.transcript.choice()
        if failed is not None:
            raise failure(failed)
        if choice.reason is None and self._state != "completed":
            raise AnswerCut("truncated", "the answer stopped before its end", retryable=True)
        if choice.reason not in _CALLS:
            return []
        cut = [call.name for call in choice.tool_calls.values() if not call.ended]
        if cut:
            message = f"the answer ended before the arguments of the call of {cut[0]!r} were complete"
            raise AnswerCut("incomplete_tool_call", message, retryable=True)
        return [call for call in choice.tool_calls.values() if call.result is None]

    def message(self, *, calls: bool, thoughts: str | None) -> dict[str, Any]:
        """What it said, for the next turn."""
        return assistant_message(self.transcript, calls=calls, thoughts=thoughts, redacted=self.redacted)


def total(before: Usage | None, now: Usage | None) -> Usage | None:
    """The counts of both. What only one of them knows is known in part, and better than nothing."""
    if before is None or now is None:
        return now or before
    both = {name: _plus(getattr(before, name), getattr(now, name)) for name in _COUNTS}
    # The providers' own objects side by side: the first one alone would pass for that of the whole answer.
    told = [] if before.raw is None else before.raw.get("turns", [before.raw])
    told = told if now.raw is None else [*told, now.raw]
    return Usage(**both, raw={"turns": told} if told else None, estimated=before.estimated or now.estimated)


_COUNTS: Final = ("input", "output", "cached_input", "cache_write", "reasoning", "cost_usd")


def _plus(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else one + other
