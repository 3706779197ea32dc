"""What a client got out of an answer, in one form for all clients and for what the provider itself said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Call(NamedTuple):
    """A tool call with its arguments, parsed as the client's users get them."""

    name: str
    arguments: Any


class Failure(NamedTuple):
    """An error as the client tells it.

    Attributes:
        kind: the exception's class, or the type of the event that said it.
        message: its text.
        status: the HTTP status that it names, where it does.
    """

    kind: str
    message: str
    status: int | None = None


@dataclass
class Outcome:
    """An answer.

    Attributes:
        text, reasoning, refusal: whole, in order of arrival.
        usage: tokens in and out, or None where nobody said.
        finish: why it ended, in our words (``FinishReason``); None where nobody said.
        error: what was thrown or told; the rest is what came before it.
        turn: the assistant's turn as the client keeps it, to be given back with the results of the tools.
    """

    text: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    refusal: str = ""
    usage: tuple[int, int] | None = None
    finish: str | None = None
    error: Failure | None = None
    turn: Any = None

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Outcome:
        """From the JSON that the Node clients print."""
        known = {name: value[name] for name in ("text", "reasoning", "refusal", "finish", "turn") if value.get(name)}
        calls = [Call(call["name"], parsed(call["arguments"])) for call in value.get("calls", ())]
        usage, error = value.get("usage"), value.get("error")
        return cls(
            **known,
            calls=calls,
            usage=None if usage is None else (usage[0], usage[1]),
            error=None if error is None else Failure(error["kind"], error["message"], error.get("status")),
        )


def parsed(arguments: Any) -> Any:
    """Arguments that may still be JSON text. Raises ``ValueError`` for half of them: no client may be given that."""
    return json.loads(arguments) if isinstance(arguments, str) else arguments


def finish_of(word: object, words: Mapping[str, str]) -> str | None:
    """A vendor's word for the end in ours; one that is not in *words* stays."""
    return None if word in (None, "") else words.get(str(word), str(word))
