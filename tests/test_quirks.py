"""Every quirk of the catalogue (reference, section 12) has a test that is named after it: ``test_q37_…``, or an id."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

#: The rows of the catalogue by the dialect that they break, and the files without which a row is not expected yet.
CATALOGUE = {
    "framing": (range(1, 16), "wire/test_sse_quirks.py"),
    "chat chunks": (range(16, 30), "dialects/test_openai_chat_chunks.py"),
    "Responses": (range(30, 36), "dialects/test_openai_responses_*.py"),
    "chat tool calls": (range(36, 48), "dialects/test_openai_tools.py"),
    "Anthropic": (range(48, 56), "dialects/test_anthropic_quirks.py"),
    "Gemini": (range(56, 64), "dialects/test_gemini_*.py"),
}
ROWS = [
    pytest.param(number, id=f"Q{number} of {dialect}")
    for dialect, (numbers, files) in CATALOGUE.items()
    if any(TESTS.glob(files))
    for number in numbers
]

#: A test of that name, or a case that begins with the number: ``"q9 no [DONE] …": (…)``, ``id="q9 …"``.
_NAMED = re.compile(r"\bdef test_q(\d+)_|[\"']q(\d+)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def tested() -> set[int]:
    """The quirks that some test is named after."""
    found: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        if "node_modules" not in path.parts:
            found |= {int(one or other) for one, other in _NAMED.findall(path.read_text(encoding="utf-8"))}
    return found


@pytest.mark.parametrize("number", ROWS)
def test_every_quirk_has_a_test(number: int, tested: set[int]) -> None:
    assert number in tested


def test_no_test_is_named_after_a_quirk_that_nobody_knows(tested: set[int]) -> None:
    assert tested <= {number for numbers, _ in CATALOGUE.values() for number in numbers}


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("def test_q7_megabytes() -> None:", "7"),
        ('    "q12 a clean end": (1, 2),', "12"),
        ("pytest.param(1, id='Q3')", "3"),
        ("# Q5 is meant", None),
        ("def test_q51() -> None:", None),
        ("SELECT q1", None),
    ],
)
def test_only_names_count(line: str, number: str | None) -> None:
    found = _NAMED.search(line)
    assert (found and next(filter(None, found.groups()))) == number
