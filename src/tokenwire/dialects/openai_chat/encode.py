"""Deltas -> Chat Completions chunks, in the order that OpenAI sends them (reference, sections 3 and 11).

Role chunk, contents, one finish chunk for each choice, the usage chunk, ``[DONE]``. Ids and indices that a chunk needs
come from the stream id and from counters, so that the same deltas give the same bytes, on every node and every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.base import Frame
from tokenwire.dialects.citations import read_source
from tokenwire.dialects.deltas import (
    Citation,
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
    Usage,
)
from tokenwire.dialects.endings import failure_of
from tokenwire.dialects.openai_chat.choice import NAME
from tokenwire.dialects.openai_chat.errors import error_object
from tokenwire.dialects.openai_chat.tools import GOOGLE
from tokenwire.dialects.openai_chat.usage import usage_object
from tokenwire.dialects.signatures import wrap
from tokenwire.dialects.transcript import merge_usage
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, FinishReason, Terminal
    from tokenwire.dialects.transcript import Transcript

#: The word of ``finish_reason`` for each reason (reference, section 8). Errors have none: the error itself says it.
_WORDS: Final[dict[FinishReason, str]] = {
    "stop": "stop", "length": "length", "context_window": "length", "tool_use": "tool_calls",
    "content_filter": "content_filter", "refusal": "stop", "pause": "stop", "unknown": "stop",
}  # fmt: skip

#: OpenAI's own bound for ``n``: no more choices than that are opened ahead for a provider's odd index.
_MOST_CHOICES: Final = 128

#: What follows the text in a chunk of text.
_REST: Final = '},"logprobs":null,"finish_reason":null}]}'

#: OpenAI's accumulating helper insists on a function in each entry of a call.
_NO_MORE: Final = {"function": {"arguments": ""}}

_json = msgspec.json.encode


class _State:
    """What has been sent of one choice, and what its chunks of text and of reasoning begin with."""

    __slots__ = ("annotations", "calls", "details", "filled", "finished", "refused", "text", "thought")

    def __init__(self, head: str) -> None:
        self.text = head + ',"delta":{"content":'
        self.thought = head + ',"delta":{"reasoning_content":'
        self.calls: dict[int, int] = {}  # block -> tool index, counted from 0
        self.filled: set[int] = set()  # blocks whose arguments are not empty
        self.details = 0
        self.annotations = 0
        self.refused = False
        self.finished = False

    def copy(self) -> _State:
        twin = object.__new__(_State)
        twin.text, twin.thought = self.text, self.thought
        twin.calls, twin.filled = dict(self.calls), set(self.filled)
        twin.details, twin.annotations = self.details, self.annotations
        twin.refused, twin.finished = self.refused, self.finished
        return twin


class Encoder:
    """Deltas -> chunks.

    Args:
        stream: our stream id; the chunks' id is made of it.
        created: when the stream began, in seconds since 1970.
        model: the name that the reader asked for.
        include_usage: whether the reader asked for the usage chunk.
    """

    def __init__(self, stream: str, created: float, model: str, *, include_usage: bool = True) -> None:
        self._include_usage = include_usage
        self._identity = {
            "id": "chatcmpl-" + stream.removeprefix("st_"),
            "object": "chat.completion.chunk",
            "created": int(created),
            "model": model,
        }
        # A chunk is this, one choice and a closing bracket: only the choice is encoded for each token.
        self._head = _json(self._identity).decode()[:-1] + ',"choices":[{"index":'
        self._choices: dict[int, _State] = {}
        self._usage: Usage | None = None

    def feed(self, delta: Delta) -> list[Frame]:
        """The chunks of one delta: none for usage (it is the last chunk), for failures (``close`` tells them) and for
        what only another dialect knows.

        Raises:
            LocalProtocolError: arguments of a tool call that never started.
        """
        if isinstance(delta, TextDelta):
            state = self._choices.get(delta.choice)
            frames, state = ([], state) if state is not None else self._open(delta.choice)
            frames.append(Frame(None, state.text + _json(delta.text).decode() + _REST))
            return frames
        if isinstance(delta, ReasoningDelta):
            frames, state = self._open(delta.choice)
            frames.append(Frame(None, state.thought + _json(delta.text).decode() + _REST))
            return frames
        if isinstance(delta, ToolCallDelta):
            return self._arguments(delta.choice, delta.block, delta.json)
        if isinstance(delta, Usage):
            self._usage = merge_usage(self._usage, delta)
        elif isinstance(delta, Started):
            return self._open(delta.choice)[0]
        elif isinstance(delta, Finished):
            return self._finish(delta.choice, delta.reason)
        else:
            return self._rarely(delta)
        return []

    def prefix(self, fold: Transcript) -> list[Frame]:
        """What *fold* says in the fewest chunks that a client handles like the stream itself: one for each run of one
        kind, never two kinds in one chunk. Whatever was fed before is forgotten."""
        self._choices.clear()
        self._usage = None
        return [frame for delta in fold.deltas() for frame in self.feed(delta)]

    def close(self, terminal: Terminal) -> list[Frame]:
        """The end: what is missing of a normal one, usage and ``[DONE]``; else the error, and no ``[DONE]``."""
        if terminal.state != "completed":
            return [_error(terminal)]
        frames: list[Frame] = []
        for index in list(self._choices) or [0]:  # SDK users read choices[0] of an empty answer, too
            calls = index in self._choices and self._choices[index].calls
            reason = terminal.reason if terminal.reason in _WORDS else None
            frames += self._finish(index, reason or ("tool_use" if calls else "stop"))
        return [*frames, *self._usage_chunk(self._usage or terminal.usage), Frame(None, "[DONE]")]

    def pending(self) -> list[Frame]:
        """What was said and is kept for ``close``: for a reader who goes on with the provider's own chunks, which say
        it no more."""
        return self._usage_chunk(self._usage)

    def copy(self) -> Encoder:
        twin = object.__new__(Encoder)
        twin._include_usage, twin._identity, twin._head = self._include_usage, self._identity, self._head
        twin._choices = {index: state.copy() for index, state in self._choices.items()}
        twin._usage = self._usage
        return twin

    def _usage_chunk(self, usage: Usage | None) -> list[Frame]:
        # An estimate is not told: the format has no word for it, and it would pass for the provider's count.
        if not self._include_usage or usage is None or usage.estimated:
            return []
        return [Frame(None, _json({**self._identity, "choices": [], "usage": usage_object(usage)}).decode())]

    def _rarely(self, delta: Delta) -> list[Frame]:
        if isinstance(delta, ToolCallStarted):
            return self._call(delta)
        if isinstance(delta, ToolCallEnded):
            # "A call without parameters ends as {}": other dialects end it without any.
            frames, state = self._open(delta.choice)
            return frames if delta.block in state.filled else self._arguments(delta.choice, delta.block, "{}")
        if isinstance(delta, RefusalDelta):
            frames, state = self._open(delta.choice)
            state.refused = True
            return [*frames, self._chunk(delta.choice, {"refusal": delta.text})]
        if isinstance(delta, Logprobs):
            frames, _ = self._open(delta.choice)
            logprobs = {"content": delta.content, "refusal": delta.refusal}
            return [*frames, self._chunk(delta.choice, {}, logprobs=_json(logprobs).decode())]
        if isinstance(delta, ReasoningSignature):
            return self._signature(delta)
        if isinstance(delta, Citation):
            return self._cite(delta)
        if isinstance(delta, Opaque) and delta.dialect == NAME and isinstance(delta.data, dict):
            return [self._unknown(delta.data)]
        return []

    def _open(self, index: int) -> tuple[list[Frame], _State]:
        """The state of a choice, and its role chunk if it has not had one; those of lower choices before it, since
        OpenAI's accumulating helper takes the index for a place in its list."""
        state = self._choices.get(index)
        if state is not None:
            return [], state
        frames: list[Frame] = []
        for opened in (*range(min(index, _MOST_CHOICES)), index):
            if opened not in self._choices:
                self._choices[opened] = _State(self._head + str(opened))
                frames.append(self._chunk(opened, {"role": "assistant", "content": ""}))
        return frames, self._choices[index]

    def _chunk(self, index: int, delta: dict[str, Any], *, finish: str = "null", logprobs: str = "null") -> Frame:
        """One chunk of one choice; *finish* and *logprobs* are JSON."""
        said = _json(delta).decode()
        return Frame(None, f'{self._head}{index},"delta":{said},"logprobs":{logprobs},"finish_reason":{finish}}}]}}')

    def _call(self, delta: ToolCallStarted) -> list[Frame]:
        frames, state = self._open(delta.choice)
        index = state.calls.setdefault(delta.block, len(state.calls))
        function = {"name": delta.name, "arguments": ""}
        call = {"index": index, "id": delta.id, "type": "function", "function": function}
        return [*frames, self._chunk(delta.choice, {"tool_calls": [call]})]

    def _arguments(self, choice: int, block: int, json: str) -> list[Frame]:
        state = self._choices.get(choice)
        if state is None or block not in state.calls:
            raise LocalProtocolError(f"choice {choice} has no tool call in block {block}: ToolCallStarted is missing")
        if not json:
            return []
        state.filled.add(block)
        return [self._chunk(choice, {"tool_calls": [{"index": state.calls[block], "function": {"arguments": json}}]})]

    def _signature(self, delta: ReasoningSignature) -> list[Frame]:
        """Chat has no place for a signature; OpenRouter's clients send these details back on the next turn. Gemini's
        of calls stand where Google's endpoint has them; their call's first chunk is sent by then, but helpers merge
        what comes later."""
        frames, state = self._open(delta.choice)
        said: dict[str, Any]
        if (index := state.calls.get(delta.block)) is not None:
            if delta.dialect != GOOGLE:
                return frames
            google = {"thought_signature": delta.signature}
            said = {"tool_calls": [{"index": index, **_NO_MORE, "extra_content": {"google": google}}]}
        else:
            signature = wrap(delta.signature, delta.dialect, NAME)
            said = {"reasoning_details": [{"type": "reasoning.text", "signature": signature, "index": state.details}]}
            state.details += 1
        return [*frames, self._chunk(delta.choice, said)]

    def _cite(self, delta: Citation) -> list[Frame]:
        """The index is for OpenAI's accumulating helper, which cannot merge list entries without it."""
        frames, state = self._open(delta.choice)
        note = {"index": state.annotations, **url_citation(delta.data)}
        state.annotations += 1
        return [*frames, self._chunk(delta.choice, {"annotations": [note]})]

    def _unknown(self, data: dict[str, Any]) -> Frame:
        """Members that the decoder did not know, in their places in a chunk again (after a failover, say). Entries of
        tool calls that have a function were not understood for a reason, and would be understood here."""
        choices: list[Any] = []
        found = data.get("choices")
        for choice in found if isinstance(found, list) else ():
            if not isinstance(choice, dict):
                continue
            delta = dict(delta) if isinstance(delta := choice.get("delta"), dict) else {}
            delta.pop("function_call", None)
            if isinstance(entries := delta.pop("tool_calls", None), list):
                kept = [
                    {**entry, **_NO_MORE} for entry in entries if isinstance(entry, dict) and "function" not in entry
                ]
                delta |= {"tool_calls": kept} if kept else {}
            choices.append({"finish_reason": None, **choice, "delta": delta})
        return Frame(None, _json({**data, **self._identity, "choices": choices}).decode())

    def _finish(self, index: int, reason: FinishReason) -> list[Frame]:
        frames, state = self._open(index)
        word = word_of(reason, state.refused)
        if state.finished or word is None:
            return frames
        state.finished = True
        return [*frames, self._chunk(index, {}, finish=f'"{word}"')]


def word_of(reason: FinishReason, refused: bool) -> str | None:
    """The ``finish_reason`` for *reason*; None where only an error says it. A refusal without a text is a filter."""
    return "content_filter" if reason == "refusal" and not refused else _WORDS.get(reason)


def url_citation(source: dict[str, Any]) -> dict[str, Any]:
    """*source* as an annotation: another dialect's object becomes a ``url_citation`` if it has an address."""
    own = source.get("type") == "url_citation" and isinstance(source.get("url_citation"), dict)
    found = None if own else read_source(source)
    if found is None:
        return source
    said = {"url": found.url, "title": found.title, "start_index": found.start, "end_index": found.end}
    return {"type": "url_citation", "url_citation": {name: it for name, it in said.items() if it is not None}}


def _error(terminal: Terminal) -> Frame:
    failure = failure_of(terminal)
    error = error_object(failure)
    if terminal.state != "failed":
        error |= {"type": terminal.state, "code": terminal.state}
    return Frame(None, _json({"error": error}).decode())
