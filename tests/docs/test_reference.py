"""docs/reference/ says what the code says."""

from __future__ import annotations

import pytest
from tests.docs import reference
from tests.docs.pages import ROOT
from tests.docs.reference import PAGES, Page, prose, render


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_docstrings_say(name: str) -> None:
    written = (ROOT / "docs" / "reference" / f"{name}.md").read_text("utf-8")
    assert written == render(PAGES[name]), "stale: run make docs"


def test_a_name_that_is_missing_fails() -> None:
    with pytest.raises(AttributeError):
        render(Page("t", "", ("tokenwire.errors:Nothing",)))


def example(path: str, /, *rest: int, wait: float = 1.0, **more: str) -> bytes:
    """Read ``path``. ::

        example("a")

    Args:
        path: where
            it is.
        rest: what else.

    Returns, at once:
        The bytes.

    Mind:
    this is prose.
    """
    return path.encode() * (len(rest) + len(more) + int(wait))


def test_signatures_are_shown_as_written_and_docstrings_as_markdown() -> None:
    assert render(Page("t", "About.", (f"{__name__}:example",))).split("\n\n") == [
        "# t",
        reference.NOTE,
        "About.",
        f"## {__name__}.example",
        "    example(path: str, /, *rest: int, wait: float = 1.0, **more: str) -> bytes",
        "Read `path`.",
        '    example("a")',
        "**Args**",
        "- `path`: where it is.\n- `rest`: what else.",
        "**Returns, at once**",
        "- The bytes.",
        "Mind:\nthis is prose.\n",
    ]
    assert example("a", 1, wait=1, b="c") == b"aaa"
    assert list(prose("One ``word``.\n\nTwo::")) == ["One `word`.", "Two:"]
