"""OpenAI's own Python SDK reads what our encoder writes: its raw stream, its accumulating helper, its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest

from tokenwire.dialects.base import encode_frames
from tokenwire.dialects.deltas import (
    Citation,
    Delta,
    Failed,
    Finished,
    Logprobs,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.openai_responses.dialect import DIALECT, Encoder, fold_response
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Client = Callable[..., openai.OpenAI]
Fold = Callable[[list[Delta]], Transcript]
Write = Callable[..., bytes]


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
        ReasoningDelta("Let me"), ReasoningDelta(" see"), ReasoningSignature("S1", dialect="openai.responses"),
        TextDelta("Hello", block=1), Citation({"url": "https://a.example", "title": "A"}, block=1),
        Logprobs([{"token": "Hello", "logprob": -0.5, "bytes": [72], "top_logprobs": []}]),
        TextDelta(" wörld\n", block=1),
        Logprobs([{"token": " wörld\n", "logprob": -0.25, "bytes": None, "top_logprobs": []}]),
        ToolCallStarted("call_a", "f", block=2), ToolCallStarted("call_b", "g", block=3),
        ToolCallDelta('{"x":', block=2), ToolCallDelta('{"y":2}', block=3), ToolCallDelta("1}", block=2),
        ToolCallEnded(block=3), ToolCallEnded(block=2), ToolCallStarted("call_c", "h", block=4), ToolCallEnded(block=4),
        TextDelta("Bye.", block=5), Citation({"url": "https://b.example"}, block=1),
        Finished("tool_use"), Usage(10, 20, cached_input=3, reasoning=4),
    ]  # fmt: skip


def raw_stream(client: openai.OpenAI) -> list[Any]:
    return list(client.responses.create(model="m", input="Hi", stream=True))


def accumulated(client: openai.OpenAI) -> tuple[list[Any], Any]:
    with client.responses.stream(model="m", input="Hi") as stream:
        events = list(stream)
        return events, stream.get_final_response()


def joined(at: int, fold: Fold, write: Write) -> bytes:
    """What a reader gets who joins after the first *at* deltas."""
    deltas = everything()
    live = DIALECT.encoder("st_1", 1.0, "m")
    for delta in deltas[:at]:
        live.feed(delta)
    prefix = DIALECT.encoder("st_1", 1.0, "m").prefix(fold(deltas[:at]))
    return encode_frames(prefix) + write(live, deltas[at:])


@pytest.mark.untraced
@pytest.mark.parametrize("at", range(len(everything()) + 1))
def test_the_helper_accumulates_the_same_from_wherever_it_joins(
    client: Client, fold: Fold, write: Write, at: int
) -> None:
    wire = joined(at, fold, write)
    events, response = accumulated(client(wire))
    assert (response.id, response.model, response.status, response.object) == ("resp_1", "m", "completed", "response")
    kinds = [item.type for item in response.output]
    assert kinds == ["reasoning", "message", "function_call", "function_call", "function_call", "message"]
    assert response.output_text == "Hello wörld\nBye."
    assert response.output[0].summary[0].text == "Let me see"
    assert response.output[0].encrypted_content == "S1"
    calls = [(item.call_id, item.name, item.arguments) for item in response.output[2:5]]
    assert calls == [("call_a", "f", '{"x":1}'), ("call_b", "g", '{"y":2}'), ("call_c", "h", "{}")]
    part = response.output[1].content[0]
    assert [note.url for note in part.annotations] == ["https://a.example", "https://b.example"]
    assert [entry.token for entry in part.logprobs] == ["Hello", " wörld\n"]
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (10, 20, 30)
    assert response.usage.input_tokens_details.cached_tokens == 3
    texts = {
        event.output_index: event.snapshot for event in events if event.type == "response.output_text.delta"
    }  # what the helper has put together itself
    assert texts == {1: "Hello wörld\n", 5: "Bye."}
    arguments = {
        event.output_index: event.snapshot for event in events if event.type == "response.function_call_arguments.delta"
    }
    assert arguments == {2: '{"x":1}', 3: '{"y":2}', 4: "{}"}


@pytest.mark.untraced
@pytest.mark.parametrize("case", [
    "parallel-tool-calls", "reasoning-summary", "reasoning-text", "refusal", "structured-json", "text", "tool-call",
    "usage", "web-search-citation",
])  # fmt: skip
def test_the_helper_reads_condensed_recordings_from_wherever_it_joins(
    client: Client, body: Callable[[str], bytes], case: str
) -> None:
    assert DIALECT.condense is not None
    wire = body(f"openai-responses/{case}.sse")
    _, wanted = accumulated(client(wire))
    frames = [frame + b"\n\n" for frame in wire.split(b"\n\n")[:-1]]
    for at in range(1, len(frames) + 1):
        _, got = accumulated(client(encode_frames(DIALECT.condense(frames[:at])) + b"".join(frames[at:])))
        assert got == wanted


def test_the_raw_stream(client: Client, write: Write) -> None:
    events = raw_stream(client(write(Encoder("st_1", 1.0, "m"), everything())))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:3]] == [
        "response.created", "response.in_progress", "response.output_item.added"
    ]  # fmt: skip
    assert [type(event).__name__ for event in events if event.type == "response.function_call_arguments.done"] == [
        "ResponseFunctionCallArgumentsDoneEvent"
    ] * 3
    assert all(event.name for event in events if event.type == "response.function_call_arguments.done")


def test_a_failure_is_raised(client: Client, write: Write) -> None:
    body = write(Encoder("st_1", 1.0, "m"), [TextDelta("a"), Failed("overloaded", "too much", True, 503)])
    with pytest.raises(openai.APIError, match="too much") as caught:
        raw_stream(client(body))
    assert (caught.value.code, caught.value.type) == ("overloaded", "server_error")
    with pytest.raises(openai.APIError, match="too much"):
        accumulated(client(body))


@pytest.mark.parametrize(("reason", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_cut_short_is_incomplete(client: Client, write: Write, reason: Any, why: str) -> None:
    deltas: list[Delta] = [TextDelta("a"), ToolCallStarted("c", "f", block=1), ToolCallDelta('{"a":', block=1)]
    events = raw_stream(client(write(Encoder("st_1", 1.0, "m"), [*deltas, Finished(reason)])))
    last = events[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")
    assert last.response.incomplete_details.reason == why
    assert [item.status for item in last.response.output] == ["completed", "incomplete"]
    assert not [event for event in events if event.type == "response.function_call_arguments.done"]
    done = [event.item.type for event in events if event.type == "response.output_item.done"]
    assert done == ["message"]


def test_a_refusal(client: Client, write: Write) -> None:
    deltas: list[Delta] = [TextDelta("Well.", 1), RefusalDelta("No", block=0), RefusalDelta(".", block=0)]
    _, response = accumulated(client(write(Encoder("st_1", 1.0, "m"), [*deltas, Finished("refusal")])))
    assert [part.refusal for part in response.output[0].content] == ["No."]


def test_heartbeats_are_not_seen(client: Client, write: Write) -> None:
    body = write(Encoder("st_1", 1.0, "m"), [TextDelta("a"), Finished("stop")])
    beating = body.replace(b"\n\n", b"\n\n" + DIALECT.heartbeat)
    assert raw_stream(client(DIALECT.heartbeat + beating)) == raw_stream(client(body))


def test_an_answer_that_is_not_streamed(client: Client, fold: Fold) -> None:
    sdk = client(fold_response(fold(everything()), "st_1", 1.0, "m"), content_type="application/json")
    response = sdk.responses.create(model="m", input="Hi")
    assert response.output_text == "Hello wörld\nBye."
    assert [item.call_id for item in response.output if item.type == "function_call"] == ["call_a", "call_b", "call_c"]


def test_every_event_is_of_the_sdks_own_type(write: Write) -> None:
    """Strictly: the SDK itself takes whatever comes."""
    import pydantic
    from openai.types.responses import ResponseStreamEvent

    adapter: Any = pydantic.TypeAdapter(ResponseStreamEvent)
    ends = [Finished("length"), Finished("stop"), Failed("server_error", "x")]
    for end in ends:
        wire = write(Encoder("st_1", 1.0, "m"), [*everything()[:-2], end, Usage(1, 2, 0, 0, 0)])
        for event in sse.Decoder().feed(wire):
            if event.event != "error":  # it has a member more
                adapter.validate_json(event.data)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, openai.BadRequestError), (429, openai.RateLimitError), (503, openai.InternalServerError)],
)
def test_error_bodies_become_the_sdks_errors(client: Client, status: int, error: type[openai.APIStatusError]) -> None:
    body = DIALECT.error_body(Failed("the_code", "the message"), status)
    with pytest.raises(error, match="the message") as caught:
        raw_stream(client(body, status, "application/json"))
    assert caught.value.code == "the_code"
