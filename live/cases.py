"""What is asked, in each dialect. A new dialect is a new row of ``SPEECHES``; a new provider needs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

#: Case -> after how many generated events it is cancelled; None: never.
CASES: Final[dict[str, int | None]] = {"text": None, "tool-call": None, "cancelled": 5}

_PROMPTS: Final = {
    "text": "Count from one to twelve in words, then name a city with an accent in its name. Nothing else.",
    "tool-call": "What is the weather in Kraków, in celsius? Use the tool.",
    "cancelled": "Write the numbers from one to five hundred in words, separated by commas.",
}
_PARAMETERS: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
}
_TOOL: Final = {"name": "get_weather", "description": "The weather in a city now"}
# Where a dialect wants a bound; above what any of the prompts needs.
_MOST_TOKENS: Final = 2000


class Speech(NamedTuple):
    """How a dialect is asked, and where our reference of it lies.

    Attributes:
        body: (case, model, usage) -> the request; *usage*: whether the provider is to be asked for usage.
        folders: of ``tests/fixtures``, which hold what we know of it; the first where a provider has none of its own.
        marker: the ``data`` or event name that ends a stream; None: it has none of its own.
    """

    body: Callable[[str, str, bool], dict[str, Any]]
    folders: tuple[str, ...]
    marker: str | None


def _openai_chat(case: str, model: str, usage: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "stream": True}
    body["messages"] = [{"role": "user", "content": _PROMPTS[case]}]
    if usage:
        body["stream_options"] = {"include_usage": True}
    if case == "tool-call":
        body["tools"] = [{"type": "function", "function": {**_TOOL, "parameters": _PARAMETERS}}]
    return body


def _anthropic(case: str, model: str, usage: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "stream": True, "max_tokens": _MOST_TOKENS}
    body["messages"] = [{"role": "user", "content": _PROMPTS[case]}]
    if case == "tool-call":
        body["tools"] = [{**_TOOL, "input_schema": _PARAMETERS}]
    return body


def _openai_responses(case: str, model: str, usage: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "stream": True, "input": _PROMPTS[case], "store": False}
    if case == "tool-call":
        body["tools"] = [{"type": "function", **_TOOL, "parameters": _PARAMETERS}]
    return body


def _gemini(case: str, model: str, usage: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": _PROMPTS[case]}]}]}
    if case == "tool-call":
        body["tools"] = [{"functionDeclarations": [{**_TOOL, "parametersJsonSchema": _PARAMETERS}]}]
    return body


def _ollama(case: str, model: str, usage: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": _PROMPTS[case]}]}
    if case == "tool-call":
        body["tools"] = [{"type": "function", "function": {**_TOOL, "parameters": _PARAMETERS}}]
    return body


SPEECHES: Final[dict[str, Speech]] = {
    "openai.chat": Speech(
        _openai_chat,
        ("openai-chat", "azure", "groq", "vllm", "llamacpp", "openrouter", "deepseek", "mistral", "xai"),
        "[DONE]",
    ),
    "openai.responses": Speech(_openai_responses, ("openai-responses",), "response.completed"),
    "anthropic": Speech(_anthropic, ("anthropic",), "message_stop"),
    "gemini": Speech(_gemini, ("gemini",), None),
    "ollama": Speech(_ollama, ("ollama",), None),
}

#: A cheap model that knows tools, by the provider's usual name. Names age: one that is not listed is not asked for.
MODELS: Final = {
    "openai": "gpt-4o-mini",
    "groq": "llama-3.1-8b-instant",
    "openrouter": "openai/gpt-4o-mini",
    "deepseek": "deepseek-chat",
    "mistral": "mistral-small-latest",
    "xai": "grok-3-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
}


def choose(provider: str, listed: list[str]) -> str | None:
    """The model to ask *provider* for: the usual one, or a dated form of it, else the first listed; None of none."""
    usual = MODELS.get(provider)
    if usual is not None:
        dated = sorted(name for name in listed if name.startswith(usual))
        if usual in listed or not listed:
            return usual
        if dated:
            return dated[-1]
    return listed[0] if listed else None
