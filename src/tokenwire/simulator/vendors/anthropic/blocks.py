"""The content blocks of one answer: what each is made of, and where stop sequences and max_tokens cut them.

A block knows its tokens and its JSON; how it travels is in ``anthropic_stream``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from tokenwire.simulator.answer import first_characters
from tokenwire.simulator.tokens import pieces


@dataclass(frozen=True)
class Text:
    """Text; ``citations`` is None where none were asked for."""

    pieces: list[str]
    citations: list[dict[str, Any]] | None = None

    @property
    def tokens(self) -> int:
        return len(self.pieces)

    def first(self, limit: int) -> Text:
        return replace(self, pieces=self.pieces[:limit])

    def whole(self) -> dict[str, Any]:
        cited = {} if self.citations is None else {"citations": self.citations}
        return {**cited, "type": "text", "text": "".join(self.pieces)}


@dataclass(frozen=True)
class Thinking:
    """Thinking; ``shown`` is False where only its signature is sent, which a cut one lacks."""

    pieces: list[str]
    signature: str
    shown: bool = True

    @property
    def tokens(self) -> int:
        return len(self.pieces)

    def first(self, limit: int) -> Thinking:
        return replace(self, pieces=self.pieces[:limit], signature="")

    def whole(self) -> dict[str, Any]:
        text = "".join(self.pieces) if self.shown else ""
        return {"type": "thinking", "thinking": text, "signature": self.signature}


@dataclass(frozen=True)
class ToolUse:
    """A call of the client's tool, or of one that runs at Anthropic (``server``).

    Attributes:
        bursts: the JSON of its input; each entry a key with its value, as pieces. None at all for an empty input.
        eager: whether the pieces are sent as they come, instead of one burst after the other.
    """

    id: str
    name: str
    bursts: list[list[str]]
    eager: bool = False
    server: bool = False

    @property
    def tokens(self) -> int:
        return 1 + sum(map(len, self.bursts))

    def first(self, limit: int) -> ToolUse:
        """What is sent of it if generation ends after *limit* tokens: parts of a burst only if it is eager."""
        kept: list[list[str]] = []
        left = limit - 1
        for burst in self.bursts:
            if len(burst) > left:
                kept += [burst[:left]] * (self.eager and left > 0)
                break
            kept.append(burst)
            left -= len(burst)
        return replace(self, bursts=kept)

    def opening(self) -> dict[str, Any]:
        kind = "server_tool_use" if self.server else "tool_use"
        caller = {} if self.server else {"caller": {"type": "direct"}}
        return {"type": kind, "id": self.id, "name": self.name, "input": {}, **caller}

    def whole(self) -> dict[str, Any]:
        return {**self.opening(), "input": _as_far_as_it_goes(self.bursts)}


@dataclass(frozen=True)
class Given:
    """A block that comes whole: redacted thinking, results of server tools."""

    value: dict[str, Any]
    tokens: int = 0

    def first(self, limit: int) -> None:
        return None

    def whole(self) -> dict[str, Any]:
        return self.value


Block: TypeAlias = Text | Thinking | ToolUse | Given


@dataclass(frozen=True)
class Turn:
    """An answer.

    Attributes:
        stop: (stop_reason, stop_sequence, stop_details).
        searches: web searches made.
        found: tokens that their results added to the prompt.
    """

    blocks: list[Block] = field(default_factory=list)
    stop: tuple[str, str | None, dict[str, Any] | None] = ("end_turn", None, None)
    searches: int = 0
    found: int = 0

    @property
    def tokens(self) -> int:
        return max(1, sum(block.tokens for block in self.blocks))

    @property
    def thinking_tokens(self) -> int:
        """Tokens of the thinking, whether it is shown or not."""
        redacted = (block.tokens for block in self.blocks if isinstance(block, Given))
        return sum(block.tokens for block in self.blocks if isinstance(block, Thinking)) + sum(redacted)

    def stopped(self, sequences: Iterable[str]) -> Turn:
        """The turn up to the first of the stop *sequences*, which only text can have."""
        wanted = [each for each in sequences if each]
        for number, block in enumerate(self.blocks):
            if not wanted or not isinstance(block, Text):
                continue
            text = "".join(block.pieces)
            ends = [(at, each) for each in wanted if (at := text.find(each)) >= 0]
            if ends:
                at, sequence = min(ends)
                kept = [replace(block, pieces=first_characters(block.pieces, at))] if at else []
                return replace(self, blocks=[*self.blocks[:number], *kept], stop=("stop_sequence", sequence, None))
        return self

    def limited(self, most: int) -> Turn:
        """The turn as far as *most* tokens reach."""
        kept: list[Block] = []
        left = most
        for block in self.blocks:
            if block.tokens > left:
                part = block.first(left) if left else None
                if part is not None:
                    kept.append(part)
                return replace(self, blocks=kept, stop=("max_tokens", None, None))
            kept.append(block)
            left -= block.tokens
        return self


def bursts_of(value: Any) -> list[list[str]]:
    """The JSON of a tool's input as bursts: a key with its value each, with blanks as Claude writes them."""
    if not isinstance(value, dict):
        return [pieces(json.dumps(value, ensure_ascii=False))]
    texts = [f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value[name], ensure_ascii=False)}" for name in value]
    if not texts:
        return []
    texts = ["{" + texts[0], *(", " + text for text in texts[1:])]
    texts[-1] += "}"
    return [pieces(text) for text in texts]


def _as_far_as_it_goes(bursts: list[list[str]]) -> Any:
    """The input of a call that may have been cut: its whole keys and values."""
    for kept, end in ((bursts, ""), (bursts, "}"), (bursts[:-1], "}")):
        try:
            return json.loads("".join(itertools.chain.from_iterable(kept)) + end)
        except ValueError:
            continue
    return {}
