"""Deltas -> parts of a UI message stream, version 1, as ``useChat`` of ai 5, 6 and 7 reads it.

``start``, ``start-step``, the parts, ``finish-step``, ``finish``, ``[DONE]``. What the model says after the results of
its tools is a step of its own. A part of text begins where its kind or block changes or a step begins, and nowhere
else: so a joiner who is told each run at once counts the same parts as one who was there. For the same reason sources
come at the end: a fold knows which there are, not what was said before each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.base import Frame
from tokenwire.dialects.deltas import (
    Citation,
    Finished,
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
from tokenwire.dialects.pieces import Pieces
from tokenwire.dialects.signatures import wrap
from tokenwire.dialects.transcript import merge_usage
from tokenwire.dialects.ui_messages.calls import Call
from tokenwire.dialects.ui_messages.sources import source_fields
from tokenwire.dialects.ui_messages.words import NAME, OTHER, OURS, WORDS, error_fields, usage_fields
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, Failed, Terminal
    from tokenwire.dialects.transcript import Transcript

_TYPES: Final = {"text": "text", "refusal": "text", "reasoning": "reasoning"}

_INPUT: Final = '{"type":"tool-input-'
_WHOLE: Final = f"{_INPUT}available"

_json = msgspec.json.encode


class Encoder:
    """Deltas -> parts. There is one answer here: what other choices say is left out.

    Args:
        stream: our stream id; the message's id is made of it.
        created, model: not told in this dialect.
        version: of the npm package ``ai`` that reads. 5 is told what the oldest 5.0 knows: those clients fail on an
            unknown field.
        message_id: of the message that this answer goes on with (the client has sent the results of its tools);
            "" for a new one. Under another id the client would show what it has twice.
        earlier: what that message holds, for a reader who has nothing of it (``again.told_again``).
    """

    def __init__(
        self,
        stream: str,
        created: float,
        model: str,
        *,
        version: int = 5,
        message_id: str = "",
        earlier: tuple[Frame, ...] = (),
    ) -> None:
        self._message = message_id or "msg_" + stream.removeprefix("st_")
        self._goes_on = bool(message_id)
        self._version = version
        self._earlier = earlier
        self._reset()

    def _reset(self) -> None:
        self._begun = False
        self._part: tuple[str, int] | None = None  # kind and block of the text that is open
        self._head = ""  # its deltas, up to their text
        self._id = ""
        self._parts = 0
        self._calls: dict[int, Call] = {}
        self._answered = False  # the newest news are results: whatever the model says next is a new step
        self._sources: Pieces[Citation] = Pieces()
        self._usage: Usage | None = None
        self._end: Finished | None = None

    def feed(self, delta: Delta) -> list[Frame]:
        """The parts of one delta: none for sources, usage and reasons (``close`` tells them), and for what only
        another dialect knows.

        Raises:
            LocalProtocolError: arguments, the end, or the result of a tool call that never started.
        """
        if isinstance(delta, Usage):
            self._usage = merge_usage(self._usage, delta)
            return []
        if delta_choice(delta):
            return []
        if isinstance(delta, TextDelta):
            return self._say("text", delta.block, delta.text)
        if isinstance(delta, ReasoningDelta):
            return self._say("reasoning", delta.block, delta.text)
        if isinstance(delta, ToolCallDelta):
            return [_part(part) for part in self._call(delta.block).add(delta.json)]
        return self._rarely(delta)

    def prefix(self, fold: Transcript) -> list[Frame]:
        """One delta for each part, and whole calls without the pieces of their arguments. Whatever was fed before is
        forgotten.

        A call that has its result is told in pieces all the same: ``tool-input-available`` would make a page that was
        there before run its tool a second time, and a result does not need it.
        """
        self._reset()
        calls = fold.choice().tool_calls
        frames: list[Frame] = []
        pieces: list[Frame] = []
        for delta in fold.deltas():
            told = self.feed(delta)
            if isinstance(delta, ToolCallStarted | ToolCallDelta) and not delta.choice and calls[delta.block].ended:
                pieces += [frame for frame in told if frame.data.startswith(_INPUT)]
                told = [frame for frame in told if not frame.data.startswith(_INPUT)]
            elif isinstance(delta, ToolCallEnded):
                if told and not told[0].data.startswith(_INPUT):
                    told = pieces + told  # the only news of it is its end: then it must have begun
                elif told and calls[delta.block].result is not None and told[0].data.startswith(_WHOLE):
                    told = pieces if len(pieces) > 1 else [*pieces, _nothing(calls[delta.block].id)]
                pieces = []
            frames += told
        return frames

    def close(self, terminal: Terminal) -> list[Frame]:
        """The end: sources, usage and ``[DONE]``; else the error, or ``abort`` where somebody stopped it, and no
        ``[DONE]``. What is open is closed, but not calls: those that are not whole stay as they are."""
        frames = [*self._begin(), *self._close()]
        for number, source in enumerate(self._sources.items()):
            frames.append(_part(source_fields(source.data, f"source-{number}")))
        metadata: dict[str, Any] = {}
        usage = terminal.usage or self._usage
        if usage is not None:
            metadata["usage"] = usage_fields(usage)
        if terminal.state != "completed":
            return [*frames, *self._failure(terminal, metadata)]
        reason = terminal.reason or (self._end.reason if self._end else "tool_use" if self._calls else "stop")
        word = WORDS.get(reason, OTHER)
        metadata["finishReason"] = word
        if self._goes_on:
            metadata["error"] = None  # what went wrong with it before is over; clients merge, and would keep it
        finish = {"type": "finish", "messageMetadata": metadata}
        if self._version > 5:
            finish["finishReason"] = word
        return [*frames, _part({"type": "finish-step"}), _part(finish), Frame(None, "[DONE]")]

    def copy(self) -> Encoder:
        twin = object.__new__(Encoder)
        twin._message, twin._goes_on, twin._version = self._message, self._goes_on, self._version
        twin._earlier, twin._begun = self._earlier, self._begun
        twin._part, twin._head, twin._id, twin._parts = self._part, self._head, self._id, self._parts
        twin._answered = self._answered
        twin._calls = {block: call.copy() for block, call in self._calls.items()}
        twin._sources, twin._usage, twin._end = self._sources.copy(), self._usage, self._end
        return twin

    def _begin(self) -> list[Frame]:
        """The head of the message, once: every reader's body begins with it, under the same id."""
        if self._begun:
            return []
        self._begun = True
        start = _part({"type": "start", "messageId": self._message})
        return [start, *self._earlier, _part({"type": "start-step"})]

    def _next(self) -> list[Frame]:
        """The place of what the model says next: a new step, if the last one ended in results."""
        if not self._answered:
            return self._begin()
        self._answered = False
        return [_part({"type": "finish-step"}), _part({"type": "start-step"})]

    def _say(self, kind: str, block: int, text: str) -> list[Frame]:
        if not text:
            return []  # a run without a text is no part
        if self._part == (kind, block):
            return [Frame(None, f"{self._head}{_json(text).decode()}}}")]
        frames = self._open(kind, block)
        return [*frames, Frame(None, f"{self._head}{_json(text).decode()}}}")]

    def _open(self, kind: str, block: int) -> list[Frame]:
        frames = [*self._next(), *self._close()]
        type_ = _TYPES[kind]
        self._id = f"{type_}-{self._parts}"
        self._parts += 1
        self._part = kind, block
        self._head = f'{{"type":"{type_}-delta","id":"{self._id}","delta":'
        start: dict[str, Any] = {"type": f"{type_}-start", "id": self._id}
        if kind == "refusal":
            start["providerMetadata"] = {OURS: {"refusal": True}}
        return [*frames, _part(start)]

    def _close(self, signature: str = "") -> list[Frame]:
        """The end of the text that is open, with the proof of it."""
        if self._part is None:
            return []
        kind, _ = self._part
        self._part = None
        end: dict[str, Any] = {"type": f"{_TYPES[kind]}-end", "id": self._id}
        if signature:
            ours = {"signature": signature} | ({"refusal": True} if kind == "refusal" else {})
            end["providerMetadata"] = {OURS: ours}
        return [_part(end)]

    def _rarely(self, delta: Delta) -> list[Frame]:
        if isinstance(delta, ToolCallStarted):
            self._calls[delta.block] = Call(delta.id, delta.name)
            start = {"type": "tool-input-start", "toolCallId": delta.id, "toolName": delta.name}
            return [*self._next(), *self._close(), _part(start)]
        if isinstance(delta, ToolCallEnded):
            return [_part(part) for part in self._call(delta.block).end(self._version)]
        if isinstance(delta, RefusalDelta):  # there is no place for it but the text: better read than lost
            return self._say("refusal", delta.block, delta.text)
        if isinstance(delta, ReasoningSignature):
            return self._signature(delta)
        if isinstance(delta, ToolResult):
            return self._result(self._call(delta.block), delta)
        if isinstance(delta, Citation):
            self._sources.append(delta)
        elif isinstance(delta, Finished):
            self._end = self._end or delta
        elif isinstance(delta, Started):
            return self._begin()
        return []

    def _call(self, block: int) -> Call:
        call = self._calls.get(block)
        if call is None:
            raise LocalProtocolError(f"no tool call in block {block}: ToolCallStarted is missing")
        return call

    def _result(self, call: Call, delta: ToolResult) -> list[Frame]:
        if call.answered:
            return []
        self._answered = True
        return [*self._close(), _part(call.result(delta))]

    def _signature(self, delta: ReasoningSignature) -> list[Frame]:
        """With the end of what it proves; of a call, in the message's metadata (it may come when the call is told
        already, and telling that twice would run it twice); else in a thought without a text."""
        if not delta.signature:
            return []
        signature = wrap(delta.signature, delta.dialect, NAME)
        call = self._calls.get(delta.block)
        if call is not None:
            return [_part({"type": "message-metadata", "messageMetadata": {"signatures": {call.id: signature}}})]
        if self._part is not None and self._part[1] == delta.block:
            return self._close(signature)
        return [*self._open("reasoning", delta.block), *self._close(signature)]

    def _failure(self, terminal: Terminal, metadata: dict[str, Any]) -> list[Frame]:
        failure: Failed = failure_of(terminal)
        if terminal.state != "failed":
            failure = msgspec.structs.replace(failure, code=terminal.state)
        metadata["error"] = error_fields(failure)
        told = _part({"type": "message-metadata", "messageMetadata": metadata})
        if terminal.state != "cancelled":
            return [told, _part({"type": "error", "errorText": failure.message})]
        return [told, _part({"type": "abort"} | ({"reason": failure.message} if self._version > 5 else {}))]


def delta_choice(delta: Delta) -> int:
    """The choice that *delta* is of; 0 where it is of the whole answer."""
    return getattr(delta, "choice", 0)


def _nothing(call: str) -> Frame:
    """The arguments of a call without any."""
    return _part({"type": "tool-input-delta", "toolCallId": call, "inputTextDelta": "{}"})


def _part(fields: dict[str, Any]) -> Frame:
    return Frame(None, _json(fields).decode())
