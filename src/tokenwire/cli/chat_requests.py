"""A conversation, and the request body that it is in each dialect. One entry in ``BODIES`` for each dialect."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from tokenwire.errors import RelayError, RelayRefused

if TYPE_CHECKING:
    from tokenwire.client import Client

#: Anthropic wants a bound; every model of the last years can write so much.
ANTHROPIC_MAX_TOKENS: Final = 8192
#: Of thinking, where it is asked for: it counts against the bound, which grows by as much.
ANTHROPIC_THINKING_TOKENS: Final = 4096
OPENAI_EFFORT: Final = "medium"
# An answer that was resumed stands without its question, and Anthropic refuses a conversation that begins so.
_ELSEWHERE: Final = "(asked elsewhere)"


class Turn(NamedTuple):
    role: Literal["user", "assistant"]
    text: str


class Conversation:
    """What was said so far, and to whom.

    Attributes:
        model: as the relay lists it.
        system: the system prompt; None for none.
        session: told to the relay with every stream of it.
        think: ask for thinking, of models that think only then.
        dialects: in which each model may be asked, as the relay lists it; none where it does not tell.
    """

    def __init__(self, model: str, session: str) -> None:
        self.model = model
        self.system: str | None = None
        self.session = session
        self.turns: list[Turn] = []
        self.think = False
        self.dialects: dict[str, list[str]] = {}
        self._spoken: dict[str, str] = {}  # model -> the dialect that worked

    async def start(self, client: Client) -> str:
        """Ask for the next answer; the stream's id. Raises ``RelayRefused``, ``RelayUnreachable``.

        A relay that cannot translate to what the model's provider speaks answers 400 and names it: then that is used.
        """
        dialect = self._spoken.get(self.model) or await self._dialect(client)
        tried: set[str] = set()
        while True:
            tried.add(dialect)
            try:
                stream = await client.start(BODIES[dialect](self), dialect=dialect, session=self.session)
            except RelayRefused as error:
                others = [name for name in named_in(str(error)) if name not in tried] if error.status == 400 else []
                if not others:
                    raise
                dialect = others[0]
            else:
                if len(tried) > 1 or self.model in self.dialects:  # else it is a guess, and the list may come yet
                    self._spoken[self.model] = dialect
                return stream

    async def _dialect(self, client: Client) -> str:
        """The one to try first. Claude's own tells more of it than a translation: the relay is asked whether it may."""
        claude = "claude" in self.model.lower()
        if claude and self.model not in self.dialects:
            with suppress(RelayError):  # it will be said with the question itself
                self.dialects |= await client.dialects()
        listed = self.dialects.get(self.model, [])
        ours = [name for name in listed if name in BODIES] or list(BODIES)
        return "anthropic" if claude and "anthropic" in listed else ours[0]


def openai_chat(talk: Conversation) -> dict[str, Any]:
    system = [] if talk.system is None else [{"role": "system", "content": talk.system}]
    body = {"model": talk.model, "messages": [*system, *_messages(talk.turns)], "stream": True}
    return {**body, "reasoning_effort": OPENAI_EFFORT} if talk.think else body


def anthropic(talk: Conversation) -> dict[str, Any]:
    turns = talk.turns
    if turns and turns[0].role == "assistant":
        turns = [Turn("user", _ELSEWHERE), *turns]
    body = {"model": talk.model, "max_tokens": ANTHROPIC_MAX_TOKENS, "messages": _messages(turns), "stream": True}
    if talk.think:
        body["max_tokens"] = ANTHROPIC_MAX_TOKENS + ANTHROPIC_THINKING_TOKENS
        body["thinking"] = {"type": "enabled", "budget_tokens": ANTHROPIC_THINKING_TOKENS}
    return body if talk.system is None else {**body, "system": talk.system}


#: Dialect -> the body of its request. The first is tried first.
BODIES: Final[dict[str, Callable[[Conversation], dict[str, Any]]]] = {
    "openai.chat": openai_chat,
    "anthropic": anthropic,
}


def named_in(message: str) -> list[str]:
    """The dialects of ours that *message* names. ``anthropic/claude`` is a model."""
    return [name for name in BODIES if re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w/-])", message)]


def _messages(turns: list[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.text} for turn in turns]
