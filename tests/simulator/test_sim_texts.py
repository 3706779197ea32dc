from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.simulator.texts import library, pick


def test_there_are_at_least_forty_texts_of_50_to_2000_tokens() -> None:
    lengths = [len(text.pieces) for text in library()]
    assert len(lengths) >= 40
    assert min(lengths) >= 50
    assert max(lengths) <= 2000
    assert sum(length < 200 for length in lengths) >= 8
    assert sum(length > 1700 for length in lengths) >= 3


def test_there_are_all_kinds() -> None:
    kinds = Counter(text.kind for text in library())
    assert {"prose", "code", "list", "table", "script"} <= kinds.keys()
    assert kinds["code"] >= 8
    assert len({text.name for text in library()}) == len(library())


@pytest.mark.parametrize(
    "script",
    [
        "GREEK", "CYRILLIC", "ARABIC", "HEBREW", "DEVANAGARI", "CJK", "HIRAGANA", "HANGUL", "THAI",
    ],
)  # fmt: skip
def test_a_script_fills_a_text(script: str) -> None:
    def share(body: str) -> float:
        letters = [char for char in body if char.isalpha()]
        return sum(unicodedata.name(char, "").startswith(script) for char in letters) / len(letters)

    assert max(share(text.body) for text in library()) > 0.4


def test_there_are_joined_emoji_and_raw_line_separators() -> None:
    bodies = "".join(text.body for text in library())
    assert "👨\u200d👩\u200d👧\u200d👦" in bodies
    assert {"\u2028", "\u2029", "\u0085", "\x0b", "\x1c", "\ufeff", "\U0010fffd"} <= set(bodies)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("Write a ring buffer in Python", "python-ring"),
        ("some rust code please", "rust-wordcount"),
        ("a table of the planets", "planets-table"),
        ("Napisz coś po polsku", "polish"),
        ("answer in Polish", "polish"),
        ("Γράψε μου μια ιστορία", "greek"),
        ("こんにちは", "japanese"),
        ("你好", "chinese"),
        ("Explain why the sky is blue", "blue-sky"),
    ],
)
def test_the_prompt_picks_the_text(prompt: str, name: str) -> None:
    assert pick(prompt).name == name


@pytest.mark.parametrize(("word", "kind"), [("code", "code"), ("table", "table"), ("checklist", "list")])
def test_a_kind_can_be_asked_for(word: str, kind: str) -> None:
    assert {pick(f"{n}: a {word}, please").kind for n in range(20)} == {kind}


def test_a_prompt_that_says_nothing_gets_a_stable_choice_of_many() -> None:
    names = [pick(f"zzz{n}").name for n in range(200)]
    assert len(set(names)) > 20
    assert names == [pick(f"zzz{n}").name for n in range(200)]


def test_alternatives_differ() -> None:
    assert len({pick("hi", variant=n).name for n in range(8)}) == 8
    assert pick("hi", variant=len(library())) is pick("hi")


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_prompt_gets_a_text(prompt: str) -> None:
    assert pick(prompt).body
