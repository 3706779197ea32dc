"""The fold of a native stream: events in, updates out, and the whole answer so far to look at.

The relay's ``done`` says how many events there were and what the text hashes to. Whoever followed from the beginning or
from a snapshot, can check both; tenet 1 (nothing lost, doubled or reordered) is then not believed but proven.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec import Struct

from tokenwire.client.updates import Done, Notice, Reset, Update
from tokenwire.dialects.deltas import Opaque, TerminalState, Usage
from tokenwire.dialects.native.decode import Decoder
from tokenwire.dialects.transcript import ToolCall, Transcript, is_estimate, merge_usage

if TYPE_CHECKING:
    from tokenwire.wire.sse import Event

S = TypeVar("S", bound=Struct)

_PIECES: Final = frozenset({"text", "reasoning", "refusal", "tool_args"})


class _Reset(Struct):
    reason: str = "unknown"
    earliest: str | None = None


class _Snapshot(Struct):
    events: int | None = None


class _Run(Struct):
    events: int = 1


class _Timing(Struct):
    ttft_ms: float | None = None
    e2e_ms: float | None = None


class _Done(Struct):
    state: TerminalState
    reason: str | None = None
    native_reason: str | None = None
    usage: Usage | None = None
    timing: _Timing | None = None
    events: int | None = None
    text_sha256: str | None = None


class Answer:
    """One answer, as far as it came. ``feed`` never raises, whatever the events hold.

    Args:
        from_start: the first event fed will be the stream's first, or a snapshot; otherwise nothing can be verified.

    Attributes:
        transcript: everything that was said, all choices of it.
        done: how it ended; None while it has not.
    """

    def __init__(self, *, from_start: bool = True) -> None:
        self.transcript = Transcript()
        self.done: Done | None = None
        self._decoder = Decoder()
        self._events: int | None = 0 if from_start else None
        self._whole_text = from_start

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.transcript.choice().text

    @property
    def reasoning(self) -> str:
        """The thinking of the first choice, as far as the provider shows it."""
        return self.transcript.choice().reasoning

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls of the first choice, in order. Execute none that is not ``ended``."""
        return list(self.transcript.choice().tool_calls.values())

    @property
    def usage(self) -> Usage | None:
        """Tokens, cumulative, and whether they are the relay's estimate; None while nobody told."""
        return self.transcript.usage

    @property
    def cost_usd(self) -> float | None:
        """What the relay says it cost, as yet; None while it did not say."""
        return None if self.usage is None else self.usage.cost_usd

    def feed(self, event: Event) -> list[Update]:
        """Fold one event in; what it means."""
        kind = event.event
        if kind == "notice":
            return [_notice(event.data)]
        if kind == "reset":
            self._begin(events=None)
            said = _read(event.data, _Reset) or _Reset()
            return [Reset(said.reason, said.earliest)]
        if kind == "snapshot":
            said_before = self.transcript.started
            snapshot = _read(event.data, _Snapshot) or _Snapshot()
            self._begin(events=snapshot.events)
            self._whole_text = True
            if said_before is not None:
                self.transcript.apply(said_before)
        if kind == "started" and self._events is None:
            self._events, self._whole_text = 0, True  # the first event of all: nothing is missing before it
        counts = kind not in ("snapshot", "done", "message")
        updates: list[Update] = []
        for delta in self._decoder.feed(event):
            if kind == "message" and isinstance(delta, Opaque):
                continue  # native events have names: this is none of ours
            self.transcript.apply(delta)
            updates.append(delta)
            counts = counts and not is_estimate(delta)
        if counts and self._events is not None:
            self._events += _stands_for(event)
        if kind == "done":
            updates += self._end(event.data)
        return updates

    def _begin(self, *, events: int | None) -> None:
        self.transcript = Transcript()
        self._decoder = Decoder()
        self._events = events
        self._whole_text = False

    def _end(self, data: str) -> list[Update]:
        said = _read(data, _Done)
        if said is None:
            return []
        mismatch = self._mismatch(said)
        known = self._whole_text and self._events is not None and said.text_sha256 is not None
        timing = said.timing or _Timing()
        if said.usage is not None:
            self.transcript.usage = merge_usage(self.transcript.usage, said.usage)
        self.done = Done(
            state=said.state,
            reason=said.reason,
            native_reason=said.native_reason,
            usage=self.transcript.usage,
            ttft_ms=timing.ttft_ms,
            e2e_ms=timing.e2e_ms,
            verified=False if mismatch else True if known else None,
            mismatch=mismatch,
        )
        return [self.done]

    def _mismatch(self, said: _Done) -> str | None:
        if self._whole_text and said.text_sha256 is not None:
            digest = hashlib.sha256(self.text.encode()).hexdigest()
            if digest != said.text_sha256.lower():
                return f"the text that came is not the one that was sent: sha256 {digest}, not {said.text_sha256}"
        if self._events is not None and said.events is not None and self._events != said.events:
            return f"{self._events} events came, {said.events} were sent"
        return None


def _stands_for(event: Event) -> int:
    """How many events of the full projection: several, where a reader who was behind was told them as one."""
    if event.event not in _PIECES or '"events":' not in event.data:  # in a string it would have backslashes
        return 1
    run = _read(event.data, _Run)
    return 1 if run is None else run.events


def _notice(data: str) -> Notice:
    try:
        fields: Any = msgspec.json.decode(data, type=dict[str, Any])
    except (ValueError, RecursionError):
        fields = {}
    return Notice(str(fields.pop("code", "unknown")), fields)


def _read(data: str, form: type[S]) -> S | None:
    try:
        return msgspec.json.decode(data, type=form)
    except (ValueError, RecursionError):
        return None
