"""Where an answer is shown: a terminal, with a status line below the text, or plain files.

How the terminal is written. Text is appended where the cursor stands, and that is all that happens for nearly every
token: nothing is drawn again, so nothing can flicker. The status stands in the row below the text. Text that stays in
its row leaves it alone; before any other, all below the cursor is erased, and the status drawn again behind it, in the
same write. Cursor positions are saved and restored by the terminal, so that our idea of the column, which may be wrong
for exotic characters, decides only when to draw. At the last column nothing is drawn: terminals delay the wrap there,
and any movement would lose it.
"""

from __future__ import annotations

import re
import sys
from typing import IO, TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from rich.cells import cell_len
from rich.console import COLOR_SYSTEMS
from rich.style import Style

if TYPE_CHECKING:
    from rich.console import Console

#: ``text`` is the answer; ``note`` is ours, and ``figures`` what we measured.
Kind: TypeAlias = Literal["text", "thinking", "tool", "refusal", "note", "error", "figures"]

STYLES: Final[dict[Kind, Style]] = {
    "text": Style(),
    "thinking": Style(dim=True, italic=True),
    "tool": Style(color="cyan"),
    "refusal": Style(color="yellow"),
    "note": Style(dim=True),
    "error": Style(color="red"),
    "figures": Style(dim=True),
}

# ECMA-48 and DEC: what a VT100 knew, and every terminal since.
_ERASE_BELOW = "\x1b[J"
_ROOM_BELOW = "\x1bD\x1b[A"  # IND scrolls where there is no row below, and keeps the column
_SAVE, _RESTORE = "\x1b7", "\x1b8"
_BELOW = "\x1b[B\r"

#: A model's text must not steer the terminal: title, clipboard and screen are the user's. Tabs and line ends may pass.
_CONTROLS = {code: chr(0x2400 + code) for code in range(32) if code not in (9, 10)} | {0x7F: "␡"}
_CONTROLS |= dict.fromkeys(range(128, 160), "�")
_TAB = 8


class Screen(Protocol):
    """What shows an answer."""

    def write(self, kind: Kind, text: str) -> None:
        """Append a piece. A change of kind begins a new paragraph."""
        ...

    def line(self, kind: Kind, text: str) -> None:
        """A line of its own."""
        ...

    def status(self, text: str) -> None:
        """Replace the status line; empty takes it away."""
        ...

    def end(self) -> None:
        """The answer is over: take the status away, and end the last line."""
        ...


class Terminal:
    """A terminal of a person. *console*: rich's, which knows its colours, its width and NO_COLOR."""

    def __init__(self, console: Console) -> None:
        self._console = console
        colors = None if console.color_system is None else COLOR_SYSTEMS[console.color_system]
        plain = {kind: style.without_color for kind, style in STYLES.items()} if console.no_color else STYLES
        self._render = {kind: (style, colors) for kind, style in plain.items()}
        self._kind: Kind | None = None
        self._column = 0
        self._status = ""
        self._drawn = False

    def write(self, kind: Kind, text: str) -> None:
        text = harmless(text)
        if not text:
            return
        if self._kind not in (None, kind):
            text = ("\n\n" if self._column else "\n") + text
        self._kind = kind
        self._append(kind, text)

    def line(self, kind: Kind, text: str) -> None:
        self._append(kind, ("\n" if self._column else "") + harmless(text) + "\n")

    def status(self, text: str) -> None:
        if text == self._status:
            return
        self._status = text
        out = _ERASE_BELOW if self._drawn else ""
        self._drawn = False
        self._put(out + self._draw())

    def end(self) -> None:
        self.status("")
        if self._column:
            self._append("text", "\n")
        self._kind = None

    def _append(self, kind: Kind, text: str) -> None:
        stays = self._advance(text)
        style, colors = self._render[kind]
        # Line by line: a background or an underline must not run through the end of a row.
        styled = "\n".join(style.render(part, color_system=colors) for part in text.split("\n"))
        if stays and self._drawn:
            self._put(styled)
            return
        out = (_ERASE_BELOW if self._drawn else "") + styled
        self._drawn = False
        self._put(out + self._draw())

    def _advance(self, text: str) -> bool:
        """Move our idea of the column; whether the text stays in its row and leaves room in it."""
        width = self._console.width
        stays = True
        for char in text:
            if char == "\n":
                self._column = 0
                stays = False
                continue
            cells = _TAB - self._column % _TAB if char == "\t" else cell_len(char)
            if self._column + cells > width:
                stays = False
                self._column = min(width, 0 if char == "\t" else cells)
            else:
                self._column += cells
        return stays and self._column < width

    def _draw(self) -> str:
        if not self._status or self._column >= self._console.width:
            return ""
        self._drawn = True
        shown = self._status[: self._console.width - 1]
        style, colors = self._render["figures"]
        return f"{_ROOM_BELOW}{_SAVE}{_BELOW}{style.render(shown, color_system=colors)}{_RESTORE}"

    def _put(self, out: str) -> None:
        if out:
            self._console.file.write(out)
            self._console.file.flush()


class Plain:
    """Files, pipes and programs: the answer on *out*, byte for byte, and everything else, by lines, on *err*."""

    def __init__(self, out: IO[str] | None = None, err: IO[str] | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._begun = False  # a line on either that has no end yet
        self._calling = False

    def write(self, kind: Kind, text: str) -> None:
        if kind in ("text", "refusal"):
            self._settle()
            self._out.write(text)
            self._out.flush()
            self._begun = not text.endswith("\n") if text else self._begun
        elif kind == "tool":
            self._err.write(text)
            self._err.flush()
            self._calling = True

    def line(self, kind: Kind, text: str) -> None:
        self._settle()
        self._err.write(harmless(text) + "\n")
        self._err.flush()

    def status(self, text: str) -> None:
        """Who does not watch needs none."""

    def end(self) -> None:
        self._settle()
        if self._begun:
            self._out.write("\n")
            self._out.flush()
            self._begun = False

    def _settle(self) -> None:
        if self._calling:
            self._err.write("\n")
            self._calling = False


def harmless(text: str) -> str:
    """*text* without anything that a terminal obeys; controls are shown as their pictures."""
    if text.isprintable():
        return text
    return re.sub(r"\r\n?", "\n", text).translate(_CONTROLS)
