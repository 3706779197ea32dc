"""Native events -> deltas: for the tests of the encoder, and for clients.

What a delta has no word for (notices, resets, kinds that this version does not know, events that are not
of their kind's form) is ``Opaque`` under its event's name. After a ``reset`` begin anew, with a new decoder.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    FinishReason,
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
    ToolResult,
    Usage,
)
from tokenwire.dialects.json_text import loads, scrub, whole
from tokenwire.dialects.native.encode import NAME
from tokenwire.errors import TruncatedStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.wire.sse import Event

_REASONS: Final = frozenset(get_args(FinishReason))
W = TypeVar("W", bound=Struct)


# The data of each event. Members that are not named here are ignored, as the format asks of its readers.


class _Began(Struct):
    stream: str | None = None
    model: str | None = None
    created: float | None = None


class _Said(Struct):
    t: str
    choice: int = 0
    block: int = 0


class _Signature(Struct):
    signature: str
    dialect: str = ""
    choice: int = 0
    block: int = 0


class _Args(Struct):
    json: str
    choice: int = 0
    block: int = 0


class _Result(Struct):
    content: str
    error: bool = False
    id: str = ""
    name: str = ""
    choice: int = 0
    block: int = 0


class _Source(Struct):
    source: dict[str, Any]
    choice: int = 0
    block: int = 0


class _Unknown(Struct):
    dialect: str
    data: Any
    event: str | None = None
    choice: int = 0


class _Call(Struct):
    id: str
    name: str
    block: int = 0
    arguments: str = ""
    ended: bool = False
    result: str | None = None
    error: bool = False


class _End(Struct):
    choice: int = 0
    reason: str | None = None
    native_reason: str | None = None


class _Answer(_End):
    """One choice in a snapshot."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    signatures: list[str] = []
    tool_calls: list[_Call] = []
    citations: list[dict[str, Any]] = []
    logprobs: Logprobs | None = None


class _Snapshot(_Answer):
    choices: list[_Answer] = []
    usage: Usage | None = None


class _Done(_End):
    state: str = "completed"
    usage: Usage | None = None
    choices: list[_End] = []


class Decoder:
    """Events of one native stream -> deltas. ``feed`` never raises; after ``done`` it gives nothing."""

    __slots__ = ("_calls", "_done", "_failed", "_usage")

    def __init__(self) -> None:
        self._calls: dict[tuple[int, int], ToolCallStarted] = {}  # every call that began, by choice and block
        self._usage = False
        self._failed = False
        self._done = False

    def feed(self, event: Event) -> list[Delta]:
        if self._done:
            return []
        read = _READERS.get(event.event)
        try:
            deltas = None if read is None else read(event.data)
        except (ValueError, RecursionError):
            deltas = None
        if deltas is None or not self._legal(deltas):
            return [Opaque(NAME, _data(event.data), event.event)]
        self._done = event.event == "done"
        if self._done:
            deltas = [delta for delta in deltas if not self._told(delta)]
        self._usage = self._usage or any(isinstance(delta, Usage) for delta in deltas)
        self._failed = self._failed or any(isinstance(delta, Failed) for delta in deltas)
        return deltas

    def close(self) -> list[Delta]:
        over = self._done or self._failed
        self._done = True
        return [] if over else [Failed("truncated", str(TruncatedStream(NAME)), retryable=True)]

    def copy(self) -> Decoder:
        twin = Decoder()
        twin._calls = dict(self._calls)
        twin._usage, twin._failed, twin._done = self._usage, self._failed, self._done
        return twin

    def _legal(self, deltas: list[Delta]) -> bool:
        """Arguments, ends and results are only of calls that began: no fold has a place for others."""
        for at, delta in enumerate(deltas):
            if isinstance(delta, ToolCallStarted):
                self._calls[delta.choice, delta.block] = delta
            elif isinstance(delta, ToolCallDelta | ToolCallEnded | ToolResult):
                call = self._calls.get((delta.choice, delta.block))
                if call is None:
                    return False
                if isinstance(delta, ToolResult) and not (delta.id and delta.name):
                    deltas[at] = replace(delta, id=delta.id or call.id, name=delta.name or call.name)
        return True

    def _told(self, delta: Delta) -> bool:
        """``done`` repeats what came before: usage, and the failure."""
        return (self._usage and isinstance(delta, Usage)) or (self._failed and isinstance(delta, Failed))


def read_failure(fields: dict[str, Any]) -> Failed:
    """The fields of an ``error`` event; what is missing or of a wrong type is replaced, not refused."""
    status = fields.get("upstream_status")
    return Failed(
        code=str(fields.get("code") or "upstream_error"),
        message=str(fields.get("message") or "no reason was given"),
        retryable=fields.get("retryable") is True,
        upstream_status=status if isinstance(status, int) else None,
    )


def _data(text: str) -> Any:
    try:
        value, torn = loads(text)
        return scrub(value) if torn else value
    except (ValueError, RecursionError):
        return whole(text)


def _reader(form: type[W], build: Callable[[W], list[Delta]]) -> Callable[[str], list[Delta]]:
    decode = msgspec.json.Decoder(form).decode
    return lambda text: build(decode(text))


def _reason(word: str) -> FinishReason:
    return word if word in _REASONS else "unknown"  # type: ignore[return-value]  # it is one of the literal's


def _end(end: _End) -> list[Delta]:
    return [] if end.reason is None else [Finished(_reason(end.reason), end.native_reason, end.choice)]


def _answer(answer: _Answer) -> list[Delta]:
    """The deltas of a choice in a snapshot. Calls have block numbers there; text gets any that are free."""
    choice = answer.choice
    taken = {call.block for call in answer.tool_calls}
    free = (block for block in count() if block not in taken)
    deltas: list[Delta] = []
    if answer.reasoning or answer.signatures:
        block = next(free)
        deltas += [ReasoningDelta(answer.reasoning, choice, block)] if answer.reasoning else []
        deltas += [ReasoningSignature(signature, choice, block) for signature in answer.signatures]
    if answer.text:
        deltas.append(TextDelta(answer.text, choice, next(free)))
    if answer.refusal:
        deltas.append(RefusalDelta(answer.refusal, choice, next(free)))
    for call in answer.tool_calls:
        deltas.append(ToolCallStarted(call.id, call.name, choice, call.block))
        if call.arguments:
            deltas.append(ToolCallDelta(call.arguments, choice, call.block))
        if call.ended:
            deltas.append(ToolCallEnded(choice, call.block))
        if call.result is not None:
            deltas.append(ToolResult(call.id, call.name, call.result, call.error, choice, call.block))
    deltas += [Citation(source, choice) for source in answer.citations]
    if answer.logprobs is not None:
        deltas.append(Logprobs(answer.logprobs.content, answer.logprobs.refusal, choice))
    return deltas + _end(answer)


def _snapshot(snapshot: _Snapshot) -> list[Delta]:
    deltas = [delta for answer in (snapshot, *snapshot.choices) for delta in _answer(answer)]
    return deltas if snapshot.usage is None else [*deltas, snapshot.usage]


def _finished(done: _Done) -> list[Delta]:
    deltas = [delta for end in (done, *done.choices) for delta in _end(end)]
    if done.usage is not None:
        deltas.insert(0, done.usage)
    if done.state != "completed":
        deltas.append(Failed(done.state, f"the stream ended: {done.state}"))
    return deltas


_READERS: Final[dict[str, Callable[[str], list[Delta]]]] = {
    "started": _reader(_Began, lambda it: [Started(it.stream, it.model, it.created)]),
    "text": _reader(_Said, lambda it: [TextDelta(it.t, it.choice, it.block)]),
    "reasoning": _reader(_Said, lambda it: [ReasoningDelta(it.t, it.choice, it.block)]),
    "refusal": _reader(_Said, lambda it: [RefusalDelta(it.t, it.choice, it.block)]),
    "reasoning_signature": _reader(
        _Signature, lambda it: [ReasoningSignature(it.signature, it.choice, it.block, it.dialect)]
    ),
    "tool_call": _reader(ToolCallStarted, lambda it: [it]),
    "tool_args": _reader(_Args, lambda it: [ToolCallDelta(it.json, it.choice, it.block)]),
    "tool_end": _reader(ToolCallEnded, lambda it: [it]),
    "tool_result": _reader(_Result, lambda it: [ToolResult(it.id, it.name, it.content, it.error, it.choice, it.block)]),
    "citation": _reader(_Source, lambda it: [Citation(it.source, it.choice, it.block)]),
    "logprobs": _reader(Logprobs, lambda it: [it]),
    "usage": _reader(Usage, lambda it: [it]),
    "opaque": _reader(_Unknown, lambda it: [Opaque(it.dialect, it.data, it.event, it.choice)]),
    "snapshot": _reader(_Snapshot, _snapshot),
    "error": _reader(Failed, lambda it: [it]),
    "done": _reader(_Done, _finished),
}
