"""AG-UI events -> deltas: the encoder's inverse, and the tests' judge. No provider speaks this dialect.

What is not as AG-UI has it becomes ``Opaque``; only ``RUN_FINISHED`` and ``RUN_ERROR`` end a stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.dialects.agui.words import CITATION, NAME, OURS, read_usage
from tokenwire.dialects.deltas import (
    Citation,
    Failed,
    Finished,
    FinishReason,
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
from tokenwire.errors import TruncatedStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.dialects.deltas import Delta
    from tokenwire.wire.sse import Event

_KINDS: Final[dict[str, type[TextDelta | ReasoningDelta | RefusalDelta]]] = {
    "text": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta,
}  # fmt: skip
_REASONS: Final[dict[str, FinishReason]] = {reason: reason for reason in FinishReason.__args__}  # type: ignore[attr-defined]


class Decoder:
    """Events -> deltas. ``feed`` never raises.

    Attributes:
        done: the run is over, well or not.
    """

    __slots__ = ("_calls", "_closed", "_messages", "_names", "_next", "done")

    def __init__(self) -> None:
        self._messages: dict[str, tuple[str, int, bool]] = {}  # id -> kind, block, open
        self._calls: dict[str, tuple[int, bool]] = {}  # id -> block, open
        self._names: dict[str, str] = {}  # of the calls that have no result yet
        self._next = 0
        self._closed = False
        self.done = False

    def feed(self, event: Event) -> list[Delta]:
        try:
            value, torn = loads(event.data)
            return self.read(scrub(value) if torn else value)
        except (ValueError, RecursionError):
            return [] if self.done else [Opaque(NAME, whole(event.data))]

    def read(self, event: Any) -> list[Delta]:
        """The deltas of one event."""
        if self.done:
            return []
        out: list[Delta] = []
        kind = event.get("type") if isinstance(event, dict) else None
        handle = _HANDLERS.get(kind) if isinstance(kind, str) else None
        if handle is None or not handle(self, event, out):
            out.append(Opaque(NAME, event, kind if isinstance(kind, str) else None))
        return out

    def close(self) -> list[Delta]:
        out: list[Delta] = []
        if not (self.done or self._closed):
            out.append(Failed("truncated", str(TruncatedStream(NAME)), retryable=True))
        self._closed = True
        return out

    def copy(self) -> Decoder:
        twin = Decoder()
        twin._messages, twin._calls = dict(self._messages), dict(self._calls)
        twin._names = dict(self._names)
        twin._next, twin._closed, twin.done = self._next, self._closed, self.done
        return twin

    def _fresh(self) -> int:
        self._next += 1
        return self._next - 1

    def _started(self, event: dict[str, Any], out: list[Delta]) -> bool:
        run = event.get("runId")
        out.append(Started(run if isinstance(run, str) else None))
        return True

    # ------------------------------------------------------------------ messages

    def _start(self, event: dict[str, Any], out: list[Delta]) -> bool:
        id_ = event.get("messageId")
        if not isinstance(id_, str) or event.get("role", "assistant") not in ("assistant", "reasoning"):
            return False
        kind = "reasoning" if event["type"] == "REASONING_MESSAGE_START" else "text"
        kind = "refusal" if kind == "text" and ours_of(event).get("refusal") is True else kind
        self._messages[id_] = kind, self._fresh(), True
        return True

    def _content(self, event: dict[str, Any], out: list[Delta]) -> bool:
        kind, block, open_ = self._messages.get(str(event.get("messageId")), ("text", 0, False))
        text = event.get("delta")
        if not open_ or not isinstance(text, str):
            return False
        out.append(_KINDS[kind](text, 0, block))
        return True

    def _over(self, event: dict[str, Any], out: list[Delta]) -> bool:
        id_ = str(event.get("messageId"))
        kind, block, open_ = self._messages.get(id_, ("text", 0, False))
        if open_:
            self._messages[id_] = kind, block, False
        return open_

    def _proof(self, event: dict[str, Any], out: list[Delta]) -> bool:
        entity, value = str(event.get("entityId")), event.get("encryptedValue")
        if event.get("subtype") == "tool-call":
            block = self._calls.get(entity, (-1, False))[0]
        else:
            block = self._messages.get(entity, ("", -1, False))[1]
        if block < 0 or not isinstance(value, str):
            return False
        signature, maker = unwrap(value, NAME)
        out.append(ReasoningSignature(signature, 0, block, "" if maker == NAME else maker))
        return True

    # ------------------------------------------------------------------ calls

    def _call_start(self, event: dict[str, Any], out: list[Delta]) -> bool:
        id_, name = event.get("toolCallId"), event.get("toolCallName")
        if not isinstance(id_, str) or not isinstance(name, str) or id_ in self._calls:
            return False
        block = self._fresh()
        self._calls[id_] = block, True
        self._names[id_] = name
        out.append(ToolCallStarted(id_, name, 0, block))
        return True

    def _call_args(self, event: dict[str, Any], out: list[Delta]) -> bool:
        block, open_ = self._calls.get(str(event.get("toolCallId")), (0, False))
        text = event.get("delta")
        if not open_ or not isinstance(text, str):
            return False
        out.append(ToolCallDelta(text, 0, block))
        return True

    def _call_end(self, event: dict[str, Any], out: list[Delta]) -> bool:
        id_ = str(event.get("toolCallId"))
        block, open_ = self._calls.get(id_, (0, False))
        if open_:
            self._calls[id_] = block, False
            out.append(ToolCallEnded(0, block))
        return open_

    def _call_result(self, event: dict[str, Any], out: list[Delta]) -> bool:
        id_, content = event.get("toolCallId"), event.get("content")
        if not isinstance(id_, str) or id_ not in self._names or not isinstance(content, str):
            return False
        error = ours_of(event).get("error") is True
        out.append(ToolResult(id_, self._names.pop(id_), content, error, 0, self._calls[id_][0]))
        return True

    # ------------------------------------------------------------------ the run

    def _custom(self, event: dict[str, Any], out: list[Delta]) -> bool:
        value = event.get("value")
        if event.get("name") != CITATION or not isinstance(value, dict):
            return False
        out.append(Citation(value))
        return True

    def _finished(self, event: dict[str, Any], out: list[Delta]) -> bool:
        remarks = self._end(event, out)
        native = remarks.get("nativeFinishReason")
        reason = _REASONS.get(str(remarks.get("finishReason")), "unknown")
        out.append(Finished(reason, native if isinstance(native, str) else None))
        return True

    def _error(self, event: dict[str, Any], out: list[Delta]) -> bool:
        remarks = self._end(event, out)
        code, status = event.get("code"), remarks.get("upstreamStatus")
        out.append(
            Failed(
                code if isinstance(code, str) else "upstream_error",
                str(event.get("message", "")),
                remarks.get("retryable") is True,
                status if isinstance(status, int) else None,
            )
        )
        return True

    def _end(self, event: dict[str, Any], out: list[Delta]) -> dict[str, Any]:
        self.done = True
        remarks = ours_of(event)
        if (usage := read_usage(event.get("usage"), remarks)) is not None:
            out.append(usage)
        return remarks

    def _nothing(self, event: dict[str, Any], out: list[Delta]) -> bool:
        return True


def ours_of(event: dict[str, Any]) -> dict[str, Any]:
    """What we said in the metadata of an event, or of a message."""
    metadata = event.get("metadata")
    ours = metadata.get(OURS) if isinstance(metadata, dict) else None
    return ours if isinstance(ours, dict) else {}


_HANDLERS: Final[dict[str, Callable[[Decoder, dict[str, Any], list[Delta]], bool]]] = {
    "RUN_STARTED": Decoder._started,
    "TEXT_MESSAGE_START": Decoder._start,
    "TEXT_MESSAGE_CONTENT": Decoder._content,
    "TEXT_MESSAGE_END": Decoder._over,
    "REASONING_START": Decoder._nothing,
    "REASONING_MESSAGE_START": Decoder._start,
    "REASONING_MESSAGE_CONTENT": Decoder._content,
    "REASONING_MESSAGE_END": Decoder._over,
    "REASONING_ENCRYPTED_VALUE": Decoder._proof,
    "REASONING_END": Decoder._nothing,
    "TOOL_CALL_START": Decoder._call_start,
    "TOOL_CALL_ARGS": Decoder._call_args,
    "TOOL_CALL_END": Decoder._call_end,
    "TOOL_CALL_RESULT": Decoder._call_result,
    "CUSTOM": Decoder._custom,
    "RUN_FINISHED": Decoder._finished,
    "RUN_ERROR": Decoder._error,
}
