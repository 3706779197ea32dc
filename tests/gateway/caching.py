"""Upstreams whose answers are kept, scripted or simulated, and what the tests of the cache ask and read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.translation.answers import decode, fold

from tokenwire import dialects
from tokenwire.gateway.settings import Settings, from_mapping
from tokenwire.simulator import Simulator
from tokenwire.simulator import serve as simulate
from tokenwire.testing.http_client import Answer
from tokenwire.testing.relay import Relay, message, serving
from tokenwire.testing.rig import run_in
from tokenwire.testing.upstream import ScriptedUpstream, Step

CHAT = "/v1/chat/completions"
SPOKEN = ("openai.chat", "anthropic", "openai.responses", "gemini", "ollama")
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
QUESTION = "What is the weather in Oslo?"


def simulating(main: Callable[[Relay, Simulator], Awaitable[None]], **cache: Any) -> None:
    """*main* before an upstream for each dialect, called after it, whose answers are kept."""

    async def inside() -> None:
        simulator = await simulate()
        try:
            up = {"base_url": f"{simulator.url}/v1", "api_key": "k", "models": [], "retry": {"attempts": 1}}
            upstreams = {name: {**up, "dialect": name} for name in SPOKEN}
            upstreams["plain"] = upstreams["openai.chat"]
            models = {f"{name}/instant": {"cache": {"seconds": 60, **cache}} for name in SPOKEN}
            async with serving(from_mapping({"upstreams": upstreams, "models": models}, {})) as relay:
                await main(relay, simulator)
        finally:
            await simulator.close()

    run_in("uvloop", inside)


def scripted(
    main: Callable[[Relay, ScriptedUpstream], Awaitable[None]], *scripts: list[Step], limits: Any = None, **cache: Any
) -> None:
    """*main* before an upstream ``up`` that plays scripts, and whose model ``instant`` is cached."""

    async def inside() -> None:
        async with ScriptedUpstream(*scripts) as upstream, serving(settings(upstream, limits, **cache)) as relay:
            await main(relay, upstream)

    run_in("uvloop", inside)


def settings(upstream: ScriptedUpstream, limits: Any = None, store: Any = None, **cache: Any) -> Settings:
    up = {"base_url": upstream.base_url, "models": [], "retry": {"attempts": 1}}
    models = {"up/instant": {"cache": {"seconds": 60, **cache}}}
    return from_mapping({"upstreams": {"up": up}, "models": models, "limits": limits or {}, "store": store or {}}, {})


def asking(dialect: str, kind: str = "text", *, stream: bool = True) -> tuple[str, dict[str, Any]]:
    """Route and body of a question that the simulator answers with text, with thoughts, or with a call."""
    model = f"{dialect}/instant"
    turn = {"role": "user", "content": QUESTION}
    tools = kind == "tools"
    function = {"name": "get_weather", "description": "Weather in a city", "parameters": PARAMETERS}
    if dialect == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]}
        if tools:
            body["tools"] = [{"functionDeclarations": [function]}]
        if kind == "thoughts":
            body["generationConfig"] = {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 1024}}
        return f"/v1beta/models/{model}:{verb}", body
    if dialect == "anthropic":
        body = message(QUESTION, model=model, stream=stream, max_tokens=4096)
        if tools:
            body["tools"] = [{"name": "get_weather", "description": "Weather", "input_schema": PARAMETERS}]
        if kind == "thoughts":
            body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        return "/v1/messages", body
    if dialect == "openai.responses":
        body = {"model": model, "stream": stream, "input": [turn]}
        if tools:
            body["tools"] = [{"type": "function", **function}]
        if kind == "thoughts":
            body["reasoning"] = {"effort": "high", "summary": "auto"}
        return "/v1/responses", body
    body = {"model": model, "stream": stream, "messages": [turn]}
    if tools:
        body["tools"] = [{"type": "function", "function": function}]
    if kind == "thoughts":
        body["think"] = True
    return (CHAT if dialect == "openai.chat" else "/ollama/api/chat"), body


def said(dialect: str, body: bytes) -> tuple[Any, ...]:
    """What an answer says: text, reasoning, calls, and usage."""
    transcript = fold(decode(dialects.get(dialect), [body]))
    choice, usage = transcript.choice(), transcript.usage
    calls = [(call.name, call.arguments) for call in choice.tool_calls.values()]
    counts = None if usage is None else (usage.input, usage.output, usage.cached_input, usage.reasoning)
    return choice.text, choice.reasoning, calls, choice.reason, counts


def cached(answer: Answer) -> str | None:
    return answer.fields.get("x-tokenwire-cache")
