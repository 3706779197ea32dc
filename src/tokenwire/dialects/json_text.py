"""JSON as providers really send it: strings cut inside a character, and texts that come in fragments.

Providers cut a text at token borders, and a token may be half a character. Written as ``\\ud83c`` in one chunk and
``\\udf0a`` in the next, both chunks are legal JSON (RFC 8259, section 8.2) and neither string is Unicode. msgspec, like
every strict parser, refuses them; the standard library's gives them through as lone surrogates, which no UTF-8 writer
takes. So such a chunk is read a second time by the latter, its halves are joined over the deltas (``mend``), and what
stays alone becomes U+FFFD (``scrub``).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeVar

import msgspec

_strict = msgspec.json.Decoder().decode
_SURROGATE = re.compile("[\ud800-\udfff]")
_STRUCTURE = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')
_SPACE = " \t\r\n"

#: JSON values that say nothing. Zero and false say something.
NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})

# Line ends to many a reader of lines (Python's splitlines, httpx's ``iter_lines``), though not to JSON or SSE.
_LINE_ENDS: Final = (("\x85", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))

S = TypeVar("S", bound=msgspec.Struct)


def one_line(value: Any) -> str:
    """*value* as JSON that is one line to any reader of lines."""
    text = msgspec.json.encode(value).decode()
    if not text.isascii():
        for end, escaped in _LINE_ENDS:  # `translate` takes 50 ns a character, and these are seldom there
            text = text.replace(end, escaped)
    return text


def loads(text: str) -> tuple[Any, bool]:
    """The JSON value of *text*, and whether it is torn: it may hold lone surrogates (or NaN, from Python servers).

    Raises:
        ValueError: not JSON.
        RecursionError: nested deeper than the interpreter goes.
    """
    try:
        return _strict(text), False
    except ValueError:
        return json.loads(text), True


def mend(held: dict[str, str], key: str, text: str) -> str:
    """*text*, with the half character that an earlier delta of the same *key* ended in, less one that it ends in.

    The half is kept in *held* until the next call; the text returned holds no surrogates. At the end of a text,
    whatever is still held under its key is half a character whose other half never came: U+FFFD.
    """
    text = held.pop(key, "") + text
    if "\ud800" <= text[-1:] <= "\udbff":
        held[key] = text[-1]
        text = text[:-1]
    return whole(text)


def whole(text: str) -> str:
    """*text* with surrogate pairs joined and lone ones replaced by U+FFFD."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def scrub(value: Any) -> Any:
    """A JSON value of which every string, names included, is Unicode."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [scrub(item) for item in value]
    if isinstance(value, dict):
        return {whole(name): scrub(item) for name, item in value.items()}
    return value


def scrub_fields(struct: S) -> S:
    """*struct* with ``scrub`` applied to its fields."""
    return type(struct)(**{name: scrub(getattr(struct, name)) for name in struct.__struct_fields__})


class Balance:
    """Where in a JSON text that comes in fragments the first value ends: brackets and strings counted, nothing kept.

    ``begun`` says that a bracket or string opened, ``complete`` that it closed. Linear, in constant memory; it does not
    say whether the text is valid, which nobody may ask before the end anyway.
    """

    __slots__ = ("_depth", "_escaped", "_quoted", "begun", "complete")

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self.begun = False
        self.complete = False

    def feed(self, text: str) -> int:
        """Read on. Returns the offset where a second object opens after a complete first value (it and what follows
        is not read), else -1."""
        position = 0
        end = len(text)
        while position < end:
            if self.complete:
                return self._second(text, position)
            if self._quoted:
                position = self._through_string(text, position)
                continue
            found = _STRUCTURE.search(text, position)
            if found is None:
                break
            position = found.end()
            self._step(found.group())
        return -1

    def _step(self, token: str) -> None:
        self.begun = True
        if token == '"':
            self._quoted = True
        elif token in "{[":
            self._depth += 1
        else:
            self._depth -= 1
            self.complete = self._depth <= 0

    def _through_string(self, text: str, position: int) -> int:
        """On to the end of the string, or of the fragment."""
        if self._escaped:
            self._escaped = False
            return position + 1
        found = _IN_STRING.search(text, position)
        if found is None:
            return len(text)
        if found.group() == "\\":
            self._escaped = True
        else:
            self._quoted = False
            self.complete = self._depth == 0
        return found.end()

    @staticmethod
    def _second(text: str, position: int) -> int:
        while position < len(text) and text[position] in _SPACE:
            position += 1
        return position if text.startswith("{", position) else -1

    def copy(self) -> Balance:
        twin = Balance()
        twin._depth, twin._quoted, twin._escaped = self._depth, self._quoted, self._escaped
        twin.begun, twin.complete = self.begun, self.complete
        return twin
