"""The grammar of JSON (RFC 8259) as steps of a push parser: `PartialJson` below its surface.

Each state has a step. A step reads at least one character of the text at hand, as far as one regular expression goes,
and returns where the next one begins; it may stop anywhere, because a text may be cut anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenwire.wire import json_scan
from tokenwire.wire.json_events import Completed, StringDelta
from tokenwire.wire.json_reading import (
    COLON,
    FIRST_ITEM,
    FIRST_NAME,
    NAME,
    NAME_BODY,
    NEXT,
    NUMBER,
    OVER,
    STRING,
    VALUE,
    WORD,
    Reading,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_SPACE = " \t\r\n"
_WORDS: Final = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}


class Grammar(Reading):
    """The steps."""

    __slots__ = ()

    def _value(self, text: str, position: int) -> int:
        char = text[position]
        if char == '"':
            self._here = self._begin("string", "", position)
            self._state = STRING
            return position + 1
        if char == "{":
            self._open("object", {}, text, position)
            self._state = FIRST_NAME
            return position + 1
        if char == "[":
            self._open("array", [], text, position)
            self._state = FIRST_ITEM
            return position + 1
        if char in json_scan.START:
            return self._number(text, position)
        if char in _WORDS:
            self._judged("null" if char == "n" else "boolean", position)
            self._state = WORD
            self._word = _WORDS[char]
            return self._literal(text, position)
        if char in _SPACE:
            return json_scan.space_run(text, position).end()  # type: ignore[union-attr]  # it always matches
        raise self._wrong(text, position, "expected a value" + " or ']'" * (self._state == FIRST_ITEM))

    def _judged(self, kind: str, position: int) -> None:
        if self._judge is not None:
            self._at = position
            self._judge.start(kind)

    def _literal(self, text: str, position: int) -> int:
        word, value = self._word
        if text.startswith(word, position):
            self._at = position + len(word) - 1
            self._scalar(value)
            return position + len(word)
        come = text[position : position + len(word)]
        if not word.startswith(come):
            wrong = next(i for i, (char, right) in enumerate(zip(come, word, strict=False)) if char != right)
            raise self._wrong(text, position + wrong, f"expected {word[wrong]!r}")
        self._word = word[len(come) :], value
        return len(text)

    # -- numbers

    def _number(self, text: str, position: int) -> int:
        """A number begins. Most are whole within the piece, and a character follows that ends them."""
        self._judged("number", position)
        found = json_scan.number_run(text, position)
        if found is not None and found.end() < len(text) and text[found.end()] not in ".eE":
            self._parts = [found.group()]
            self._number_done(text, found.end())
            return found.end()
        self._parts = []
        self._row = json_scan.START
        self._state = NUMBER
        return self._digits(text, position)

    def _digits(self, text: str, position: int) -> int:
        row = self._row
        for index in range(position, len(text)):
            then = row.get(text[index])
            if then is None:
                if not json_scan.may_end(row):
                    raise self._wrong(text, index, "expected a digit")
                self._parts.append(text[position:index])
                self._number_done(text, index)
                return index
            row = then
        self._row = row
        self._parts.append(text[position:])
        return len(text)

    def _number_done(self, text: str, position: int) -> None:
        self._at = position
        try:
            value = json_scan.number_of("".join(self._parts))
        except ValueError:
            raise self._wrong(text, position, "a whole number has more digits than can be read", blame=False) from None
        self._parts = []
        self._scalar(value)

    # -- strings, names among them

    def _string(self, text: str, position: int) -> int:
        stop: int = json_scan.string_run(text, position).end()  # type: ignore[union-attr]  # it always matches
        if stop > position:
            self._grow(text[position:stop], position)
        if stop == len(text):
            return stop
        char = text[stop]
        if char == '"':
            if self._half:
                self._half = ""
                self._add("\ufffd", stop)
            self._string_done(stop)
            return stop + 1
        if char >= "\ud800":
            self._mend(char, stop)
            return stop + 1
        if char == "\\":
            if stop > position:  # perhaps it is only one too many for one run
                return stop
            if json_scan.cut_escape(text, stop):
                self._held = text[stop:]
                return len(text)
            wrong: int = json_scan.right_of_escape(text, stop).end()  # type: ignore[union-attr]  # it always matches
            expected = "four hexadecimal digits after \\u" if wrong > stop + 1 else 'one of "\\/bfnrtu after \\'
            raise self._wrong(text, wrong, f"expected {expected}")
        raise self._wrong(text, stop, "a control character in a string has to be escaped")

    def _grow(self, run: str, position: int) -> None:
        if "\\" in run:
            self._mend(json_scan.decode_run(run), position)
        elif self._half:
            self._mend(run, position)
        else:
            self._add(run, position)

    def _mend(self, run: str, position: int) -> None:
        """Add what may hold halves of characters."""
        run, self._half = json_scan.mended(self._half + run)
        if run:
            self._add(run, position)

    def _add(self, piece: str, position: int) -> None:
        self._parts.append(piece)
        if self._state == STRING:
            self._events.append(StringDelta(self._here, piece))
            if self._judge is not None:
                self._at = position
                self._judge.text(piece)

    def _string_done(self, position: int) -> None:
        parts = self._parts
        if self._state == NAME_BODY:
            self._slot = name = parts[0] if len(parts) == 1 else "".join(parts)
            self._parts = []
            self._state = COLON
            if self._judge is not None:
                self._at = position
                self._judge.key(name)
            return
        if parts:
            self._show()
        value = self._container[self._slot]
        if self._judge is not None:
            self._at = position
            self._judge.end(value)
        self._events.append(Completed(self._here, value))
        self._state = NEXT if self._stack else OVER

    # -- between values

    def _first_item(self, text: str, position: int) -> int:
        if text[position] == "]":
            return self._close_container(position)
        return self._value(text, position)

    def _first_name(self, text: str, position: int) -> int:
        if text[position] == "}":
            return self._close_container(position)
        return self._name(text, position)

    def _name(self, text: str, position: int) -> int:
        char = text[position]
        if char == '"':
            self._state = NAME_BODY
            return position + 1
        if char in _SPACE:
            return json_scan.space_run(text, position).end()  # type: ignore[union-attr]  # it always matches
        raise self._wrong(text, position, "expected a name in quotes" + " or '}'" * (self._state == FIRST_NAME))

    def _colon(self, text: str, position: int) -> int:
        char = text[position]
        if char == ":":
            self._state = VALUE
            return position + 1
        if char in _SPACE:
            return json_scan.space_run(text, position).end()  # type: ignore[union-attr]  # it always matches
        raise self._wrong(text, position, "expected ':'")

    def _next(self, text: str, position: int) -> int:
        char = text[position]
        is_list = type(self._container) is list
        if char == ",":
            self._state = VALUE if is_list else NAME
            return position + 1
        if char == ("]" if is_list else "}"):
            return self._close_container(position)
        if char in _SPACE:
            return json_scan.space_run(text, position).end()  # type: ignore[union-attr]  # it always matches
        raise self._wrong(text, position, f"expected ',' or {']' if is_list else '}'!r}")

    def _after(self, text: str, position: int) -> int:
        position = json_scan.space_run(text, position).end()  # type: ignore[union-attr]  # it always matches
        if position < len(text):
            raise self._wrong(text, position, "expected nothing after the value")
        return position


STEPS: Final[tuple[Callable[[Any, str, int], int], ...]] = (
    Grammar._value, Grammar._first_item, Grammar._first_name, Grammar._name, Grammar._colon, Grammar._next,
    Grammar._string, Grammar._string, Grammar._digits, Grammar._literal, Grammar._after,
)  # fmt: skip
