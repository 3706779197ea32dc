"""The plainest request, ``/api/chat``'s, and what it is in the words of each dialect that a provider may speak."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec

from tokenwire.dialects.json_text import loads, scrub
from tokenwire.errors import RequestRefused

#: For a dialect that wants a bound and a request that has none: what every model of Anthropic's allows.
MAX_TOKENS: Final = 4096


class Turn(msgspec.Struct, forbid_unknown_fields=True):
    """An earlier message."""

    role: Literal["system", "user", "assistant"]
    content: str


class Question(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is asked. *messages*: earlier turns, oldest first."""

    prompt: str
    model: str | None = None
    system: str | None = None
    messages: list[Turn] = []

    @property
    def turns(self) -> list[Turn]:
        """The whole conversation: system prompt, earlier turns, prompt."""
        first = [] if self.system is None else [Turn("system", self.system)]
        return [*first, *self.messages, Turn("user", self.prompt)]


def parse_question(body: bytes) -> Question:
    """The body of a POST. Raises ``RequestRefused`` (400), saying what is wrong with it."""
    try:
        value, torn = loads(body.decode())
        value = scrub(value) if torn else value
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, "invalid_json", f"the request body is not valid JSON: {error}") from error
    if isinstance(value, dict) and "messages" in value and "prompt" not in value:
        raise RequestRefused(
            400,
            "unsupported_body",
            "there is no 'prompt'. If this comes from the AI SDK's useChat: its protocol is not spoken here yet; send "
            '{"prompt": "…"} with the earlier turns as messages, or use /v1/chat/completions',
            param="prompt",
        )
    try:
        return checked(msgspec.convert(value, Question))
    except msgspec.ValidationError as error:
        raise RequestRefused(400, "bad_request", f"the body of POST /api/chat: {error}") from error


def checked(question: Question) -> Question:
    """*question* itself. Raises ``RequestRefused`` (400) where nothing is asked."""
    if not question.prompt:
        raise RequestRefused(400, "missing_prompt", "you must provide a 'prompt' that is not empty", param="prompt")
    return question


def choose(spoken: Iterable[str]) -> str:
    """The first dialect of *spoken*, an upstream's, that a question can be put in. Raises ``RequestRefused`` (400)."""
    spoken = list(spoken)
    for dialect in spoken:
        if dialect in _BODIES:
            return dialect
    message = f"the model's upstream speaks {', '.join(spoken)}; /api/chat can ask in {', '.join(_BODIES)}"
    raise RequestRefused(400, "unsupported_dialect", message, param="model")


def in_words_of(dialect: str, question: Question, model: str) -> bytes:
    """*question* as a streamed request to *model*, in a dialect that ``choose`` chose."""
    return msgspec.json.encode({"model": model, "stream": True, **_BODIES[dialect](question)})


def _openai_chat(question: Question) -> dict[str, Any]:
    return {"messages": question.turns}


def _anthropic(question: Question) -> dict[str, Any]:
    """What the system says is no turn there: it stands beside them, wherever it was said."""
    system = "\n\n".join(turn.content for turn in question.turns if turn.role == "system")
    turns = [turn for turn in question.turns if turn.role != "system"]
    return {"max_tokens": MAX_TOKENS, **({"system": system} if system else {}), "messages": turns}


_BODIES: Final[dict[str, Callable[[Question], dict[str, Any]]]] = {"openai.chat": _openai_chat, "anthropic": _anthropic}
