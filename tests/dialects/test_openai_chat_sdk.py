"""OpenAI's own Python SDK reads what our encoder writes: its raw stream, its accumulating helper, its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest

from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Logprobs,
    Opaque,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)  # fmt: skip
from tokenwire.dialects.openai_chat.dialect import DIALECT, Encoder, fold_response
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
Client = Callable[..., openai.OpenAI]


@pytest.fixture
def client() -> Iterator[Client]:
    """A client whose network is a function: every request is answered with *body*."""
    made: list[openai.OpenAI] = []

    def make(body: bytes, status: int = 200, content_type: str = "text/event-stream") -> openai.OpenAI:
        def answer(request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(status, content=body, headers={"content-type": content_type})

        transport = httpx2.Client(transport=httpx2.MockTransport(answer))
        made.append(openai.OpenAI(api_key="k", base_url="http://relay.test/v1", http_client=transport, max_retries=0))
        return made[-1]

    yield make
    for one in made:
        one.close()


def everything() -> list[Delta]:
    return [
        ReasoningDelta("Let me"), ReasoningDelta(" see"), ReasoningSignature("S1"), ReasoningSignature("S2"),
        TextDelta("Hello", block=1), TextDelta(" wörld\n", block=1),
        Logprobs([{"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}]),
        Logprobs([{"token": "b", "logprob": -0.25, "bytes": None, "top_logprobs": []}]),
        ToolCallStarted("call_a", "f", block=2), ToolCallStarted("call_b", "g", block=3),
        ToolCallDelta('{"x":', block=2), ToolCallDelta('{"y":2}', block=3), ToolCallDelta("1}", block=2),
        Citation({"url": "https://a.example"}), Citation({"url": "https://b.example"}),
        Opaque("openai.chat", {"choices": [{"index": 0, "delta": {}, "content_filter_offsets": {"start_offset": 1}}]}),
        ToolCallEnded(block=2), ToolCallEnded(block=3), Finished("tool_use"),
        Usage(10, 20, cached_input=3, reasoning=4),
    ]  # fmt: skip


def raw_stream(client: openai.OpenAI) -> list[Any]:
    return list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))


@pytest.mark.parametrize("late", [False, True], ids=["live", "prefix"])
def test_the_raw_stream(client: Client, write: Callable[..., bytes], late: bool) -> None:
    deltas = everything()
    encoder, first = DIALECT.encoder("st_1", 1.0, "m"), b""
    if late:
        fold = Transcript()
        for delta in deltas[:-2]:
            fold.apply(delta)
        first = b"".join(sse.encode(frame.data) for frame in encoder.prefix(fold))
        deltas = deltas[-2:]
    chunks = raw_stream(client(first + write(encoder, deltas)))
    assert {chunk.id for chunk in chunks} == {"chatcmpl-1"}
    said = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert said[0].delta.role == "assistant"
    assert [choice.delta.role for choice in said[1:]] == [None] * (len(said) - 1)
    assert "".join(choice.delta.content or "" for choice in said) == "Hello wörld\n"
    assert "".join(getattr(choice.delta, "reasoning_content", None) or "" for choice in said) == "Let me see"
    calls: dict[int, str] = {}
    for choice in said:
        for call in choice.delta.tool_calls or ():
            calls[call.index] = calls.get(call.index, "") + (call.function.arguments or "")
    assert calls == {0: '{"x":1}', 1: '{"y":2}'}
    assert [choice.finish_reason for choice in said if choice.finish_reason] == ["tool_calls"]
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 30)


@pytest.mark.parametrize("late", [False, True], ids=["live", "prefix"])
def test_the_accumulating_helper(client: Client, write: Callable[..., bytes], late: bool) -> None:
    deltas = everything()
    encoder, first = DIALECT.encoder("st_1", 1.0, "m"), b""
    if late:
        fold = Transcript()
        for delta in deltas[:10]:
            fold.apply(delta)
        first = b"".join(sse.encode(frame.data) for frame in encoder.prefix(fold))
        deltas = deltas[10:]
    with client(first + write(encoder, deltas)).chat.completions.stream(model="m", messages=MESSAGES) as stream:
        events = list(stream)
        completion = stream.get_final_completion()
    message: Any = completion.choices[0].message
    assert message.role == "assistant"
    assert message.content == "Hello wörld\n"
    assert message.reasoning_content == "Let me see"
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("call_a", "f", '{"x":1}'), ("call_b", "g", '{"y":2}'),
    ]  # fmt: skip
    assert [detail["signature"] for detail in message.reasoning_details] == ["S1", "S2"]
    assert len(message.annotations) == 2
    assert [entry.token for entry in completion.choices[0].logprobs.content] == ["a", "b"]  # type: ignore[union-attr]
    assert completion.choices[0].finish_reason == "tool_calls"
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 10
    assert {event.type for event in events} >= {"chunk", "content.delta", "tool_calls.function.arguments.done"}


def test_several_choices_and_a_refusal(client: Client, write: Callable[..., bytes]) -> None:
    deltas = [TextDelta("a", 1), RefusalDelta("No."), Finished("stop", None, 1), Finished("refusal")]
    with client(write(Encoder("st_1", 1.0, "m"), deltas)).chat.completions.stream(
        model="m", messages=MESSAGES
    ) as stream:
        completion = stream.get_final_completion()
    by_index = {choice.index: choice for choice in completion.choices}
    assert (by_index[0].message.refusal, by_index[1].message.content) == ("No.", "a")


def test_a_failure_is_raised(client: Client, write: Callable[..., bytes]) -> None:
    body = write(Encoder("st_1", 1.0, "m"), [TextDelta("a"), Failed("overloaded", "too much", True, 503)])
    with pytest.raises(openai.APIError, match="too much") as caught:
        raw_stream(client(body))
    assert (caught.value.code, caught.value.type) == ("overloaded", "server_error")


def test_heartbeats_are_not_seen(client: Client, write: Callable[..., bytes]) -> None:
    body = write(Encoder("st_1", 1.0, "m"), [TextDelta("a"), Finished("stop")])
    beating = body.replace(b"\n\n", b"\n\n" + DIALECT.heartbeat)
    assert len(raw_stream(client(DIALECT.heartbeat + beating))) == len(raw_stream(client(body))) == 3


def test_an_answer_that_is_not_streamed(client: Client) -> None:
    fold = Transcript()
    for delta in everything():
        fold.apply(delta)
    sdk = client(fold_response(fold, "st_1", 1.0, "m"), content_type="application/json")
    completion = sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert completion.choices[0].message.content == "Hello wörld\n"
    assert [call.id for call in completion.choices[0].message.tool_calls or ()] == ["call_a", "call_b"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError), (401, openai.AuthenticationError), (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError), (429, openai.RateLimitError), (503, openai.InternalServerError),
    ],
)  # fmt: skip
def test_error_bodies_become_the_sdks_errors(client: Client, status: int, error: type[openai.APIStatusError]) -> None:
    body = DIALECT.error_body(Failed("the_code", "the message"), status)
    with pytest.raises(error, match="the message") as caught:
        raw_stream(client(body, status, "application/json"))
    assert caught.value.code == "the_code"
