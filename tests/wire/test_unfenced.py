"""JSON out of answers that hold more than it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.wire.unfenced import Unfenced


def outcome(pieces: list[str]) -> str:
    reader = Unfenced()
    return "".join([*map(reader.feed, pieces), reader.close()])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('  [1, "]"] \n', '[1, "]"]'),
        ('```json\n{"a": "```"}\n```\nThat is all: {}', '{"a": "```"}\n'),
        ("Sure! Here it is:\n\n  ```\n[1]```", "[1]"),
        ("```json\r\n42\n```", "42\n"),
        ("```json", ""),
        ('See [1] or `x`: {"a": "\\"}"}. Bye {}', '{"a": "\\"}"}'),
        ("The list:\n [1]\nBye", "[1]"),
        ('"a {b}"', '"a {b}"'),
        ("-1.5", "-1.5"),
        ("true", "true"),
        ("  I cannot do that.", "  I cannot do that."),
        ("", ""),
    ],
)
def test_the_json_is_found_wherever_the_answer_is_cut(answer: str, expected: str) -> None:
    for size in (1, 2, 3, 5, 100):
        assert outcome([answer[i : i + size] for i in range(0, len(answer), size)]) == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    value=st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.lists(st.integers()), max_size=4),
    before=st.sampled_from(["", "Here:\n", "I think\n\n"]),
    size=st.integers(1, 9),
)
def test_any_object_in_a_fence_comes_out_whole(value: object, before: str, size: int) -> None:
    answer = f"{before}```json\n{json.dumps(value)}\n```\n{{}}"
    pieces = [answer[i : i + size] for i in range(0, len(answer), size)]
    assert json.loads(outcome(pieces)) == value


def test_what_follows_the_json_is_dropped_at_once() -> None:
    reader = Unfenced()
    assert reader.feed('{"a": 1') == '{"a": 1'
    assert reader.feed("} and") == "}"
    assert reader.over
    assert reader.feed(" more {}") == ""
    assert reader.close() == ""
