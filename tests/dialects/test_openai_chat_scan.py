"""The cheap look at a frame: it must never miss an end, an error or a usage that the full decoder finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.base import Mark
from tokenwire.dialects.deltas import Failed, Finished, Usage
from tokenwire.dialects.openai_chat.dialect import Decoder, look, scan
from tokenwire.wire import sse
from tokenwire.wire.frames import Cutter

TELLING = Mark.DONE | Mark.ERROR | Mark.SWALLOWED | Mark.USAGE_ONLY


def agree(frame: bytes) -> int:
    """What ``scan`` says of *frame*, after it was held against the full decoder."""
    mark = scan(frame)
    assert mark & TELLING == look(frame, Decoder())[0] & TELLING
    events = sse.Decoder().feed(frame + b"\n\n")
    deltas = [delta for event in events for delta in Decoder().feed(event)]
    if any(event.data.strip().startswith("[DONE]") for event in events):
        assert mark & Mark.DONE
    elif any(isinstance(delta, Finished | Usage | Failed) for delta in deltas):
        assert mark & Mark.NOTABLE
    assert bool(mark & Mark.ERROR) == any(isinstance(delta, Failed) for delta in deltas)
    return mark


def frame(value: Any) -> bytes:
    return sse.encode(json.dumps(value, separators=(",", ":")))


def test_recorded_frames_are_marked_as_the_decoder_has_it(chat_stream: str, body: Callable[[str], bytes]) -> None:
    cutter = Cutter()
    frames = cutter.feed(body(chat_stream)) + cutter.close()
    marks = [agree(frame) for frame in frames]
    assert Mark.DONE in marks or any(mark & Mark.ERROR for mark in marks)
    assert (
        sum(mark == Mark.PLAIN for mark in marks) >= len(marks) - 5
        or "azure" in chat_stream
        or "vllm/tool" in chat_stream
    )


PLAIN = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    b'{"content":"%b"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x"}\n\n'
)


@pytest.mark.parametrize(
    "wire",
    [
        PLAIN % b"Hello",
        PLAIN % b'\\"error\\": \\"finish_reason\\":\\"stop\\" {\\"usage\\":{}} [DONE]',  # the words, in the text
        PLAIN % "é\u2028".encode(),
        PLAIN.replace(b",", b", ").replace(b":", b": ").replace(b"data: ", b"data:", 1),
        (PLAIN % b"a").replace(b"\n\n", b"\r\n\r\n"),
        (PLAIN % b"a").removesuffix(b"\n\n"),
        b"event: message\n" + PLAIN % b"a",
        b'data: {"choices":[{"index":0,"delta":{"content":"a","role":"assistant"}}],"created":1}\n\n',  # xAI
        b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"","index":0}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]},"index":0}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"a"},"index":0},{"delta":{"content":"b"},"index":1}],"error":null}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ud83c"},"index":0}]}\n\n',
    ],
)
def test_plain_frames_in_every_dress(wire: bytes) -> None:
    assert agree(wire) == Mark.PLAIN


@pytest.mark.parametrize(
    "done", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE]", b"data: [DONE]\ndata: {}\n\n"]
)
def test_the_end_marker(done: bytes) -> None:
    assert agree(done) == Mark.DONE


def test_the_end_marker_before_a_plain_chunk_is_not_overlooked() -> None:
    assert agree(b"data: [DONE]\n" + PLAIN % b"a") == Mark.DONE
    assert agree(b'event:{"choices":[{"delta":{}}],\ndata: [DONE]\n\n') == Mark.DONE


@pytest.mark.parametrize(
    "value",
    [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {"choices": [{"index": 0, "delta": {"content": "a"}, "usage": {"prompt_tokens": 1}}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}}], "x_groq": {"usage": {"prompt_tokens": 1}}},
        {"choices": [], "prompt_filter_results": [{}]},
        {"choices": [{"index": 0, "content_filter_offsets": {"a": 1}}]},
        {"type": "ping"},
        {
            "choices": [],
            "usage": {"prompt_tokens": 1},
            "citations": ["https://a.example"],
        },  # hidden, they would be lost
        {"choices": [], "usage": {"prompt_tokens": 1}, "moderation": {"input": {}}},
    ],
)
def test_frames_worth_decoding_at_the_end(value: Any) -> None:
    assert agree(frame(value)) == Mark.NOTABLE


EMPTY = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}


@pytest.mark.parametrize(
    ("value", "mark"),
    [
        ({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 5}}, Mark.USAGE_ONLY),
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 0}}, Mark.USAGE_ONLY),
        ({"choices": [EMPTY], "usage": {"prompt_tokens": 1, "completion_tokens": 5}}, Mark.USAGE_ONLY),  # OpenRouter
        ({"choices": [EMPTY], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}, Mark.PLAIN),  # vLLM's first
    ],
)
def test_usage_chunks_are_told_from_others(value: Any, mark: int) -> None:
    assert agree(frame({"id": "c", "model": "m", **value})) == mark | Mark.NOTABLE


@pytest.mark.parametrize(
    ("value", "swallowed"),
    [
        ({"error": {"message": "x"}}, False),
        ({"error": "x"}, False),
        (
            {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}], "error": {"message": "x"}},
            False,
        ),
        ([{"error": {"message": "x"}}], True),
        ({"object": "error", "message": "x"}, True),
        ({"detail": "x"}, True),
        ({"choices": [{"index": 0, "delta": {}}], "x_groq": {"error": "x"}}, True),
        ({"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}, True),
        (
            {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "error"}]},
            False,
        ),  # the text would go, too
    ],
)
def test_errors_and_whether_the_sdk_notices(value: Any, swallowed: bool) -> None:
    mark = agree(frame(value))
    assert mark & Mark.ERROR
    assert bool(mark & Mark.SWALLOWED) is swallowed


@pytest.mark.parametrize("data", ["<html>502</html>", "error: x", '{"choices":[{', '"' + "[" * 4])
def test_what_is_no_json_is_an_error_that_the_sdk_does_not_tell(data: str) -> None:
    assert agree(sse.encode(data)) == Mark.ERROR | Mark.SWALLOWED | Mark.NOTABLE


def test_an_event_named_error() -> None:
    assert agree(sse.encode('{"reason":"x"}', event="error")) & Mark.ERROR


def test_nesting_beyond_all_bounds_is_opaque() -> None:
    assert scan(b"data: " + b"[" * 100_000 + b"\n\n") == Mark.NOTABLE


def test_a_frame_of_any_size_is_looked_at() -> None:
    assert scan(b"data:[DONE]" + b" " * (17 * 1024 * 1024)) == Mark.DONE


def test_comments_and_nothing_are_plain() -> None:
    assert scan(b": hb\n\n") == scan(b"") == scan(b"\n\n") == Mark.PLAIN


scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "stop", "error", "x", "[DONE]"])
usages = st.none() | st.fixed_dictionaries({}, optional={"prompt_tokens": scalars, "completion_tokens": scalars})
errors = scalars | st.fixed_dictionaries({}, optional={"message": scalars, "code": scalars})
deltas = scalars | st.fixed_dictionaries({}, optional={"content": scalars, "role": scalars, "reasoning": scalars})
choices = scalars | st.lists(
    st.fixed_dictionaries(
        {}, optional={"index": scalars, "delta": deltas, "finish_reason": scalars, "usage": usages, "error": errors}
    ),
    max_size=2,
)
chunks = st.fixed_dictionaries(
    {},
    optional={
        "choices": choices, "usage": usages, "error": errors, "object": scalars, "message": scalars, "type": scalars,
        "x_groq": errors | st.fixed_dictionaries({"error": errors, "usage": usages}),
    },
)  # fmt: skip


@pytest.mark.untraced
@settings(max_examples=400, deadline=None)
@given(
    chunks,
    st.sampled_from([",", ", ", ",\n"]),
    st.randoms(use_true_random=False),
    st.sampled_from([None, "error", "message"]),
)
def test_scan_agrees_with_the_decoder(value: dict[str, Any], comma: str, random: Any, event: str | None) -> None:
    names = list(value)
    random.shuffle(names)
    text = json.dumps({name: value[name] for name in names}, separators=(comma, ":"))
    if random.random() < 0.3:  # any letter may be written as an escape, also in names
        text = text.replace("error", "\\u0065rror").replace("usage", "us\\u0061ge").replace("finish", "f\\u0069nish")
    agree(sse.encode(text, event=event))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_scan_takes_any_bytes(data: bytes) -> None:
    assert 0 <= scan(data) < 32
    assert 0 <= scan(b"data: {" + data) < 32


def test_scan_gets_by_without_the_decoder_for_plain_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """The price of the hot path, without a clock: what is plain is never decoded in full."""
    monkeypatch.setattr("tokenwire.dialects.openai_chat.dialect.look", lambda frame, decoder: pytest.fail("decoded"))
    assert scan(PLAIN % b"Hello") == Mark.PLAIN
