"""The JSON in an answer of a model that was asked for JSON and wrote a little more: prose before it, a Markdown fence
around it, prose after it."""

from __future__ import annotations

import re
from typing import Final

_SPACE: Final = " \t\r\n"
#: Where JSON begins: a fence at the beginning of a line with its info string, a brace anywhere, a bracket at the
#: beginning of a line ("see [1]" is prose).
_BEGINNING = re.compile(r"^[ \t]*(?P<fence>```)|(?P<brace>\{)|^[ \t]*(?P<bracket>\[)", re.MULTILINE)
_SCALAR: Final = '"-0123456789'
#: What says where JSON ends: outside of strings it has no backtick.
_OUTSIDE = re.compile(r'["{}\[\]`]').search
_INSIDE = re.compile(r'["\\]').search


class Unfenced:
    """A text in pieces -> the JSON in it, in pieces. Linear; holds only what may still turn out to be prose.

    - A text that begins with JSON is given through from there, at once.
    - After prose, the JSON begins with a fence (three backticks that begin a line), with a brace, or with a bracket
      that begins a line. Only the first is taken.
    - It ends with the fence, or where its first bracket closes; what follows is dropped. An answer of one number or
      string without a fence ends with the text.
    - Where nothing of the kind comes, `close` gives the whole text: the parser will say what is wrong with it.
    """

    __slots__ = ("_blank", "_depth", "_escaped", "_fenced", "_held", "_info", "_line", "_quoted", "_started", "over")

    def __init__(self) -> None:
        self.over = False
        """Whether the JSON has ended and the rest is dropped."""
        self._held: list[str] = []  # no JSON yet
        self._line = ""  # what matters of the line that is open
        self._blank = True  # nothing but white space came
        self._started = False
        self._info = False  # within a fence's info string
        self._fenced = False
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def feed(self, text: str) -> str:
        """Take the next piece; returns what of the JSON it brought, perhaps nothing."""
        if self.over:
            return ""
        if not self._started:
            text = self._search(text)
        if self._info:
            _, newline, text = text.partition("\n")
            self._info = not newline
        return self._through(text) if self._started and not self._info else ""

    def close(self) -> str:
        """The text is over. Returns it whole if no JSON was found in it, else nothing."""
        held, self._held = "".join(self._held), []
        return "" if self._started else held

    def _search(self, text: str) -> str:
        """Look for the beginning in the line that is open and what came now; returns what follows it."""
        self._held.append(text)
        line = self._line + text
        if self._blank:
            come = line.lstrip(_SPACE)
            self._blank = not come
            if come and come[0] in _SCALAR:
                return self._start(come)
        found = _BEGINNING.search(line)
        if found is None:
            # Of the open line only this matters: that there is something in it, or the backticks that it begins with.
            rest = line[line.rfind("\n") + 1 :].lstrip(" \t")
            self._line = rest if rest in ("", "`", "``") else "…"
            return ""
        if found.lastgroup == "fence":
            self._fenced = self._info = True
            return self._start(line[found.end() :])
        return self._start(line[found.end() - 1 :])

    def _start(self, text: str) -> str:
        self._started = True
        self._held = []
        self._line = ""
        return text

    def _through(self, text: str) -> str:
        """As much of *text* as is JSON."""
        position = 0
        while position < len(text):
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            found = (_INSIDE if self._quoted else _OUTSIDE)(text, position)
            if found is None:
                break
            position = found.end()
            char = found.group()
            if char == "`":
                self.over = True
                return text[: position - 1]
            if char == '"':
                self._quoted = not self._quoted
            elif char == "\\":
                self._escaped = True
            elif char in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth <= 0 and not self._fenced:
                    self.over = True
                    return text[:position]
        return text
