"""docs/sdk-matrix.md, made of the cells."""

from __future__ import annotations
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs" / "sdk-matrix.md"


def page(cells: object) -> str:
    return ""
