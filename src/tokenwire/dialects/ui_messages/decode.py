"""Parts of a UI message stream -> deltas: the encoder's inverse, and the tests' judge. No provider speaks this dialect.

What is not as the AI SDK has it becomes ``Opaque``; only ``[DONE]`` ends a stream.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.deltas import (
    Citation,
    Failed,
    Finished,
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
)
from tokenwire.dialects.json_text import loads, scrub, whole
from tokenwire.dialects.signatures import unwrap
from tokenwire.dialects.ui_messages.sources import read_source
from tokenwire.dialects.ui_messages.words import NAME, NOT_JSON, OURS, REASONS, as_text, read_error, read_usage
from tokenwire.errors import TruncatedStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.dialects.deltas import Delta
    from tokenwire.wire.sse import Event

_KINDS: Final[dict[str, type[TextDelta | ReasoningDelta | RefusalDelta]]] = {
    "text": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta,
}  # fmt: skip


class Decoder:
    """Parts -> deltas. ``feed`` never raises.

    Attributes:
        done: ``[DONE]`` was seen; what follows it means nothing.
    """

    __slots__ = (
        "_answered", "_calls", "_closed", "_error", "_failed", "_finished", "_names", "_next", "_open", "_signed",
        "done",
    )  # fmt: skip

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, int]] = {}  # id of a text or thought -> kind, block
        self._calls: dict[str, tuple[int, bool, bool]] = {}  # id -> block, arguments came, over
        self._names: dict[str, str] = {}  # of the calls that began
        self._answered: set[str] = set()
        self._signed: dict[str, str] = {}
        self._next = 0
        self._error: Any = None
        self._failed = False
        self._finished = False
        self._closed = False
        self.done = False

    def feed(self, event: Event) -> list[Delta]:
        if self.done:
            return []
        if event.data.strip() == "[DONE]":
            self.done = True
            return []
        try:
            value, torn = loads(event.data)
            return self.read(scrub(value) if torn else value)
        except (ValueError, RecursionError):
            return [Opaque(NAME, whole(event.data))]

    def read(self, part: Any) -> list[Delta]:
        """The deltas of one part."""
        out: list[Delta] = []
        kind = part.get("type") if isinstance(part, dict) else None
        handle = _HANDLERS.get(kind) if isinstance(kind, str) else None
        if handle is None or not handle(self, part, out):
            out.append(Opaque(NAME, part, kind if isinstance(kind, str) else None))
        return out

    def close(self) -> list[Delta]:
        out: list[Delta] = []
        if not (self.done or self._closed or self._failed):
            out.append(Failed("truncated", str(TruncatedStream(NAME)), retryable=True))
        self._closed = True
        return out

    def copy(self) -> Decoder:
        twin = Decoder()
        twin._open, twin._calls, twin._signed = dict(self._open), dict(self._calls), dict(self._signed)
        twin._names, twin._answered = dict(self._names), set(self._answered)
        twin._next, twin._error, twin._failed = self._next, self._error, self._failed
        twin._finished, twin._closed, twin.done = self._finished, self._closed, self.done
        return twin

    def _fresh(self) -> int:
        self._next += 1
        return self._next - 1

    # ------------------------------------------------------------------ texts and thoughts

    def _text_start(self, part: dict[str, Any], out: list[Delta]) -> bool:
        kind = str(part["type"]).removesuffix("-start")
        kind = "refusal" if kind == "text" and ours_of(part).get("refusal") is True else kind
        self._open[str(part.get("id"))] = kind, self._fresh()
        return True

    def _text_delta(self, part: dict[str, Any], out: list[Delta]) -> bool:
        place, text = self._open.get(str(part.get("id"))), part.get("delta")
        if place is None or not isinstance(text, str):
            return False
        out.append(_KINDS[place[0]](text, 0, place[1]))
        return True

    def _text_end(self, part: dict[str, Any], out: list[Delta]) -> bool:
        place = self._open.pop(str(part.get("id")), None)
        if place is None:
            return False
        signature = ours_of(part).get("signature")
        if isinstance(signature, str):
            out.append(self._proof(signature, place[1]))
        return True

    def _proof(self, signature: str, block: int) -> ReasoningSignature:
        signature, maker = unwrap(signature, NAME)
        return ReasoningSignature(signature, 0, block, "" if maker == NAME else maker)

    # ------------------------------------------------------------------ calls

    def _input_start(self, part: dict[str, Any], out: list[Delta]) -> bool:
        id_, name = part.get("toolCallId"), part.get("toolName")
        if not isinstance(id_, str) or not isinstance(name, str) or id_ in self._calls:
            return False
        block = self._fresh()
        self._calls[id_] = block, False, False
        self._names[id_] = name
        out.append(ToolCallStarted(id_, name, 0, block))
        if id_ in self._signed:
            out.append(self._proof(self._signed[id_], block))
        return True

    def _input_delta(self, part: dict[str, Any], out: list[Delta]) -> bool:
        id_, text = str(part.get("toolCallId")), part.get("inputTextDelta")
        block, _, over = self._calls.get(id_, (0, False, True))
        if over or not isinstance(text, str):
            return False
        self._calls[id_] = block, True, False
        out.append(ToolCallDelta(text, 0, block))
        return True

    def _input_end(self, part: dict[str, Any], out: list[Delta]) -> bool:
        """The arguments are whole: their pieces, or the value where no piece came."""
        id_ = part.get("toolCallId")
        if id_ not in self._calls and not self._input_start(part, out):
            return False
        block, came, over = self._calls[str(id_)]
        if over:
            return True
        value = part.get("input")
        if not came:
            said = value if isinstance(value, str) and part["type"] == "tool-input-error" else _text(value)
            out.append(ToolCallDelta(said, 0, block))
        self._calls[str(id_)] = block, True, True
        out.append(ToolCallEnded(0, block))
        return True

    def _output(self, part: dict[str, Any], out: list[Delta]) -> bool:
        """A result, the first of each call; one that is preliminary is none yet."""
        id_, failed = part.get("toolCallId"), part["type"] == "tool-output-error"
        if not isinstance(id_, str) or id_ not in self._calls or id_ in self._answered or part.get("preliminary"):
            return False
        block, came, over = self._calls[id_]
        content = str(part.get("errorText", "")) if failed else as_text(part.get("output"))
        if not over:
            self._calls[id_] = block, came, True
            out.append(ToolCallEnded(0, block))
            if failed and content == NOT_JSON:
                return True  # our way to tell version 5 of a call that nobody could read: no tool ran
        self._answered.add(id_)
        out.append(ToolResult(id_, self._names[id_], content, failed, 0, block))
        return True

    # ------------------------------------------------------------------ the message

    def _start(self, part: dict[str, Any], out: list[Delta]) -> bool:
        id_ = part.get("messageId")
        out.append(Started(id_ if isinstance(id_, str) else None))
        self._metadata(part, out)
        return True

    def _metadata(self, part: dict[str, Any], out: list[Delta]) -> bool:
        metadata = part.get("messageMetadata")
        fields: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
        self._error = fields.get("error", self._error)
        signatures = fields.get("signatures")
        for id_, signature in signatures.items() if isinstance(signatures, dict) else ():
            if isinstance(signature, str) and self._signed.get(id_) != signature:
                self._signed[id_] = signature
                if id_ in self._calls:  # else it waits for its call: a prefix tells calls when they are whole
                    out.append(self._proof(signature, self._calls[id_][0]))
        if (usage := read_usage(fields.get("usage"))) is not None:
            out.append(usage)
        word = part.get("finishReason") or fields.get("finishReason")
        if isinstance(word, str) and not self._finished:
            self._finished = True
            out.append(Finished(REASONS.get(word, "unknown"), word))
        return True

    def _source(self, part: dict[str, Any], out: list[Delta]) -> bool:
        out.append(Citation(read_source(part), 0, 0))
        return True

    def _fail(self, part: dict[str, Any], out: list[Delta]) -> bool:
        if not self._failed:
            self._failed = True
            out.append(read_error(self._error, str(part.get("errorText", ""))))
        return True

    def _abort(self, part: dict[str, Any], out: list[Delta]) -> bool:
        self._error = self._error or {"code": "cancelled"}
        return self._fail({"errorText": part.get("reason", "")}, out)

    def _nothing(self, part: dict[str, Any], out: list[Delta]) -> bool:
        return True


def ours_of(part: dict[str, Any], member: str = "providerMetadata") -> dict[str, Any]:
    """What we said in a part's metadata."""
    metadata = part.get(member)
    ours = metadata.get(OURS) if isinstance(metadata, dict) else None
    return ours if isinstance(ours, dict) else {}


def _text(value: Any) -> str:
    return "{}" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_HANDLERS: Final[dict[str, Callable[[Decoder, dict[str, Any], list[Delta]], bool]]] = {
    "start": Decoder._start,
    "start-step": Decoder._nothing,
    "text-start": Decoder._text_start,
    "text-delta": Decoder._text_delta,
    "text-end": Decoder._text_end,
    "reasoning-start": Decoder._text_start,
    "reasoning-delta": Decoder._text_delta,
    "reasoning-end": Decoder._text_end,
    "tool-input-start": Decoder._input_start,
    "tool-input-delta": Decoder._input_delta,
    "tool-input-available": Decoder._input_end,
    "tool-input-error": Decoder._input_end,
    "tool-output-available": Decoder._output,
    "tool-output-error": Decoder._output,
    "source-url": Decoder._source,
    "source-document": Decoder._source,
    "message-metadata": Decoder._metadata,
    "finish-step": Decoder._nothing,
    "finish": Decoder._metadata,
    "error": Decoder._fail,
    "abort": Decoder._abort,
}
