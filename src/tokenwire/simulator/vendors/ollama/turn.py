"""What the pretended model answers: thoughts, then text or whole calls, and why it ended."""

from __future__ import annotations

import json
import random
import string
from dataclasses import dataclass, field
from typing import Any, Literal

from tokenwire.simulator.answer import Choice, answer
from tokenwire.simulator.knobs import Knobs
from tokenwire.simulator.schema import SchemaError, UnsatisfiableError
from tokenwire.simulator.thoughts import thoughts
from tokenwire.simulator.tokens import split_surrogates
from tokenwire.simulator.vendors.ollama.errors import invalid
from tokenwire.simulator.vendors.ollama.requests import ChatRequest, GenerateRequest

_ID = string.ascii_lowercase + string.digits

# Separates the ids of calls from what else is drawn.
_TURN = 0x6F6C_6C61


@dataclass(frozen=True)
class Called:
    """A call: the entry of ``tool_calls``, and how many tokens it took."""

    entry: dict[str, Any]
    tokens: int


@dataclass(frozen=True)
class Turn:
    """The whole answer. ``thoughts`` and ``pieces`` are tokens."""

    thoughts: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    reason: Literal["stop", "length"] = "stop"

    @property
    def tokens(self) -> int:
        return len(self.thoughts) + len(self.pieces) + sum(call.tokens for call in self.calls)


def turn_for(wanted: ChatRequest | GenerateRequest, seed: int, knobs: Knobs, *, halved: bool) -> Turn:
    """The answer, cut where the request says.

    Args:
        halved: characters beyond U+FFFF come as two halves.

    Raises:
        ApiError: 400: a schema that cannot be satisfied.
    """
    ask = wanted.asked(seed, knobs.tokens)
    try:
        choice = answer(ask)[0]
    except (SchemaError, UnsatisfiableError) as error:
        raise invalid(f"invalid schema in '{'tools' if ask.schema is None else 'format'}': {error}") from None
    thought = thoughts(ask.prompt, tools=bool(ask.tools), results=bool(ask.results)) if wanted.thinks else []
    turn = Turn(thought, choice.pieces, _calls(choice, random.Random(seed ^ _TURN)))
    if wanted.limit is not None and turn.tokens > wanted.limit:
        turn = _limited(turn, wanted.limit)
    if halved:
        turn = Turn(split_surrogates(turn.thoughts), split_surrogates(turn.pieces), turn.calls, turn.reason)
    return turn


def _limited(turn: Turn, most: int) -> Turn:
    """The first *most* tokens. A call that would be cut is not made: they are sent whole here."""
    left = most - len(turn.thoughts[:most])
    calls: list[Called] = []
    for call in turn.calls:
        if call.tokens > left:
            break
        calls.append(call)
        left -= call.tokens
    return Turn(turn.thoughts[:most], turn.pieces[:left], calls, "length")


def _calls(choice: Choice, rng: random.Random) -> list[Called]:
    called: list[Called] = []
    for index, call in enumerate(choice.calls):
        function = {"index": index, "name": call.name, "arguments": json.loads("".join(call.pieces))}
        entry = {"id": "call_" + "".join(rng.choices(_ID, k=8)), "function": function}
        called.append(Called(entry, 1 + len(call.pieces)))
    return called
