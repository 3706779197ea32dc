"""Deltas -> Messages events, in the order that Anthropic sends them (reference, sections 5.2 and 11).

``message_start``, the blocks one after the other, ``message_delta`` with the reason and the usage, ``message_stop``.
Numbers and ids come from counters and from the stream id, so that the same deltas give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.anthropic.blocks import NAME
from tokenwire.dialects.anthropic.decode import REASONS
from tokenwire.dialects.anthropic.errors import error_data
from tokenwire.dialects.anthropic.usage import usage_object
from tokenwire.dialects.anthropic.writer import Writer
from tokenwire.dialects.base import Frame
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
    Usage,
)
from tokenwire.dialects.endings import failure_of
from tokenwire.dialects.transcript import merge_usage
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, FinishReason, Terminal
    from tokenwire.dialects.transcript import Transcript

#: The word of ``stop_reason`` for each reason (reference, section 8). Errors have none: the error itself says it.
_WORDS: Final[dict[FinishReason, str]] = {
    "stop": "end_turn", "length": "max_tokens", "context_window": "model_context_window_exceeded",
    "tool_use": "tool_use", "content_filter": "refusal", "refusal": "refusal", "pause": "pause_turn",
}  # fmt: skip

_TEXT: Final = {"type": "text", "text": ""}
_THINKING: Final = {"type": "thinking", "thinking": "", "signature": ""}

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
    cited = source.get("url_citation", source)
    url = (cited.get("url") or cited.get("uri")) if isinstance(cited, dict) else None
    if source.get("type") not in (None, "url_citation") or not isinstance(url, str):
        return source
    known = {"url": url, "title": cited.get("title"), "encrypted_index": "", "cited_text": ""}
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
        self._thought = -1  # the newest block of reasoning
        self._usage = usage
        self._end: Finished | None = None
        self._extra: dict[str, Any] = {}  # members of `message_delta` that only this dialect knows

    def feed(self, delta: Delta) -> list[Frame]:
        """The events of one delta: none for usage and reasons (``message_delta`` is the last event but one), for
        failures (``close`` tells them), and for what only another dialect knows.

        Raises:
            LocalProtocolError: arguments, or the end, of a tool call that never started.
        """
        if isinstance(delta, Usage):
            self._usage = merge_usage(self._usage, delta)
            return []
        if isinstance(delta, Failed) or delta.choice:
            return []
        frames = [] if self._begun else self._begin()
        put = self._writer.put
        if isinstance(delta, TextDelta):
            frames += put("text", delta.block, _TEXT, f'{{"type":"text_delta","text":{_json(delta.text).decode()}}}')
        elif isinstance(delta, ReasoningDelta):
            self._thought = delta.block
            said = f'{{"type":"thinking_delta","thinking":{_json(delta.text).decode()}}}'
            frames += put("thinking", delta.block, _THINKING, said)
        elif isinstance(delta, ToolCallDelta):
            frames += self._writer.arguments(self._called(delta.block), delta.json)
        else:
            frames += self._rarely(delta)
        return frames

    def prefix(self, fold: Transcript) -> list[Frame]:
        """What *fold* says in the fewest events: one delta for each run of one kind, citations within their text.
        Whatever was fed before is forgotten."""
        self._reset(fold.usage)  # first of all: `message_start` tells it
        deltas = [delta for delta in fold.deltas() if not isinstance(delta, Citation)]
        cited = fold.choice().citations
        frames: list[Frame] = []
        for delta in deltas:
            if isinstance(delta, Finished) and not delta.choice:
                frames += [frame for citation in cited for frame in self.feed(citation)]
                cited = []
            frames += self.feed(delta)
            if isinstance(delta, TextDelta):
                frames += [frame for each in cited if each.block == delta.block for frame in self.feed(each)]
                cited = [each for each in cited if each.block != delta.block]
        return frames + [frame for citation in cited for frame in self.feed(citation)]

    def close(self, terminal: Terminal) -> list[Frame]:
        """The end: what is missing of a normal one, reason and usage; else the error, and no ``message_stop``."""
        if terminal.state != "completed":
            return [Frame("error", _json(error_data(failure_of(terminal))).decode())]
        end = self._end
        reason = terminal.reason or (end.reason if end is not None else None)
        native = terminal.native_reason or (end.native_reason if end is not None else None)
        if reason is None and self._calls:
            reason = "tool_use"
        word = word_of(reason, native)
        details = {"type": "refusal", "category": None, "explanation": None} if word == "refusal" else None
        extra = dict(self._extra)
        said = {"stop_reason": word, "stop_sequence": None, "stop_details": details, **extra.pop("delta", {})}
        usage = usage_object(self._usage or terminal.usage)
        ends = [
            Frame("message_delta", _json({"type": "message_delta", "delta": said, "usage": usage, **extra}).decode()),
            Frame("message_stop", '{"type":"message_stop"}'),
        ]
        return [*([] if self._begun else self._begin()), *self._writer.close(), *ends]

    def copy(self) -> Encoder:
        twin = object.__new__(Encoder)
        twin._message, twin._begun, twin._writer = self._message, self._begun, self._writer.copy()
        twin._calls, twin._thought, twin._usage = set(self._calls), self._thought, self._usage
        twin._end, twin._extra = self._end, self._extra
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
        if isinstance(delta, RefusalDelta):  # the dialect has no place of its own for it: better read than lost
            return put("refusal", delta.block, _TEXT, _json({"type": "text_delta", "text": delta.text}).decode())
        if isinstance(delta, ReasoningSignature):
            return self._signature(delta)
        if isinstance(delta, Citation):
            # It may come before its text, and then opens the block; or late (OpenAI's), when that of its text is over.
            block = max(delta.block, -1 if (at := self._writer.at("text")) is None else at)
            said = {"type": "citations_delta", "citation": citation_object(delta.data)}
            return put("text", block, _TEXT, _json(said).decode())
        if isinstance(delta, Finished):
            self._end = self._end or delta
            return self._writer.close()
        if isinstance(delta, Opaque) and delta.dialect == NAME and isinstance(delta.data, dict):
            return self._unknown(delta.event, delta.data)
        return []  # the beginning is told already, and log-probabilities have no place here

    def _called(self, block: int) -> int:
        if block not in self._calls:
            raise LocalProtocolError(f"no tool call in block {block}: ToolCallStarted is missing")
        return block

    def _signature(self, delta: ReasoningSignature) -> list[Frame]:
        """Into the block of the thought that it proves. Without one, a block of its own, as where thoughts are not
        shown; but not after text (Gemini's come late), and not for a thought whose block is over."""
        at = self._writer.at("thinking")
        over = delta.block == self._thought and not self._writer.has("thinking", delta.block)
        if at is None and (over or self._writer.newest == "text"):
            return []
        number = self._thought = delta.block if at is None else at
        said = {"type": "signature_delta", "signature": delta.signature}
        return self._writer.put("thinking", number, _THINKING, _json(said).decode())

    def _unknown(self, event: str | None, data: dict[str, Any]) -> list[Frame]:
        """What only this dialect knows, in its place again, under the numbers of this message."""
        number = data.get("index") if isinstance(data.get("index"), int) else 0
        assert isinstance(number, int)
        if event == "content_block_start":
            start = data.get("content_block")
            return self._writer.put("opaque", number, start if isinstance(start, dict) else {}, None)
        if event == "content_block_delta":
            at = self._writer.at("opaque")
            return [] if at is None else self._writer.put("opaque", at, {}, _json(data.get("delta")).decode())
        if event == "content_block_stop":
            return self._writer.end("opaque", number)
        if event == "message_delta":
            said = {**self._extra.get("delta", {}), **data.get("delta", {})}
            self._extra = {**self._extra, **{name: data[name] for name in data if name != "type"}, "delta": said}
            return []
        return [] if event is None else [Frame(event, _json(data).decode())]
