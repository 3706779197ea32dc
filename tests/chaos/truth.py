"""What the simulator says, known without asking it, and what that is in the words of each dialect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Final, NamedTuple

from tokenwire.simulator.answer import Ask, answer
from tokenwire.wire.sse import Event

#: Prompts whose answers differ in script and framing; a number is added, so that no two streams say the same.
_ABOUT: Final = ("a poem", "python code", "japanese", "odd characters", "arabic", "a table", "emoji", "json")


class Plan(NamedTuple):
    """One answer to be asked for.

    Attributes:
        dialect: of the request, and of the upstream.
        tokens: how many are said.
        interval_ms: between two of them.
    """

    dialect: str
    prompt: str
    tokens: int
    interval_ms: float

    @property
    def text(self) -> str:
        """All that will be said."""
        return "".join(answer(Ask(prompt=self.prompt, tokens=self.tokens))[0].pieces)

    @property
    def body(self) -> dict[str, Any]:
        """The request, streamed; the knobs travel as metadata, for the relay forwards a body as it is."""
        knobs = {"tokens": self.tokens, "interval-ms": self.interval_ms, "ttft-ms": 0}
        body: dict[str, Any] = {
            "model": "sim/instant",
            "stream": True,
            "messages": [{"role": "user", "content": self.prompt}],
            "metadata": {f"x-sim-{name}": str(value) for name, value in knobs.items()},
        }
        return body | ({"max_tokens": 20_000} if self.dialect == "anthropic" else {})


def plan(random: Random, *, tokens: tuple[int, int], seconds: float) -> Plan:
    """An answer of so many tokens that takes about so many *seconds*, or less."""
    count = random.randint(*tokens)
    pace = random.choice((0.0, 0.3, 1.0)) * seconds * 1000 / count
    prompt = f"{random.choice(_ABOUT)} {random.randrange(10**6)}"
    return Plan(random.choice(("openai.chat", "anthropic")), prompt, count, round(pace, 3))


# ------------------------------------------------------------------ the text in a dialect's events


def _chat(event: Event, data: Any) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in data.get("choices", ()))


def _anthropic(event: Event, data: Any) -> str:
    return str(data["delta"].get("text", "")) if data["type"] == "content_block_delta" else ""


def _responses(event: Event, data: Any) -> str:
    return str(data["delta"]) if data["type"] == "response.output_text.delta" else ""


def _ui(event: Event, data: Any) -> str:
    return str(data["delta"]) if data["type"] == "text-delta" else ""


def _agui(event: Event, data: Any) -> str:
    return str(data["delta"]) if data["type"] == "TEXT_MESSAGE_CONTENT" else ""


def _native(event: Event, data: Any) -> str:
    return str({"text": data.get("t"), "snapshot": data.get("text")}.get(event.event) or "")


_TEXT: Final[dict[str, Callable[[Event, Any], str]]] = {
    "native": _native,
    "openai.chat": _chat,
    "anthropic": _anthropic,
    "openai.responses": _responses,
    "ui-messages": _ui,
    "agui": _agui,
}
#: All that bear ids.
DIALECTS: Final = tuple(_TEXT)


def text_of(dialect: str, events: Iterable[Event]) -> str:
    """The text that *events* of *dialect* bring."""
    say = _TEXT[dialect]
    return "".join(say(event, json.loads(event.data)) for event in events if event.data not in ("[DONE]", ""))
