"""Anthropic's official Python SDK, unmodified, in both its kinds: what a relay must bear to be a drop-in."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tokenwire.testing import message_frames as m
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head, http_chunk
from tokenwire.testing.processes import Running

FIXTURES = Path(__file__).parent.parent / "fixtures" / "anthropic"
RECORDED = sorted(path.stem for path in FIXTURES.glob("*.sse"))
MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]
OPENING = head(200, ("content-type", "text/event-stream"), ("transfer-encoding", "chunked"), ("request-id", "req_7"))
Answers = dict[str, Sequence[bytes]]


class Claude:
    """One way of asking for both kinds of the SDK, set up as its users do it; without retries, which would hide what
    the relay answers."""

    def __init__(self, url: str, kind: str) -> None:
        self._runner = asyncio.Runner()
        make = anthropic.Anthropic if kind == "sync" else anthropic.AsyncAnthropic
        self.client: Any = make(base_url=url, api_key="none", max_retries=0, timeout=20)

    def create(self, model: str, **fields: Any) -> Any:
        """The whole answer."""
        fields = {"model": f"claude/{model}", "max_tokens": 99, "messages": MESSAGES, **fields}
        return self.wait(self.client.messages.create(**fields))

    def stream(self, model: str) -> list[Any]:
        """Every event of ``create(stream=True)``."""
        return list(self.each(self.create(model, stream=True)))

    def helper(self, model: str) -> tuple[list[Any], Any]:
        """The events of the ``stream()`` helper, and its final message."""
        manager = self.client.messages.stream(model=f"claude/{model}", max_tokens=99, messages=MESSAGES)
        if hasattr(manager, "__enter__"):
            with manager as stream:
                return list(stream), stream.get_final_message()

        async def ask() -> tuple[list[Any], Any]:
            async with manager as stream:
                return [event async for event in stream], await stream.get_final_message()

        return self._runner.run(ask())

    def each(self, stream: Any) -> Iterator[Any]:
        """One event after the other."""
        if hasattr(stream, "__iter__"):
            yield from stream
            return

        async def step(iterator: Any) -> Any:
            return await anext(iterator, None)

        iterator = aiter(stream)
        while (event := self._runner.run(step(iterator))) is not None:
            yield event

    def wait(self, value: Any) -> Any:
        """What is awaited, where *value* is a promise of it."""

        async def result() -> Any:
            return await value

        return self._runner.run(result()) if inspect.isawaitable(value) else value

    def quit(self) -> None:
        self.wait(self.client.close())
        self._runner.close()


@pytest.fixture(scope="module", params=["sync", "async"])
def claude(relay: Running, request: pytest.FixtureRequest) -> Iterator[Claude]:
    made = Claude(relay.url, request.param)
    yield made
    made.quit()


@pytest.fixture
def play(answers: Answers) -> Callable[..., str]:
    """play(frames…) -> a model that answers with them, one in each chunk."""

    def script(*frames: bytes, end: bytes = LAST_CHUNK) -> str:
        name = f"played-{len(answers)}"
        answers[name] = [OPENING, *map(http_chunk, frames), end]
        return name

    return script


@pytest.fixture
def recorded(answers: Answers) -> Callable[[str], tuple[str, dict[str, Any]]]:
    """recorded(case) -> a model that answers with the recording, and what it is expected to mean."""

    def script(case: str) -> tuple[str, dict[str, Any]]:
        described = json.loads((FIXTURES / f"{case}.expected.json").read_text("utf-8"))
        fields = [*described["http"]["headers"].items(), ("Transfer-Encoding", "chunked")]
        answers[case] = [head(200, *fields), http_chunk((FIXTURES / f"{case}.sse").read_bytes()), LAST_CHUNK]
        return case, described["expected"]

    return script


def joined(events: list[Any], kind: str, member: str) -> str:
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    return "".join(getattr(delta, member) for delta in deltas if delta.type == kind)


def check(message: Any, expected: dict[str, Any]) -> None:
    """A final message is what was recorded."""
    blocks = message.content
    assert "".join(block.text for block in blocks if block.type == "text") == expected["text"]
    thoughts = [block for block in blocks if block.type == "thinking"]
    assert "".join(block.thinking for block in thoughts) == (expected["reasoning"] or "")
    assert [block.signature for block in thoughts] == expected.get("signatures", [])
    calls = [{"id": b.id, "name": b.name, "arguments": b.input} for b in blocks if b.type == "tool_use"]
    assert calls == expected["tool_calls"]
    cited = [source.to_dict() for block in blocks if block.type == "text" for source in block.citations or ()]
    assert cited == expected.get("citations", [])
    assert message.stop_reason == expected["stop_reason"]
    assert message.stop_sequence == expected.get("stop_sequence")
    assert message.usage.to_dict().items() >= expected["usage"].items()


WHOLE = [case for case in RECORDED if "error" not in case]


@pytest.mark.parametrize("case", WHOLE)
def test_the_stream_helper_reads_every_recording(claude: Claude, recorded: Any, case: str) -> None:
    model, expected = recorded(case)
    events, message = claude.helper(model)
    check(message, expected)
    assert events[0].type == "message_start"
    assert events[-1].type == "message_stop"
    assert "".join(event.text for event in events if event.type == "text") == expected["text"]


@pytest.mark.parametrize("case", WHOLE)
def test_the_raw_events_of_every_recording(claude: Claude, recorded: Any, case: str) -> None:
    model, expected = recorded(case)
    events = claude.stream(model)
    assert joined(events, "text_delta", "text") == expected["text"]
    assert joined(events, "thinking_delta", "thinking") == (expected["reasoning"] or "")
    if len(expected["tool_calls"]) == 1:
        assert json.loads(joined(events, "input_json_delta", "partial_json")) == expected["tool_calls"][0]["arguments"]
    (delta,) = [event for event in events if event.type == "message_delta"]
    assert delta.delta.stop_reason == expected["stop_reason"]
    assert delta.usage.output_tokens == expected["usage"]["output_tokens"]
    if "stop_details" in expected:
        assert delta.delta.stop_details.to_dict() == expected["stop_details"]


def test_text_streams_by_its_own_helper(relay: Running, play: Any) -> None:
    with anthropic.Anthropic(base_url=relay.url, api_key="none", max_retries=0, timeout=20) as client:
        pieces = ["Ünï", "cöde → 你好, ", "👩‍👩‍👧", '\u2028 and \\ " \t.']
        model = "claude/" + play(*m.answer(*pieces))
        with client.messages.stream(model=model, max_tokens=9, messages=MESSAGES) as stream:
            assert list(stream.text_stream) == pieces
            assert stream.get_final_text() == "".join(pieces)
            assert stream.response.headers["request-id"] == "req_7"
            assert stream.response.headers["x-tokenwire-stream"].startswith("st_")


def test_what_the_sdk_does_not_know_it_gives_on(claude: Claude, play: Any) -> None:
    use: dict[str, Any] = {"id": "srvtoolu_1", "name": "web_search", "input": {}}
    result: dict[str, Any] = {"tool_use_id": "srvtoolu_1", "content": []}
    model = play(
        m.start(), m.PING, m.block(0, "server_tool_use", **use), m.tool_input('{"query":"x"}'), m.end(),
        m.block(1, "web_search_tool_result", **result), m.end(1),
        m.block(2), m.text("found", 2), m.end(2), m.event("something_new", x=1), m.finish(), m.STOP,
    )  # fmt: skip
    events, message = claude.helper(model)
    assert [block.type for block in message.content] == ["server_tool_use", "web_search_tool_result", "text"]
    assert message.content[0].input == {"query": "x"}
    assert len(events) > 8


def test_heartbeats_before_the_first_token_are_not_noticed(claude: Claude, answers: Answers) -> None:
    """The upstream's own pings and ours, in a stream that is thinking."""
    frames = [m.start(), *[m.PING] * 3, *m.answer("one")[1:]]
    answers["pings"] = [OPENING, *map(http_chunk, frames), LAST_CHUNK]
    assert joined(claude.stream("pings"), "text_delta", "text") == "one"


def test_a_whole_answer(claude: Claude, answers: Answers) -> None:
    body = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 5},
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "Grüße"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1]}},
        ],
    }  # fmt: skip
    answers["whole"] = [answer(json.dumps(body).encode(), fields=[("request-id", "req_1")])]
    message = claude.create("whole", tools=[{"name": "f", "input_schema": {"type": "object"}}])
    assert message.to_dict() == body
    assert message._request_id == "req_1"


def test_counting_tokens(claude: Claude, answers: Answers) -> None:
    answers["counted"] = [answer(b'{"input_tokens": 14}')]
    counted = claude.wait(claude.client.messages.count_tokens(model="claude/counted", messages=MESSAGES))
    assert counted.input_tokens == 14


def test_models(claude: Claude) -> None:
    async def all_of(pages: Any) -> list[Any]:
        return [model async for model in pages]

    for fields in ({}, {"limit": 2}):
        pages = claude.client.models.list(**fields)
        models = list(pages) if hasattr(pages, "__iter__") else claude.wait(all_of(pages))
        names = [model.id for model in models]
        assert {"parrot", "sim/echo", "claude/claude-sonnet-5-5"} <= set(names)
        assert len(set(names)) == len(names)
    one = claude.wait(claude.client.models.retrieve("claude-sonnet-5-5"))
    assert (one.id, one.type) == ("claude-sonnet-5-5", "model")
    assert one.created_at.year == 1970


# ---------------------------------------------------------------------- failures


def refusal(status: int, kind: str) -> bytes:
    body = {"type": "error", "error": {"type": kind, "message": f"said {kind}"}}
    return answer(json.dumps(body).encode(), status=status)


#: Status -> the provider's type of the error, and the SDK's exception.
TYPED: dict[int, tuple[str, type[anthropic.APIStatusError]]] = {
    400: ("invalid_request_error", anthropic.BadRequestError),
    401: ("authentication_error", anthropic.AuthenticationError),
    403: ("permission_error", anthropic.PermissionDeniedError),
    404: ("not_found_error", anthropic.NotFoundError),
    409: ("conflict_error", anthropic.ConflictError),
    413: ("request_too_large", anthropic.RequestTooLargeError),
    429: ("rate_limit_error", anthropic.RateLimitError),
    500: ("api_error", anthropic.InternalServerError),
    504: ("timeout_error", anthropic.DeadlineExceededError),
    529: ("overloaded_error", anthropic.OverloadedError),
}
PAGE = answer(b"<html><title>Welcome</title>", content_type="text/html")
DISGUISED = answer(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
#: What the provider answers -> exception, status, something of the message.
BEFORE: dict[str, tuple[bytes, type[anthropic.APIStatusError], int, str]] = {
    "200 with an error": (DISGUISED, anthropic.OverloadedError, 529, "Overloaded"),
    "200 with a page": (PAGE, anthropic.InternalServerError, 502, "Welcome"),
    "no answer": (b"", anthropic.InternalServerError, 502, "before it answered"),
    **{str(status): (refusal(status, kind), kind_of, status, kind) for status, (kind, kind_of) in TYPED.items()},
}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("case", BEFORE)
def test_before_the_first_byte_failures_are_typed(claude: Claude, answers: Answers, case: str, stream: bool) -> None:
    sent, raised, status, words = BEFORE[case]
    answers[f"fails-{case}"] = [sent]
    with pytest.raises(raised) as caught:
        claude.create(f"fails-{case}", stream=stream)
    assert (type(caught.value), caught.value.status_code) == (raised, status)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert words in body["error"]["message"]


@pytest.mark.parametrize(
    ("model", "raised", "status", "words"),
    [
        ("nobody", anthropic.NotFoundError, 404, "no upstream serves"),
        ("shared", anthropic.BadRequestError, 400, "script/shared"),
    ],
)
def test_refusals_of_our_own_are_typed(
    claude: Claude, model: str, raised: type[anthropic.APIStatusError], status: int, words: str
) -> None:
    with pytest.raises(raised) as caught:
        claude.wait(claude.client.messages.create(model=model, max_tokens=9, messages=MESSAGES))
    assert caught.value.status_code == status
    assert words in caught.value.message


def test_an_error_first_of_all_is_an_http_error(claude: Claude, play: Any) -> None:
    model = play(m.start(), m.PING, m.error())
    with pytest.raises(anthropic.OverloadedError) as caught:
        claude.stream(model)
    assert caught.value.status_code == 529


BEGUN = [m.start(), m.block(), m.text("so "), m.text("far")]
#: What comes after some text, and how the body ends -> type of the error, something of its message.
WITHIN: dict[str, tuple[list[bytes], bytes, str, str]] = {
    "error": ([m.error()], LAST_CHUNK, "overloaded_error", "Overloaded"),
    "unnamed error": ([m.error().partition(b"\n")[2]], LAST_CHUNK, "overloaded_error", "Overloaded"),
    "flat error": ([b'event: error\ndata: {"message":"flat"}\n\n'], LAST_CHUNK, "api_error", "flat"),
    "malformed": ([b'event: content_block_delta\ndata: {"type":\n\n'], LAST_CHUNK, "api_error", "malformed"),
    "no end": ([m.end(), m.finish()], LAST_CHUNK, "api_error", "incomplete"),
    "cut": ([], b"", "api_error", "mid-answer"),
    "bad chunk": ([], b"zz\r\n", "api_error", "HTTP"),
}


@pytest.mark.parametrize("helper", [False, True], ids=["raw", "helper"])
@pytest.mark.parametrize("case", WITHIN)
def test_within_a_stream_failures_are_raised_after_what_came(
    claude: Claude, play: Any, case: str, helper: bool
) -> None:
    frames, end, kind, words = WITHIN[case]
    model = play(*BEGUN, *frames, end=end)
    events: list[Any] = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        claude.helper(model) if helper else events.extend(claude.each(claude.create(model, stream=True)))
    body: Any = caught.value.body
    assert body["error"]["type"] == kind
    assert words in body["error"]["message"]
    assert helper or joined(events, "text_delta", "text") == "so far"


def test_a_recorded_error_in_mid_stream(claude: Claude, recorded: Any) -> None:
    model, expected = recorded("error-mid-stream")
    with pytest.raises(anthropic.APIStatusError) as caught:
        claude.stream(model)
    body: Any = caught.value.body
    assert body["error"] == expected["error"]
    assert body["request_id"] == "req_011CVexample7Hq2"
