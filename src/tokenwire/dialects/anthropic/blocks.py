"""The content blocks of a Messages stream, as far as a decoder must remember them: kinds, numbers, never their text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from tokenwire.dialects.anthropic.plain import PlainText, PlainThinking
from tokenwire.dialects.deltas import (
    Citation,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.dialects.json_text import Balance, mend, scrub
from tokenwire.dialects.signatures import unwrap

if TYPE_CHECKING:
    from tokenwire.dialects.anthropic.plain import Plain
    from tokenwire.dialects.deltas import Delta

NAME: Final = "anthropic"

Kind: TypeAlias = Literal["text", "thinking", "tool_use", "opaque"]

#: Which kind of block a delta belongs to, and the member that is new in it. A block of another kind does not know it.
_OWNERS: Final[dict[str, tuple[Kind, str]]] = {
    "text_delta": ("text", "text"),
    "citations_delta": ("text", "citation"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("tool_use", "partial_json"),
}


class Block:
    """One content block that has begun.

    Attributes:
        number: among all blocks of the stream, in order of appearance.
        kind: ``opaque`` for those that are passed on whole: server tools and their results, redacted thinking,
            compaction, and whatever is new.
    """

    __slots__ = ("_balance", "_held", "_input", "_sent", "kind", "number")

    def __init__(self, number: int, kind: Kind) -> None:
        self.number = number
        self.kind: Kind = kind
        self._held: dict[str, str] = {}  # half a character, by the member that it ended
        self._balance = Balance() if kind == "tool_use" else None
        self._input = ""  # of a tool: what stood in its start, unless fragments take its place
        self._sent = False

    def copy(self) -> Block:
        twin = Block(self.number, self.kind)
        twin._held, twin._input, twin._sent = dict(self._held), self._input, self._sent
        twin._balance = None if self._balance is None else self._balance.copy()
        return twin

    def begin(self, fields: dict[str, Any], name: str, id: str, event: dict[str, Any], out: list[Delta]) -> None:
        """What ``content_block_start`` says: usually nothing but the kind, in an answer that was not streamed all.

        *event* is the whole of it; *id* and *name* are a tool call's.
        """
        if self.kind == "opaque":
            out.append(Opaque(NAME, event, "content_block_start"))
        elif self.kind == "tool_use":
            given = fields.get("input")
            self._input = msgspec.json.encode(scrub(given)).decode() if given else ""
            out.append(ToolCallStarted(id, name, 0, self.number))
        else:
            for member in ("thinking", "signature") if self.kind == "thinking" else ("text",):
                self._say(member, fields.get(member), torn=True, out=out)
            sources = fields.get("citations")
            for source in sources if isinstance(sources, list) else ():
                self._say("citation", source, torn=False, out=out)

    def feed(self, delta: dict[str, Any], event: dict[str, Any], torn: bool, out: list[Delta]) -> None:
        """One ``content_block_delta``; *torn*: it may hold halves of characters."""
        owner, member = _OWNERS.get(str(delta.get("type")), ("", ""))
        if owner != self.kind or not self._say(member, delta.get(member), torn=torn, out=out):
            out.append(Opaque(NAME, event, "content_block_delta"))

    def feed_plain(self, said: Plain) -> list[Delta] | None:
        """The same for a plain event, if it is of this kind of block and no half of a character waits; else None."""
        if self._held:
            return None
        if isinstance(said, PlainText):
            if self.kind != "text":
                return None
            return [TextDelta(said.text, 0, self.number)] if said.text else []
        if isinstance(said, PlainThinking):
            if self.kind != "thinking":
                return None
            return [ReasoningDelta(said.thinking, 0, self.number)] if said.thinking else []
        if self._balance is None:
            return None
        out: list[Delta] = []
        self._say("partial_json", said.partial_json, torn=False, out=out)
        return out

    def stop(self, event: dict[str, Any] | None, out: list[Delta]) -> None:
        """``content_block_stop``; None where it never came, but the answer ended all the same.

        A call is whole only if its arguments are: cut by ``max_tokens``, a tool whose input is streamed eagerly gets
        its stop in the midst of its JSON (Q55).
        """
        self.flush(out)
        if self.kind == "opaque" and event is not None:
            out.append(Opaque(NAME, event, "content_block_stop"))
        balance = self._balance
        if balance is None:
            return
        if not self._sent:
            out.append(ToolCallDelta(self._input or "{}", 0, self.number))
        if balance.complete or not self._sent:
            out.append(ToolCallEnded(0, self.number))

    def flush(self, out: list[Delta]) -> None:
        """Half characters whose other half can no longer come."""
        for member in list(self._held):
            del self._held[member]
            self._say(member, "\ufffd", torn=False, out=out)

    def _say(self, member: str, value: Any, *, torn: bool, out: list[Delta]) -> bool:
        """What is new in *member*; False if it is not of its type."""
        if member == "citation":
            if isinstance(value, dict):
                out.append(Citation(value, 0, self.number))
            return isinstance(value, dict)
        if not isinstance(value, str):
            return False
        if torn or self._held:
            value = mend(self._held, member, value)
        if not value:
            return True
        if member == "text":
            out.append(TextDelta(value, 0, self.number))
        elif member == "thinking":
            out.append(ReasoningDelta(value, 0, self.number))
        elif member == "signature":
            signature, maker = unwrap(value, NAME)
            out.append(ReasoningSignature(signature, 0, self.number, maker))
        else:
            assert self._balance is not None
            self._balance.feed(value)
            self._sent = True
            out.append(ToolCallDelta(value, 0, self.number))
        return True


def refusal_object(text: str) -> dict[str, Any]:
    """``stop_details`` of a refusal, in the words that the model gave, if it did."""
    return {"type": "refusal", "category": None, "explanation": text or None}


def explanation(details: Any) -> str:
    """What ``stop_details`` says of a refusal, in words; "" where it does not."""
    said = details.get("explanation") if isinstance(details, dict) else None
    return said if isinstance(said, str) else ""
