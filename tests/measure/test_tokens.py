"""measure/tokens: how many tokens a text is, about."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.measure.tokens import PER_IMAGE, PER_MESSAGE, count, count_all, count_prompt, whole

# Texts and their tokens by o200k_base, as known or as a provider's recorded usage says; a third off is what the rule
# promises, for tokenizers differ by that.
KNOWN = [
    ("I'm sorry, but I can't help with that.", 11),
    ('{"name":"Ada Lovelace","born":1815,"tags":["math","poetry"]}', 22),
    ("The quick brown fox jumps over the lazy dog and then sleeps for the whole afternoon.", 17),
    ("今天天气很好，我们一起去公园散步吧。", 15),
    ("今日は天気がいいので、公園を散歩しましょう。", 17),
    ("Сегодня хорошая погода, пойдём гулять в парк.", 15),
]


@pytest.mark.parametrize(("text", "tokens"), KNOWN, ids=[text[:12] for text, _ in KNOWN])
def test_within_a_third(text: str, tokens: int) -> None:
    assert tokens * 2 / 3 <= count(text) <= tokens * 4 / 3


def test_chinese_is_not_a_quarter_of_its_characters() -> None:
    text = "人工智能" * 25
    assert count(text) > 3 * len(text) / 4


@given(st.lists(st.text()))
def test_the_parts_of_a_text_add_up_to_it(parts: list[str]) -> None:
    assert count_all(parts) == pytest.approx(sum(map(count, parts)))


@given(st.text(min_size=1))
def test_any_text_is_a_token_and_none_is_none(text: str) -> None:
    assert whole(count(text)) >= 1
    assert whole(count("")) == 0


def test_half_a_character_counts_and_does_not_raise() -> None:
    assert count("\ud83d") > 0


# ---------------------------------------------------------------------- requests


def prompt(**fields: Any) -> int | None:
    return count_prompt(json.dumps(fields).encode())


def test_a_prompt_is_its_messages() -> None:
    said = "Tell me of the sea."
    one = [{"role": "user", "content": said}]
    assert prompt(model="m", messages=one, temperature=0.5, metadata={"x": "y" * 999}) == whole(
        count(said) + PER_MESSAGE
    )
    parts = [{"role": "user", "content": [{"type": "text", "text": said}]}]
    assert prompt(messages=parts) == prompt(messages=one)
    assert prompt(messages=one * 10) == whole(10 * (count(said) + PER_MESSAGE))


def test_escapes_are_the_characters_that_they_mean() -> None:
    messages = [{"role": "user", "content": "海" * 100}]
    body = {"messages": messages}
    assert count_prompt(json.dumps(body).encode()) == count_prompt(json.dumps(body, ensure_ascii=False).encode())


def test_system_and_tools_are_read_too() -> None:
    one = [{"role": "user", "content": "hi"}]
    alone = prompt(messages=one)
    assert alone is not None
    tool = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city, now.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Its name."}}},
        },
    }
    both = prompt(system="Be brief, and kind.", messages=one, tools=[tool])
    assert both is not None
    assert alone + 15 < both < alone + 50


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 100_000}},
        {"inlineData": {"mimeType": "image/png", "data": "A" * 100_000}},
    ],
    ids=["openai", "anthropic", "gemini"],
)
def test_a_picture_counts_by_the_piece(part: dict[str, Any]) -> None:
    assert prompt(messages=[{"role": "user", "content": [part]}]) == PER_MESSAGE + PER_IMAGE


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b'{"messages":"\\ud800"}'])
def test_what_is_no_request_has_no_count(body: bytes) -> None:
    assert count_prompt(body) is None


def test_depth_is_no_danger() -> None:
    deep = b'{"messages":' + b"[" * 900 + b'"hi"' + b"]" * 900 + b"}"
    assert count_prompt(deep) is not None
    assert count_prompt(b'{"messages":' + b"[" * 100_000) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from(["messages", "content", "type", "parameters"]), inner)
    ),
)


@pytest.mark.untraced
@given(JSON)
def test_any_json_is_counted_or_refused(value: Any) -> None:
    body = json.dumps({"messages": value}, allow_nan=False, default=str).encode() if _finite(value) else b"NaN"
    tokens = count_prompt(body)
    assert tokens is None or tokens >= 0


def _finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
