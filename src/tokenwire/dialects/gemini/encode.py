"""Deltas -> Gemini's events: each a complete ``GenerateContentResponse`` whose parts are what is new.

Calls are told whole, at their end; reasons, usage and sources in the last event, since all three may come late and
clients take the last that they saw. Ids come from the stream id, so that the same deltas give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.base import Frame
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
from tokenwire.dialects.endings import failure_of
from tokenwire.dialects.gemini import logprobs
from tokenwire.dialects.gemini.answer import Answer
from tokenwire.dialects.gemini.candidate import NAME
from tokenwire.dialects.gemini.errors import error_object
from tokenwire.dialects.gemini.lines import dumps
from tokenwire.dialects.gemini.usage import usage_object
from tokenwire.dialects.transcript import merge_usage

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, Terminal
    from tokenwire.dialects.transcript import Transcript

_BLOCKED: Final = "promptFeedback:"


class Encoder:
    """Deltas -> events.

    Args:
        stream: our stream id; the responses' id is made of it.
        created: not told in this dialect.
        model: the name that the reader asked for.
    """

    def __init__(self, stream: str, created: float, model: str) -> None:
        self._identity = {"modelVersion": model, "responseId": stream.removeprefix("st_")}
        self._tail = "," + dumps(self._identity)[1:]
        self._answers: dict[int, Answer] = {}
        self._usage: Usage | None = None

    def feed(self, delta: Delta) -> list[Frame]:
        """The events of one delta: none for usage, reasons and sources (``close`` tells them), for the fragments of a
        call, and for what only another dialect knows.

        Raises:
            LocalProtocolError: arguments, or the end, of a tool call that never started.
        """
        if isinstance(delta, TextDelta):
            self._answer(delta.choice).text = delta.block
            return [self.part(delta.choice, f'{{"text":{dumps(delta.text)}}}')]
        if isinstance(delta, ReasoningDelta):
            self._answer(delta.choice).thought = delta.block
            return [self.part(delta.choice, f'{{"text":{dumps(delta.text)},"thought":true}}')]
        if isinstance(delta, ToolCallDelta):
            self._answer(delta.choice).call(delta.block).json.append(delta.json)
            return []
        if isinstance(delta, Usage):
            self._usage = merge_usage(self._usage, delta)
            return []
        if isinstance(delta, Opaque):
            known = delta.dialect == NAME and isinstance(delta.data, dict)
            return [self._event(delta.data)] if known else []
        return [] if isinstance(delta, Failed | ToolResult) else self._rarely(delta)

    def prefix(self, fold: Transcript) -> list[Frame]:
        """What *fold* says in the fewest events: one for each run of one kind, and for each call. Whatever was fed
        before is forgotten."""
        self._answers.clear()
        self._usage = None
        deltas = fold.deltas()
        signatures: dict[tuple[int, int], ReasoningSignature | None] = {}  # of calls: they are told with these
        for delta in deltas:
            if isinstance(delta, ToolCallStarted):
                signatures[delta.choice, delta.block] = None
            elif isinstance(delta, ReasoningSignature) and (delta.choice, delta.block) in signatures:
                signatures[delta.choice, delta.block] = delta
        frames: list[Frame] = []
        for delta in deltas:
            if isinstance(delta, ReasoningSignature) and signatures.get((delta.choice, delta.block)) is delta:
                continue
            frames += self.feed(delta)
            if isinstance(delta, ToolCallStarted) and (signature := signatures.get((delta.choice, delta.block))):
                self.feed(signature)
        return frames

    def close(self, terminal: Terminal) -> list[Frame]:
        """The end: for each candidate why it ended, with its sources, and the usage; else the error."""
        frames: list[Frame] = []
        whole = terminal.state == "completed"
        if whole:
            self._answer(0)  # clients read candidates[0] of an empty answer, too
        for index, answer in self._answers.items():
            frames += [self.part(index, part) for part in answer.flush()]
        last: dict[str, Any] = {}
        if candidates := self._ends(terminal, whole):
            last["candidates"] = candidates
        if whole and (reason := self._blocked(terminal)):
            last = {"promptFeedback": {"blockReason": reason}}
        usage = self._usage or terminal.usage
        # An estimate is not told: the format has no word for it, and it would pass for the provider's count.
        if usage is not None and not usage.estimated and (counts := usage_object(usage)):
            if last and not whole:  # beside a candidate that goes on, counts are those of a moment
                frames.append(self._event(last))
                last = {}
            last["usageMetadata"] = counts
        if last:
            frames.append(self._event(last))
        if not whole:
            error = error_object(failure_of(terminal), code=None if terminal.state == "failed" else terminal.state)
            frames.append(Frame(None, dumps({"error": error})))
        return frames

    def copy(self) -> Encoder:
        twin = object.__new__(Encoder)
        twin._identity, twin._tail, twin._usage = self._identity, self._tail, self._usage
        twin._answers = {index: answer.copy() for index, answer in self._answers.items()}
        return twin

    def _answer(self, index: int) -> Answer:
        answer = self._answers.get(index)
        if answer is None:
            answer = self._answers[index] = Answer()
        return answer

    def part(self, index: int, part: str) -> Frame:
        """One part of one candidate, both as JSON."""
        content = f'{{"content":{{"parts":[{part}],"role":"model"}},"index":{index}}}'
        return Frame(None, f'{{"candidates":[{content}]{self._tail}')

    def _event(self, members: dict[str, Any]) -> Frame:
        return Frame(None, dumps({**members, **self._identity}))

    def _rarely(
        self,
        delta: Started
        | ReasoningSignature
        | RefusalDelta
        | ToolCallStarted
        | ToolCallEnded
        | Citation
        | Logprobs
        | Finished,
    ) -> list[Frame]:
        index = delta.choice
        answer = self._answer(index)
        if isinstance(delta, ToolCallStarted):
            answer.begin(delta)
        elif isinstance(delta, ToolCallEnded):
            return [self.part(index, part) for part in answer.end(delta.block)]
        elif isinstance(delta, ReasoningSignature):
            return [self.part(index, part) for part in answer.sign(delta)]
        elif isinstance(delta, RefusalDelta):  # the dialect has no place of its own for it: better read than lost
            answer.refused = True
            return [self.part(index, f'{{"text":{dumps(delta.text)}}}')]
        elif isinstance(delta, Citation):
            answer.sources.append(delta.data)
        elif isinstance(delta, Logprobs):
            result = logprobs.write([*(delta.content or ()), *(delta.refusal or ())])
            content = {"parts": [{"text": ""}], "role": "model"}
            candidate = {"content": content, "index": index, "logprobsResult": result}
            return [self._event({"candidates": [candidate]})]
        elif isinstance(delta, Finished) and answer.finish is None:
            answer.finish = delta
        return []

    def _ends(self, terminal: Terminal, whole: bool) -> list[dict[str, Any]]:
        """Why each candidate ended, and what it rests on; of a stream that did not, only what is known."""
        ends: list[dict[str, Any]] = []
        for index in sorted(self._answers):
            members = self._answers[index].members(terminal, whole=whole)
            if members:
                ends.append({"content": {"parts": [{"text": ""}], "role": "model"}, "index": index, **members})
        return ends

    def _blocked(self, terminal: Terminal) -> str:
        """The reason why the prompt was blocked, if that is the whole answer; the prompt's provider was Google."""
        answer = self._answers.get(0)
        finish = None if answer is None else answer.finish
        native = (finish.native_reason if finish is not None else terminal.native_reason) or ""
        alone = len(self._answers) == 1 and answer is not None and answer.empty
        return native.removeprefix(_BLOCKED) if alone and native.startswith(_BLOCKED) else ""
