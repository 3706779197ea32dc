"""How results are shown: one table per scenario for people, one JSON file for programs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

from bench.toolchain import MissingProgramError, find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

HEADER = """\
Only ratios within one run mean anything. The machine's speed drifts from minute to minute, and the load,
the upstream and the relay share its cores: compare rows of one table, never figures of two runs."""


@dataclass
class Section:
    """One scenario's results."""

    name: str
    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: list[dict[str, Any]] = field(default_factory=list)
    """The same and more, for the JSON file: one object per row."""


def number(value: float | None, digits: int = 2) -> str:
    """A figure for a table; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def milliseconds(microseconds: float | None) -> str:
    return number(None if microseconds is None else microseconds / 1000)


def pair(low: float | None, high: float | None) -> str:
    """Two times in microseconds, as "p50 / p99" in milliseconds."""
    return f"{milliseconds(low)} / {milliseconds(high)}"


def machine() -> dict[str, str]:
    """What the figures were made on, as far as it matters to a reader of the JSON file."""
    nginx = "none"
    with suppress(MissingProgramError):
        shown = subprocess.run([find("nginx", "nginx"), "-v"], capture_output=True, text=True, check=False)
        nginx = shown.stderr.strip().rpartition("/")[2]
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nginx": nginx,
    }


def show(console: Console, section: Section) -> None:
    table = Table(title=section.title, title_justify="left", title_style="bold")
    for index, column in enumerate(section.columns):
        table.add_column(column, justify="right" if index else "left")
    for row in section.rows:
        table.add_row(*row)
    console.print(table)
    for note in section.notes:
        console.print(f"  {note}", highlight=False, markup=False)
    console.print()


def show_gaps(console: Console, left_out: Mapping[str, str], troubles: Sequence[str]) -> None:
    """Say what the tables lack, and why."""
    sentences = [f"No row for {name}: {why}" for name, why in left_out.items()]
    for sentence in [*sentences, *(f"Not measured: {trouble}" for trouble in troubles)]:
        console.print(sentence, style="bold", highlight=False, markup=False)


def write_json(path: Path, sections: Sequence[Section], left_out: Mapping[str, str], troubles: Sequence[str]) -> None:
    """Write everything that was measured. NaN never occurs: what could not be measured is null."""
    result = {
        "about": " ".join(HEADER.split()),
        "machine": machine(),
        "scenarios": [{"name": s.name, "title": s.title, "notes": s.notes, "rows": s.data} for s in sections],
        "left_out": dict(left_out),
        "troubles": list(troubles),
    }
    path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
