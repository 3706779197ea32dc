"""The plainest request, ``/api/chat``'s, and what it is in the words of a dialect that providers speak."""

from __future__ import annotations

from typing import Literal

import msgspec

from tokenwire.dialects.json_text import loads, scrub
from tokenwire.errors import RequestRefused


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
    try:
        return checked(msgspec.convert(value, Question))
    except msgspec.ValidationError as error:
        raise RequestRefused(400, "bad_request", f"the body of POST /api/chat: {error}") from error


def checked(question: Question) -> Question:
    """*question* itself. Raises ``RequestRefused`` (400) where nothing is asked."""
    if not question.prompt:
        raise RequestRefused(400, "missing_prompt", "you must provide a 'prompt' that is not empty", param="prompt")
    return question


def in_words_of(question: Question, model: str) -> bytes:
    """*question* as a streamed request to *model* in the dialect ``openai.chat``, which can say all of it."""
    return msgspec.json.encode({"model": model, "stream": True, "messages": question.turns})
