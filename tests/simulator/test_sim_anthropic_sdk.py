"""The official client as judge: what it accepts, raw and by its helper, and the errors it raises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter

from tokenwire.simulator.texts import pick

TOOL: Any = {
    "name": "get_weather",
    "description": "Weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search"}
DOCUMENT: Any = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "Sparrows eat seeds. Cats sleep."},
    "citations": {"enabled": True},
}
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)

#: What may be asked, by what comes of it.
REQUESTS: dict[str, dict[str, Any]] = {
    "text": {"prompt": "in Japanese"},
    "tools": {"prompt": "weather in Oslo and Lima", "tools": [TOOL]},
    "thinking": {"prompt": "why", "thinking": {"type": "enabled", "budget_tokens": 1024}},
    "hidden": {"prompt": "why", "thinking": {"type": "adaptive", "display": "omitted"}},
    "redacted": {"prompt": "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING", "thinking": {"type": "adaptive"}},
    "citations": {"prompt": [DOCUMENT, {"type": "text", "text": "What do sparrows eat?"}]},
    "search": {"prompt": "search the news about Oslo", "tools": [SEARCH]},
    "refusal": {"prompt": "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL"},
    "cut": {"prompt": "weather in Oslo", "tools": [TOOL], "max_tokens": 8},
    "stopped": {"prompt": "hello", "stop_sequences": ["you"]},
}


def request(name: str) -> dict[str, Any]:
    fields = {"model": "instant", "max_tokens": 4096, **REQUESTS[name]}
    fields["messages"] = [{"role": "user", "content": fields.pop("prompt")}]
    return fields


class Person(BaseModel):
    name: str
    age: int
    hobbies: list[str]


@pytest.fixture
def with_client(play: Any) -> Callable[[Callable[[AsyncAnthropic], Awaitable[Any]]], Any]:
    """with_client(scenario): the coroutine function with a client of a fresh simulator."""

    def run(scenario: Callable[[AsyncAnthropic], Awaitable[Any]]) -> Any:
        async def inner(simulator: Any) -> Any:
            async with AsyncAnthropic(api_key="any", base_url=simulator.url, max_retries=0) as client:
                return await scenario(client)

        return play(inner)

    return run


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_every_event_and_the_whole_object_are_what_the_models_say(with_client: Any, name: str) -> None:
    async def scenario(client: AsyncAnthropic) -> None:
        raw = await client.messages.with_raw_response.create(**{**request(name), "stream": True})
        body = (await raw.http_response.aread()).decode()
        datas = [json.loads(line[6:]) for line in body.split("\n") if line.startswith("data: ")]
        assert all(EVENT.validate_python(data) for data in datas if data["type"] != "ping")
        whole = await client.messages.with_raw_response.create(**request(name))
        Message.model_validate_json(whole.http_response.text)

    with_client(scenario)


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_the_helper_folds_the_stream_to_the_whole_object(with_client: Any, name: str) -> None:
    async def scenario(client: AsyncAnthropic) -> None:
        seed = {"x-sim-seed": "5"}
        whole = await client.messages.create(**request(name), extra_headers=seed)
        async with client.messages.stream(**request(name), extra_headers=seed) as stream:
            folded = await stream.get_final_message()
        assert [block.model_dump(exclude={"parsed_output"}) for block in folded.content] == [
            block.model_dump() for block in whole.content
        ]
        assert folded.stop_reason == whole.stop_reason
        assert folded.usage.model_dump() == whole.usage.model_dump()
        assert folded.id == whole.id

    with_client(scenario)


def test_text_streams(with_client: Any) -> None:
    async def scenario(client: AsyncAnthropic) -> None:
        async with client.messages.stream(**request("text")) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            assert text == pick("in Japanese").body
            assert stream.request_id is not None
            assert stream.request_id.startswith("req_011C")

    with_client(scenario)


def test_a_conversation_with_tools_and_thinking_goes_on(with_client: Any) -> None:
    async def scenario(client: AsyncAnthropic) -> None:
        fields = {**request("tools"), "thinking": {"type": "enabled", "budget_tokens": 1024}}
        async with client.messages.stream(**fields) as stream:
            answer = await stream.get_final_message()
        calls = [block for block in answer.content if block.type == "tool_use"]
        assert [call.input for call in calls] == [{"city": "Oslo"}, {"city": "Lima"}]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": f"rain, {call.input}"} for call in calls]
        fields["messages"] = [
            *fields["messages"],
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": results},
        ]
        final = await client.messages.create(**fields)
        assert final.content[-1].type == "text"
        assert all(str(result["content"]) in final.content[-1].text for result in results)

    with_client(scenario)


def test_structured_output_is_parsed(with_client: Any) -> None:
    async def scenario(client: AsyncAnthropic) -> None:
        answer = await client.messages.parse(
            model="instant", max_tokens=900, messages=[{"role": "user", "content": "a person"}], output_format=Person
        )
        assert isinstance(answer.parsed_output, Person)

    with_client(scenario)


def test_models_and_counting(with_client: Any) -> None:
    async def scenario(client: AsyncAnthropic) -> None:
        ids = [model.id async for model in client.models.list(limit=7)]
        assert ids[0].startswith("claude-")
        assert len(ids) == len(set(ids)) > 40
        assert (await client.models.retrieve("echo")).type == "model"
        counted = await client.messages.count_tokens(
            model="instant", messages=[{"role": "user", "content": "one two"}], tools=[TOOL]
        )
        assert counted.input_tokens > 9

    with_client(scenario)


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("model", "error", "kind"),
    [
        ("nothing", anthropic.NotFoundError, "not_found_error"),
        ("fault-429", anthropic.RateLimitError, "rate_limit_error"),
        ("fault-error-before", anthropic.InternalServerError, "api_error"),
        ("fault-overloaded", anthropic.InternalServerError, "overloaded_error"),
        ("fault-error-before-401", anthropic.AuthenticationError, "authentication_error"),
        ("fault-error-before-403", anthropic.PermissionDeniedError, "permission_error"),
        ("fault-error-before-413", anthropic.RequestTooLargeError, "request_too_large"),
        ("fault-edge", anthropic.InternalServerError, None),
        ("fault-nonsense", anthropic.BadRequestError, "invalid_request_error"),
        ("fault-early-leave", anthropic.APIConnectionError, None),
        ("fault-reset-head", anthropic.APIConnectionError, None),
        ("fault-garbage", anthropic.APIConnectionError, None),
        ("fault-cut-head", anthropic.APIConnectionError, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_typed(with_client: Any, model: str, error: Any, kind: str | None, stream: bool) -> None:
    async def scenario(client: AsyncAnthropic) -> None:
        with pytest.raises(error) as caught:
            await client.messages.create(**{**request("text"), "model": model}, stream=stream)
        assert getattr(caught.value, "type", None) == kind

    with_client(scenario)


@pytest.mark.parametrize(
    ("model", "error", "kind"),
    [
        ("fault-error-mid-3", anthropic.APIStatusError, "api_error"),
        ("fault-error-first", anthropic.APIStatusError, "api_error"),
        ("fault-error-last", anthropic.APIStatusError, "api_error"),
        ("fault-overloaded-first", anthropic.APIStatusError, "overloaded_error"),
        ("fault-overloaded-mid-3", anthropic.APIStatusError, "overloaded_error"),
        ("fault-limited-mid-3", anthropic.APIStatusError, "rate_limit_error"),
        ("fault-cut-3", httpx2.TransportError, None),
        ("fault-reset-3", httpx2.TransportError, None),
        ("fault-bad-chunk-3", httpx2.TransportError, None),
        ("fault-malformed-3", json.JSONDecodeError, None),
    ],
)
def test_errors_in_the_stream_are_seen(with_client: Any, model: str, error: Any, kind: str | None) -> None:
    async def scenario(client: AsyncAnthropic) -> None:
        stream = await client.messages.create(**{**request("text"), "model": model}, stream=True)
        with pytest.raises(error) as caught:
            async for _ in stream:
                pass
        assert getattr(caught.value, "type", None) == kind

    with_client(scenario)


@pytest.mark.untraced
@pytest.mark.parametrize(
    "model",
    ["fault-crlf", "fault-cr", "fault-split", "fault-gzip", "fault-deflate", "fault-close-delimited", "fault-no-space",
     "fault-id-lines", "fault-pings", "fault-no-done", "fault-close-after", "fault-slow-headers"],
)  # fmt: skip
def test_harmless_faults_do_no_harm(with_client: Any, model: str) -> None:
    async def scenario(client: AsyncAnthropic) -> None:
        fields = {**request("text"), "model": model, "messages": [{"role": "user", "content": "emoji"}]}
        async with client.messages.stream(**fields) as stream:
            assert "".join([piece async for piece in stream.text_stream]) == pick("emoji").body

    with_client(scenario)


@pytest.mark.parametrize(
    "model", ["fault-429-1-x2", "fault-early-leave-x2", "fault-reset-head-x1", "fault-edge-503-x2"]
)
def test_the_client_tries_again_and_gets_its_answer(play: Any, model: str) -> None:
    async def scenario(simulator: Any) -> None:
        async with AsyncAnthropic(api_key="any", base_url=simulator.url, max_retries=2) as client:
            client._calculate_retry_timeout = lambda *args, **more: 0.0  # type: ignore[method-assign]
            answer = await client.messages.create(**{**request("text"), "model": model})
        assert answer.content[0].type == "text"
        assert simulator.stats.requests == 1 + int(model[-1])

    play(scenario)


def test_a_client_that_stops_is_counted(play: Any) -> None:
    async def scenario(simulator: Any) -> None:
        async with AsyncAnthropic(api_key="any", base_url=simulator.url, max_retries=0) as client:
            slow = {"X-Sim-Interval-Ms": "5", "X-Sim-Tokens": "10000"}
            fields = {**request("text"), "max_tokens": 20_000, "stream": True}
            stream = await client.messages.create(**fields, extra_headers=slow, timeout=60)
            async for event in stream:
                if event.type == "content_block_delta":
                    break
            await stream.close()
        while simulator.stats.active:
            await asyncio.sleep(0)
        assert simulator.stats.aborted == 1
        assert simulator.stats.tokens_after_leave <= simulator.stats.tokens < 10_000

    play(scenario)
