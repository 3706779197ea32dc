"""Deltas -> Responses events, in the order that OpenAI sends them (reference, sections 4.2, 8 and 11).

``response.created``, ``response.in_progress``, the items, one terminal event that repeats all of them. Numbers and ids
come from counters and from the stream id, so that the same deltas give the same bytes.
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
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    ToolResult,
    Usage,
)
from tokenwire.dialects.openai_responses.errors import error_event, failure_in
from tokenwire.dialects.openai_responses.items import NAME
from tokenwire.dialects.openai_responses.objects import annotation, response_object
from tokenwire.dialects.openai_responses.usage import usage_object
from tokenwire.dialects.openai_responses.writer import Writer
from tokenwire.dialects.signatures import wrap
from tokenwire.dialects.transcript import merge_usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenwire.dialects.deltas import Delta, FinishReason, Terminal
    from tokenwire.dialects.transcript import Transcript
    from tokenwire.dialects.transcript_choice import Choice

#: The reasons that make an answer ``incomplete``. All others but errors are ``completed``: what was said tells them.
_INCOMPLETE: Final[dict[FinishReason, str]] = {
    "length": "max_output_tokens", "context_window": "max_output_tokens", "content_filter": "content_filter",
}  # fmt: skip

#: What no event tells. A tuple: a union would be made anew for each token.
_UNTOLD: Final = (Failed, Opaque, ToolResult)

#: Deltas that are one event each, besides those that begin and end items, however many of them there are.
_COUNTED: Final = (
    TextDelta, ReasoningDelta, RefusalDelta, ReasoningSignature, ToolCallStarted, ToolCallDelta,
)  # fmt: skip


class Encoder:
    """Deltas -> Responses events. There is one answer here: what other choices say is left out.

    Args:
        stream: our stream id; the ids of the response and of its items are made of it.
        created: when the stream began, in seconds since 1970.
        model: the name that the reader asked for.
    """

    def __init__(self, stream: str, created: float, model: str) -> None:
        self._stream = stream
        self._created = created
        self._response = response_object(stream, created, model)
        self._reset()

    def _reset(self) -> None:
        self._begun = False
        self._writer = Writer(self._stream)
        self._usage: Usage | None = None
        self._end: Finished | None = None

    def feed(self, delta: Delta) -> list[Frame]:
        """The events of one delta: none for usage and reasons (the terminal event has them), for failures (``close``
        tells them), for the signature of a call (there is no place for it) and for what only another dialect knows.
        ``Opaque`` is left out even if it is ours: items are numbered, and a late joiner's fold does not hold it.

        Raises:
            LocalProtocolError: arguments, or the end, of a tool call that never started.
        """
        if isinstance(delta, Usage):
            self._usage = merge_usage(self._usage, delta)
            return []
        if isinstance(delta, _UNTOLD) or delta.choice:
            return []
        frames = [] if self._begun else self._begin()
        writer = self._writer
        if isinstance(delta, TextDelta):
            frames += writer.say("output_text", delta.block, delta.text)
        elif isinstance(delta, ReasoningDelta):
            frames += writer.think(delta.block, delta.text)
        elif isinstance(delta, ToolCallDelta):
            frames += writer.arguments(delta.block, delta.json)
        elif isinstance(delta, ToolCallStarted):
            frames += writer.call(delta.block, delta.id, delta.name)
        elif isinstance(delta, ToolCallEnded):
            frames += writer.end_call(delta.block)
        elif isinstance(delta, RefusalDelta):
            frames += writer.say("refusal", delta.block, delta.text)
        elif isinstance(delta, ReasoningSignature):
            if delta.block not in writer.called:
                frames += writer.sign(delta.block, wrap(delta.signature, delta.dialect, NAME))
        elif isinstance(delta, Citation):
            frames += writer.cite(delta.block, annotation(delta.data))
        elif isinstance(delta, Logprobs):
            frames += writer.score(_entries(delta.content)) if delta.content else []
        elif isinstance(delta, Finished):
            self._end = self._end or delta
        return frames

    def feed_run(self, delta: Delta, count: int) -> list[Frame]:
        """The last event has the number that the last of the run has."""
        frames = self.feed(delta)
        if frames:
            frames[-1] = self._ahead(frames[-1], count - 1)
        return frames

    def prefix(self, fold: Transcript) -> list[Frame]:
        """What *fold* says in the fewest events: one delta for each run of one kind. Whatever was fed before is
        forgotten.

        The last event has the number that the live stream has reached there, so that its next one follows, and so that
        ``starting_after`` finds the place. The others count from 0; they are no places to go on from.
        """
        self._reset()
        self._usage = fold.usage
        choice = fold.choice()
        told = scored = 0
        frames: list[Frame] = []
        for delta in _in_place(choice, fold):
            told += isinstance(delta, _COUNTED)
            scored += isinstance(delta, Logprobs)
            frames += self.feed(delta)
        if frames:
            ahead = choice.told - told + (choice.scored - scored if scored else 0)
            frames[-1] = self._ahead(frames[-1], ahead)
        return frames

    def close(self, terminal: Terminal) -> list[Frame]:
        """The end: what is missing of a normal one, and the response as a whole. Else the error and a response that
        failed, with what there is of it.

        A call that is not whole stays incomplete, and no event says that its arguments are done.
        """
        if terminal.state != "completed":
            return self._fail(terminal)
        end = self._end
        reason = terminal.reason or (end.reason if end is not None else None)
        writer = self._writer
        frames = [] if self._begun else self._begin()
        if reason in ("error", "cancelled"):
            return [*frames, *self._fail(terminal, reason, terminal.native_reason)]
        why = _INCOMPLETE.get(reason) if reason is not None else None
        if reason == "refusal":
            frames += writer.refuse()
        frames += writer.settle()
        whole = why is None and not writer.open
        frames += writer.close("completed" if whole else "incomplete")
        response = {**self._response, "status": "completed" if whole else "incomplete", "output": writer.output()}
        response["usage"] = usage_object(self._usage or terminal.usage)
        if whole:
            took = terminal.e2e_ms
            response["completed_at"] = None if took is None else int(self._created + took / 1000)
        else:
            response["incomplete_details"] = {"reason": why}
        return [*frames, writer.events.event(f"response.{response['status']}", {"response": response})]

    def copy(self) -> Encoder:
        twin = object.__new__(Encoder)
        twin._stream, twin._created, twin._response = self._stream, self._created, self._response
        twin._begun, twin._writer = self._begun, self._writer.copy()
        twin._usage, twin._end = self._usage, self._end
        return twin

    def _ahead(self, last: Frame, count: int) -> Frame:
        """*last*, the newest event, numbered as if *count* more had come before it; the numbers go on from there."""
        events = self._writer.events
        number = events.number = max(events.number + count, events.number)
        return Frame(last.event, f"{last.data.rpartition(':')[0]}:{number - 1}}}")

    def _begin(self) -> list[Frame]:
        self._begun = True
        said = {"response": self._response}
        return [self._writer.events.event(f"response.{kind}", said) for kind in ("created", "in_progress")]

    def _fail(self, terminal: Terminal, reason: str | None = None, native: str | None = None) -> list[Frame]:
        error = error_event(failure_in(terminal, reason, native))
        short = {"code": error["code"], "message": error["message"]}
        response = {**self._response, "status": "failed", "error": short, "output": self._writer.output()}
        response["usage"] = usage_object(self._usage or terminal.usage)
        return [
            self._writer.events.event("error", error),
            self._writer.events.event("response.failed", {"response": response}),
        ]


def _entries(content: list[Any]) -> list[Any]:
    """Log-probabilities of a chat as they are here: all members are there, ``bytes`` empty where nobody gave it."""
    found: list[Any] = []
    for entry in content:
        if isinstance(entry, dict):
            others = entry.get("top_logprobs") or []
            others = [{**other, "bytes": other.get("bytes") or []} for other in others if isinstance(other, dict)]
            found.append({**entry, "bytes": entry.get("bytes") or [], "top_logprobs": others})
    return found


def _in_place(choice: Choice, fold: Transcript) -> Iterator[Delta]:
    """The deltas of the first choice, each text with its sources and log-probabilities behind it."""
    deltas = [delta for delta in fold.deltas() if not isinstance(delta, (Usage, *_UNTOLD)) and not delta.choice]
    texts = [delta for delta in deltas if isinstance(delta, TextDelta)]
    first = {delta.block: delta for delta in reversed(texts)}
    sources: dict[int, list[Citation]] = {}
    for citation in choice.citations:
        sources.setdefault(citation.block, []).append(citation)
    found = choice.logprobs
    scores = found.content or [] if found is not None else []
    for delta in deltas:
        if isinstance(delta, Citation):
            if delta.block not in first:
                yield delta
        elif not isinstance(delta, Logprobs):
            yield delta
        if not isinstance(delta, TextDelta):
            continue
        if first[delta.block] is delta:
            yield from sources.get(delta.block, ())
        count = len(scores) if delta is texts[-1] else _tokens_of(delta.text, scores)
        if count:
            yield Logprobs(scores[:count])
            scores = scores[count:]


def _tokens_of(text: str, entries: list[Any]) -> int:
    """How many of *entries*, from the first, are those of *text*."""
    length = count = 0
    for entry in entries:
        if length >= len(text):
            break
        length += len(str(entry.get("token", ""))) if isinstance(entry, dict) else 0
        count += 1
    return count
