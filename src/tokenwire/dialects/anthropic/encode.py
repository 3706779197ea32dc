"""Deltas -> Messages events, in the order that Anthropic sends them (reference, sections 5.2 and 11).

``message_start``, the blocks one after the other, ``message_delta`` with the reason and the usage, ``message_stop``.
Numbers and ids come from counters and from the stream id, so that the same deltas give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.anthropic.blocks import NAME, refusal_object
from tokenwire.dialects.anthropic.decode import REASONS
from tokenwire.dialects.anthropic.errors import error_data
from tokenwire.dialects.anthropic.usage import usage_object
from tokenwire.dialects.anthropic.writer import Writer
from tokenwire.dialects.base import Frame
from tokenwire.dialects.citations import read_source
from tokenwire.dialects.deltas import (
    Citation,
    Failed,
    Finished,
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
from tokenwire.dialects.endings import failure_of, reason_of
from tokenwire.dialects.pieces import Text
from tokenwire.dialects.signatures import wrap
from tokenwire.dialects.transcript import merge_usage
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, FinishReason, Terminal
    from tokenwire.dialects.pieces import Text
from tokenwire.dialects.transcript import Transcript

#: The word of ``stop_reason`` for each reason (reference, section 8). Errors have none: the error itself says it.
_WORDS: Final[dict[FinishReason, str]] = {
    "stop": "end_turn", "length": "max_tokens", "context_window": "model_context_window_exceeded",
    "tool_use": "tool_use", "content_filter": "refusal", "refusal": "refusal", "pause": "pause_turn",
}  # fmt: skip

_OWN_CITATIONS: Final = frozenset({
    "char_location", "page_location", "content_block_location", "web_search_result_location", "search_result_location",
})  # fmt: skip

_TEXT: Final = {"type": "text", "text": ""}
_THINKING: Final = {"type": "thinking", "thinking": "", "signature": ""}

_LAST: Final = 1 << 40  # the number of a text that comes after all others

#: What no event tells. A tuple: a union would be made anew for each token.
_UNTOLD: Final = (Failed, ToolResult)

_json = msgspec.json.encode


def message_object(stream: str, model: str) -> dict[str, Any]:
    """A message without a content, and without an end."""
    fields = {"id": "msg_" + stream.removeprefix("st_"), "type": "message", "role": "assistant", "model": model}
    return {**fields, "content": [], "stop_reason": None, "stop_sequence": None}


def word_of(reason: FinishReason | None, native: str | None) -> str:
    """The ``stop_reason``: the provider's own word, if it is Anthropic's for that reason."""
    if native is not None and reason is not None and REASONS.get(native) == reason:
        return native
    return _WORDS.get(reason or "unknown", "end_turn")


def citation_object(source: dict[str, Any]) -> dict[str, Any]:
    """*source* as a citation: another dialect's becomes that of a search result, if it has an address."""
    found = None if source.get("type") in _OWN_CITATIONS else read_source(source)
    if found is None:
        return source
    known = {"url": found.url, "title": found.title, "encrypted_index": "", "cited_text": found.text or ""}
    return {"type": "web_search_result_location", **known}


class Encoder:
    """Deltas -> Messages events. There is one answer here: what other choices say is left out.

    Args:
        stream: our stream id; the message's id is made of it.
        created: not told in this dialect.
        model: the name that the reader asked for.
    """

    def __init__(self, stream: str, created: float, model: str) -> None:
        self._message = message_object(stream, model)
        self._reset(None)

    def _reset(self, usage: Usage | None) -> None:
        self._begun = False
        self._writer = Writer()
        self._calls: set[int] = set()
        self._thoughts: set[int] = set()  # blocks of reasoning that have begun
        self._cited: list[str] = []  # citations that wait for a text
        self._usage = usage
        self._end: Finished | None = None
        self._refusal = Text()  # what is said of it, which is part of the end
        self._extra: dict[str, Any] = {}  # members of `message_delta` that only this dialect knows

    def feed(self, delta: Delta) -> list[Frame]:
        """The events of one delta: none for usage, refusals and reasons (``message_delta`` is the last event but one),
        for failures (``close`` tells them), and for what only another dialect knows.

        Raises:
            LocalProtocolError: arguments, or the end, of a tool call that never started.
        """
        if isinstance(delta, Usage):
            self._usage = merge_usage(self._usage, delta)
            return []
        if isinstance(delta, _UNTOLD) or delta.choice:
            return []
        if isinstance(delta, TextDelta) and self._begun and not self._cited:
            said = f'{{"type":"text_delta","text":{_json(delta.text).decode()}}}'
            return self._writer.put("text", delta.block, _TEXT, said)
        frames = [] if self._begun else self._begin()
        if isinstance(delta, TextDelta):
            if self._writer.newest != ("text", delta.block):
                frames += self._cite(delta.block)
            said = f'{{"type":"text_delta","text":{_json(delta.text).decode()}}}'
            frames += self._writer.put("text", delta.block, _TEXT, said)
        elif isinstance(delta, ReasoningDelta):
            self._thoughts.add(delta.block)
            said = f'{{"type":"thinking_delta","thinking":{_json(delta.text).decode()}}}'
            frames += self._writer.put("thinking", delta.block, _THINKING, said)
        elif isinstance(delta, ToolCallDelta):
            frames += self._writer.arguments(self._called(delta.block), delta.json)
        else:
            frames += self._rarely(delta)
        return frames

    def prefix(self, fold: Transcript) -> list[Frame]:
        """What *fold* says in the fewest events: one delta for each run of one kind. Whatever was fed before is
        forgotten. No block begins here that would not have begun, had the deltas come one by one."""
        self._reset(fold.usage)  # first of all: `message_start` tells it
        return [frame for delta in fold.deltas() for frame in self.feed(delta)]

    def close(self, terminal: Terminal) -> list[Frame]:
        """The end: what is missing of a normal one, reason and usage; else the error, and no ``message_stop``."""
        if terminal.state != "completed":
            return [Frame("error", _json(error_data(failure_of(terminal))).decode())]
        reason, native = reason_of(terminal, self._end)
        if reason is None and self._calls:
            reason = "tool_use"
        refusal = str(self._refusal)
        word = word_of("refusal" if refusal and reason in (None, "stop") else reason, native)
        details = refusal_object(refusal) if word == "refusal" else None
        extra = dict(self._extra)
        said = {"stop_reason": word, "stop_sequence": None, "stop_details": details, **extra.pop("delta", {})}
        usage = usage_object(self._usage or terminal.usage)
        ends = [
            Frame("message_delta", _json({"type": "message_delta", "delta": said, "usage": usage, **extra}).decode()),
            Frame("message_stop", '{"type":"message_stop"}'),
        ]
        frames = [] if self._begun else self._begin()
        if self._cited:  # no text came for them: one of their own
            frames += self._cite(_LAST)
        return [*frames, *self._writer.close(), *ends]

    def copy(self) -> Encoder:
        twin = object.__new__(Encoder)
        twin._message, twin._begun, twin._writer = self._message, self._begun, self._writer.copy()
        twin._calls, twin._usage = set(self._calls), self._usage
        twin._thoughts, twin._cited = set(self._thoughts), list(self._cited)
        twin._end, twin._extra, twin._refusal = self._end, self._extra, self._refusal.copy()
        return twin

    def _begin(self) -> list[Frame]:
        self._begun = True
        message = {**self._message, "usage": usage_object(self._usage)}
        return [Frame("message_start", _json({"type": "message_start", "message": message}).decode())]

    def _rarely(self, delta: Delta) -> list[Frame]:
        put = self._writer.put
        if isinstance(delta, ToolCallStarted):
            self._calls.add(delta.block)
            start = {"type": "tool_use", "id": delta.id, "name": delta.name, "input": {}}
            # The API's calls begin with an empty fragment; one without arguments has no other.
            return put("tool_use", delta.block, start, '{"type":"input_json_delta","partial_json":""}')
        if isinstance(delta, ToolCallEnded):
            return self._writer.end("tool_use", self._called(delta.block))
        if isinstance(delta, RefusalDelta):
            self._refusal.append(delta.text)
            return []
        if isinstance(delta, ReasoningSignature):
            return self._signature(delta)
        if isinstance(delta, Citation):
            # It may come before its text, or late (OpenAI's), when that of its text is over: then it waits.
            said = {"type": "citations_delta", "citation": citation_object(delta.data)}
            kind, number = self._writer.newest or ("", -1)
            self._cited.append(_json(said).decode())
            return self._cite(number) if kind == "text" and delta.block <= number else []
        if isinstance(delta, Finished):
            self._end = self._end or delta
        if isinstance(delta, Opaque) and delta.dialect == NAME and isinstance(delta.data, dict):
            return self._unknown(delta.event, delta.data)
        return []  # the beginning is told already, and log-probabilities have no place here

    def _called(self, block: int) -> int:
        if block not in self._calls:
            raise LocalProtocolError(f"no tool call in block {block}: ToolCallStarted is missing")
        return block

    def _cite(self, text: int) -> list[Frame]:
        """The citations that wait, in the block of that text."""
        waiting, self._cited = self._cited, []
        return [frame for said in waiting for frame in self._writer.put("text", text, _TEXT, said)]

    def _signature(self, delta: ReasoningSignature) -> list[Frame]:
        """Into the block of the thought that it proves, which ends with it: the SDKs keep one signature of a block.
        Without one, a block of its own, as where thoughts are not shown; but not after text (Gemini's come late), and
        not for a thought whose block is over. That of a call has no place here."""
        newest = self._writer.newest
        late = delta.block in self._thoughts or (newest is not None and newest[0] == "text")
        if delta.block in self._calls or (late and newest != ("thinking", delta.block)):
            return []
        self._thoughts.add(delta.block)
        said = {"type": "signature_delta", "signature": wrap(delta.signature, delta.dialect, NAME)}
        frames = self._writer.put("thinking", delta.block, _THINKING, _json(said).decode())
        self._writer.part()
        return frames

    def _unknown(self, event: str | None, data: dict[str, Any]) -> list[Frame]:
        """What only this dialect knows, in its place again, under the numbers of this message."""
        number = data.get("index") if isinstance(data.get("index"), int) else 0
        assert isinstance(number, int)
        if event == "content_block_start":
            start = data.get("content_block")
            return self._writer.put("opaque", number, start if isinstance(start, dict) else {}, None)
        if event == "content_block_delta":
            return self._writer.add("opaque", number, _json(data.get("delta")).decode())
        if event == "content_block_stop":
            return self._writer.end("opaque", number)
        if event == "message_delta":
            said = {**self._extra.get("delta", {}), **data.get("delta", {})}
            self._extra = {**self._extra, **{name: data[name] for name in data if name != "type"}, "delta": said}
            return []
        return [] if event is None else [Frame(event, _json(data).decode())]
