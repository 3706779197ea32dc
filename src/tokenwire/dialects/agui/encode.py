"""Deltas -> AG-UI events.

``RUN_STARTED``, the messages, ``RUN_FINISHED`` or ``RUN_ERROR``. Each run of text is a message of its own, and holds
the calls that follow it; so is each thought, and each result of a tool. Ids are made of the stream's and of a counter.

A joiner is told each message that is over as START, one CONTENT, END: a ``MESSAGES_SNAPSHOT`` would take from a client
whatever of its history is not in it, and the relay does not keep histories. Who comes back to a run must therefore
forget the messages of that run first, or it appends to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.agui.words import CITATION, NAME, OURS, usage_entry, usage_remarks
from tokenwire.dialects.base import Frame
from tokenwire.dialects.deltas import (
    Citation,
    Failed,
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
from tokenwire.dialects.signatures import wrap
from tokenwire.dialects.transcript import merge_usage
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, Terminal
    from tokenwire.dialects.transcript import Transcript

#: Where an answer ends well, but within a call: the verifier bears no call that is open at RUN_FINISHED.
CUT_CALL: Final = Failed("incomplete_tool_call", "the answer ended before the arguments of a tool call were complete")

_PREFIXES: Final = {"text": "TEXT_MESSAGE", "refusal": "TEXT_MESSAGE", "reasoning": "REASONING_MESSAGE"}

_json = msgspec.json.encode


class _Call:
    """A call, and how far it is."""

    __slots__ = ("answered", "ended", "filled", "id")

    def __init__(self, id: str, filled: bool = False, ended: bool = False, answered: bool = False) -> None:
        self.id = id
        self.filled = filled
        self.ended = ended
        self.answered = answered


class Encoder:
    """Deltas -> events. There is one answer here: what other choices say is left out.

    Args:
        stream: our stream id; ids of messages are made of it, and of thread and run where none are given.
        created: not told.
        model: the name that the reader asked for; it stands beside the counts.
        thread_id, run_id: as the client named them.
    """

    def __init__(self, stream: str, created: float, model: str, *, thread_id: str = "", run_id: str = "") -> None:
        self._stem = stream.removeprefix("st_")
        self._model = model
        self._run = {"threadId": thread_id or f"thread_{self._stem}", "runId": run_id or f"run_{self._stem}"}
        self._reset()

    def _reset(self) -> None:
        self._begun = False
        self._part: tuple[str, int] | None = None  # kind and block of the text that is open
        self._head = ""  # its contents, up to their text
        self._messages = 0
        self._id = ""  # of the newest message
        self._parent = ""  # of the message that the next call belongs to; "" if that has none yet
        self._calls: dict[int, _Call] = {}
        self._usage: Usage | None = None
        self._end: Finished | None = None

    def feed(self, delta: Delta) -> list[Frame]:
        """The events of one delta: none for usage and reasons (``close`` tells them), and for what only another
        dialect knows.

        Raises:
            LocalProtocolError: arguments, the end, or the result of a tool call that never started.
        """
        if isinstance(delta, Usage):
            self._usage = merge_usage(self._usage, delta)
            return []
        if getattr(delta, "choice", 0):
            return []
        if isinstance(delta, TextDelta):
            return self._say("text", delta.block, delta.text)
        if isinstance(delta, ReasoningDelta):
            return self._say("reasoning", delta.block, delta.text)
        if isinstance(delta, ToolCallDelta):
            return self._arguments(self._call(delta.block), delta.json)
        return self._rarely(delta)

    def prefix(self, fold: Transcript) -> list[Frame]:
        """One event with all its text for each message, and for each call. Whatever was fed before is forgotten."""
        self._reset()
        return [frame for delta in fold.deltas() for frame in self.feed(delta)]

    def close(self, terminal: Terminal) -> list[Frame]:
        """The end, with usage. A call that is not whole stays open, which only an error allows."""
        frames = [*self._begin(), *self._close()]
        usage = terminal.usage or self._usage
        counts: dict[str, Any] = {} if usage is None else {"usage": [usage_entry(usage, self._model)]}
        remarks = {} if usage is None else usage_remarks(usage)
        whole = all(call.ended for call in self._calls.values())
        if terminal.state == "completed" and whole:
            end = self._end or Finished("tool_use" if self._calls else "stop")
            remarks["finishReason"] = terminal.reason or end.reason
            if native := terminal.native_reason or end.native_reason:
                remarks["nativeFinishReason"] = native
            return [*frames, _event("RUN_FINISHED", **self._run, **counts, metadata={OURS: remarks})]
        failure = CUT_CALL if terminal.state == "completed" else failure_of(terminal)
        code = failure.code if terminal.state in ("failed", "completed") else terminal.state
        remarks["retryable"] = failure.retryable
        if failure.upstream_status is not None:
            remarks["upstreamStatus"] = failure.upstream_status
        told = {"message": failure.message, "code": code, **counts, "metadata": {OURS: remarks}}
        return [*frames, _event("RUN_ERROR", **told)]

    def copy(self) -> Encoder:
        twin = object.__new__(Encoder)
        twin._stem, twin._model, twin._run, twin._begun = self._stem, self._model, self._run, self._begun
        twin._part, twin._head, twin._id, twin._parent = self._part, self._head, self._id, self._parent
        twin._messages, twin._usage, twin._end = self._messages, self._usage, self._end
        twin._calls = {
            block: _Call(call.id, call.filled, call.ended, call.answered) for block, call in self._calls.items()
        }
        return twin

    def _begin(self) -> list[Frame]:
        if self._begun:
            return []
        self._begun = True
        return [_event("RUN_STARTED", **self._run)]

    def _say(self, kind: str, block: int, text: str) -> list[Frame]:
        if not text:
            return []  # clients before 1.0 fail on an empty one
        frames = [] if self._part == (kind, block) else self._open(kind, block)
        return [*frames, Frame(None, f"{self._head}{_json(text).decode()}}}")]

    def _open(self, kind: str, block: int) -> list[Frame]:
        frames = [*self._begin(), *self._close()]
        self._part = kind, block
        message = self._message()
        prefix = _PREFIXES[kind]
        self._head = f'{{"type":"{prefix}_CONTENT","messageId":"{message}","delta":'
        if kind == "reasoning":
            self._parent = ""
            frames.append(_event("REASONING_START", messageId=message))
            return [*frames, _event("REASONING_MESSAGE_START", messageId=message, role="reasoning")]
        self._parent = message
        extra = {"metadata": {OURS: {"refusal": True}}} if kind == "refusal" else {}
        return [*frames, _event("TEXT_MESSAGE_START", messageId=message, role="assistant", **extra)]

    def _message(self) -> str:
        """The id of a new message."""
        self._id = f"msg_{self._stem}_{self._messages}"
        self._messages += 1
        return self._id

    def _close(self, signature: str = "") -> list[Frame]:
        """The end of the text that is open, with the proof of it."""
        if self._part is None:
            return []
        kind, _ = self._part
        self._part = None
        frames = [_event(f"{_PREFIXES[kind]}_END", messageId=self._id)]
        if signature:
            proof = {"subtype": "message", "entityId": self._id, "encryptedValue": signature}
            frames.append(_event("REASONING_ENCRYPTED_VALUE", **proof))
        return [*frames, _event("REASONING_END", messageId=self._id)] if kind == "reasoning" else frames

    def _rarely(self, delta: Delta) -> list[Frame]:
        if isinstance(delta, ToolCallStarted):
            frames = [*self._begin(), *self._close()]
            self._parent = self._parent or self._message()  # the client makes that message
            self._calls[delta.block] = _Call(delta.id)
            call = {"toolCallId": delta.id, "toolCallName": delta.name, "parentMessageId": self._parent}
            return [*frames, _event("TOOL_CALL_START", **call)]
        if isinstance(delta, ToolCallEnded):
            call_ = self._call(delta.block)
            frames = [] if call_.filled else self._arguments(call_, "{}")
            over, call_.ended = call_.ended, True
            return [] if over else [*frames, _event("TOOL_CALL_END", toolCallId=call_.id)]
        if isinstance(delta, RefusalDelta):  # there is no place for it but the text: better read than lost
            return self._say("refusal", delta.block, delta.text)
        if isinstance(delta, ReasoningSignature):
            return self._signature(delta)
        if isinstance(delta, ToolResult):
            return self._result(self._call(delta.block), delta)
        if isinstance(delta, Citation):
            return [*self._begin(), _event("CUSTOM", name=CITATION, value=delta.data)]
        if isinstance(delta, Finished):
            self._end = self._end or delta
        elif isinstance(delta, Started):
            return self._begin()
        return []

    def _call(self, block: int) -> _Call:
        call = self._calls.get(block)
        if call is None:
            raise LocalProtocolError(f"no tool call in block {block}: ToolCallStarted is missing")
        return call

    def _arguments(self, call: _Call, json: str) -> list[Frame]:
        if not json or call.ended:
            return []
        call.filled = True
        return [_event("TOOL_CALL_ARGS", toolCallId=call.id, delta=json)]

    def _result(self, call: _Call, delta: ToolResult) -> list[Frame]:
        """A message of its own. The event has no place for an error; our key in its metadata has. Calls that follow
        belong to a message that follows, too."""
        if call.answered:
            return []
        call.answered = True
        frames = self._close()
        self._parent = ""
        said = {"messageId": self._message(), "toolCallId": call.id, "content": delta.content, "role": "tool"}
        extra = {"metadata": {OURS: {"error": True}}} if delta.error else {}
        return [*frames, _event("TOOL_CALL_RESULT", **said, **extra)]

    def _signature(self, delta: ReasoningSignature) -> list[Frame]:
        """To the call or the message that it proves, else to a thought without a text."""
        if not delta.signature:
            return []
        signature = wrap(delta.signature, delta.dialect, NAME)
        call = self._calls.get(delta.block)
        if call is not None:
            proof = {"subtype": "tool-call", "entityId": call.id, "encryptedValue": signature}
            return [_event("REASONING_ENCRYPTED_VALUE", **proof)]
        if self._part is not None and self._part[1] == delta.block:
            return self._close(signature)
        return [*self._open("reasoning", delta.block), *self._close(signature)]


def _event(type_: str, **fields: Any) -> Frame:
    return Frame(None, _json({"type": type_, **fields}).decode())
