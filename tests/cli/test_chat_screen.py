"""Text and status on a terminal that is emulated cell by cell; and the same in plain files."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from tokenwire.cli.chat_screen import Plain, Terminal, harmless

_STEP = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|\x1b([78D])|(.)", re.DOTALL)


class Emulator(io.StringIO):
    """As much of a VT100 as we use: rows and columns, delayed wrap, scrolling, save and restore."""

    def __init__(self, width: int = 20, height: int = 6) -> None:
        super().__init__()
        self.width = width
        self.height = height
        self.rows: list[list[str]] = [[] for _ in range(height)]
        self.scrolled: list[str] = []
        self.row = self.column = 0
        self.saved = (0, 0)
        self.styles: set[str] = set()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for numbers, command, short, char in _STEP.findall(text):
            if command:
                self._command(numbers, command)
            elif short == "7":
                self.saved = (self.row, self.column)
            elif short == "8":
                self.row, self.column = self.saved
            elif short == "D":
                self._down()
            elif char == "\n":
                self.column = 0  # a terminal's driver adds the return
                self._down()
            elif char == "\r":
                self.column = 0
            else:
                self._put(char)
        return len(text)

    def _command(self, numbers: str, command: str) -> None:
        assert command in "ABJm", f"no CSI {command} is expected"
        self.column = min(self.column, self.width - 1) if command in "ABJ" else self.column
        if command == "A":
            self.row = max(0, self.row - 1)
        elif command == "B":
            self.row = min(self.height - 1, self.row + 1)
        elif command == "J":
            del self.rows[self.row][self.column :]
            for row in self.rows[self.row + 1 :]:
                row.clear()
        else:
            self.styles.add(numbers)

    def _put(self, char: str) -> None:
        cells = cell_len(char)
        if self.column + cells > self.width:
            self.column = 0
            self._down()
        row = self.rows[self.row]
        row += [" "] * (self.column - len(row))
        row[self.column : self.column + cells] = [char, *[""] * (cells - 1)]
        self.column += cells

    def _down(self) -> None:
        if self.row == self.height - 1:
            self.scrolled.append("".join(self.rows.pop(0)).rstrip())
            self.rows.append([])
        else:
            self.row += 1

    @property
    def lines(self) -> list[str]:
        """Everything that was ever shown and is not erased, without the empty rest of the screen."""
        lines = [*self.scrolled, *("".join(row).rstrip() for row in self.rows)]
        while lines and not lines[-1]:
            lines.pop()
        return lines


def terminal(width: int = 20, height: int = 6, **options: Any) -> tuple[Emulator, Terminal]:
    emulator = Emulator(width, height)
    options = {"force_terminal": True, "color_system": "standard", "_environ": {}, **options}
    return emulator, Terminal(Console(file=emulator, width=width, **options))


def plainly(width: int, height: int, *texts: str) -> list[str]:
    """What a terminal shows of a text when nothing but the text is written."""
    emulator = Emulator(width, height)
    for text in texts:
        emulator.write(text)
    return emulator.lines


def test_the_status_stands_below_the_text_and_goes() -> None:
    emulator, screen = terminal()
    screen.status("TTFT 5 ms")
    screen.write("text", "Hello,")
    assert emulator.lines == ["Hello,", "TTFT 5 ms"]
    screen.write("text", " wörld and all who live there")
    screen.status("TTFT 5 ms · 3 tokens")
    assert emulator.lines == ["Hello, wörld and all", " who live there", "TTFT 5 ms · 3 token"]
    screen.end()
    assert emulator.lines == ["Hello, wörld and all", " who live there"]
    assert (emulator.row, emulator.column) == (2, 0)


def test_a_token_within_its_row_is_written_and_nothing_else() -> None:
    emulator, screen = terminal()
    screen.write("text", "one")
    screen.status("status")
    written: list[str] = []
    write = emulator.write
    emulator.write = lambda text: written.append(text) or write(text)  # type: ignore[method-assign, func-returns-value]
    screen.write("text", " two")
    screen.status("status")  # nothing new: nothing is drawn
    assert written == [" two"]


PIECES = st.lists(st.text(st.sampled_from("abcdefgh  \n\té漢字🙂"), max_size=12), max_size=25)


@settings(deadline=None)
@given(PIECES, st.integers(4, 21), st.integers(2, 6), st.lists(st.booleans(), min_size=25, max_size=25))
def test_the_text_is_what_it_would_be_without_a_status(
    pieces: list[str], width: int, height: int, ticks: list[bool]
) -> None:
    pieces = [piece.replace("\t", " ") for piece in pieces]  # of tabs the emulator knows nothing
    emulator, screen = terminal(width, height)
    for number, (piece, tick) in enumerate(zip(pieces, ticks, strict=False)):
        if tick:
            screen.status(f"{number} tokens and a status that is far too long")
        screen.write("text", piece)
    screen.end()
    assert emulator.lines == plainly(width, height, *pieces)


def test_kinds_are_paragraphs_of_their_own_style() -> None:
    emulator, screen = terminal(40, 20)
    screen.write("thinking", "Let me see.")
    screen.write("thinking", " Yes.")
    screen.write("text", "It is so.\n")
    screen.write("tool", "look(")
    screen.line("note", "a note")
    screen.write("text", "On.")
    screen.end()
    assert emulator.lines == ["Let me see. Yes.", "", "It is so.", "", "look(", "a note", "", "On."]
    assert {"2;3", "36", "2"} <= emulator.styles


@pytest.mark.parametrize("options", [{"no_color": True}, {"color_system": None}])
def test_no_color_is_none(options: dict[str, Any]) -> None:
    emulator, screen = terminal(40, 20, **options)
    screen.write("tool", "look()")
    screen.line("error", "it broke")
    screen.end()
    assert emulator.lines == ["look()", "it broke"]
    assert not [style for style in emulator.styles if re.search(r"3\d", style)]


def test_a_tab_at_the_edge_and_an_empty_piece() -> None:
    emulator, screen = terminal(10, 5)
    screen.status("s")
    screen.write("text", "")
    screen.write("text", "12345678\t")
    screen.write("text", "\t")
    screen.end()
    assert emulator.lines[0].startswith("12345678")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain wörld 漢字", "plain wörld 漢字"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x1b[2J\x00\x7f", "␛[2J␀␡"),
        ("\x9b2J", "�2J"),
    ],
)
def test_a_models_text_does_not_steer_the_terminal(text: str, shown: str) -> None:
    assert harmless(text) == shown


# ------------------------------------------------------------------ plain files


def test_plainly_the_answer_alone_is_the_output() -> None:
    out, err = io.StringIO(), io.StringIO()
    screen = Plain(out, err)
    screen.status("never shown")
    screen.write("thinking", "nor this")
    screen.write("text", "It is ")
    screen.write("text", "so\x1b[1m.")
    screen.write("tool", "look(")
    screen.write("tool", ")")
    screen.write("refusal", "No.")
    screen.write("tool", "again()")
    screen.line("figures", "7 tokens\x1b")
    screen.end()
    screen.end()
    assert out.getvalue() == "It is so\x1b[1m.No.\n"
    assert err.getvalue() == "look()\nagain()\n7 tokens␛\n"


@pytest.mark.parametrize(
    ("pieces", "written"), [(["a\n"], "a\n"), (["a", ""], "a\n"), ([], ""), (["a\n", "b"], "a\nb\n")]
)
def test_plainly_the_output_ends_in_one_line_end(pieces: list[str], written: str) -> None:
    out = io.StringIO()
    screen = Plain(out, io.StringIO())
    for piece in pieces:
        screen.write("text", piece)
    screen.end()
    assert out.getvalue() == written
