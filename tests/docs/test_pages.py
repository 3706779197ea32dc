"""Every block of the documentation runs, or says why it does not; every link leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.docs import pages
from tests.docs.backdrop import Backdrop
from tests.docs.conftest import Ran
from tests.docs.pages import ELSEWHERE, ROOT, parse
from tests.docs.runner import Runner, commands

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


@pytest.mark.parametrize("page", [page for page in pages.pages() if page not in ELSEWHERE])
def test_every_block_of_the_page_runs(page: str, ran: Callable[[str], Ran]) -> None:
    assert len(ran(page)) <= len(pages.blocks(page))


def test_pages_that_are_run_elsewhere_are() -> None:
    for page, test in ELSEWHERE.items():
        assert page in (ROOT / test).read_text("utf-8")


def test_every_link_between_pages_leads_somewhere() -> None:
    lost = []
    for page in pages.pages():
        for target, anchor in _LINK.findall((ROOT / page).read_text("utf-8")):
            path = (ROOT / page).parent / target if target else ROOT / page
            if not path.exists() or (anchor and anchor not in _anchors(path)):
                lost.append(f"{page}: {target}#{anchor}")
    assert lost == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text("utf-8")
    missing = [page for page in pages.pages() if page.startswith("docs/") and f"({page[5:]}" not in index]
    assert missing == ["docs/README.md"]


def _anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---------------------------------------------------------------------- the harness itself

PAGE = """
```python
x = 1
```
<!-- no-run: it would
install something -->
```sh
pip install it
```
1. A list:
   <!-- output -->
   ```text
   1 … 3
   ```
"""


def test_blocks_are_found_with_their_marks_lines_and_texts() -> None:
    one, two, three = parse("p.md", PAGE)
    assert (one.language, one.text, one.line, one.mark) == ("python", "x = 1\n", 3, "")
    assert (two.mark, two.note) == ("no-run", "it would\ninstall something")
    assert (three.language, three.text, three.mark) == ("text", "1 … 3\n", "output")


def test_commands_are_cut_where_a_shell_cuts_them() -> None:
    text = "curl a -d 'one\n  two'  # said\n# a comment\n\ncurl b \\\n  -s\n"
    assert commands(text) == ["curl a -d 'one\n  two'  # said\n", "curl b \\\n  -s\n"]


def test_what_does_not_work_fails(backdrop: Backdrop, tmp_path: Path) -> None:
    def run(*texts: str) -> list[str]:
        with Runner("p.md", backdrop, tmp_path) as runner:
            for text in texts:
                for block in parse("p.md", text):
                    runner.run(block)
        return [output for _, output in runner.outputs]

    python = "```python\n{}\n```\n"
    assert run(python.format("x = 1"), python.format("print(x)"), "<!-- output -->\n```text\n1\n```\n") == ["", "1\n"]
    awaiting = python.format(
        "import asyncio, pathlib\nawait asyncio.sleep(0)\nprint(len(pathlib.Path('f').read_text()))"
    )
    assert run("<!-- file: f -->\n```json\n[1]\n```\n", awaiting) == ["", "4\n"]
    with pytest.raises(AssertionError, match="it printed\n2"):
        run(python.format("print(2)"), "<!-- output -->\n```text\n1\n```\n")
    with pytest.raises(AssertionError, match=r"p\.md:2: it printed nothing"):
        run(python.format("for x in []:\n  print(x)"))
    with pytest.raises(AssertionError, match="ruby cannot be run"):
        run("```ruby\n1\n```\n")
    with pytest.raises(AssertionError, match="no reason"):
        run("<!-- no-run: -->\n```sh\nrm x\n```\n")
    with pytest.raises(AssertionError, match="rm is not run here"):
        run("```sh\nrm x\n```\n")
    with pytest.raises(AssertionError, match=r"p\.md:2: curl"):
        run("```sh\ncurl -sS http://127.0.0.1:1/\n```\n")
    with pytest.raises(AssertionError, match="model_not_found"):
        run("```sh\ncurl -s http://127.0.0.1:8787/v1/chat/completions -H 'content-type: application/json' "
            '-d \'{"model": "none", "messages": []}\'\n```\n')  # fmt: skip
    with pytest.raises(ZeroDivisionError) as caught:
        run(python.format("\n1 / 0"))
    assert caught.traceback[-1].lineno == 2
