"""Deltas -> lines of NDJSON, as Ollama sends them (reference, section 7.5).

A line for each piece of text or thought, one for each tool call once it is whole, and the last with the reason, the
counts and the durations. A line names nothing of its stream but the model and the time: the same deltas give the same
bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.base import Frame
from tokenwire.dialects.deltas import (
    Failed,
    Finished,
    Logprobs,
    Opaque,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.endings import failure_of
from tokenwire.dialects.json_text import loads, one_line, scrub
from tokenwire.dialects.ollama.decode import REASONS
from tokenwire.dialects.ollama.errors import error_object
from tokenwire.dialects.ollama.form import CHAT, MESSAGE, Form
from tokenwire.dialects.ollama.times import text_of
from tokenwire.dialects.ollama.usage import usage_members
from tokenwire.dialects.pieces import Text
from tokenwire.dialects.transcript import merge_usage
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, FinishReason, Terminal
    from tokenwire.dialects.transcript import Transcript

#: The word of ``done_reason`` for each reason, where not ``stop`` (reference, section 8). Ollama's models have no
#: filter; a word that it does not know is better than an ordinary end, and its clients take any.
_WORDS: Final[dict[FinishReason, str]] = {
    "length": "length", "context_window": "length", "content_filter": "content_filter", "refusal": "content_filter",
    "error": "error",
}  # fmt: skip

#: What becomes of the reasons that have no word of their own.
REASONS_KEPT: Final[dict[FinishReason, FinishReason]] = {
    "context_window": "length", "refusal": "content_filter", "pause": "stop", "unknown": "stop", "cancelled": "stop",
}  # fmt: skip


class _Call:
    """A call that is not told yet. ``index``: its place among the answer's calls."""

    __slots__ = ("ended", "id", "index", "json", "name")

    def __init__(self, id: str, name: str, index: int) -> None:
        self.id = id
        self.name = name
        self.index = index
        self.json = Text()
        self.ended = False

    def copy(self) -> _Call:
        twin = _Call(self.id, self.name, self.index)
        twin.json, twin.ended = self.json.copy(), self.ended
        return twin


class Encoder:
    """Deltas -> lines.

    Args:
        stream: our stream id; no line tells it.
        created: when the stream began, in seconds since 1970.
        model: the name that the reader asked for.
        form: where in a line the words stand.
    """

    __slots__ = ("_begun", "_calls", "_end", "_extra", "_form", "_identity", "_text", "_thought", "_usage")

    def __init__(self, stream: str, created: float, model: str, form: Form = CHAT) -> None:
        self._form = form
        self._identity = {"model": model, "created_at": text_of(created)}
        # What stands around a piece in its line: only the piece is encoded for each token.
        self._text = self._around("content")
        self._thought = self._around("thinking")
        self._reset()

    def _reset(self) -> None:
        self._calls: OrderedDict[int, _Call] = OrderedDict()  # not told yet, by block
        self._begun = 0  # calls so far
        self._usage: Usage | None = None
        self._end: Finished | None = None
        self._extra: dict[str, Any] = {}  # members that only this dialect knows: told in the last line

    def feed(self, delta: Delta) -> list[Frame]:
        """The lines of one delta: none for the beginning, for usage and reasons (the last line tells them), for
        failures (``close`` does), and for what Ollama has no words for (``Dialect.loses``).

        Raises:
            LocalProtocolError: arguments, or the end, of a tool call that never started.
        """
        if isinstance(delta, Usage):
            self._usage = merge_usage(self._usage, delta)
            return []
        if isinstance(delta, Failed) or delta.choice:
            return []
        if isinstance(delta, TextDelta | RefusalDelta):  # what the model says instead of an answer is text here
            return [_piece(self._text, delta.text)] if delta.text else []
        if isinstance(delta, ReasoningDelta):
            return [_piece(self._thought, delta.text)] if delta.text else []
        if isinstance(delta, ToolCallDelta):
            self._call(delta.block).json.append(delta.json)
            return []
        return self._rarely(delta)

    def prefix(self, fold: Transcript) -> list[Frame]:
        """What *fold* says in the fewest lines: one for each run of one kind and each whole call. Whatever was fed
        before is forgotten."""
        self._reset()
        return [frame for delta in fold.deltas() for frame in self.feed(delta)]

    def close(self, terminal: Terminal) -> list[Frame]:
        """The end: the last line; else the error, and no last line."""
        if terminal.state != "completed":
            state = {} if terminal.state == "failed" else {"code": terminal.state}
            return [_frame({**error_object(failure_of(terminal)), **state})]
        reason = terminal.reason or (self._end.reason if self._end else None)
        native = terminal.native_reason or (self._end.native_reason if self._end else None)
        line = {
            **self._extra,
            **self._identity,
            **self._form.write({}),
            "done": True,
            "done_reason": word_of(reason, native),
            **usage_members(self._usage or terminal.usage, terminal),
        }
        return [*self._tell(all_ended=True), _frame(line)]

    def copy(self) -> Encoder:
        twin = object.__new__(Encoder)
        twin._form, twin._identity = self._form, self._identity
        twin._text, twin._thought = self._text, self._thought
        twin._calls = OrderedDict((block, call.copy()) for block, call in self._calls.items())
        twin._begun = self._begun
        twin._usage, twin._end, twin._extra = self._usage, self._end, self._extra
        return twin

    def _rarely(self, delta: Delta) -> list[Frame]:
        if isinstance(delta, ToolCallStarted):
            self._calls[delta.block] = _Call(delta.id, delta.name, self._begun)
            self._begun += 1
        elif isinstance(delta, ToolCallEnded):
            self._call(delta.block).ended = True
            return self._tell(all_ended=False)
        elif isinstance(delta, Logprobs):
            entries = logprob_entries(delta)
            return [self._line({}, logprobs=entries)] if entries else []
        elif isinstance(delta, Finished):
            self._end = self._end or delta
            return self._tell(all_ended=True)
        elif isinstance(delta, Opaque) and delta.dialect == self._form.name and isinstance(delta.data, dict):
            return self._unknown(delta.data)
        return []

    def _around(self, member: str) -> tuple[str, str]:
        """A line of one piece, cut where that stands."""
        before, _, after = self._line({member: "\0"}).data.rpartition('"\\u0000"')
        return before, after

    def _line(self, message: dict[str, Any], **more: Any) -> Frame:
        return _frame({**self._identity, **self._form.write(message), "done": False, **more})

    def _call(self, block: int) -> _Call:
        call = self._calls.get(block)
        if call is None:
            raise LocalProtocolError(f"no tool call in block {block}: ToolCallStarted is missing")
        return call

    def _tell(self, *, all_ended: bool) -> list[Frame]:
        """The calls that are whole, in their order: one that ended early waits for those before it, so that whoever
        joins late gets the same list. At the end nothing is waited for (*all_ended*): what never ended is not told."""
        told: list[Frame] = []
        while self._calls:
            block, call = self._calls.popitem(last=False)
            if call.ended:
                told.append(self._line({"tool_calls": [call_object(call.id, call.index, call.name, str(call.json))]}))
            elif not all_ended:
                self._calls[block] = call
                self._calls.move_to_end(block, last=False)
                break
        return told

    def _unknown(self, data: dict[str, Any]) -> list[Frame]:
        """What only this dialect knows: members of a message in a line of their own, others with the last line. Calls
        that were not understood would break the stock client."""
        message = data.get("message")
        self._extra = {**self._extra, **{name: data[name] for name in data if name not in self._form.known}}
        if not isinstance(message, dict) or self._form is not CHAT:
            return []
        said = {name: value for name, value in message.items() if name not in MESSAGE}
        return [self._line(said)] if said else []


def word_of(reason: FinishReason | None, native: str | None) -> str:
    """The ``done_reason``: the provider's own word, if it is Ollama's for that reason."""
    if native is not None and native in (*REASONS, "load", "unload") and REASONS.get(native, "unknown") == reason:
        return native
    return _WORDS.get(reason or "stop", "stop")


def call_object(id: str, index: int, name: str, arguments: str) -> dict[str, Any]:
    """One entry of ``tool_calls``. Arguments are an object here, and stand as they came, but for layout; what is none
    is given whole, in the form that Anthropic documents for it."""
    return {"id": id, "function": {"index": index, "name": name, "arguments": arguments_object(arguments)}}


def arguments_object(arguments: str) -> Any:
    """*arguments*, JSON text, as the object that they must be."""
    text = arguments.strip() or "{}"
    try:
        if text.startswith("{"):
            return msgspec.Raw(msgspec.json.format(text, indent=-1))  # digits of numbers included
    except (ValueError, RecursionError):
        pass
    try:
        value, _ = loads(text)
        value = scrub(value)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"INVALID_JSON": scrub(arguments)}


def logprob_entries(logprobs: Logprobs) -> list[Any]:
    """The entries that the stock client takes, which checks types: those of OpenAI's form, Ollama's own."""
    return [entry for entry in [*(logprobs.content or []), *(logprobs.refusal or [])] if _is_logprob(entry)]


def _is_logprob(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return False
    top = entry.get("top_logprobs")
    return isinstance(entry.get("logprob"), int | float) and (top is None or isinstance(top, list))


def _frame(line: dict[str, Any]) -> Frame:
    return Frame(None, one_line(line))


def _piece(around: tuple[str, str], text: str) -> Frame:
    return Frame(None, f"{around[0]}{one_line(text)}{around[1]}")
