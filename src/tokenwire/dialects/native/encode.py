"""Deltas -> native events."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.base import Frame
from tokenwire.dialects.deltas import (
    Citation,
    Failed,
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
    ToolResult,
    Usage,
)
from tokenwire.dialects.endings import failure_of, reason_of
from tokenwire.dialects.transcript import merge_usage

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta, Terminal
    from tokenwire.dialects.transcript import Choice, Transcript

NAME: Final = "native"

#: The events that deltas become. Others (notice, reset) are made beside the encoder.
KINDS: Final = frozenset({
    "started", "text", "reasoning", "reasoning_signature", "refusal", "tool_call", "tool_args", "tool_end",
    "tool_result", "citation", "logprobs", "opaque", "usage", "snapshot", "error", "done",
})  # fmt: skip

_json = msgspec.json.encode


class Encoder:
    """Deltas -> native events, one for each but these: only the first ``Started`` is told, ends are told in ``done``,
    and the failure in ``error``, by ``close``.

    ``done`` lets a reader prove that it has everything: ``text_sha256`` is the digest of all text of choice 0 in UTF-8,
    in order of arrival; ``events`` counts the events of the full projection before it. Who joined late counts on from
    the ``events`` of its snapshot, and an event that was told to a reader behind for several says in ``events`` for how
    many; notices, resets, estimates (``usage`` with ``estimated``) and the frames of other
    lanes are not counted.

    Args:
        stream, created, model: ours, not the provider's; they stand in ``started``.
        session: the conversation that the stream belongs to.
        lane: the member stream that these events are of, in a conductor's stream.
    """

    def __init__(
        self, stream: str, created: float, model: str, *, session: str | None = None, lane: str | None = None
    ) -> None:
        self._started: dict[str, Any] = {"stream": stream, "model": model}
        if session is not None:
            self._started["session"] = session
        self._started["created"] = created
        self._lane = lane
        self._begun = False
        self._events = 0
        self._text = hashlib.sha256()
        self._usage: Usage | None = None
        self._ends: dict[int, Finished] = {}

    def feed(self, delta: Delta) -> list[Frame]:
        frames = [] if self._begun else [self._begin()]
        if isinstance(delta, TextDelta):
            if delta.choice == 0:  # only that: readers who want one answer read that one
                self._text.update(delta.text.encode())
            frames.append(self._event("text", {"t": delta.text}, delta.choice, delta.block))
        elif isinstance(delta, ReasoningDelta):
            frames.append(self._event("reasoning", {"t": delta.text}, delta.choice, delta.block))
        elif isinstance(delta, ToolCallDelta):
            frames.append(self._event("tool_args", {"json": delta.json}, delta.choice, delta.block))
        elif isinstance(delta, Finished):
            self._ends.setdefault(delta.choice, delta)
        elif not isinstance(delta, Started | Failed):
            frames.append(self._rarely(delta))
        self._events += len(frames)
        return frames

    def feed_run(self, delta: Delta, count: int) -> list[Frame]:
        """Its event says how many it stands for, as a snapshot's does: the count in ``done`` is of the full projection,
        whatever a reader was told at once."""
        frames = self.feed(delta)
        self._events += count - 1
        if count > 1:
            event, data = frames[-1]
            frames[-1] = Frame(event, f'{data[:-1]},"events":{count}}}')
        return frames

    def prefix(self, fold: Transcript) -> list[Frame]:
        """``started`` and one ``snapshot``. Whatever was fed before is forgotten."""
        self._text = hashlib.sha256(fold.choice().text.encode())
        self._usage = fold.usage
        self._ends = {
            index: Finished(choice.reason, choice.native_reason, index)
            for index, choice in fold.choices.items()
            if choice.reason is not None
        }
        frames = [self._begin()]
        self._events = fold.events + 1
        snapshot = _snapshot(fold.choice()) | {"events": self._events}
        others = [{"choice": index, **_snapshot(choice)} for index, choice in fold.choices.items() if index]
        if others:
            snapshot["choices"] = others
        if fold.usage is not None:
            snapshot["usage"] = usage_fields(fold.usage)
        return [*frames, self._event("snapshot", snapshot)]

    def close(self, terminal: Terminal) -> list[Frame]:
        """``done``, after an ``error`` where the end was not a clean one."""
        frames = [] if self._begun else [self._begin()]
        usage = terminal.usage or self._usage
        counted = len(frames)
        if usage is not None and (usage.estimated or usage.cost_usd is not None) and usage != self._usage:
            frames.append(self._event("usage", usage_fields(usage)))  # the cost, and what the provider never told
            counted += not usage.estimated
        if terminal.state != "completed":
            frames.append(self._event("error", error_fields(failure_of(terminal))))
            counted += 1
        self._events += counted
        done: dict[str, Any] = {"state": terminal.state}
        reason, native_reason = reason_of(terminal, self._ends.get(0))
        done |= _known(reason=reason, native_reason=native_reason)
        if usage is not None:
            done["usage"] = usage_fields(usage)
        if timing := _known(ttft_ms=terminal.ttft_ms, e2e_ms=terminal.e2e_ms):
            done["timing"] = timing
        # Which of several answers ended how: the format has room for choice 0 only.
        others = [_known(choice=i, reason=e.reason, native_reason=e.native_reason) for i, e in self._ends.items() if i]
        if others:
            done["choices"] = others
        done |= {"events": self._events, "text_sha256": self._text.hexdigest()}
        return [*frames, self._event("done", done)]

    def copy(self) -> Encoder:
        twin = object.__new__(Encoder)
        twin._started, twin._lane, twin._begun = self._started, self._lane, self._begun
        twin._events, twin._usage, twin._ends = self._events, self._usage, dict(self._ends)
        twin._text = self._text.copy()
        return twin

    def _rarely(self, delta: Delta) -> Frame:
        if isinstance(delta, ToolCallStarted):
            return self._event("tool_call", {"id": delta.id, "name": delta.name}, delta.choice, delta.block)
        if isinstance(delta, ToolCallEnded):
            return self._event("tool_end", {}, delta.choice, delta.block)
        if isinstance(delta, ToolResult):
            said: dict[str, Any] = {"id": delta.id, "name": delta.name, "content": delta.content, "error": delta.error}
            return self._event("tool_result", said, delta.choice, delta.block)
        if isinstance(delta, Usage):
            self._usage = merge_usage(self._usage, delta)
            self._events -= delta.estimated
            return self._event("usage", usage_fields(delta))
        if isinstance(delta, RefusalDelta):
            return self._event("refusal", {"t": delta.text}, delta.choice, delta.block)
        if isinstance(delta, ReasoningSignature):
            said = {"signature": delta.signature, **_known(dialect=delta.dialect or None)}
            return self._event("reasoning_signature", said, delta.choice, delta.block)
        if isinstance(delta, Citation):
            return self._event("citation", {"source": delta.data}, delta.choice, delta.block)
        if isinstance(delta, Logprobs):
            return self._event("logprobs", _known(content=delta.content, refusal=delta.refusal), delta.choice)
        assert isinstance(delta, Opaque)
        if delta.dialect == NAME and delta.event is not None and delta.event not in KINDS:
            return Frame(delta.event, _json(delta.data).decode())  # ours, but the decoder had no delta for it
        fields = {"dialect": delta.dialect, **_known(event=delta.event), "data": delta.data}
        return self._event("opaque", fields, delta.choice)

    def _begin(self) -> Frame:
        self._begun = True
        return self._event("started", self._started)

    def _event(self, kind: str, fields: dict[str, Any], choice: int = 0, block: int = 0) -> Frame:
        if choice or block or self._lane is not None:
            fields = _known(lane=self._lane, choice=choice or None, block=block or None) | fields
        return Frame(kind, _json(fields).decode())


def reset(reason: str, *, earliest: str | None = None) -> Frame:
    """What the reader holds cannot be continued (``trimmed``, ``discontinuous``): drop it, a snapshot follows.

    *earliest* is the first id that is still held.
    """
    return Frame("reset", _json({"reason": reason, **_known(earliest=earliest)}).decode())


def notice(code: str, **fields: Any) -> Frame:
    """News of the relay, not of the model: ``queued`` (with ``place``), ``failover``, ``budget_warning`` …"""
    return Frame("notice", _json({"code": code, **fields}).decode())


def usage_fields(usage: Usage) -> dict[str, Any]:
    return _known(
        input=usage.input,
        output=usage.output,
        cached_input=usage.cached_input,
        cache_write=usage.cache_write,
        reasoning=usage.reasoning,
        cost_usd=usage.cost_usd,
        estimated=usage.estimated or None,
    )


def error_fields(failure: Failed) -> dict[str, Any]:
    return {
        "code": failure.code,
        "message": failure.message,
        "retryable": failure.retryable,
        **_known(upstream_status=failure.upstream_status),
    }


def _snapshot(choice: Choice) -> dict[str, Any]:
    """What one choice says; members that are empty are left out, but for the text."""
    calls = [
        _known(block=call.block or None, id=call.id, name=call.name, arguments=call.arguments, ended=call.ended)
        | ({} if call.result is None else _known(result=call.result.content, error=call.result.error or None))
        for call in choice.tool_calls.values()
    ]
    logprobs = choice.logprobs
    said: dict[str, Any] = {
        "text": choice.text,
        "reasoning": choice.reasoning,
        "refusal": choice.refusal,
        "signatures": choice.signatures,
        "tool_calls": calls,
        "citations": [citation.data for citation in choice.citations],
        "logprobs": None if logprobs is None else _known(content=logprobs.content, refusal=logprobs.refusal),
        "reason": choice.reason,
        "native_reason": choice.native_reason,
    }
    return {name: value for name, value in said.items() if value or name == "text"}


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
