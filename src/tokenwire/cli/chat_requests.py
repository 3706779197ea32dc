"""A conversation, and the request body that it is in each dialect. One entry in ``BODIES`` for each dialect."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from tokenwire.errors import RelayRefused

if TYPE_CHECKING:
    from tokenwire.client import Client

#: Anthropic wants a bound; every model of the last years can write so much.
ANTHROPIC_MAX_TOKENS: Final = 8192
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
    """

    def __init__(self, model: str, session: str) -> None:
        self.model = model
        self.system: str | None = None
        self.session = session
        self.turns: list[Turn] = []
        self._spoken: dict[str, str] = {}  # model -> the dialect that worked

    async def start(self, client: Client) -> str:
        """Ask for the next answer; the stream's id. Raises ``RelayRefused``, ``RelayUnreachable``.

        A relay that cannot translate to what the model's provider speaks answers 400 and names it: then that is used.
        """
        dialect = self._spoken.get(self.model, next(iter(BODIES)))
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
                self._spoken[self.model] = dialect
                return stream


def openai_chat(talk: Conversation) -> dict[str, Any]:
    system = [] if talk.system is None else [{"role": "system", "content": talk.system}]
    return {"model": talk.model, "messages": [*system, *_messages(talk.turns)], "stream": True}


def anthropic(talk: Conversation) -> dict[str, Any]:
    turns = talk.turns
    if turns and turns[0].role == "assistant":
        turns = [Turn("user", _ELSEWHERE), *turns]
    body = {"model": talk.model, "max_tokens": ANTHROPIC_MAX_TOKENS, "messages": _messages(turns), "stream": True}
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
