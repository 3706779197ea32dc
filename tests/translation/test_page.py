"""docs/translation.md says what the code does.

With ``TOKENWIRE_WRITE_TRANSLATION=1`` in the environment it is written anew.
"""

from __future__ import annotations

import os

from tests.translation.page import PAGE, page, prompts

from tokenwire import dialects


def test_the_page_says_what_the_code_does() -> None:
    made = page()
    if os.environ.get("TOKENWIRE_WRITE_TRANSLATION"):
        PAGE.write_text(made, "utf-8")
    assert PAGE.read_text("utf-8") == made, "write it anew: see the page's first lines"


def test_the_page_has_every_dialect() -> None:
    text = page()
    assert [name for name in dialects.names() if f"`{name}`" not in text] == []
    assert [name for name, each in prompts().items() if each.write and f"### Into `{name}`" not in text] == []
