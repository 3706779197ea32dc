"""Torn characters, and JSON texts that come in fragments."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.dialects.deltas import Delta, Failed, Finished, Opaque, Started, TextDelta, ToolCallDelta
from tokenwire.dialects.json_text import Balance, loads, mend, scrub, scrub_fields, whole
from tokenwire.dialects.openai_chat.dialect import Decoder
from tokenwire.dialects.transcript import Transcript
from tokenwire.wire import sse

Feed = Callable[..., list[Delta]]

WAVE = "\U0001f30a"


def content(text: str, name: str = "content") -> str:
    return f'{{"choices":[{{"delta":{{"{name}":"{text}"}}}}]}}'


def said(deltas: list[Delta]) -> list[Delta]:
    return [delta for delta in deltas if not isinstance(delta, Started | Finished)]


def test_loads_says_whether_a_value_is_torn() -> None:
    assert loads('{"a":"\\ud83c\\udf0a"}') == ({"a": WAVE}, False)
    assert loads('{"a":"\\ud83c"}') == ({"a": "\ud83c"}, True)
    assert loads('{"a":"\ud83c"}') == ({"a": "\ud83c"}, True)
    value, torn = loads('{"a":NaN}')  # from Python servers
    assert torn
    assert value["a"] != value["a"]
    for text in ("", "{", "{}{}", "x"):
        with pytest.raises(ValueError, match=r"\w"):
            loads(text)


@pytest.mark.parametrize("name", ["content", "reasoning", "refusal"])
def test_a_character_split_over_two_deltas_is_joined(feed: Feed, name: str) -> None:
    deltas = said(feed(content("a\\ud83c", name), content("\\udf0ab", name), "[DONE]"))
    assert [getattr(delta, "text", None) for delta in deltas] == ["a", WAVE + "b"]


def test_a_character_split_in_the_arguments_of_a_call_is_joined(feed: Feed) -> None:
    chunk = '{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"%s"}}]}}]}'
    deltas = feed(chunk % '{\\"x\\":\\"\\ud83c', chunk % '\\udf0a\\"}', "[DONE]")
    assert "".join(delta.json for delta in deltas if isinstance(delta, ToolCallDelta)) == '{"x":"' + WAVE + '"}'


def test_a_lone_half_is_replaced_once_it_is_sure(feed: Feed) -> None:
    assert said(feed(content("a\\ud83c"), content("b\\udf0a"), "[DONE]")) == [
        TextDelta("a"),
        TextDelta("\ufffdb\ufffd"),
    ]


@pytest.mark.parametrize("end", ['{"choices":[{"delta":{},"finish_reason":"stop"}]}', "[DONE]"])
def test_a_half_at_the_end_is_told_before_the_reason(feed: Feed, end: str) -> None:
    deltas = [delta for delta in feed(content("\\ud83c"), end) if not isinstance(delta, Started)]
    assert [type(delta) for delta in deltas] == [TextDelta, Finished]
    assert deltas[0] == TextDelta("\ufffd")


def test_a_half_at_the_end_of_a_cut_stream_is_told(feed: Feed) -> None:
    deltas = said(feed(content("\\ud83c"), content("x", "reasoning")))
    assert [type(delta) for delta in deltas[-2:]] == [TextDelta, Failed]


def test_a_half_at_the_end_of_the_arguments(feed: Feed) -> None:
    chunk = (
        '{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\\ud83c"}}]}}]}'
    )
    deltas = feed(chunk)
    assert [delta.json for delta in deltas if isinstance(delta, ToolCallDelta)] == ["{", "\ufffd"]


def test_a_half_that_a_second_object_takes_along(feed: Feed) -> None:
    chunk = '{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{%s"arguments":"%s"}}]}}]}'
    first = chunk % ('"name":"f",', '{}{\\"x\\":\\"\\ud83c')
    deltas = feed(first, chunk % ("", '\\udf0a\\"}'), "[DONE]")
    assert [delta.json for delta in deltas if isinstance(delta, ToolCallDelta)] == ["{}", '{"x":"', WAVE + '"}']


def test_whatever_else_is_torn_is_scrubbed(feed: Feed) -> None:
    chunk = (
        '{"id":"\\ud83c","choices":[{"delta":{"content":"a"},"finish_reason":"\\udf0a"}],"b":{"\\ud83c":["\\ud83c"]}}'
    )
    deltas = feed(chunk, '{"error":{"message":"\\ud83c","x":{"\\ud83c":1}}}')
    assert deltas == [
        Started("\ufffd"), TextDelta("a"), Finished("unknown", "\ufffd"),
        Opaque("openai.chat", {"b": {"\ufffd": ["\ufffd"]}}),
        Failed("upstream_error", "\ufffd", True, None, {"message": "\ufffd", "x": {"\ufffd": 1}}),
    ]  # fmt: skip


@given(st.text(st.characters(exclude_categories=())), st.data())
def test_units_cut_anywhere_are_mended_into_the_same_text(text: str, data: st.DataObject) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    halves = [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]
    held: dict[str, str] = {}
    mended = "".join(mend(held, "key", half) for half in halves) + ("\ufffd" if held else "")
    assert mended == units.decode("utf-16-le", "replace") == whole(text)
    mended.encode()


def test_scrub_keeps_what_is_not_text() -> None:
    value = {"a": [1, 2.5, None, True, "\ud83c\udf0a"]}
    assert scrub(value) == {"a": [1, 2.5, None, True, WAVE]}
    assert scrub_fields(TextDelta("\ud83c", 3, 4)) == TextDelta("\ufffd", 3, 4)


@pytest.mark.parametrize(
    ("fragments", "results", "complete"),
    [
        (["{", "}"], [-1, -1], True),
        (["{}", "{"], [-1, 0], True),
        (["{} \n{"], [4], True),
        (["{}", " x{"], [-1, -1], True),
        (['{"}{', '\\"', '\\', '"}', '"}'], [-1] * 5, True),
        (["[{}, {}]"], [-1], True),
        (['"{}"', "{"], [-1, 0], True),
        (["12", "{"], [-1, -1], False),
        (["}"], [-1], True),
        ([""], [-1], False),
    ],
)  # fmt: skip
def test_where_the_first_value_ends(fragments: list[str], results: list[int], complete: bool) -> None:
    balance = Balance()
    assert [balance.feed(fragment) for fragment in fragments] == results
    assert (balance.complete, balance.copy().complete) == (complete, complete)


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=5), values, max_size=4), st.data())
def test_an_object_is_complete_at_its_last_character_and_not_before(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cut = data.draw(st.integers(0, len(text)))
    balance = Balance()
    assert balance.feed(text[:cut]) == -1
    assert balance.complete is (cut == len(text))
    twin = balance.copy()
    assert balance.feed(text[cut:] + text) == len(text) - cut
    assert twin.feed(text[cut:]) == -1
    assert twin.complete


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([
            "choices", "delta", "message", "content", "reasoning", "reasoning_content", "reasoning_details",
            "tool_calls",
            "function", "function_call", "name", "arguments", "id", "index", "finish_reason", "usage", "error",
            "x_groq",
            "type", "text", "thinking", "logprobs", "annotations", "citations", "url", "code", "status", "model",
            "created",
            "prompt_tokens", "completion_tokens", "total_tokens", "completion_tokens_details", "reasoning_tokens",
            "custom",
            "input", "signature", "content_filter_results", "object", "detail", "errors", "refusal", "other",
        ]),
        inner, max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip
members = st.sampled_from([
    "content", "reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "tool_calls", "function_call",
    "refusal", "annotations", "role", "other",
])  # fmt: skip
within = st.sampled_from(["finish_reason", "index", "logprobs", "usage", "error", "x"])
beside = st.sampled_from(["usage", "error", "x_groq", "citations", "id", "model", "created", "x"])
chunks = st.builds(
    lambda delta, more, others: {"choices": [{"delta": delta, **more}], **others},
    st.dictionaries(members, json_values | st.lists(json_values, max_size=3), max_size=4),
    st.dictionaries(within, json_values, max_size=3),
    st.dictionaries(beside, json_values, max_size=3),
)


@pytest.mark.untraced
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(json_values | chunks, st.sampled_from(["message", "error", "ping"])), max_size=4))
def test_feed_never_raises_on_any_json_and_what_it_gives_can_be_written(values: list[tuple[Any, str]]) -> None:
    from tokenwire.dialects.native.encode import Encoder as Native
    from tokenwire.dialects.openai_chat.encode import Encoder

    decoder, fold, chat, native = Decoder(), Transcript(), Encoder("st_1", 1.0, "m"), Native("st_1", 1.0, "m")
    deltas: list[Delta] = []
    for value, event in values:
        deltas += decoder.feed(sse.Event(event, json.dumps(value)))
    for delta in deltas + decoder.close():
        fold.apply(delta)
        for frame in chat.feed(delta) + native.feed(delta):
            frame.data.encode()
    assert sum(isinstance(delta, Failed) for delta in deltas) <= 1
    assert not any(isinstance(delta, Failed | Opaque) for delta in fold.copy().deltas())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=4))
def test_feed_never_raises_on_any_text(datas: list[str]) -> None:
    decoder = Decoder()
    for data in datas:
        for delta in decoder.feed(sse.Event(data=data)):
            assert isinstance(delta, Failed | Opaque)
    decoder.close()


def test_nesting_beyond_all_bounds_is_opaque_text() -> None:
    (opaque,) = Decoder().feed(sse.Event(data="[" * 100_000))
    assert opaque == Opaque("openai.chat", "[" * 100_000)


@pytest.mark.parametrize("depth", [100, 400, 600, 800, 900, 950, 1000])
@pytest.mark.parametrize("inner", ['"\\ud83c"', "1", '{"error":{"message":"\\ud83c"}}'])
def test_nesting_up_to_the_bounds_never_raises(depth: int, inner: str) -> None:
    text = "[" * depth + inner + "]" * depth
    for data in (text, '{"error":%s}' % text, '{"choices":[{"delta":{"x":%s}}]}' % text):  # noqa: UP031
        assert Decoder().feed(sse.Event(data=data))
        assert Decoder().feed(sse.Event("error", data))
