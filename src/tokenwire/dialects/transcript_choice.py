"""One choice of a transcript: its segments in order of arrival, its tool calls, citations and log-probabilities."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from tokenwire.dialects.deltas import (
    Citation,
    Finished,
    Logprobs,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
)
from tokenwire.dialects.pieces import Pieces, Text
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.deltas import Delta, FinishReason

Kind: TypeAlias = Literal["text", "reasoning", "refusal", "signature", "tool_call", "tool_result"]


class Segment(NamedTuple):
    """A closed run: its kind, its block and its text (empty for the place of a tool call, or of its result).
    ``dialect``: whose vendor made it, of a signature."""

    kind: Kind
    block: int
    text: str
    dialect: str = ""


class ToolCall:
    """One call as far as it came. ``ended`` is False while its arguments may be incomplete: do not execute it.
    ``result``: what the tool gave, once it ran."""

    __slots__ = ("block", "ended", "id", "json", "name", "result")

    def __init__(self, id: str, name: str, block: int) -> None:
        self.id = id
        self.name = name
        self.block = block
        self.json = Text()
        self.ended = False
        self.result: ToolResult | None = None

    @property
    def arguments(self) -> str:
        return str(self.json)

    def copy(self) -> ToolCall:
        twin = ToolCall(self.id, self.name, self.block)
        twin.json = self.json.copy()
        twin.ended, twin.result = self.ended, self.result
        return twin


class Choice:
    """One of the alternative answers.

    Attributes:
        tool_calls: by block, in order of first appearance.
        reason, native_reason: why it ended, or None while it has not.
        told: how many deltas of text, thought, refusal, signature and call it is made of; ``scored``: and of
            log-probabilities for text. For dialects that number their events.
    """

    __slots__ = (
        "_begun", "_citations", "_cited_at", "_closed", "_logprobs", "_open", "_open_block", "_open_dialect",
        "_open_kind", "_refusal_logprobs", "index", "native_reason", "reason", "scored", "started", "told",
        "tool_calls",
    )  # fmt: skip

    def __init__(self, index: int) -> None:
        self.index = index
        self.started = False
        self.tool_calls: dict[int, ToolCall] = {}
        self.reason: FinishReason | None = None
        self.native_reason: str | None = None
        self.told = 0
        self.scored = 0
        self._closed: Pieces[Segment] = Pieces()
        self._open = Text()
        self._open_kind: Kind | None = None
        self._open_block = 0
        self._open_dialect = ""
        self._begun = 0  # segments
        self._citations: Pieces[Citation] = Pieces()
        self._cited_at: Pieces[int] = Pieces()  # segments that had begun when each citation came
        self._logprobs: Pieces[Any] = Pieces()
        self._refusal_logprobs: Pieces[Any] = Pieces()

    @property
    def text(self) -> str:
        return self._joined("text")

    @property
    def reasoning(self) -> str:
        return self._joined("reasoning")

    @property
    def refusal(self) -> str:
        return self._joined("refusal")

    @property
    def signatures(self) -> list[str]:
        return [segment.text for segment in self.segments() if segment.kind == "signature"]

    @property
    def citations(self) -> list[Citation]:
        return self._citations.items()

    @property
    def logprobs(self) -> Logprobs | None:
        """The log-probabilities of all tokens so far, or None if the provider sent none."""
        content, refusal = self._logprobs.items(), self._refusal_logprobs.items()
        if not content and not refusal:
            return None
        return Logprobs(content=content or None, refusal=refusal or None, choice=self.index)

    def segments(self) -> list[Segment]:
        """Everything said, in order of arrival; neighbours of one kind and block are one segment."""
        segments = self._closed.items()
        if self._open_kind is not None:
            segments.append(self._segment(self._open_kind))
        return segments

    def say(self, kind: Kind, block: int, text: str, dialect: str = "") -> None:
        """Add *text* to the open segment, or begin one."""
        self.told += 1
        if kind != self._open_kind or block != self._open_block or kind == "signature":
            self.close_segment()
            self._begun += 1
            self._open_kind = kind
            self._open_block = block
            self._open_dialect = dialect
        self._open.append(text)

    def answer(self, result: ToolResult) -> None:
        """The result of a call, with it and in its place. A second one changes nothing: the model was told the first.

        It is no part of what the model said, so it does not count in ``told``.
        """
        call = self.call(result.block)
        if call.result is None:
            call.result = result
            self.say("tool_result", result.block, "")
            self.told -= 1

    def close_segment(self) -> None:
        if self._open_kind is not None:
            self._closed.append(self._segment(self._open_kind))
            self._open = Text()
            self._open_kind = None

    def cite(self, citation: Citation) -> None:
        self._citations.append(citation)
        self._cited_at.append(self._begun)

    def add_logprobs(self, delta: Logprobs) -> None:
        self.scored += bool(delta.content)
        self._logprobs.extend(delta.content or [])
        self._refusal_logprobs.extend(delta.refusal or [])

    def call(self, block: int) -> ToolCall:
        call = self.tool_calls.get(block)
        if call is None:
            raise LocalProtocolError(
                f"choice {self.index} has no tool call in block {block}: ToolCallStarted is missing"
            )
        return call

    def deltas(self) -> Iterator[Delta]:
        """The fewest deltas, in a legal order, that fold to this choice (opaque ones are not kept). A citation comes
        after the segment in which it came: encoders ask what it follows. A call's signature comes within the call:
        some dialects can tell it nowhere else."""
        index = self.index
        signed: dict[int, list[Delta]] = {}
        for kind, block, text, dialect in self.segments() if self.tool_calls else ():
            if kind == "signature" and block in self.tool_calls:
                signed.setdefault(block, []).append(ReasoningSignature(text, index, block, dialect))
        cited = deque(zip(self._cited_at.items(), self._citations.items(), strict=True))
        for begun, (kind, block, text, dialect) in enumerate(self.segments()):
            while cited and cited[0][0] <= begun:
                yield cited.popleft()[1]
            if kind == "text":
                yield TextDelta(text, index, block)
            elif kind == "reasoning":
                yield ReasoningDelta(text, index, block)
            elif kind == "refusal":
                yield RefusalDelta(text, index, block)
            elif kind == "signature":
                if block not in self.tool_calls:
                    yield ReasoningSignature(text, index, block, dialect)
            elif kind == "tool_result":
                result = self.tool_calls[block].result
                assert result is not None
                yield result
            else:
                call = self.tool_calls[block]
                yield ToolCallStarted(call.id, call.name, index, block)
                yield from signed.get(block, ())
                if arguments := call.arguments:
                    yield ToolCallDelta(arguments, index, block)
                if call.ended:
                    yield ToolCallEnded(index, block)
        for _, citation in cited:
            yield citation
        if (logprobs := self.logprobs) is not None:
            yield logprobs
        if self.reason is not None:
            yield Finished(self.reason, self.native_reason, index)

    def copy(self) -> Choice:
        twin = Choice(self.index)
        twin.started = self.started
        twin.tool_calls = {block: call.copy() for block, call in self.tool_calls.items()}
        twin._begun = self._begun
        twin._citations, twin._cited_at = self._citations.copy(), self._cited_at.copy()
        twin.reason, twin.native_reason = self.reason, self.native_reason
        twin.told, twin.scored = self.told, self.scored
        twin._closed = self._closed.copy()
        twin._open = self._open.copy()
        twin._open_kind, twin._open_block = self._open_kind, self._open_block
        twin._open_dialect = self._open_dialect
        twin._logprobs = self._logprobs.copy()
        twin._refusal_logprobs = self._refusal_logprobs.copy()
        return twin

    def _segment(self, kind: Kind) -> Segment:
        return Segment(kind, self._open_block, str(self._open), self._open_dialect)

    def _joined(self, kind: Kind) -> str:
        return "".join([segment.text for segment in self.segments() if segment.kind == kind])
