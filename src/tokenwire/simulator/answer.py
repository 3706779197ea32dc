"""What the pretended model answers: vendor-neutral, a pure function of what was asked."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from tokenwire.simulator.schema import Hints, value_for
from tokenwire.simulator.texts import pick
from tokenwire.simulator.tokens import pieces
from tokenwire.simulator.tools import Tool, garbled, in_turns, plan_calls, report_results

#: What `json_object` asks for, as no schema says more.
ANY_OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "summary": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["title", "summary", "tags", "score"],
    "additionalProperties": False,
}

# So much of a prompt may end up as one string value (a search query, say).
_HINT = 400


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What was asked, whatever the vendor.

    Attributes:
        prompt: the last user message, as text.
        seed: decides what the rest leaves open.
        n: number of alternatives.
        max_tokens: the answer is cut there; None for no limit.
        stop: texts before any of which the answer ends.
        tools: what may be called; none if calling is forbidden.
        must: ``auto``, ``any`` (call something) or ``one`` (call the only tool there is).
        parallel: whether several calls at once are allowed.
        schema: the answer is JSON for this schema; None for text.
        results: (tool name, content) of the calls since the last user message, in order.
        tokens: exact length of a text answer; None for as it comes.
        echo: repeat the prompt.
    """

    prompt: str
    seed: int = 0
    n: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    must: Literal["auto", "any", "one"] = "auto"
    parallel: bool = True
    schema: Any = None
    results: tuple[tuple[str, str], ...] = ()
    tokens: int | None = None
    echo: bool = False


@dataclass(frozen=True)
class Call:
    """A tool call; ``pieces`` join to the JSON of its arguments. ``garbled``: their end is not to be sent."""

    name: str
    pieces: list[str]
    garbled: bool = False

    @property
    def sent(self) -> list[str]:
        """The pieces that a vendor sends who sends arguments as text."""
        return self.pieces[:-1] if self.garbled else self.pieces


@dataclass(frozen=True)
class Choice:
    """One alternative: text or calls, and why it ended (``length``: cut by ``max_tokens``)."""

    pieces: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    finish: Literal["stop", "length", "tool_calls"] = "stop"

    @property
    def tokens(self) -> int:
        """Tokens generated: one for each piece, and one to open each call."""
        return len(self.pieces) + sum(1 + len(call.pieces) for call in self.calls)


def answer(ask: Ask) -> list[Choice]:
    """The alternatives, ``ask.n`` of them.

    Raises:
        schema.SchemaError, schema.UnsatisfiableError: a schema in *ask* can't be satisfied.
    """
    return [_choice(ask, variant) for variant in range(ask.n)]


def _choice(ask: Ask, variant: int) -> Choice:
    calls = _calls(ask, variant)
    if calls:
        return _limited_calls(calls, ask)
    if ask.schema is not None:
        value = value_for(ask.schema, ask.seed + variant, Hints(ask.prompt[:_HINT]))
        return _limited(pieces(compact(value)), ask)
    if ask.echo:
        said = pieces(ask.prompt)
    elif ask.results:
        said = pieces(report_results(ask.results))
    else:
        said = list(pick(ask.prompt, variant=variant).pieces)
    if ask.tokens is not None:
        said = list(itertools.islice(itertools.cycle(said), ask.tokens))
    return _limited(said, ask)


def _calls(ask: Ask, variant: int) -> list[Call]:
    one_by_one = ask.must == "auto" and in_turns(ask.prompt)
    if ask.results and ask.must == "auto" and not one_by_one:
        return []  # the tools have answered: now it is the model's turn
    plans = plan_calls(ask.prompt, ask.tools, must=ask.must != "auto", parallel=ask.parallel or one_by_one)
    if one_by_one:
        plans = plans[len(ask.results) : len(ask.results) + 1]
    spoilt = not ask.results and garbled(ask.prompt)
    return [
        Call(
            tool.name,
            pieces(compact(value_for(tool.parameters, ask.seed + variant + i, Hints(ask.prompt[:_HINT], subject)))),
            spoilt,
        )
        for i, (tool, subject) in enumerate(plans)
    ]


def _limited(parts: list[str], ask: Ask) -> Choice:
    """Text, ended by a stop sequence or by the limit, whichever comes first."""
    text = "".join(parts) if ask.stop else ""
    ends = [at for at in map(text.find, ask.stop) if at >= 0]
    if ends:
        parts = first_characters(parts, min(ends))
    if ask.max_tokens is not None and len(parts) > ask.max_tokens:
        return Choice(parts[: ask.max_tokens], finish="length")
    return Choice(parts)


def first_characters(parts: list[str], length: int) -> list[str]:
    """The parts of the first *length* characters; the last one is cut if need be."""
    starts = itertools.accumulate(map(len, parts), initial=0)
    return [part[: length - start] for part, start in zip(parts, starts, strict=False) if start < length]


def _limited_calls(calls: list[Call], ask: Ask) -> Choice:
    """Calls, cut in mid-argument where the limit falls: what a client must survive."""
    if ask.max_tokens is None or Choice(calls=calls).tokens <= ask.max_tokens:
        return Choice(calls=calls, finish="stop" if ask.must == "one" else "tool_calls")
    left = ask.max_tokens
    kept: list[Call] = []
    for call in calls:
        if left < 1:
            break
        kept.append(Call(call.name, call.pieces[: left - 1]))
        left -= 1 + len(call.pieces)
    return Choice(calls=kept, finish="length")


def compact(value: Any) -> str:
    """JSON without blanks, other scripts as themselves, as the vendors write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
