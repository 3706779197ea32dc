"""The official client as judge: what it accepts, and the errors it raises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from tokenwire.simulator.texts import pick

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class Person(BaseModel):
    name: str
    age: int
    hobbies: list[str]


def asked(prompt: str) -> Any:
    return [{"role": "user", "content": prompt}]


@pytest.fixture
def with_client(play: Any) -> Callable[[Callable[[AsyncOpenAI], Awaitable[Any]]], Any]:
    """with_client(scenario): the coroutine function with a client of a fresh simulator."""

    def run(scenario: Callable[[AsyncOpenAI], Awaitable[Any]]) -> Any:
        async def inner(simulator: Any) -> Any:
            async with AsyncOpenAI(api_key="any", base_url=f"{simulator.url}/v1", max_retries=0) as client:
                return await scenario(client)

        return play(inner)

    return run


def test_text_streams(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(
            model="instant", messages=asked("in Japanese"), stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == pick("in Japanese").body
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == len(chunks) - 3

    with_client(scenario)


def test_a_whole_answer(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        answer = await client.chat.completions.create(
            model="instant", messages=asked("rust code"), n=2, logprobs=True, top_logprobs=3
        )
        assert [choice.message.content for choice in answer.choices] == [
            pick("rust code", variant=n).body for n in (0, 1)
        ]
        assert answer.choices[0].logprobs is not None
        assert answer.choices[0].logprobs.content is not None
        assert "".join(entry.token for entry in answer.choices[0].logprobs.content) == pick("rust code").body
        assert answer._request_id is not None
        assert answer._request_id.startswith("req_")

    with_client(scenario)


@pytest.mark.parametrize("parallel", [False, True])
def test_the_helper_folds_tool_calls_and_the_turn_goes_on(with_client: Any, parallel: bool) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        messages = asked("weather in Oslo and Lima" if parallel else "weather in Oslo")
        async with client.chat.completions.stream(model="instant", messages=messages, tools=[TOOL]) as stream:
            answer = await stream.get_final_completion()
        message = answer.choices[0].message
        assert message.tool_calls is not None
        cities = [json.loads(call.function.arguments)["city"] for call in message.tool_calls]
        assert cities == (["Oslo", "Lima"] if parallel else ["Oslo"])
        assert answer.choices[0].finish_reason == "tool_calls"
        messages.append(message.model_dump(exclude_none=True))
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": f"rain in {city}"}
            for call, city in zip(message.tool_calls, cities, strict=True)
        ]
        final = await client.chat.completions.create(model="instant", messages=messages, tools=[TOOL])
        assert all(f"rain in {city}" in (final.choices[0].message.content or "") for city in cities)

    with_client(scenario)


def test_structured_output_is_parsed(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        answer = await client.chat.completions.parse(
            model="instant", messages=asked("a person"), response_format=Person
        )
        assert isinstance(answer.choices[0].message.parsed, Person)
        async with client.chat.completions.stream(
            model="instant", messages=asked("a person"), response_format=Person
        ) as stream:
            streamed = await stream.get_final_completion()
        assert isinstance(streamed.choices[0].message.parsed, Person)

    with_client(scenario)


@pytest.mark.untraced
def test_alternatives_and_logprobs_are_folded(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        async with client.chat.completions.stream(
            model="instant", messages=asked("a table"), n=2, logprobs=True, top_logprobs=2
        ) as stream:
            answer = await stream.get_final_completion()
        assert [choice.message.content for choice in answer.choices] == [
            pick("a table", variant=n).body for n in (0, 1)
        ]

    with_client(scenario)


def test_a_limit_is_seen(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        answer = await client.chat.completions.create(model="instant", messages=asked("hi"), max_completion_tokens=3)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 3

    with_client(scenario)


def test_models_are_listed(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        assert "gpt-4o" in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("echo")).owned_by == "simulator"

    with_client(scenario)


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("nothing", openai.NotFoundError, "model_not_found"),
        ("fault-429", openai.RateLimitError, "rate_limit_exceeded"),
        ("fault-error-before", openai.InternalServerError, None),
        ("fault-overloaded", openai.InternalServerError, None),
        ("fault-error-before-401", openai.AuthenticationError, None),
        ("fault-nonsense", openai.BadRequestError, None),
        ("fault-early-leave", openai.APIConnectionError, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_typed(with_client: Any, model: str, error: Any, code: str | None, stream: bool) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        with pytest.raises(error) as caught:
            await client.chat.completions.create(model=model, messages=asked("hi"), stream=stream)
        assert getattr(caught.value, "code", None) == code

    with_client(scenario)


def test_the_client_retries_as_it_is_told(play: Any) -> None:
    async def scenario(simulator: Any) -> None:
        async with AsyncOpenAI(api_key="any", base_url=f"{simulator.url}/v1", max_retries=2) as client:
            with pytest.raises(openai.RateLimitError):
                await client.chat.completions.create(model="fault-429-1", messages=asked("hi"))
        assert simulator.stats.requests == 3

    play(scenario)


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("fault-error-mid-3", openai.APIError),
        ("fault-error-first", openai.APIError),
        ("fault-cut-3", openai.APIConnectionError),
        ("fault-reset-3", openai.APIConnectionError),
        ("fault-bad-chunk-3", openai.APIConnectionError),
        ("fault-malformed-3", json.JSONDecodeError),
    ],
)
def test_errors_in_the_stream_are_seen(with_client: Any, model: str, error: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(model=model, messages=asked("hi"), stream=True)
        with pytest.raises(error):
            async for _ in stream:
                pass

    with_client(scenario)


@pytest.mark.untraced
@pytest.mark.parametrize("model", ["fault-crlf", "fault-split", "fault-gzip", "fault-close-delimited", "fault-no-done"])
def test_harmless_faults_do_no_harm(with_client: Any, model: str) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(model=model, messages=asked("emoji"), stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == pick("emoji").body

    with_client(scenario)


def test_a_client_that_stops_is_counted(play: Any) -> None:
    async def scenario(simulator: Any) -> None:
        async with AsyncOpenAI(api_key="any", base_url=f"{simulator.url}/v1", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="instant",
                messages=asked("long"),
                stream=True,
                extra_headers={"X-Sim-Interval-Ms": "5", "X-Sim-Tokens": "10000"},
            )
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            await stream.close()
        while simulator.stats.active:
            await asyncio.sleep(0)
        assert simulator.stats.aborted == 1
        assert simulator.stats.tokens_after_leave <= simulator.stats.tokens < 10_000

    play(scenario)
