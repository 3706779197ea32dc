"""Google's own client as judge: what it accepts, and the errors it raises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import httpx2
import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from tokenwire.simulator.texts import pick

NO_LOOP = types.AutomaticFunctionCallingConfig(disable=True)
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="Weather in a city",
            parameters=types.Schema(
                type=types.Type.OBJECT,
                properties={"city": types.Schema(type=types.Type.STRING)},
                required=["city"],
            ),
        )
    ]
)
THINK = types.ThinkingConfig(include_thoughts=True)

#: What is asked for -> the configuration of a request.
CONFIGS: dict[str, Any] = {
    "text": {},
    "thinking": {"thinking_config": THINK},
    "tools": {"tools": [WEATHER], "automatic_function_calling": NO_LOOP, "thinking_config": THINK},
    "search": {"tools": [types.Tool(google_search=types.GoogleSearch())]},
    "candidates": {"candidate_count": 2, "max_output_tokens": 30, "stop_sequences": ["zzz"]},
}
PROMPT = "the latest weather in Oslo and Lima"


class Person(BaseModel):
    name: str
    age: int
    hobbies: list[str]


@pytest.fixture
def with_client(play: Any) -> Callable[[Callable[[Any], Awaitable[Any]]], Any]:
    """with_client(scenario): the coroutine function with the asynchronous client of a fresh simulator."""

    def run(scenario: Callable[[Any], Awaitable[Any]]) -> Any:
        async def inner(simulator: Any) -> Any:
            client = genai.Client(api_key="any", http_options=types.HttpOptions(base_url=simulator.url))
            try:
                return await scenario(client.aio)
            finally:
                await client.aio.aclose()
                client.close()

        return play(inner)

    return run


async def asked(client: Any, model: str, *, stream: bool) -> None:
    if stream:
        await streamed(client, model=model, contents="hi")
    else:
        await client.models.generate_content(model=model, contents="hi")


async def streamed(client: Any, **request: Any) -> list[Any]:
    return [chunk async for chunk in await client.models.generate_content_stream(**{"model": "instant", **request})]


def folded(chunks: list[Any]) -> list[Any]:
    """The parts of candidate 0, texts of a kind joined, without signatures."""
    found: list[Any] = []
    for chunk in chunks:
        candidate = next((each for each in chunk.candidates if not each.index), None)
        for part in (candidate and candidate.content and candidate.content.parts) or ():
            if part.text is None:
                found.append((part.function_call.name, part.function_call.args))
            elif found and isinstance(found[-1], list) and found[-1][0] == part.thought:
                found[-1][1] += part.text
            elif part.text:
                found.append([part.thought, part.text])
    return found


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_the_stream_and_the_whole_say_the_same(with_client: Any, name: str) -> None:
    async def scenario(client: Any) -> None:
        options = types.HttpOptions(headers={"x-sim-seed": "5"})
        config = types.GenerateContentConfig(**CONFIGS[name], http_options=options)
        chunks = await streamed(client, contents=PROMPT, config=config)
        whole = await client.models.generate_content(model="instant", contents=PROMPT, config=config)
        assert folded(chunks) == folded([whole])
        assert chunks[-1].usage_metadata.total_token_count == whole.usage_metadata.total_token_count
        ends = [each for chunk in chunks for each in chunk.candidates if each.finish_reason]
        assert [each.finish_reason for each in ends] == [each.finish_reason for each in whole.candidates]
        assert ends[0].grounding_metadata == whole.candidates[0].grounding_metadata
        assert (ends[0].grounding_metadata is not None) == (name == "search")

    with_client(scenario)


def test_text_streams(with_client: Any) -> None:
    async def scenario(client: Any) -> None:
        chunks = await streamed(client, contents="in Japanese")
        assert "".join(chunk.text for chunk in chunks) == pick("in Japanese").body
        assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP

    with_client(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_with_tools_and_thinking_goes_on(with_client: Any, stream: bool) -> None:
    async def scenario(client: Any) -> None:
        chat = client.chats.create(model="instant", config=types.GenerateContentConfig(**CONFIGS["tools"]))
        if stream:
            chunks = [chunk async for chunk in await chat.send_message_stream("weather in Oslo and Lima")]
            calls = [call for chunk in chunks for call in chunk.function_calls or ()]
        else:
            calls = (await chat.send_message("weather in Oslo and Lima")).function_calls
        assert [call.args for call in calls] == [{"city": "Oslo"}, {"city": "Lima"}]
        assert all(call.id for call in calls)
        results = [
            types.Part.from_function_response(name=call.name, response={"result": f"rain in {call.args['city']}"})
            for call in calls
        ]
        final = await chat.send_message(results)
        assert "rain in Oslo" in final.text
        assert "rain in Lima" in final.text
        assert (await chat.send_message("thanks")).text

    with_client(scenario)


def test_a_function_is_called_by_the_client_itself(with_client: Any) -> None:
    async def scenario(client: Any) -> None:
        cities = []

        def get_weather(city: str) -> str:
            """Weather in a city."""
            cities.append(city)
            return "hail"

        answer = await client.models.generate_content(
            model="instant", contents="weather in Oslo", config=types.GenerateContentConfig(tools=[get_weather])
        )
        assert cities == ["Oslo"]
        assert "hail" in answer.text

    with_client(scenario)


def test_structured_output_is_parsed(with_client: Any) -> None:
    async def scenario(client: Any) -> None:
        for schema in ({"response_schema": Person}, {"response_json_schema": Person.model_json_schema()}):
            config = types.GenerateContentConfig(response_mime_type="application/json", **schema)
            answer = await client.models.generate_content(model="instant", contents="a person", config=config)
            Person.model_validate_json(answer.text)
        assert answer.parsed["hobbies"] is not None

    with_client(scenario)


def test_what_is_out_of_the_ordinary_is_understood(with_client: Any) -> None:
    async def scenario(client: Any) -> None:
        found = {}
        for answer in ("blocked", "refusal", "malformed-call"):
            options = types.HttpOptions(headers={"x-sim-answer": answer})
            config = types.GenerateContentConfig(http_options=options)
            found[answer] = (await streamed(client, contents="hi", config=config))[-1]
        assert found["blocked"].prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
        assert found["refusal"].candidates[0].finish_reason == types.FinishReason.SAFETY
        assert found["refusal"].candidates[0].safety_ratings[0].blocked
        assert found["malformed-call"].candidates[0].finish_reason == types.FinishReason.MALFORMED_FUNCTION_CALL

    with_client(scenario)


def test_models_and_counting(with_client: Any) -> None:
    async def scenario(client: Any) -> None:
        pager = await client.models.list(config={"page_size": 20})
        names = [model.name async for model in pager]
        assert names[0] == "models/gemini-2.0-flash"
        assert len(names) == len(set(names)) > 40
        assert (await client.models.get(model="echo")).input_token_limit == 1_048_576
        assert (await client.models.count_tokens(model="instant", contents="one two")).total_tokens == 6

    with_client(scenario)


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("model", "error", "code", "status"),
    [
        ("nothing", errors.ClientError, 404, "NOT_FOUND"),
        ("fault-429", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("fault-error-before", errors.ServerError, 500, "INTERNAL"),
        ("fault-overloaded", errors.ServerError, 503, "UNAVAILABLE"),
        ("fault-error-before-401", errors.ClientError, 401, "UNAUTHENTICATED"),
        ("fault-edge", errors.ServerError, 502, "Bad Gateway"),
        ("fault-nonsense", errors.ClientError, 400, "INVALID_ARGUMENT"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_typed(with_client: Any, model: str, error: Any, code: int, status: str, stream: bool) -> None:
    async def scenario(client: Any) -> None:
        with pytest.raises(error) as caught:
            await asked(client, model, stream=stream)
        assert (caught.value.code, caught.value.status) == (code, status)

    with_client(scenario)


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("fault-error-mid-3", errors.ServerError, 500),
        ("fault-error-event-3", errors.ServerError, 500),
        ("fault-error-first", errors.ServerError, 500),
        ("fault-error-last", errors.ServerError, 500),
        ("fault-overloaded-mid-3", errors.ServerError, 503),
        ("fault-limited-mid-3", errors.ClientError, 429),
        ("fault-id-lines", errors.UnknownApiResponseError, None),
        ("fault-no-space", errors.UnknownApiResponseError, None),
        ("fault-malformed-3", errors.UnknownApiResponseError, None),
    ],
)
def test_errors_in_the_stream_are_seen(with_client: Any, model: str, error: Any, code: int | None) -> None:
    async def scenario(client: Any) -> None:
        with pytest.raises(error) as caught:
            await streamed(client, model=model, contents="hi")
        assert getattr(caught.value, "code", None) == code

    with_client(scenario)


@pytest.mark.parametrize("model", ["fault-cut-3", "fault-reset-3", "fault-bad-chunk-3"])
def test_a_connection_that_breaks_is_seen(with_client: Any, model: str) -> None:
    async def scenario(client: Any) -> None:
        with pytest.raises((httpx.TransportError, httpx2.TransportError)):
            await streamed(client, model=model, contents="hi")

    with_client(scenario)


@pytest.mark.untraced
@pytest.mark.parametrize(
    "model",
    ["fault-crlf", "fault-cr", "fault-split", "fault-gzip", "fault-deflate", "fault-close-delimited", "fault-pings",
     "fault-done-bare", "fault-no-done", "fault-close-after", "fault-slow-headers"],
)  # fmt: skip
def test_harmless_faults_do_no_harm(with_client: Any, model: str) -> None:
    async def scenario(client: Any) -> None:
        chunks = await streamed(client, model=model, contents="emoji")
        assert "".join(chunk.text or "" for chunk in chunks if chunk.candidates) == pick("emoji").body

    with_client(scenario)


def test_the_client_tries_again_if_it_may(play: Any) -> None:
    async def scenario(simulator: Any) -> None:
        retry = types.HttpRetryOptions(attempts=3, initial_delay=0.001, max_delay=0.002)
        options = types.HttpOptions(base_url=simulator.url, retry_options=retry)
        client = genai.Client(api_key="any", http_options=options)
        answer = await client.aio.models.generate_content(model="fault-flaky-2", contents="hi")
        assert answer.text
        assert simulator.stats.requests == 3
        await client.aio.aclose()
        client.close()

    play(scenario)


def test_a_client_that_stops_is_counted(play: Any) -> None:
    async def scenario(simulator: Any) -> None:
        client = genai.Client(api_key="any", http_options=types.HttpOptions(base_url=simulator.url))
        slow = types.HttpOptions(headers={"X-Sim-Interval-Ms": "5", "X-Sim-Tokens": "10000"})
        config = types.GenerateContentConfig(http_options=slow)
        stream: Any = await client.aio.models.generate_content_stream(model="instant", contents="hi", config=config)
        assert json.loads((await anext(stream)).model_dump_json())["candidates"]
        await stream.aclose()
        await client.aio.aclose()
        client.close()
        while simulator.stats.active:
            await asyncio.sleep(0)
        assert simulator.stats.aborted == 1
        assert simulator.stats.tokens < 10_000

    play(scenario)
