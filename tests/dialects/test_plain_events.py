"""The quick reading of plain chunks and events means what the full one says: whatever stands in them, wherever."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire import dialects
from tokenwire.dialects.anthropic.decode import Decoder as MessagesDecoder
from tokenwire.dialects.openai_chat.decode import Decoder as ChatDecoder
from tokenwire.dialects.openai_chat.plain import read_plain
from tokenwire.testing import message_frames as m
from tokenwire.wire import sse

#: Values as they should be, and as they should not.
ODD: Any = st.sampled_from([None, "", "x", 0, 1, -1, 1.0, True, False, [], {}, ["x"], {"x": 1}, "\ud83c", "stop"])
TEXT: Any = st.sampled_from([None, "", "a", " über", "\ud83c", "\udf0a", "\n"])


def some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


NAMED = some({}, {"name": st.sampled_from(["f", "", None]), "arguments": st.sampled_from(["{", "}", ""])})
CALLS: Any = st.none() | st.just([]) | st.lists(
    some(
        {},
        {
            "index": st.sampled_from([0, 1, None, "0"]),
            "id": st.sampled_from(["c1", "c2", "", None]),
            "function": NAMED,
            "extra_content": st.sampled_from([None, {"google": {"thought_signature": "S"}}, {"x": 1}]),
        },
    )
    | st.just("?"),
    max_size=2,
)  # fmt: skip
DELTA = some(
    {},
    {
        "content": TEXT, "reasoning_content": TEXT, "reasoning": TEXT, "tool_calls": CALLS, "role": ODD,
        "refusal": st.sampled_from([None, "", "No."]), "function_call": st.none() | ODD, "unknown": ODD,
        "reasoning_details": st.sampled_from([None, [], [{"type": "reasoning.text", "signature": "S"}]]),
        "annotations": st.sampled_from([None, [], [{"type": "url_citation", "url_citation": {"url": "u"}}]]),
        "extra_content": st.sampled_from([None, {"google": {"thought": True}}]),
    },
)  # fmt: skip
CHOICE = some(
    {"delta": DELTA | st.none()},
    {
        "index": st.sampled_from([0, 1, 2, None, -1, 1.0, True, 10**30]), "logprobs": st.none() | ODD,
        "finish_reason": st.sampled_from([None, "", "stop", "length"]), "usage": st.none() | ODD,
        "error": st.none() | ODD, "native_finish_reason": ODD, "stop_reason": ODD, "token_ids": ODD, "unknown": ODD,
    },
)  # fmt: skip
COUNTS = {"prompt_tokens": 1, "completion_tokens": 2}
CHUNK = some(
    {"choices": st.lists(CHOICE, max_size=2) | st.none()},
    {
        "id": ODD, "model": ODD, "created": ODD, "object": ODD, "usage": st.sampled_from([None, {}, COUNTS]),
        "error": st.none() | ODD, "obfuscation": ODD, "service_tier": ODD, "system_fingerprint": ODD, "provider": ODD,
        "unknown": ODD, "x_groq": st.sampled_from([None, {}, {"error": "x"}]),
    },
)  # fmt: skip
PLAIN = st.builds(
    lambda delta: {"id": "c", "model": "m", "created": 1, "choices": [{"index": 0, "delta": delta}]},
    st.sampled_from([{"content": "a"}, {"reasoning": "b"}, {"reasoning_content": "c", "content": "d"}, {"role": "x"}]),
)


def alike(make: Callable[[], Any], datas: list[str]) -> None:
    """Both readings, side by side."""
    quick, full = make(), make()
    for data in datas:
        event = sse.Event(data=data)
        assert quick.feed(event) == ([] if getattr(full, "done", False) else full.feed_any(event)), data
        quick, full = quick.copy(), full.copy()
    assert quick.close() == full.close()


@pytest.mark.untraced
@settings(max_examples=400, deadline=None)
@given(st.lists(PLAIN | CHUNK, max_size=6))
def test_chat_chunks_read_alike(chunks: list[Any]) -> None:
    alike(ChatDecoder, [json.dumps(chunk) for chunk in chunks])


@pytest.mark.parametrize(
    "data", ["[DONE]", "", "null", "[" * 5000, '{"choices":[{"delta":' + '{"a":' * 5000, " {} ", "x"]
)
def test_what_is_no_chunk_reads_alike(data: str) -> None:
    alike(ChatDecoder, ['{"id":"c","model":"m","created":1,"choices":[{"delta":{"content":"a"}}]}', data])


def test_recorded_chat_streams_read_alike(chat_stream: str, body: Callable[[str], bytes]) -> None:
    parser = sse.Decoder()
    events = parser.feed(body(chat_stream)) + parser.close(lenient=True)
    alike(ChatDecoder, [event.data for event in events if not event.data.startswith("[DONE]")])


@pytest.mark.parametrize(
    "case",
    ["openai-chat/text", "openai-chat/tool-call", "deepseek/reasoning", "vllm/reasoning-content-with-finish",
     "openrouter/reasoning-details-comments", "groq/reasoning-usage", "xai/reasoning-tool-call"],
)  # fmt: skip
def test_most_chunks_of_most_servers_are_read_quickly(case: str, body: Callable[[str], bytes]) -> None:
    plain = text = 0
    for event in sse.Decoder().feed(body(f"{case}.sse")):
        if '"content":"' not in event.data.replace('""', ""):
            continue
        text += 1
        try:
            read_plain(event.data)
        except ValueError:
            continue
        plain += 1
    assert plain >= text - 1


MESSAGE_DELTA = some(
    {"type": st.sampled_from(["text_delta", "thinking_delta", "input_json_delta", "signature_delta", "new"])},
    {
        "text": TEXT,
        "thinking": TEXT,
        "partial_json": st.sampled_from(["{", "}", "", None]),
        "signature": TEXT,
        "x": ODD,
    },
)
MESSAGE = st.one_of(
    some(
        {"type": st.just("content_block_delta"), "delta": MESSAGE_DELTA},
        {"index": st.sampled_from([0, 1, 2, 1.0, True, None]), "unknown": ODD},
    ),
    some(
        {
            "type": st.sampled_from(["content_block_start", "content_block_stop"]),
            "index": st.integers(0, 2),
            "content_block": st.sampled_from([
                {"type": "text", "text": ""}, {"type": "thinking"}, {"type": "tool_use", "id": "t", "name": "f"},
                {"type": "other"},
            ]),
        },
        {},
    ),
)  # fmt: skip


@pytest.mark.untraced
@settings(max_examples=300, deadline=None)
@given(st.lists(MESSAGE, max_size=8))
def test_messages_events_read_alike(events: list[Any]) -> None:
    datas = [json.dumps(event) for event in events]
    alike(MessagesDecoder, ['{"type":"message_start","message":{"id":"m"}}', *datas])


def test_recorded_messages_read_alike(anthropic_stream: str, body: Callable[[str], bytes]) -> None:
    alike(MessagesDecoder, [event.data for event in sse.Decoder().feed(body(anthropic_stream))])


def test_nothing_is_read_after_the_end() -> None:
    decoder = dialects.get("anthropic").decoder()
    parser = sse.Decoder()
    for event in parser.feed(b"".join(m.answer("a"))):
        decoder.feed(event)
    assert decoder.feed(parser.feed(m.text("late"))[0]) == []
    chat = dialects.get("openai.chat").decoder()
    chat.feed(sse.Event(data="[DONE]"))
    assert chat.feed(sse.Event(data='{"choices":[{"delta":{"content":"late"}}]}')) == []
