"""The output items of one answer: what each is made of, and where a limit cuts them (reference section 4.5).

An item knows its tokens and its JSON; how it travels is in ``stream``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

_Json = dict[str, Any]


@dataclass(frozen=True)
class Reasoning:
    """Reasoning.

    Attributes:
        parts: the summary, each part as tokens; they are counted also if nothing is ``shown``.
        sealed: (encrypted content at first, the one to keep); None if nobody asked.
    """

    id: str
    parts: list[list[str]]
    shown: bool
    sealed: tuple[str, str] | None = None
    status: str = "completed"

    @property
    def tokens(self) -> int:
        return sum(map(len, self.parts))

    def first(self, limit: int) -> Reasoning:
        kept = []
        for part in self.parts:
            kept.append(part[:limit])
            limit -= len(kept[-1])
        return replace(self, parts=[part for part in kept if part], status="incomplete")

    def skeleton(self) -> _Json:
        sealed = {"encrypted_content": self.sealed[0]} if self.sealed else {}
        return {"id": self.id, "type": "reasoning", "summary": [], **sealed}

    def whole(self) -> _Json:
        sealed = {"encrypted_content": self.sealed[1]} if self.sealed else {}
        parts = [{"type": "summary_text", "text": "".join(part)} for part in self.parts] if self.shown else []
        return {"id": self.id, "type": "reasoning", "summary": parts, **sealed}


@dataclass(frozen=True)
class Search:
    """A search of the web, which runs at OpenAI."""

    id: str
    query: str
    sources: list[str] | None = None
    tokens: int = 0

    def first(self, limit: int) -> Search:
        return self

    def skeleton(self) -> _Json:
        return {"id": self.id, "type": "web_search_call", "status": "in_progress"}

    def whole(self) -> _Json:
        action: _Json = {"type": "search", "query": self.query, "queries": [self.query]}
        if self.sources is not None:
            action["sources"] = [{"type": "url", "url": url} for url in self.sources]
        return {"id": self.id, "type": "web_search_call", "status": "completed", "action": action}


@dataclass(frozen=True)
class Message:
    """What is said, or why nothing is: ``refusal``. ``logprobs``: an entry for each piece, if any."""

    id: str
    pieces: list[str]
    refusal: bool = False
    annotations: list[_Json] = field(default_factory=list)
    logprobs: list[_Json] = field(default_factory=list)
    status: str = "completed"

    @property
    def tokens(self) -> int:
        return len(self.pieces)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def first(self, limit: int) -> Message:
        kept = replace(self, pieces=self.pieces[:limit], logprobs=self.logprobs[:limit], status="incomplete")
        length = len(kept.text)
        return replace(kept, annotations=[each for each in self.annotations if each["end_index"] <= length])

    def part(self, *, empty: bool = False) -> _Json:
        """The content part; *empty*: as it is opened."""
        if self.refusal:
            return {"type": "refusal", "refusal": "" if empty else self.text}
        if empty:
            return {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
        return {"type": "output_text", "annotations": self.annotations, "logprobs": self.logprobs, "text": self.text}

    def skeleton(self) -> _Json:
        return {"id": self.id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}

    def whole(self) -> _Json:
        return {**self.skeleton(), "status": self.status, "content": [self.part()]}


@dataclass(frozen=True)
class Call:
    """A call of the client's function; ``pieces`` join to the JSON of its arguments."""

    id: str
    call_id: str
    name: str
    pieces: list[str]
    status: str = "completed"

    @property
    def tokens(self) -> int:
        return 1 + len(self.pieces)

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    def first(self, limit: int) -> Call:
        return replace(self, pieces=self.pieces[: limit - 1], status="incomplete")

    def skeleton(self) -> _Json:
        return {
            "id": self.id,
            "type": "function_call",
            "status": "in_progress",
            "arguments": "",
            "call_id": self.call_id,
            "name": self.name,
        }

    def whole(self) -> _Json:
        return {**self.skeleton(), "status": self.status, "arguments": self.arguments}


OutputItem: TypeAlias = Reasoning | Search | Message | Call


@dataclass(frozen=True)
class Turn:
    """An answer.

    Attributes:
        incomplete: why it is not whole, None if it is.
        found: tokens that a search added to the prompt.
    """

    items: list[OutputItem] = field(default_factory=list)
    incomplete: str | None = None
    found: int = 0

    @property
    def tokens(self) -> int:
        return sum(item.tokens for item in self.items)

    @property
    def reasoning_tokens(self) -> int:
        return sum(item.tokens for item in self.items if isinstance(item, Reasoning))

    def limited(self, most: int | None) -> Turn:
        """The turn as far as *most* tokens reach."""
        if most is None or self.tokens <= most:
            return self
        kept: list[OutputItem] = []
        left = most
        for item in self.items:
            if item.tokens > left:
                kept += [item.first(left)] * (left > 0)
                break
            kept.append(item)
            left -= item.tokens
        return replace(self, items=kept, incomplete="max_output_tokens")
