from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.wire.whole_json import is_whole_json

values = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.untraced
@settings(derandomize=True)
@given(value=values, ascii_only=st.booleans())
def test_a_value_is_whole_and_no_beginning_of_it_is(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    assert is_whole_json(text) is not is_number
    assert is_whole_json(f" \t{text}\r\n") is not is_number
    assert not any(is_whole_json(text[:end]) for end in range(len(text)))


@pytest.mark.parametrize(
    "text", ['"\\ud83d"', '{"a":"\\uDE00 "}', '["\\ud83d\\ude00"]', '"\\\\ud83d"', "[1e999]", "[-0]"]
)
def test_unusual_but_whole(text: str) -> None:
    assert is_whole_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "12",
        "1.5 ",
        "-",
        "NaN",
        "Infinity",
        "[DONE]",
        "{}{}",
        "{} x",
        "[1,]",
        "'a'",
        '"\\ud8"',
        '"a\nb"',
        "[01]",
        "\ufeff{}",
    ],
)
def test_not_whole(text: str) -> None:
    assert not is_whole_json(text)


def test_nesting_beyond_the_stack_is_not_whole() -> None:
    assert is_whole_json("[" * 500 + "]" * 500)
    assert not is_whole_json("[" * 1_000_000 + "]" * 1_000_000)
