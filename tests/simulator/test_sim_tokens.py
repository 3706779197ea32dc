from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.simulator.tokens import EXACT, count, pieces, split_surrogates


@settings(deadline=None)
@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert all(pieces(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Hello, world", ["Hello", ",", " world"]),
        ("uninterrupted", ["unint", "errup", "ted"]),
        (' {"city":"Oslo"}', [' {"', "city", '":"', "Oslo", '"}']),
        ("12345", ["123", "45"]),
        ("日本語", ["日本", "語"]),
        ("ελληνικά", ["ελλ", "ηνι", "κά"]),
        ("a\n\n    b", ["a", "\n\n", "   ", " b"]),
        ("👍🏽", ["👍", "🏽"]),
    ],
)
def test_pieces_look_like_tokens(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


def test_english_has_about_four_characters_a_token() -> None:
    text = "The quick brown fox jumps over the lazy dog, and nobody knows why it does so again every morning. " * 20
    assert 3.5 < len(text) / count(text) < 5


def test_a_huge_text_is_counted_by_its_beginning() -> None:
    assert count("word " * EXACT) == pytest.approx(len(pieces("word " * EXACT)), rel=0.01)


@settings(deadline=None)
@given(st.text())
def test_split_surrogates_join_again_as_utf_16(text: str) -> None:
    halves = split_surrogates(pieces(text))
    joined = "".join(halves)
    assert joined.encode("utf-16-be", "surrogatepass").decode("utf-16-be") == text
    assert all(max(half) <= "\uffff" for half in halves)


def test_split_surrogates_end_a_piece_with_the_first_half() -> None:
    assert split_surrogates(["a🚀b", "c", "żó"]) == ["a\ud83d", "\ude80b", "c", "żó"]
    assert json.dumps(split_surrogates(["🚀"])) == '["\\ud83d", "\\ude80"]'
