"""The output items of a Responses stream, as far as a decoder must remember them: what came of each, never its text.

Every text is told several times: in deltas, whole when its part ends, again when its item ends, and once more with the
whole response. Some servers leave out any of these (reference, Q34). So a text is counted as it comes, and what a
later word on it has beyond that is told then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from zlib import crc32

from tokenwire.dialects.deltas import (
    Citation,
    Logprobs,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.dialects.json_text import Balance, mend, whole

if TYPE_CHECKING:
    from tokenwire.dialects.deltas import Delta
    from tokenwire.dialects.numbering import Blocks

NAME: Final = "openai.responses"

#: A text of an item: those of messages, of thoughts, and a call's arguments.
Kind: TypeAlias = Literal["text", "refusal", "summary", "thought", "arguments"]

_Key: TypeAlias = tuple[Kind, int]

#: What stands between two parts of one thought: they are paragraphs.
_PARAGRAPH: Final = "\n\n"


class Run:
    """One text: how much of it came. ``cited`` and ``scored``: of its annotations and log-probabilities."""

    __slots__ = ("_check", "_held", "block", "cited", "length", "scored")

    def __init__(self, block: int) -> None:
        self.block = block
        self.length = 0
        self.cited = 0
        self.scored = 0
        self._check = 0
        self._held: dict[str, str] = {}  # half a character

    def add(self, text: str, torn: bool) -> str:
        """*text*, which came, in whole characters; *torn*: it may hold halves."""
        if torn or self._held:
            text = mend(self._held, "", text)
        self.length += len(text)
        self._check = crc32(text.encode(), self._check)
        return text

    def missing(self, full: str) -> str:
        """What of *full*, all of this text, did not come yet, and now has. Nothing if it begins otherwise than what
        came: better a text without its end than one told twice."""
        full = whole(full)
        had = self.length
        if len(full) <= had or crc32(full[:had].encode()) != self._check:
            return ""
        self._held.clear()
        return self.add(full[had:], False)

    @property
    def half(self) -> bool:
        """Whether it ends in half a character."""
        return bool(self._held)

    def flush(self) -> str:
        """Half a character whose other half can no longer come."""
        return "\ufffd" if self._held.pop("", None) else ""

    def copy(self) -> Run:
        twin = Run(self.block)
        twin.length, twin.cited, twin.scored = self.length, self.cited, self.scored
        twin._check, twin._held = self._check, dict(self._held)
        return twin


class Item:
    """One output item.

    Attributes:
        type: as the provider has it.
        name: an id under which the provider may name it again: a call's ``call_id``, else its own.
        sealed: the provider said that it is over.
        ended: of a call: its arguments are whole.
        cut: of a call: the provider says that they never will be.
    """

    __slots__ = ("_balance", "_block", "_last", "_own", "_runs", "_signed", "cut", "ended", "name", "sealed", "type")

    def __init__(self, type: str, name: str | None) -> None:
        self.type = type
        self.name = name
        self.sealed = False
        self.ended = False
        self.cut = False
        self._runs: dict[_Key, Run] = {}
        self._own: set[_Key] = set()  # the runs that no copy shares
        self._block: int | None = None  # of a thought or a call, which have but one
        self._last: _Key | None = None  # the part of a thought that has the word
        self._signed = False
        self._balance = Balance() if type == "function_call" else None

    def copy(self) -> Item:
        twin = Item(self.type, self.name)
        twin.sealed, twin.ended, twin.cut = self.sealed, self.ended, self.cut
        twin._block, twin._last, twin._signed = self._block, self._last, self._signed
        twin._runs = dict(self._runs)
        self._own.clear()
        twin._balance = None if self._balance is None else self._balance.copy()
        return twin

    def say(self, kind: Kind, part: int, text: Any, torn: bool, blocks: Blocks, out: list[Delta]) -> None:
        """A delta of one text."""
        if isinstance(text, str) and text:
            run = self._run(kind, part, blocks)
            self._tell((kind, part), run, run.add(text, torn), out)

    def fill(self, kind: Kind, part: int, text: Any, blocks: Blocks, out: list[Delta]) -> None:
        """The whole of one text."""
        if isinstance(text, str) and text:
            run = self._run(kind, part, blocks)
            self._tell((kind, part), run, run.missing(text), out)

    def flush(self, out: list[Delta]) -> None:
        """Half characters whose other half can no longer come."""
        for key in [key for key, run in self._runs.items() if run.half]:
            run = self._runs[key] = self._runs[key].copy()
            self._tell(key, run, run.flush(), out)

    def cite(self, part: int, source: Any, blocks: Blocks, out: list[Delta]) -> None:
        if isinstance(source, dict):
            run = self._run("text", part, blocks)
            run.cited += 1
            out.append(Citation(source, 0, run.block))

    def score(self, part: int, entries: Any, blocks: Blocks, out: list[Delta]) -> None:
        """Log-probabilities. Here ``bytes`` is missing, or empty where it is not known: null to all others."""
        found = [{**each, "bytes": each.get("bytes") or None} for each in entries if isinstance(each, dict)]
        if found:
            self._run("text", part, blocks).scored += len(entries)
            out.append(Logprobs(found))

    def part(self, index: int, fields: Any, blocks: Blocks, out: list[Delta]) -> bool:
        """A content part, whole or as far as it goes. Returns False if it is of a kind that nobody knows."""
        fields = fields if isinstance(fields, dict) else {}
        kind = fields.get("type")
        if kind == "refusal":
            self.fill("refusal", index, fields.get("refusal"), blocks, out)
        elif kind == "reasoning_text":
            self.fill("thought", index, fields.get("text"), blocks, out)
        elif kind == "summary_text":
            self.fill("summary", index, fields.get("text"), blocks, out)
        elif kind in ("output_text", "text"):
            self.fill("text", index, fields.get("text"), blocks, out)
            self.notes(index, fields, blocks, out)
        else:
            return False
        return True

    def notes(self, index: int, fields: dict[str, Any], blocks: Blocks, out: list[Delta]) -> None:
        """All annotations and log-probabilities of a text: those that did not come yet."""
        sources, entries = fields.get("annotations"), fields.get("logprobs")
        if isinstance(sources, list) and sources:
            for source in sources[self._run("text", index, blocks).cited :]:
                self.cite(index, source, blocks, out)
        if isinstance(entries, list) and entries:
            self.score(index, entries[self._run("text", index, blocks).scored :], blocks, out)

    def begin_call(self, id: str, name: str, blocks: Blocks, out: list[Delta]) -> None:
        self._block = blocks.fresh()
        out.append(ToolCallStarted(id, name, 0, self._block))

    def end_call(self, out: list[Delta]) -> None:
        """The provider says that the call is whole. It is not if its arguments break off."""
        run = self._runs.get(("arguments", 0))
        empty = run is None or not run.length
        assert self._balance is not None
        assert self._block is not None
        if self.ended or self.cut or not (empty or self._balance.complete):
            return
        self.ended = True
        if empty:
            out.append(ToolCallDelta("{}", 0, self._block))
        out.append(ToolCallEnded(0, self._block))

    @property
    def whole(self) -> bool:
        """Whether the arguments of this call are there, by themselves."""
        return self._balance is not None and self._balance.complete

    def sign(self, signature: Any, blocks: Blocks, out: list[Delta]) -> None:
        """The encrypted thought, once: what the item says when it ends is what counts (it differs from before)."""
        if isinstance(signature, str) and signature and not self._signed:
            self._signed = True
            if self._block is None:
                self._block = blocks.fresh()
            out.append(ReasoningSignature(signature, 0, self._block, NAME))

    def _run(self, kind: Kind, part: int, blocks: Blocks) -> Run:
        key = kind, part
        run = self._runs.get(key)
        if run is not None and key in self._own:
            return run
        if run is not None:
            run = run.copy()
        elif kind in ("text", "refusal"):
            run = Run(blocks.fresh())
        else:
            self._block = blocks.fresh() if self._block is None else self._block
            run = Run(self._block)
        self._runs[key] = run
        self._own.add(key)
        return run

    def _tell(self, key: _Key, run: Run, text: str, out: list[Delta]) -> None:
        if not text:
            return
        kind = key[0]
        if kind == "text":
            out.append(TextDelta(text, 0, run.block))
        elif kind == "refusal":
            out.append(RefusalDelta(text, 0, run.block))
        elif kind == "arguments":
            assert self._balance is not None
            self._balance.feed(text)
            out.append(ToolCallDelta(text, 0, run.block))
        else:
            if self._last not in (None, key):
                text = _PARAGRAPH + text
            self._last = key
            out.append(ReasoningDelta(text, 0, run.block))
