"""The official client's Responses as judge: what it accepts, and the errors it raises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from tokenwire.simulator.texts import pick

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
SEALED: Any = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"], "store": False}

#: What is asked for -> the fields of a request.
REQUESTS: dict[str, dict[str, Any]] = {
    "text": {"input": "in Japanese"},
    "tools": {"input": "weather in Oslo and Lima", "tools": [TOOL]},
    "reasoning": {"input": "why", **SEALED},
    "search": {"input": "search the news about Oslo", "tools": [{"type": "web_search"}]},
    "logprobs": {"input": "hi", "include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "refusal": {"input": "hi", "metadata": {"x-sim-answer": "refusal"}},
    "background": {"input": "hi", "background": True},
}


class Person(BaseModel):
    name: str
    age: int
    hobbies: list[str]


def request(name: str, **more: Any) -> Any:
    return {"model": "instant", **REQUESTS[name], **more}


async def read(stream: Any, seen: list[Any]) -> None:
    while True:
        seen.append(await anext(stream))


@pytest.fixture
def with_client(play: Any) -> Callable[[Callable[[AsyncOpenAI], Awaitable[Any]]], Any]:
    """with_client(scenario): the coroutine function with a client of a fresh simulator."""

    def run(scenario: Callable[[AsyncOpenAI], Awaitable[Any]]) -> Any:
        async def inner(simulator: Any) -> Any:
            async with AsyncOpenAI(api_key="any", base_url=f"{simulator.url}/v1", max_retries=0) as client:
                return await scenario(client)

        return play(inner)

    return run


@pytest.mark.untraced
@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_every_event_and_the_whole_object_are_what_the_models_say(with_client: Any, name: str) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        raw = await client.responses.with_raw_response.create(**request(name, stream=True))
        body = (await raw.http_response.aread()).decode()
        datas = [json.loads(line[6:]) for line in body.split("\n") if line.startswith("data: ")]
        for data in datas:
            if data.get("item", {}).get("status") != "in_progress" or name != "search":  # recorded ones lack `action`
                EVENT.validate_python(data)
        whole = await client.responses.with_raw_response.create(**request(name))
        Response.model_validate_json(whole.http_response.text)

    with_client(scenario)


@pytest.mark.untraced
@pytest.mark.parametrize("name", sorted(REQUESTS.keys() - {"background"}))
def test_the_helper_folds_the_stream_to_the_whole_object(with_client: Any, name: str) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        seed = {"x-sim-seed": "5"}
        whole = await client.responses.create(**request(name), extra_headers=seed)
        async with client.responses.stream(**request(name), extra_headers=seed) as stream:
            deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            folded = await stream.get_final_response()
        extra: Any = {"output": {"__all__": {"parsed_arguments": True, "content": {"__all__": {"parsed": True}}}}}
        assert json.loads(folded.model_dump_json(exclude=extra, warnings=False)) == json.loads(whole.model_dump_json())
        assert "".join(deltas) == whole.output_text

    with_client(scenario)


def test_a_conversation_with_tools_and_sealed_reasoning_goes_on(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        fields = request("tools", **SEALED)
        async with client.responses.stream(**fields) as stream:
            answer = await stream.get_final_response()
        reasoning, *calls = answer.output
        assert reasoning.type == "reasoning"
        cities = [json.loads(call.arguments)["city"] for call in calls if call.type == "function_call"]
        assert cities == ["Oslo", "Lima"]
        output = [item.model_dump(exclude={"parsed_arguments"}, exclude_none=True) for item in answer.output]
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": f"rain in {city}"}
            for call, city in zip(calls, cities, strict=True)
            if call.type == "function_call"
        ]
        given = [{"role": "user", "content": fields["input"]}, *output, *results]
        final = await client.responses.create(**{**fields, "input": given})
        assert all(f"rain in {city}" in final.output_text for city in cities)

    with_client(scenario)


def test_a_conversation_goes_on_by_id(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        first = await client.responses.create(**request("text"))
        second = await client.responses.create(model="echo", input="and now", previous_response_id=first.id)
        assert second.output_text == "and now"
        assert second.usage is not None
        assert first.usage is not None
        assert second.usage.input_tokens > first.usage.output_tokens

    with_client(scenario)


def test_structured_output_is_parsed(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        answer = await client.responses.parse(model="instant", input="a person", text_format=Person)
        assert isinstance(answer.output_parsed, Person)
        async with client.responses.stream(model="instant", input="a person", text_format=Person) as stream:
            assert isinstance((await stream.get_final_response()).output_parsed, Person)

    with_client(scenario)


def test_a_limit_is_seen(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        answer = await client.responses.create(**request("text", max_output_tokens=16))
        assert answer.status == "incomplete"
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == "max_output_tokens"
        events = [event async for event in await client.responses.create(
            **request("text", max_output_tokens=16, stream=True))]  # fmt: skip
        assert events[-1].type == "response.incomplete"

    with_client(scenario)


def test_a_stream_in_the_background_is_taken_up_again(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        seen: list[Any] = []
        cut = {"x-sim-fault": "cut-7"}
        stream: Any = await client.responses.create(**request("background", stream=True), extra_headers=cut)
        with pytest.raises(openai.APIConnectionError):
            await read(stream, seen)
        name = seen[0].response.id
        rest = await client.responses.retrieve(name, stream=True, starting_after=seen[-1].sequence_number)
        seen += [event async for event in rest]
        assert [event.sequence_number for event in seen] == list(range(len(seen)))
        assert "".join(each.delta for each in seen if each.type == "response.output_text.delta") == pick("hi").body
        whole = await client.responses.retrieve(name)
        assert whole.status == "completed"
        assert whole == seen[-1].response
        async with client.responses.stream(response_id=name, starting_after=20) as helper:
            assert (await helper.get_final_response()).output_text == pick("hi").body

    with_client(scenario)


def test_a_response_in_the_background_is_cancelled_and_deleted(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        slow = {"x-sim-interval-ms": "50"}
        opened = await client.responses.create(**request("background"), extra_headers=slow)
        assert opened.status == "queued"
        assert (await client.responses.cancel(opened.id)).status == "cancelled"
        assert (await client.responses.retrieve(opened.id)).status == "cancelled"
        await client.responses.delete(opened.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(opened.id)

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
            await client.responses.create(model=model, input="hi", stream=stream)
        assert getattr(caught.value, "code", None) == code

    with_client(scenario)


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("fault-error-mid-3", openai.APIError, "server_error"),
        ("fault-error-first", openai.APIError, "server_error"),
        ("fault-overloaded-mid-3", openai.APIError, "server_is_overloaded"),
        ("fault-limited-mid-3", openai.APIError, "rate_limit_exceeded"),
        ("fault-cut-3", openai.APIConnectionError, None),
        ("fault-reset-3", openai.APIConnectionError, None),
        ("fault-bad-chunk-3", openai.APIConnectionError, None),
        ("fault-malformed-3", json.JSONDecodeError, None),
    ],
)
def test_errors_in_the_stream_are_seen(with_client: Any, model: str, error: Any, code: str | None) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        stream = await client.responses.create(model=model, input="hi", stream=True)
        with pytest.raises(error) as caught:
            async for _ in stream:
                pass
        assert getattr(caught.value, "code", None) == code

    with_client(scenario)


def test_a_flat_error_is_an_event_like_any_other(with_client: Any) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        stream = await client.responses.create(model="fault-error-event-3", input="hi", stream=True)
        *_, last = [event async for event in stream]
        assert last.type == "error"
        assert last.code == "server_error"

    with_client(scenario)


@pytest.mark.untraced
@pytest.mark.parametrize(
    "model",
    ["fault-crlf", "fault-cr", "fault-split", "fault-gzip", "fault-deflate", "fault-close-delimited", "fault-no-space",
     "fault-no-event", "fault-pings", "fault-close-after", "fault-slow-headers"],
)  # fmt: skip
def test_harmless_faults_do_no_harm(with_client: Any, model: str) -> None:
    async def scenario(client: AsyncOpenAI) -> None:
        async with client.responses.stream(model=model, input="emoji") as stream:
            assert (await stream.get_final_response()).output_text == pick("emoji").body

    with_client(scenario)


def test_a_client_that_stops_is_counted(play: Any) -> None:
    async def scenario(simulator: Any) -> None:
        async with AsyncOpenAI(api_key="any", base_url=f"{simulator.url}/v1", max_retries=0) as client:
            slow = {"X-Sim-Interval-Ms": "5", "X-Sim-Tokens": "10000"}
            stream = await client.responses.create(**request("text", stream=True), extra_headers=slow, timeout=60)
            async for event in stream:
                if event.type == "response.output_text.delta":
                    break
            await stream.close()
        while simulator.stats.active:
            await asyncio.sleep(0)
        assert simulator.stats.aborted == 1
        assert simulator.stats.tokens < 10_000

    play(scenario)
