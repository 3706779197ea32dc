"""Ollama's own Python client as judge, against a running simulator: what it accepts, and the errors it raises."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import ollama
import pytest
from pydantic import BaseModel

from tokenwire.simulator.texts import pick

With = Callable[[Callable[[ollama.AsyncClient], Awaitable[Any]]], Any]


class Person(BaseModel):
    name: str
    age: int


def get_weather(city: str) -> str:
    """Get the weather in a city.

    Args:
        city: Where.
    """
    return f"rain in {city}"


def asked(prompt: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": prompt}]


@pytest.fixture
def with_client(play: Any) -> With:
    """with_client(scenario): the coroutine function with a client of a fresh simulator."""

    def run(scenario: Callable[[ollama.AsyncClient], Awaitable[Any]]) -> Any:
        async def inner(simulator: Any) -> Any:
            async with ollama.AsyncClient(simulator.url) as client:
                return await scenario(client)

        return play(inner)

    return run


def test_text_and_thinking_stream(with_client: With) -> None:
    async def scenario(client: ollama.AsyncClient) -> None:
        parts = [part async for part in await client.chat("instant", asked("in Japanese"), stream=True, think=True)]
        assert "".join(part.message.content or "" for part in parts) == pick("in Japanese").body
        assert "Let me think" in "".join(part.message.thinking or "" for part in parts)
        assert parts[-1].done
        assert parts[-1].eval_count == len(parts) - 1

    with_client(scenario)


def test_a_whole_answer_with_log_probabilities(with_client: With) -> None:
    async def scenario(client: ollama.AsyncClient) -> None:
        answer = await client.chat("instant:latest", asked("rust code"), logprobs=True, top_logprobs=3)
        assert answer.message.content == pick("rust code").body
        assert answer.logprobs is not None
        assert "".join(entry.token for entry in answer.logprobs) == answer.message.content
        assert answer.done_reason == "stop"

    with_client(scenario)


@pytest.mark.parametrize("parallel", [False, True])
def test_calls_are_made_and_the_turn_goes_on(with_client: With, parallel: bool) -> None:
    async def scenario(client: ollama.AsyncClient) -> None:
        messages: list[Any] = asked("weather in Oslo and Lima" if parallel else "weather in Oslo")
        stream = await client.chat("instant", messages, tools=[get_weather], stream=True)
        calls = [call async for part in stream for call in part.message.tool_calls or []]
        assert [call.function.name for call in calls] == ["get_weather"] * (1 + parallel)
        messages.append({"role": "assistant", "tool_calls": calls})
        told = [get_weather(**call.function.arguments) for call in calls]
        messages += [{"role": "tool", "tool_name": "get_weather", "content": text} for text in told]
        final = await client.chat("instant", messages, tools=[get_weather])
        assert all(text in (final.message.content or "") for text in told)

    with_client(scenario)


def test_structured_output_is_valid(with_client: With) -> None:
    async def scenario(client: ollama.AsyncClient) -> None:
        answer = await client.chat("instant", asked("a person"), format=Person.model_json_schema())
        assert Person.model_validate_json(answer.message.content or "")
        parts = [part async for part in await client.generate("instant", "a person", format="json", stream=True)]
        assert isinstance(json.loads("".join(part.response or "" for part in parts)), dict)

    with_client(scenario)


def test_generate_goes_on_from_a_context(with_client: With) -> None:
    async def scenario(client: ollama.AsyncClient) -> None:
        first = await client.generate("instant", "in Japanese", system="Be kind.", options={"num_predict": 4})
        assert (first.done_reason, first.eval_count) == ("length", 4)
        assert first.context is not None
        second = await client.generate("instant", "more", context=first.context)
        assert second.context is not None
        assert list(second.context[: len(first.context)]) == list(first.context)
        assert (await client.generate("instant")).done_reason == "load"

    with_client(scenario)


def test_models_are_listed_and_shown(with_client: With) -> None:
    async def scenario(client: ollama.AsyncClient) -> None:
        models = (await client.list()).models
        assert "instant:latest" in [entry.model for entry in models]
        shown = await client.show("instant")
        assert shown.capabilities is not None
        assert {"completion", "tools", "thinking"} <= set(shown.capabilities)

    with_client(scenario)


@pytest.mark.parametrize(
    ("model", "message", "status"),
    [
        ("nope", "model 'nope' not found", 404),
        ("fault-overloaded", "server busy", 503),
        ("fault-error-before", "terminated", 500),
        ("fault-error-mid-3", "terminated", -1),
        ("fault-error-last", "terminated", -1),
    ],
)
def test_errors_are_raised_before_and_in_the_stream(with_client: With, model: str, message: str, status: int) -> None:
    async def scenario(client: ollama.AsyncClient) -> None:
        with pytest.raises(ollama.ResponseError, match=message) as caught:
            [part async for part in await client.chat(model, asked("hi"), stream=True)]
        assert caught.value.status_code == status

    with_client(scenario)


def test_a_stream_without_its_last_line_is_not_noticed_by_the_client(with_client: With) -> None:
    async def scenario(client: ollama.AsyncClient) -> None:
        parts = [part async for part in await client.chat("fault-eof-3", asked("hello there you"), stream=True)]
        assert [part.done for part in parts] == [False] * 3

    with_client(scenario)
