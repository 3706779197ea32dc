"""google-genai reads what our encoder writes, and we read what it asks: streams, chats, whole answers, errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from tokenwire.dialects.base import Dialect, encode_frames
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
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)  # fmt: skip
from tokenwire.dialects.gemini.dialect import ARRAY, DIALECT, fold_response
from tokenwire.dialects.gemini.prompt import PROMPTS
from tokenwire.dialects.gemini.request import parse_request
from tokenwire.dialects.prompt.vocabulary import Call, Result, Said, Thought
from tokenwire.dialects.transcript import Transcript

Write = Callable[..., bytes]
ASKED: list[httpx.Request] = []


@pytest.fixture
def client() -> Iterator[Callable[..., genai.Client]]:
    """A client whose network is a function: every request is answered with *body*, and kept in ``ASKED``."""
    made: list[genai.Client] = []
    ASKED.clear()

    def make(body: bytes, status: int = 200, content_type: str = "text/event-stream") -> genai.Client:
        def answer(request: httpx.Request) -> httpx.Response:
            ASKED.append(request)
            return httpx.Response(status, content=body, headers={"content-type": content_type})

        transport = httpx.Client(transport=httpx.MockTransport(answer))
        options = types.HttpOptions(base_url="http://relay.test", httpx_client=transport)
        made.append(genai.Client(api_key="k", http_options=options))
        return made[-1]

    yield make
    for one in made:
        one.close()


Client = Callable[..., genai.Client]


def everything() -> list[Delta]:
    return [
        Started("c1", "m"),
        ReasoningDelta("Let me"), ReasoningDelta(" see"), ReasoningSignature("ErUB+/==", dialect="anthropic"),
        TextDelta("Hello", block=1), TextDelta(" wörld\u2028\n", block=1),
        Logprobs([{"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "b", "logprob": -1.5}]}]),
        ToolCallStarted("call_a", "f", block=2), ToolCallStarted("call_b", "g", block=3),
        ReasoningSignature("c2ln", block=2, dialect="gemini"), ReasoningSignature("of nobody", block=3),
        ToolCallDelta('{"x":', block=2), ToolCallDelta('{"y":[2,{"z":null}]}', block=3), ToolCallDelta("1}", block=2),
        Citation({"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}, block=1),
        Citation({"type": "char_location", "document_title": "D", "cited_text": "t", "document_index": 0}, block=1),
        Citation({"startIndex": 1, "endIndex": 3, "uri": "https://c.example", "license": "mit"}, block=1),
        Opaque("gemini", {"candidates": [{"index": 0, "content": {"role": "model", "parts": [
            {"executableCode": {"language": "PYTHON", "code": "1"}}]}}]}),
        Opaque("anthropic", {"type": "ping"}),
        ToolCallEnded(block=3), ToolCallEnded(block=2), Finished("tool_use"),
        Usage(10, 20, cached_input=3, reasoning=4),
    ]  # fmt: skip


def stream(client: genai.Client) -> list[Any]:
    return list(client.models.generate_content_stream(model="m", contents="Hi"))


@pytest.mark.parametrize("late", range(0, 24, 3))
def test_the_stream(client: Client, write: Write, late: int) -> None:
    deltas, fold = everything(), Transcript()
    encoder, silent = DIALECT.encoder("st_1", 1.0, "m"), DIALECT.encoder("st_1", 1.0, "m")
    for delta in deltas[:late]:
        fold.apply(delta)
        silent.feed(delta)
    first = encode_frames(encoder.prefix(fold)) if late else b""
    events: list[Any] = stream(client(first + write(silent if late else encoder, deltas[late:], deltas)))
    assert {(event.response_id, event.model_version) for event in events} == {("1", "m")}
    parts = [part for event in events for each in event.candidates or () for part in each.content.parts]
    assert "".join(part.text for part in parts if part.text and not part.thought) == "Hello wörld\u2028\n"
    assert "".join(part.text for part in parts if part.text and part.thought) == "Let me see"
    calls = [part for part in parts if part.function_call]
    assert [(part.function_call.id, part.function_call.name, part.function_call.args) for part in calls] == [
        ("call_a", "f", {"x": 1}), ("call_b", "g", {"y": [2, {"z": None}]}),
    ]  # fmt: skip
    assert calls[0].thought_signature == b"sig"
    assert calls[1].thought_signature == b"tokenwire:unknown:of nobody"
    assert [part.thought_signature for part in parts if part.text == "" and part.thought_signature] == [
        b"tokenwire:anthropic:ErUB+/=="
    ]
    last = events[-1]
    assert [event.candidates[0].finish_reason for event in events if event.candidates[0].finish_reason] == ["STOP"]
    ended: Any = last.candidates[0]
    chunks = ended.grounding_metadata.grounding_chunks
    assert (chunks[0].web.uri, chunks[0].web.title) == ("https://a.example", "A")
    assert (chunks[1].retrieved_context.title, chunks[1].retrieved_context.text) == ("D", "t")
    assert ended.citation_metadata.citations[0].uri == "https://c.example"
    told: Any = last.usage_metadata
    assert (told.prompt_token_count, told.candidates_token_count, told.thoughts_token_count) == (10, 16, 4)
    assert (told.total_token_count, told.cached_content_token_count) == (30, 3)
    scored: Any = next(each.logprobs_result for event in events for each in event.candidates if each.logprobs_result)
    assert scored.chosen_candidates[0].log_probability == -0.5
    assert scored.top_candidates[0].candidates[0].token == "b"


def test_a_chat_that_goes_on_gives_back_what_it_was_told(client: Client, write: Write) -> None:
    """The next request of the SDK's own chat: everything that must return to its maker is in it."""
    deltas = [
        ReasoningDelta("Let me"), ReasoningDelta(" see"), ReasoningSignature("ErUB+/==", dialect="anthropic"),
        TextDelta("Well", block=1), TextDelta(", then.", block=1),
        ToolCallStarted("call_a", "f", block=2), ReasoningSignature("of chat", block=2, dialect="openai.chat"),
        ToolCallDelta('{"x":1}', block=2), ToolCallEnded(block=2), Finished("tool_use"), Usage(1, 2),
    ]  # fmt: skip
    sdk = client(write(DIALECT.encoder("st_1", 1.0, "m"), deltas))
    chat = sdk.chats.create(model="m")
    list(chat.send_message_stream("Hi"))
    answer = types.Part.from_function_response(name="f", response={"output": "42"})
    list(chat.send_message_stream(answer))
    prompt = PROMPTS.read(parse_request(ASKED[-1].read(), model="m", stream=True))
    assert [turn.role for turn in prompt.turns] == ["user", "assistant", "tool"]
    thought, said, call = prompt.turns[1].parts
    assert isinstance(thought, Thought)
    assert isinstance(said, Said)
    assert isinstance(call, Call)
    assert (thought.text, thought.signature, thought.dialect) == ("Let me see", "ErUB+/==", "anthropic")
    assert said.text == "Well, then."
    assert (call.id, call.arguments) == ("call_a", '{"x":1}')
    assert (call.signature, call.dialect) == ("of chat", "openai.chat")
    result = prompt.turns[2].parts[0]
    assert isinstance(result, Result)
    assert (result.call_id, result.name, result.parts[0].text) == ("call_a", "f", "42")  # type: ignore[union-attr]


def test_several_candidates_and_a_refusal(client: Client, write: Write) -> None:
    deltas: list[Delta] = [TextDelta("a", 1), RefusalDelta("No."), Finished("stop", None, 1), Finished("refusal")]
    events = stream(client(write(DIALECT.encoder("st_1", 1.0, "m"), deltas)))
    said: dict[int, str] = {}
    for event in events:
        for candidate in event.candidates or ():
            said[candidate.index or 0] = said.get(candidate.index or 0, "") + candidate.content.parts[0].text
    assert said == {0: "No.", 1: "a"}
    assert {each.index: each.finish_reason for each in events[-1].candidates or ()} == {0: "SAFETY", 1: "STOP"}


@pytest.mark.parametrize(
    ("failure", "kind", "code", "status"),
    [
        (Failed("overloaded", "too much", True, 529), errors.ServerError, 529, "UNAVAILABLE"),
        (Failed("truncated", "too much", True), errors.ServerError, 500, "INTERNAL"),
        (Failed("rate_limit_exceeded", "too much"), errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        (Failed("x", "too much", raw={"message": "too much", "status": "NOT_FOUND"}, upstream_status=404),
         errors.ClientError, 404, "NOT_FOUND"),
    ],
)  # fmt: skip
def test_a_failure_is_raised(
    client: Client, write: Write, failure: Failed, kind: type[errors.APIError], code: int, status: str
) -> None:
    body = write(DIALECT.encoder("st_1", 1.0, "m"), [TextDelta("a"), failure])
    with pytest.raises(kind, match="too much") as caught:
        stream(client(body))
    assert (caught.value.code, caught.value.status) == (code, status)


@pytest.mark.untraced
@pytest.mark.parametrize("dialect", [DIALECT, ARRAY], ids=["sse", "array"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 529])
def test_error_bodies_become_the_sdks_errors(client: Client, status: int, dialect: Dialect) -> None:
    body = dialect.error_body(Failed("the_code", "the message"), status)
    kind = errors.ClientError if status < 500 else errors.ServerError
    with pytest.raises(kind, match="the message") as caught:
        stream(client(body, status, "application/json"))
    assert caught.value.code == status
    assert caught.value.message == "the message"
    assert DIALECT.describe_error(body, status).code == "the_code"


def test_an_answer_that_is_not_streamed(client: Client) -> None:
    fold = Transcript()
    for delta in everything():
        fold.apply(delta)
    sdk = client(fold_response(fold, "st_1", 1.0, "m"), content_type="application/json")
    response = sdk.models.generate_content(model="m", contents="Hi")
    assert response.text == "Hello wörld\u2028\n"
    assert [call.id for call in response.function_calls or ()] == ["call_a", "call_b"]
    assert response.usage_metadata is not None
    assert response.usage_metadata.total_token_count == 30


def test_a_stream_asked_for_without_sse_is_one_array(write: Write) -> None:
    encoder = ARRAY.encoder("st_1", 1.0, "m")
    frames = [frame for delta in everything() for frame in encoder.feed(delta)]
    failed = encoder.copy()
    whole = json.loads("".join(frame.data for frame in [*frames, *encoder.close(Terminal("completed"))]))
    assert [types.GenerateContentResponse.model_validate(each) for each in whole][-1].usage_metadata is not None
    broken = json.loads("".join(frame.data for frame in [*frames, *failed.close(Terminal("cancelled"))]))
    assert broken[-1]["error"]["code"] == 499
    assert json.loads("".join(frame.data for frame in ARRAY.encoder("s", 1, "m").close(Terminal("completed"))))
