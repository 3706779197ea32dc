"""The pages of the documentation, and the fenced blocks in them.

A comment before a block says what the tests do with it:

    <!-- no-run: why -->    nothing; allowed for what a test cannot do, with the reason
    <!-- file: NAME -->     it is written to that file, for the blocks after it
    <!-- output -->         it is what the block before it prints; … stands for anything
    <!-- run: NAME -->      it is run as any other, and a test asks for its output by that name

A block without one is run: `Runner` says how.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

#: Pages whose blocks another test runs, with more clients than we have here.
ELSEWHERE: Final = {"docs/sdk-matrix.md": "tests/clients/matrix/test_pointing.py"}

_BLOCK: Final = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL
)
_MARK: Final = re.compile(r"<!--\s*(no-run|file|output|run)(?::\s*(.*?))?\s*-->\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        line: of its first line of text in the page, from 1.
        mark: what the comment before it says: `no-run`, `file`, `output`, `run`, or nothing.
        note: what stands behind the mark's colon.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page, by its path from the root."""
    return ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return parse(page, (ROOT / page).read_text("utf-8"))


def parse(page: str, text: str) -> list[Block]:
    found = []
    end = 0
    for match in _BLOCK.finditer(text):
        mark = _MARK.search(text, end, match.start())
        end = match.end()
        line = text.count("\n", 0, match.start()) + 2
        body = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        kind, note = (mark[1], mark[2] or "") if mark else ("", "")
        found.append(Block(page, line, match["language"], body, kind, note))
    return found
