"""docs/sdk-matrix.md: how each client is pointed at the relay, and the cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.clients.matrix.cells import SCENARIOS, Cell, Scenario
from tests.clients.matrix.said import VENDORS

DOCS: Final = Path(__file__).parents[3] / "docs" / "sdk-matrix.md"
POINTING: Final = Path(__file__).with_name("pointing.md")

_OPENING: Final = """\
# SDKs

Which client reads which upstream through a running relay, over real sockets, as its users drive it. Written by
`TOKENWIRE_WRITE_MATRIX=1 python -m pytest tests/clients/matrix/test_matrix.py`; do not edit. The upstreams are the
simulator in each vendor's dialect, and recordings of the vendors for refusals; what a client got is compared with what
the provider says when it is asked directly, without a relay.

"""

_LEGEND: Final = """\
## The matrix

`✓`: the client got what the provider said. A number: with the difference told below the table, which the relay declares
(docs/translation.md) or the client makes. `–`: there is nothing to get, and why.

"""

_ABOUT: Final[dict[Scenario, str]] = {
    "text": "A streamed answer: the text, and why it ended.",
    "tools": "Two calls at once, their arguments parsed by the client, and the turn after that, given their results.",
    "thinking": "The model is asked to think and to show it.",
    "structured output": "A JSON Schema for the answer.",
    "refusal": "An answer that the provider stops or declines: the words, and why it ended.",
    "usage": "Tokens in and out, of a streamed answer.",
    "whole": "The same without streaming, with its usage.",
    "error": "The provider fails in mid-stream: the client's own kind of error, and the text before it kept.",
}

Cells = Mapping[tuple[str, str, Scenario], Cell]


def page(cells: Cells) -> str:
    """The whole page; *cells* by client, dialect of the upstream and scenario."""
    clients = list(dict.fromkeys(name for name, _, _ in cells))
    upstreams = list(dict.fromkeys(dialect for _, dialect, _ in cells))
    parts = [_OPENING, POINTING.read_text("utf-8"), "\n", _LEGEND]
    parts += [f"{_section(cells, clients, upstreams, scenario)}\n" for scenario in SCENARIOS]
    return "".join(parts).rstrip("\n") + "\n"


def _section(cells: Cells, clients: Iterable[str], upstreams: list[str], scenario: Scenario) -> str:
    """The table of one scenario, and the notes to it."""
    notes: dict[str, int] = {}
    lines = [
        f"### {scenario.capitalize()}",
        "",
        _ABOUT[scenario],
        "",
        f"| client | {' | '.join(VENDORS[dialect].name for dialect in upstreams)} |",
        "|---" * (len(upstreams) + 1) + "|",
    ]
    for client in clients:
        row = [_told(cells[client, dialect, scenario], notes) for dialect in upstreams]
        lines.append(f"| {client} | {' | '.join(row)} |")
    lines += ["", *(f"{number}. {note}" for note, number in notes.items()), ""] if notes else [""]
    return "\n".join(lines)


def _told(cell: Cell, notes: dict[str, int]) -> str:
    """One cell; *notes* are numbered as they come."""
    mark = "✗" if cell.faults else "✓" if cell.carried else "–"
    numbers = [notes.setdefault(note, len(notes) + 1) for note in (*cell.faults, *cell.notes)]
    return " ".join([mark, *map(str, sorted(numbers))])
