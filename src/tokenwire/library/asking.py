"""What a user asks for, in the words of a dialect: arguments in, a request body out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from msgspec import Struct

from tokenwire.errors import BadArgument

if TYPE_CHECKING:
    from tokenwire.dialects.prompt.vocabulary import Effort

#: A message as OpenAI's chat has it: ``{"role": "user", "content": "…"}``, and all that belongs to it.
Message: TypeAlias = Mapping[str, Any]

#: Dialects whose requests have ``messages``: for others the whole body is given.
_WITH_MESSAGES: Final = ("openai.chat", "anthropic", "ollama")
#: OpenAI's own models want the newer name of the bound, other servers of its chat the older.
_NEWER_BOUND: Final = ("openai/", "gpt-", "o1", "o3", "o4", "chatgpt-")


class Ask(Struct, frozen=True, kw_only=True):
    """One question, checked.

    Attributes:
        messages: the conversation; empty where *fields* hold one of another shape.
        fields: further members of the body, as they are.
        tools, output: what goes with them, as OpenAI's chat has it: ``tools`` and ``response_format``.
    """

    model: str
    dialect: str = "openai.chat"
    messages: Sequence[Message] = ()
    fields: Mapping[str, Any] = {}
    tools: Sequence[Mapping[str, Any]] = ()
    output: Mapping[str, Any] | None = None

    def body(self, messages: Sequence[Message]) -> dict[str, Any]:
        """The request's body, with *messages*."""
        body: dict[str, Any] = {"model": self.model}
        if messages:
            body["messages"] = list(messages)
        body["stream"] = True
        if self.tools:
            body["tools"] = list(self.tools)
        if self.output is not None:
            body["response_format"] = self.output
        return body | dict(self.fields)


def ask(
    model: str,
    prompt: str | Sequence[Message] | None,
    messages: Sequence[Message] | None,
    *,
    system: str | None,
    dialect: str,
    request: Mapping[str, Any] | None,
    tools: Sequence[Mapping[str, Any]],
    output: Mapping[str, Any] | None,
    max_tokens: int | None,
    temperature: float | None,
    effort: Effort | None,
) -> Ask:
    """What the arguments of ``tokenwire.stream`` mean.

    Raises:
        BadArgument: what is wrong with which of them, and what to do.
    """
    if not isinstance(model, str) or not model:
        raise BadArgument("model", f"the name of a model is wanted ('openai/gpt-4o', 'sim/gpt-4o'), not {model!r}")
    if prompt is not None and messages is not None:
        raise BadArgument("prompt", "say either prompt or messages, not both")
    given = messages if prompt is None else [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    talk = _checked(given) if given is not None else []
    if request is not None and not isinstance(request, Mapping):
        raise BadArgument("request", f"members of the request are wanted, as a mapping, not {type(request).__name__}")
    fields = dict(request or {})
    if "messages" in fields and dialect in _WITH_MESSAGES:  # a conversation that may grow is kept in one place
        if talk:
            raise BadArgument("messages", "they stand in request, too: say them once")
        talk = _checked(fields.pop("messages"))
    wishes: dict[str, Any] = {"system": system, "max_tokens": max_tokens, "temperature": temperature, "effort": effort}
    if dialect != "openai.chat":
        named = [
            name for name, value in {**wishes, "tools": tools or None, "output": output}.items() if value is not None
        ]
        if named:
            raise BadArgument(named[0], f"in the dialect {dialect} put it into request=, in that dialect's own words")
        if talk and dialect not in _WITH_MESSAGES:
            raise BadArgument("messages", f"{dialect} has none: put the whole body into request=")
    if not talk and not fields:
        raise BadArgument("prompt", "nothing is asked: say a prompt, messages, or a whole request")
    if system is not None:
        talk = [{"role": "system", "content": system}, *talk]
    if max_tokens is not None:
        newer = model.startswith(_NEWER_BOUND)
        fields.setdefault("max_completion_tokens" if newer else "max_tokens", max_tokens)
    if temperature is not None:
        fields.setdefault("temperature", temperature)
    if effort is not None:
        fields.setdefault("reasoning_effort", effort)
    return Ask(model=model, dialect=dialect, messages=talk, fields=fields, tools=tools, output=output)


def _checked(given: Sequence[Message]) -> list[Message]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        raise BadArgument("messages", "a list of messages is wanted: [{'role': 'user', 'content': '…'}]")
    for at, message in enumerate(given):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise BadArgument("messages", f"message {at} has no role: {{'role': 'user', 'content': '…'}} is one")
    if not given:
        raise BadArgument("messages", "the list of messages is empty")
    return list(given)
