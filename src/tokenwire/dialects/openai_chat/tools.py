"""Tool calls of one choice, put together from the fragments that chat servers send (reference, Q36 to Q47).

OpenAI keys the fragments of a call by ``index``, names id and function once, and sends one call after the other.
Servers that imitate it leave out or repeat any of that. The rules here, in order, decide whose fragment an entry is:
an id seen before; else the call at its index; without an index, the call that came last. It begins a new call where it
brings another id and a name, another name, or another JSON object after a complete one. A call is announced once its
name is known and its id, or else an argument; until then its arguments wait.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

from tokenwire.dialects.deltas import Delta, ReasoningSignature, ToolCallDelta, ToolCallEnded, ToolCallStarted
from tokenwire.dialects.json_text import NOTHING, Balance, mend, scrub
from tokenwire.dialects.numbering import Blocks, Ids
from tokenwire.dialects.openai_chat.parts import google_extra
from tokenwire.dialects.signatures import unwrap

#: Whose signatures stand in ``extra_content``: Google's OpenAI endpoint puts them there.
GOOGLE: Final = "gemini"

#: Which open calls an end closes: see ``ToolCalls.finish``.
End: TypeAlias = Literal["all", "complete", "none"]


class Call:
    """A call in the making. ``id`` is the provider's own; ``block`` is set once the call was announced."""

    __slots__ = (
        "balance", "block", "custom", "ended", "held", "id", "index", "name", "place", "sent", "signature", "waiting",
    )  # fmt: skip

    def __init__(self, index: int | None, custom: bool) -> None:
        self.index = index
        self.custom = custom  # its input is free text: never split, never completed
        self.id: str | None = None
        self.name: str | None = None
        self.block: int | None = None
        self.waiting: list[str] = []  # arguments that came before the name
        self.signature: str | None = None  # one that came before it
        self.place = 0
        self.sent = False
        self.ended = False
        self.balance = Balance()
        self.held: dict[str, str] = {}

    @property
    def open(self) -> bool:
        """In the middle of its arguments."""
        return self.balance.begun and not self.balance.complete

    def copy(self) -> Call:
        twin = Call(self.index, self.custom)
        twin.id, twin.name, twin.block, twin.waiting = self.id, self.name, self.block, list(self.waiting)
        twin.place, twin.sent, twin.ended = self.place, self.sent, self.ended
        twin.balance, twin.held, twin.signature = self.balance.copy(), dict(self.held), self.signature
        return twin


class Entry:
    """One entry of ``delta.tool_calls``, its members checked.

    ``rest`` is what is not known of it; ``place`` is the call's place among those announced, set by ``ToolCalls.feed``.
    """

    __slots__ = ("arguments", "custom", "id", "index", "name", "place", "rest", "signature")

    def __init__(self, fields: dict[str, Any]) -> None:
        custom, function = fields.get("custom"), fields.get("function")
        self.custom = isinstance(custom, dict)
        body: dict[str, Any] = custom if isinstance(custom, dict) else function if isinstance(function, dict) else {}
        self.id = _word(fields.get("id"))
        self.name = _word(body.get("name"))
        self.index = _index(fields.get("index"))
        self.arguments = _text(body.get("input" if self.custom else "arguments"))
        self.place = 0
        extra = google_extra(fields)
        self.signature = extra.signature
        self.rest = {name: value for name, value in fields.items() if name not in _KNOWN and value not in NOTHING}
        if extra.rest is not None:
            self.rest["extra_content"] = extra.rest


_KNOWN = frozenset({"index", "id", "type", "function", "custom", "extra_content"})


class ToolCalls:
    """The calls of one choice, in order of announcement. *blocks* and *ids* are shared with the rest of the decoder."""

    __slots__ = ("_announced", "_by_id", "_by_index", "_calls", "_choice", "_last")

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._announced = 0
        self._calls: list[Call] = []
        self._by_index: dict[int, Call] = {}
        self._by_id: dict[str, Call] = {}
        self._last: Call | None = None

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, entry: Entry, blocks: Blocks, ids: Ids, torn: bool) -> list[Delta] | None:
        """The deltas of one entry; None if it repeats or continues a call that is over, and so means nothing."""
        call = self._whose(entry)
        if call is not None and (call.ended or self._repeats(call, entry)):
            signed: list[Delta] = []
            if not entry.arguments and entry.signature is not None:
                self._sign(call, entry.signature, signed)
            return signed if not entry.arguments else None
        if call is None:
            before = self._before(entry)
            call = self._begin(entry)
            if before is not None and entry.name is None and _another(before, entry):
                call.name = before.name  # Q38: nobody named it
        self._learn(call, entry)
        out: list[Delta] = []
        arguments = entry.arguments
        if torn or call.held:
            arguments = mend(call.held, "arguments", arguments)
        while not call.custom and (cut := call.balance.feed(arguments)) >= 0:
            self._add(call, arguments[:cut], blocks, ids, out)
            arguments = arguments[cut:]
            call = self._split(call, entry)
        self._add(call, arguments, blocks, ids, out)
        if entry.signature is not None:
            self._sign(call, entry.signature, out)
        entry.place = call.place
        return out

    def finish(self, blocks: Blocks, ids: Ids, end: End) -> list[Delta]:
        """The choice or the stream is over: announce what still waits, and end calls.

        *all* after a normal end (then no arguments mean ``{}``); those whose JSON is *complete* where the answer was
        cut short; *none* where the stream itself broke off (Q46: that it parses so far proves nothing).
        """
        out: list[Delta] = []
        for call in self._calls:
            if call.ended:
                continue
            if call.held:
                call.held.clear()
                self._add(call, "\ufffd", blocks, ids, out)
            block = self._announce(call, blocks, ids, out) if call.block is None else call.block
            if end == "none" or not (end == "all" or call.balance.complete):
                continue
            if not call.sent and not call.custom:
                out.append(ToolCallDelta("{}", self._choice, block))
            call.ended = True
            out.append(ToolCallEnded(self._choice, block))
        return out

    def incomplete(self) -> bool:
        """Whether a call is open whose arguments are no whole JSON value."""
        return any(not (call.ended or call.custom or call.balance.complete) for call in self._calls)

    def copy(self) -> ToolCalls:
        twin = ToolCalls(self._choice)
        copies = {id(call): call.copy() for call in self._calls}
        twin._calls, twin._announced = list(copies.values()), self._announced
        twin._by_index = {index: copies[id(call)] for index, call in self._by_index.items()}
        twin._by_id = {name: copies[id(call)] for name, call in self._by_id.items()}
        twin._last = None if self._last is None else copies[id(self._last)]
        return twin

    def _whose(self, entry: Entry) -> Call | None:
        """The call that *entry* goes on with; None if it begins one."""
        known = self._by_id.get(entry.id) if entry.id is not None else None
        if known is not None and (entry.index in (None, known.index) or entry.name is None):
            return known
        call = self._before(entry)
        if call is None and entry.id is None and entry.name is None and self._last is not None:
            call = self._last if self._last.index is None else None  # Mistral: the index came late
        return None if call is None or self._begins(call, entry) else call

    def _before(self, entry: Entry) -> Call | None:
        """The call that stood at the entry's index so far, or the last one."""
        return self._last if entry.index is None else self._by_index.get(entry.index)

    @staticmethod
    def _begins(call: Call, entry: Entry) -> bool:
        """Whether *entry*, which stands where *call* stood, is the first of another call."""
        other_id = entry.id is not None and call.id is not None and entry.id != call.id
        other_name = entry.name is not None and call.name is not None and entry.name != call.name
        if other_id and (entry.name is not None or entry.index is None):
            return other_name or not call.open  # Q37; but in the midst of its JSON, an id that changes is Q39
        return other_name or _another(call, entry)

    @staticmethod
    def _repeats(call: Call, entry: Entry) -> bool:
        """The same id and whole arguments once more (a duplicate chunk, Q23): executing it twice would be worse."""
        return entry.id is not None and _another(call, entry)

    def _begin(self, entry: Entry) -> Call:
        call = Call(entry.index, entry.custom)
        self._calls.append(call)
        self._last = call
        if entry.index is not None:
            self._by_index[entry.index] = call
        return call

    def _split(self, call: Call, entry: Entry) -> Call:
        """The arguments hold another object: one more call of the same function, which nobody named (Q38)."""
        twin = self._begin(entry)
        twin.name = call.name
        twin.held, call.held = call.held, {}
        return twin

    def _learn(self, call: Call, entry: Entry) -> None:
        if call.id is None and entry.id is not None:
            call.id = entry.id
            self._by_id.setdefault(entry.id, call)
        if call.name is None:
            call.name = entry.name

    def _add(self, call: Call, arguments: str, blocks: Blocks, ids: Ids, out: list[Delta]) -> None:
        if call.block is None:
            if arguments:
                call.waiting.append(arguments)
            if call.name is not None and (call.id is not None or call.waiting):
                self._announce(call, blocks, ids, out)
        elif arguments:
            call.sent = True
            out.append(ToolCallDelta(arguments, self._choice, call.block))

    def _sign(self, call: Call, signature: str, out: list[Delta]) -> None:
        """Google's endpoint signs calls, and wants that back with them. Only the first counts."""
        if call.block is None:
            call.signature = call.signature or signature
        elif call.signature != "":
            call.signature = ""
            signature, maker = unwrap(signature, GOOGLE)
            out.append(ReasoningSignature(signature, self._choice, call.block, maker))

    def _announce(self, call: Call, blocks: Blocks, ids: Ids, out: list[Delta]) -> int:
        block = call.block = blocks.fresh()
        call.place = self._announced
        self._announced += 1
        out.append(ToolCallStarted(ids.unique(call.id), call.name or "", self._choice, block))
        if call.waiting:
            call.sent = True
            out.append(ToolCallDelta("".join(call.waiting), self._choice, block))
            call.waiting.clear()
        if call.signature:
            self._sign(call, call.signature, out)
        return block


def _another(call: Call, entry: Entry) -> bool:
    """Whether *entry* opens an object where *call* has a complete one (Q38). Free text is never complete."""
    return call.balance.complete and entry.arguments.lstrip().startswith("{")


def _word(value: Any) -> str | None:
    """A non-blank string; Mistral's SDK writes the word ``null`` where it has no id."""
    return value if isinstance(value, str) and value.strip() and value != "null" else None


def _index(value: Any) -> int | None:
    if isinstance(value, str) and len(value) < 10 and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    """Arguments as JSON text: most send text, some the object itself (Ollama through gateways), some null."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(scrub(value)).decode()
