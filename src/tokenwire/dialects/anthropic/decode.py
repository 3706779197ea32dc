"""Messages events -> deltas (reference, section 5; the quirk of section 12 that a line is there for stands beside it).

An event says what it is in ``type``, blocks are told apart by ``index``, and nothing else is taken on trust: members
may be missing, null or of another type. What has no delta of its own becomes ``Opaque``, the whole event: server tools
and their results, redacted thinking, compaction, fallbacks, and every type that is new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.anthropic.blocks import NAME, Block, explanation, refusal_object
from tokenwire.dialects.anthropic.plain import read_plain
from tokenwire.dialects.anthropic.usage import merge, read_usage
from tokenwire.dialects.deltas import Failed, Finished, Opaque, RefusalDelta, Started
from tokenwire.dialects.json_text import NOTHING, loads, scrub, scrub_fields, whole
from tokenwire.dialects.numbering import Ids
from tokenwire.dialects.openai_chat.errors import describe_text, failed, find_error
from tokenwire.errors import TruncatedStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.dialects.deltas import Delta, FinishReason
    from tokenwire.wire.sse import Event

#: The words of ``stop_reason`` (reference, section 8). Another word is ``unknown``, with the word beside it.
REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_use", "pause_turn": "pause",
    "compaction": "pause", "refusal": "refusal", "model_context_window_exceeded": "context_window",
}  # fmt: skip

# Members of `message_delta` that are understood; others (why it was refused, the container …) are passed on.
_UNDERSTOOD: Final = frozenset({"type", "usage", "delta"})


class Decoder:
    """Events of one Messages stream -> deltas. ``feed`` never raises, whatever the data is.

    Only ``message_stop`` ends a stream: without it ``close`` says that the answer is incomplete.

    Attributes:
        done: ``message_stop`` was seen; what follows it means nothing.
    """

    __slots__ = (
        "_blocks", "_calls", "_closed", "_failed", "_finished", "_ids", "_next", "_output", "_started", "_torn",
        "_usage", "done",
    )  # fmt: skip

    def __init__(self) -> None:
        self._blocks: dict[int, Block] = {}  # those that are open, by index
        self._next = 0
        self._ids = Ids()
        self._started: Started | None = None
        self._usage: dict[str, Any] | None = None
        self._output = False  # whether the output was counted: in `message_start` it is only what there is so far
        self._calls = False
        self._torn = False
        self._finished = False
        self._failed = False
        self._closed = False
        self.done = False

    def feed(self, event: Event) -> list[Delta]:
        if self.done:
            return []
        try:
            said = read_plain(event.data)
        except (ValueError, RecursionError):
            pass
        else:
            block = self._blocks.get(said.index)
            if block is not None and (deltas := block.feed_plain(said.delta)) is not None:
                return deltas
        return self.feed_any(event)

    def feed_any(self, event: Event) -> list[Delta]:
        """``feed`` as it is for whatever is no plain event; it gives the same for one that is."""
        try:
            return self._feed(event.data.strip(), event.event)
        except RecursionError:  # nested a thousand levels deep: nobody's event
            return [Opaque(NAME, whole(event.data))]

    def close(self) -> list[Delta]:
        out: list[Delta] = []
        if not (self._closed or self.done):
            for block in self._blocks.values():
                block.flush(out)
            self._fail(Failed("truncated", str(TruncatedStream(NAME)), retryable=True), out)
        self._closed = True
        return out

    def copy(self) -> Decoder:
        twin = Decoder()
        twin._blocks = {index: block.copy() for index, block in self._blocks.items()}
        twin._next, twin._ids, twin._started, twin._usage = self._next, self._ids.copy(), self._started, self._usage
        twin._output, twin._calls = self._output, self._calls
        twin._torn, twin._finished = self._torn, self._finished
        twin._failed, twin._closed, twin.done = self._failed, self._closed, self.done
        return twin

    def _feed(self, data: str, kind: str) -> list[Delta]:
        out: list[Delta] = []
        try:
            value, self._torn = loads(data)
        except ValueError:
            if kind == "error":
                self._fail(failed(whole(data[:2000]) or None), out)
            elif data and data != "[DONE]":  # gateways add OpenAI's marker: it means nothing here
                self._fail(describe_text(data), out)
            return out
        self._read(value, kind, out)
        return [scrub_fields(delta) for delta in out] if self._torn else out

    def _read(self, value: Any, kind: str, out: list[Delta]) -> None:
        fields: dict[str, Any] = value if isinstance(value, dict) else {}
        said = fields.get("type")
        handle = _HANDLERS.get(said if isinstance(said, str) else kind)  # Q52: often without an `event:` line
        if handle is not None and fields:
            handle(self, fields, out)
            return
        error = find_error(value)
        if error is None and kind == "error":
            error = value or "the upstream gave no reason"
        if error is not None:
            self._fail(failed(scrub(error) if self._torn else error), out)
        elif value not in NOTHING:
            out.append(Opaque(NAME, value, kind if kind != "message" else said if isinstance(said, str) else None))

    def _fail(self, failure: Failed, out: list[Delta]) -> None:
        """Only the first failure is told."""
        if not self._failed:
            self._failed = True
            out.append(failure)

    # ------------------------------------------------------------------ the message

    def _message_start(self, event: dict[str, Any], out: list[Delta]) -> None:
        """A second one with the same id is a repetition. One with another id begins a message anew (Q51): what readers
        have had of the first cannot be taken back, but its open calls never end, and its blocks stay apart."""
        message = event.get("message")
        fields: dict[str, Any] = message if isinstance(message, dict) else {}
        id_, model = fields.get("id"), fields.get("model")
        started = Started(
            id_ if isinstance(id_, str) and id_ else None, model if isinstance(model, str) and model else None
        )
        if self._started is not None and self._started.id == started.id:
            return
        if self._started is not None:
            for block in self._blocks.values():
                block.flush(out)
            self._blocks = {}
            self._usage, self._output = None, False
        self._started = started
        self._ids.seed = started.id or ""
        self._count(fields.get("usage"), out)  # before the message: so it can stand in its head again
        out.append(started)
        content = fields.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):  # nobody does this yet
            self._block_start({"type": "content_block_start", "index": index, "content_block": block}, out)

    def _message_delta(self, event: dict[str, Any], out: list[Delta]) -> None:
        delta = event.get("delta")
        fields: dict[str, Any] = delta if isinstance(delta, dict) else {}
        rest = {name: value for name, value in event.items() if name not in _UNDERSTOOD and value not in NOTHING}
        details = fields.get("stop_details")
        known = (None, refusal_object(explanation(details)))  # said in full by what it becomes
        more = {name: value for name, value in fields.items() if name != "stop_reason" and value not in NOTHING}
        if details in known:
            more.pop("stop_details", None)
        if more:
            rest["delta"] = more
        if rest:
            out.append(Opaque(NAME, {"type": "message_delta", **rest}, "message_delta"))
        usage = event.get("usage")
        self._output = self._output or (isinstance(usage, dict) and usage.get("output_tokens") is not None)
        self._count(usage, out)
        word = fields.get("stop_reason")
        if isinstance(word, str) and word and not self._finished:
            if word == "refusal" and (said := explanation(details)):
                out.append(RefusalDelta(said, 0, self._next))
                self._next += 1
            self._finish(word, out)

    def _message_stop(self, event: dict[str, Any], out: list[Delta]) -> None:
        for block in self._blocks.values():
            block.stop(None, out)
        self._blocks = {}
        if not (self._finished or self._failed):
            self._finish(None, out)
        self.done = True

    def _finish(self, word: str | None, out: list[Delta]) -> None:
        """Calls make an ordinary end a tool use (reference, section 8)."""
        self._finished = True
        reason = REASONS.get(word or "", "unknown")
        if self._calls and (reason == "stop" or word is None):
            reason = "tool_use"
        out.append(Finished(reason, word))

    def _count(self, usage: Any, out: list[Delta]) -> None:
        merged = merge(self._usage, usage)
        if merged is not None and merged is not self._usage:
            self._usage = merged
            out.append(read_usage(merged, provisional=not self._output))

    # ------------------------------------------------------------------ its blocks

    def _block_start(self, event: dict[str, Any], out: list[Delta]) -> None:
        index = _index(event)
        content = event.get("content_block")
        fields: dict[str, Any] = content if isinstance(content, dict) else {}
        kind, name = fields.get("type"), fields.get("name")
        if (before := self._blocks.pop(index, None)) is not None:  # its stop was lost
            before.stop(None, out)
        if kind in ("text", "thinking"):
            block = Block(self._next, kind)
        elif kind == "tool_use" and isinstance(name, str):
            block = Block(self._next, "tool_use")
            self._calls = True
        else:
            block = Block(self._next, "opaque")
        id_ = ""
        if block.kind == "tool_use":
            given = fields.get("id")
            id_ = self._ids.unique(given if isinstance(given, str) and given.strip() else None)
        self._blocks[index] = block
        self._next += 1
        block.begin(fields, name if isinstance(name, str) else "", id_, event, out)

    def _block_delta(self, event: dict[str, Any], out: list[Delta]) -> None:
        delta = event.get("delta")
        fields: dict[str, Any] = delta if isinstance(delta, dict) else {}
        block = self._blocks.get(_index(event))
        if block is None:  # the start was lost: text says by itself what it is, everything else does not
            kind = fields.get("type")
            if kind not in ("text_delta", "thinking_delta"):
                out.append(Opaque(NAME, event, "content_block_delta"))
                return
            block = self._blocks[_index(event)] = Block(self._next, "text" if kind == "text_delta" else "thinking")
            self._next += 1
        block.feed(fields, event, self._torn, out)

    def _block_stop(self, event: dict[str, Any], out: list[Delta]) -> None:
        block = self._blocks.pop(_index(event), None)
        if block is not None:
            block.stop(event, out)

    # ------------------------------------------------------------------ the rest

    def _ping(self, event: dict[str, Any], out: list[Delta]) -> None:
        """Says nothing."""

    def _error(self, event: dict[str, Any], out: list[Delta]) -> None:
        error = find_error({"type": "error", **event})
        self._fail(failed(scrub(error) if self._torn else error), out)


def _index(event: dict[str, Any]) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else 0


_HANDLERS: Final[dict[str, Callable[[Decoder, dict[str, Any], list[Delta]], None]]] = {
    "message_start": Decoder._message_start,
    "content_block_start": Decoder._block_start,
    "content_block_delta": Decoder._block_delta,
    "content_block_stop": Decoder._block_stop,
    "message_delta": Decoder._message_delta,
    "message_stop": Decoder._message_stop,
    "ping": Decoder._ping,
    "error": Decoder._error,
}
