"""One candidate on its way out: what was begun of it and not yet told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.gemini import citations
from tokenwire.dialects.gemini.candidate import REASONS
from tokenwire.dialects.gemini.lines import dumps
from tokenwire.dialects.pieces import Pieces, Text
from tokenwire.dialects.signatures import wrap
from tokenwire.errors import LocalProtocolError

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Finished, FinishReason, ReasoningSignature, Terminal, ToolCallStarted

#: The word of ``finishReason`` for each reason (reference, section 8). Errors have none: the error itself says it.
WORDS: Final[dict[FinishReason, str]] = {
    "stop": "STOP", "length": "MAX_TOKENS", "context_window": "MAX_TOKENS", "tool_use": "STOP",
    "content_filter": "SAFETY", "refusal": "SAFETY", "pause": "STOP", "unknown": "OTHER",
}  # fmt: skip

_DECLINED: Final = "The model declined to answer."


class _Call:
    """A call that is not told yet: its name, and its arguments as far as they came."""

    __slots__ = ("ended", "id", "json", "name", "signature")

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.json = Text()
        self.signature = ""
        self.ended = False

    def copy(self) -> _Call:
        twin = _Call(self.id, self.name)
        twin.json, twin.signature, twin.ended = self.json.copy(), self.signature, self.ended
        return twin

    def part(self) -> str | None:
        """The part that tells it; None if its arguments are no object."""
        text = str(self.json)
        try:
            arguments = msgspec.json.decode(text) if text.strip() else {}
        except (ValueError, RecursionError):
            return None
        if not isinstance(arguments, dict):
            return None
        part: dict[str, Any] = {"functionCall": {"id": self.id, "name": self.name, "args": arguments}}
        if self.signature:
            part["thoughtSignature"] = self.signature
        return dumps(part)


class Answer:
    """The state of a candidate.

    Attributes:
        text, thought: the newest block of each; -1 before the first.
        refused: whether some of its text was a refusal.
        sources: citations, for the last event.
        finish: why it ended, once that is known.
    """

    __slots__ = ("_calls", "_known", "_malformed", "finish", "refused", "sources", "text", "thought")

    def __init__(self) -> None:
        self.text = -1
        self.thought = -1
        self.refused = False
        self.sources: Pieces[dict[str, Any]] = Pieces()
        self.finish: Finished | None = None
        self._calls: dict[int, _Call] = {}  # by block, in order of their beginnings
        self._known: set[int] = set()
        self._malformed = ""

    def copy(self) -> Answer:
        twin = Answer()
        twin.text, twin.thought, twin.refused, twin.finish = self.text, self.thought, self.refused, self.finish
        twin.sources = self.sources.copy()
        twin._calls = {block: call.copy() for block, call in self._calls.items()}
        twin._known, twin._malformed = set(self._known), self._malformed
        return twin

    @property
    def empty(self) -> bool:
        """Whether nothing was said in it."""
        return self.text < 0 and self.thought < 0 and not (self.refused or self._known)

    def begin(self, delta: ToolCallStarted) -> None:
        self._known.add(delta.block)
        self._calls[delta.block] = _Call(delta.id, delta.name)

    def call(self, block: int) -> _Call:
        """The call of that block, told or not. Raises ``LocalProtocolError`` if there is none."""
        if block not in self._known:
            raise LocalProtocolError(f"no tool call in block {block}: ToolCallStarted is missing")
        return self._calls.get(block) or _Call("", "")

    def end(self, block: int) -> list[str]:
        """That call is whole: its part, and those that waited for it. Calls are told in order of their beginnings."""
        self.call(block).ended = True
        parts: list[str] = []
        for first, call in list(self._calls.items()):
            if not call.ended:
                break
            parts += self._tell(first)
        return parts

    def flush(self) -> list[str]:
        """The stream is over: calls that are whole need not wait any longer for those that are not."""
        return [part for block, call in list(self._calls.items()) if call.ended for part in self._tell(block)]

    def sign(self, delta: ReasoningSignature) -> list[str]:
        """A signature: on its call's part, where that is still to come; else on an empty part of its own. In this
        dialect it must be base64: one whose maker nobody knows is wrapped, too."""
        signature = wrap(delta.signature, delta.dialect or "unknown", "gemini")
        call = self._calls.get(delta.block)
        if call is not None:
            call.signature = signature
            return []
        part: dict[str, Any] = {"text": "", "thought": True, "thoughtSignature": signature}
        if delta.block == self.text or delta.block in self._known:
            del part["thought"]
        return [dumps(part)]

    def members(self, terminal: Terminal, *, whole: bool) -> dict[str, Any]:
        """What the last event says of it: why it ended, and what it rests on."""
        members: dict[str, Any] = {}
        finish = self.finish
        reason = finish.reason if finish is not None else None
        native = finish.native_reason if finish is not None else None
        if reason is None and whole:
            reason = terminal.reason or ("tool_use" if self._known else "stop")
        if whole and self._calls and reason in ("stop", "tool_use"):
            self._malformed = self._malformed or next(iter(self._calls.values())).name
        if reason is not None and (word := self._word(reason, native)):
            members["finishReason"] = word
        if self._malformed:
            members["finishReason"] = "MALFORMED_FUNCTION_CALL"
            members["finishMessage"] = f"Malformed function call: the arguments of {self._malformed} are no JSON object"
        elif members.get("finishReason") == "SAFETY" and (self.refused or reason == "refusal"):
            members["finishMessage"] = _DECLINED
        return {**members, **citations.write(self.sources.items())}

    def _word(self, reason: FinishReason, native: str | None) -> str | None:
        """The ``finishReason``: the provider's own word, if it is Gemini's for that reason."""
        if native is not None:
            own = REASONS.get(native)
            if own == reason or (native == "OTHER" and reason == "unknown"):
                return native
        if reason == "stop" and self.refused:
            return "SAFETY"
        return WORDS.get(reason)

    def _tell(self, block: int) -> list[str]:
        call = self._calls.pop(block)
        part = call.part()
        if part is None:
            self._malformed = self._malformed or call.name
        return [] if part is None else [part]
