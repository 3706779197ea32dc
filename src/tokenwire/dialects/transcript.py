"""The transcript: deltas folded into what was said. Every prefix, snapshot and non-streaming answer is read off it.

A choice is a list of segments in order of arrival: a run of text, of reasoning or of refusal, a signature, the place
of a tool call or of its result. All but the last are closed and immutable, and so are all pieces of the last that are
older than the newest copy: a copy shares them. Thus ``apply`` costs the delta, ``copy`` costs what came since the copy
before it, and only reading the whole text costs the whole text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.dialects.deltas import (
    Citation,
    Failed,
    Finished,
    Logprobs,
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
from tokenwire.dialects.transcript_choice import Choice, Segment, ToolCall

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta

__all__ = ["Choice", "Segment", "ToolCall", "Transcript", "is_estimate", "merge_usage"]


class Transcript:
    """The fold of a stream's deltas. Not safe for concurrent use; copies are independent.

    Attributes:
        choices: by index, in order of first appearance.
        started: what the provider said of itself, the first word for each field.
        usage: the last good counts, field by field.
        failed: the first failure.
        opaque: how many deltas were not understood; they are counted, not kept.
        events: deltas that are news of their own (all but started, finished, failed, and estimates of the usage):
            native's event count.
    """

    __slots__ = ("choices", "events", "failed", "opaque", "started", "usage")

    def __init__(self) -> None:
        self.choices: dict[int, Choice] = {}
        self.started: Started | None = None
        self.usage: Usage | None = None
        self.failed: Failed | None = None
        self.opaque = 0
        self.events = 0

    def choice(self, index: int = 0) -> Choice:
        """The choice as far as it came; an empty one if nothing was said in it."""
        return self.choices.get(index) or Choice(index)

    @property
    def silent(self) -> bool:
        """Whether no delta was applied yet."""
        return not (self.choices or self.opaque or self.usage is not None or self.failed is not None)

    def apply(self, delta: Delta) -> None:
        """Fold one delta in.

        Raises:
            LocalProtocolError: arguments, the end, or the result of a tool call that never started; decoders do
                not do that.
        """
        if isinstance(delta, Started):
            self._at(delta.choice).started = True
            self.started = _first_words(self.started, delta)
        elif isinstance(delta, Finished):
            choice = self._at(delta.choice)
            if choice.reason is None:
                choice.reason, choice.native_reason = delta.reason, delta.native_reason
        elif isinstance(delta, Failed):
            self.failed = self.failed or delta
        else:
            self.events += 1
            self._content(delta)

    def apply_run(self, delta: TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta, count: int) -> None:
        """Fold in *count* deltas of one text, which *delta* has joined."""
        self.apply(delta)
        self.events += count - 1
        self._at(delta.choice).told += count - 1

    def _content(self, delta: Delta) -> None:
        if isinstance(delta, TextDelta):
            self._at(delta.choice).say("text", delta.block, delta.text)
        elif isinstance(delta, ReasoningDelta):
            self._at(delta.choice).say("reasoning", delta.block, delta.text)
        elif isinstance(delta, ToolCallDelta):
            choice = self._at(delta.choice)
            choice.call(delta.block).json.append(delta.json)
            choice.told += 1
        elif isinstance(delta, ToolCallStarted):
            choice = self._at(delta.choice)
            choice.tool_calls[delta.block] = ToolCall(delta.id, delta.name, delta.block)
            choice.say("tool_call", delta.block, "")
        elif isinstance(delta, ToolCallEnded):
            self._at(delta.choice).call(delta.block).ended = True
        elif isinstance(delta, Usage):
            self.usage = merge_usage(self.usage, delta)
            self.events -= delta.estimated
        elif isinstance(delta, Logprobs):
            self._at(delta.choice).add_logprobs(delta)
        elif isinstance(delta, RefusalDelta):
            self._at(delta.choice).say("refusal", delta.block, delta.text)
        elif isinstance(delta, ReasoningSignature):
            self._at(delta.choice).say("signature", delta.block, delta.signature, delta.dialect)
        elif isinstance(delta, Citation):
            self._at(delta.choice).cite(delta)
        elif isinstance(delta, ToolResult):
            self._at(delta.choice).answer(delta)
        else:
            assert isinstance(delta, Opaque)
            self.opaque += 1

    def _at(self, index: int) -> Choice:
        choice = self.choices.get(index)
        if choice is None:
            choice = self.choices[index] = Choice(index)
        return choice

    def deltas(self) -> list[Delta]:
        """The coalesced equivalent of what was applied: folding it gives the same transcript, but for the counts.

        Every encoder's ``prefix`` is made of it. The failure is not part of it: the terminal entry says that.
        """
        deltas: list[Delta] = []
        for choice in self.choices.values():
            if choice.started and (said := self.started) is not None:
                deltas.append(Started(said.id, said.model, said.created, choice.index))
            deltas.extend(choice.deltas())
        if self.usage is not None:
            deltas.append(self.usage)
        return deltas

    def copy(self) -> Transcript:
        """An independent transcript in the same state. Costs what was applied since the last copy, not the whole."""
        twin = Transcript()
        twin.choices = {index: choice.copy() for index, choice in self.choices.items()}
        twin.started, twin.usage, twin.failed = self.started, self.usage, self.failed
        twin.opaque, twin.events = self.opaque, self.events
        return twin


def merge_usage(old: Usage | None, new: Usage) -> Usage:
    """Counts are cumulative: the later replaces the earlier, field by field, where it says something."""
    if old is None:
        return new
    return Usage(
        input=old.input if new.input is None else new.input,
        output=old.output if new.output is None else new.output,
        cached_input=old.cached_input if new.cached_input is None else new.cached_input,
        cache_write=old.cache_write if new.cache_write is None else new.cache_write,
        reasoning=old.reasoning if new.reasoning is None else new.reasoning,
        raw=old.raw if new.raw is None else new.raw,
        cost_usd=old.cost_usd if new.cost_usd is None else new.cost_usd,
        estimated=new.estimated,
    )


def is_estimate(delta: Delta) -> bool:
    """Whether *delta* is usage by our estimate: it may be told at any time, and no count of events has it."""
    return isinstance(delta, Usage) and delta.estimated


def _first_words(old: Started | None, new: Started) -> Started:
    """Ids and models may be empty at first and may change later (Azure, Groq): the first that says something counts."""
    if old is None:
        return new
    return Started(old.id or new.id, old.model or new.model, old.created or new.created, old.choice)
