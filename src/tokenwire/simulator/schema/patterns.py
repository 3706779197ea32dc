"""Text that a regular expression finds itself in."""

from __future__ import annotations

import importlib
import string
from typing import TYPE_CHECKING, Any

from tokenwire.simulator.schema.check import UnsatisfiableError, compiled

if TYPE_CHECKING:
    import random

# The standard library's own regex parser. It is private (`re._parser` since Python 3.11), and the price is a
# look at it with every new Python; the alternative is a second regex parser in this package, which would be
# worse.
_parser: Any = importlib.import_module("re._parser")

_ANY = string.ascii_letters + string.digits + " "
_CATEGORIES = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_SPACE": " ",
    "CATEGORY_WORD": string.ascii_letters + string.digits + "_",
    "CATEGORY_NOT_DIGIT": string.ascii_letters,
    "CATEGORY_NOT_SPACE": string.ascii_letters + string.digits,
    "CATEGORY_NOT_WORD": " -.,",
}
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))

_ATTEMPTS = 60
#: Longest text that is made to satisfy a lower bound.
LONGEST = 100_000


def text_for(pattern: str, shortest: int, longest: int | None, rng: random.Random) -> str:
    """A text of *shortest* to *longest* characters in which *pattern* is found.

    Raises:
        UnsatisfiableError: none was found in a bounded number of attempts (look-arounds are only tried by
        luck).
    """
    regex = compiled(pattern)
    if regex is None:
        raise UnsatisfiableError(f"the pattern {pattern!r} is not understood")
    tree = _parser.parse(regex.pattern)
    for attempt in range(_ATTEMPTS):
        # First as short as allowed, then with ever more repetitions, up to what the lower bound may need.
        text = _Writer(rng, (attempt * max(4, shortest)) // 8).sequence(tree)
        if len(text) < shortest:
            text += "a" * (shortest - len(text)) if attempt % 2 else _stretch(text, shortest)
        if regex.search(text) and len(text) >= shortest and (longest is None or len(text) <= longest):
            return text
    raise UnsatisfiableError(f"no text of {shortest} to {longest or 'any number of'} characters found for {pattern!r}")


def _stretch(text: str, length: int) -> str:
    """Fill up at the front with the text's own first character: right for `x{3,}$` and the like."""
    return (text[:1] or "a") * (length - len(text)) + text


class _Writer:
    """Writes one text for a parsed pattern; ``more`` is the room for repetitions beyond each minimum."""

    def __init__(self, rng: random.Random, more: int) -> None:
        self.rng = rng
        self.more = more
        self.room = 2 * LONGEST
        self.groups: dict[int, str] = {}

    def sequence(self, tree: Any) -> str:
        return "".join(self.node(str(op), arg) for op, arg in tree)

    def node(self, op: str, arg: Any) -> str:
        self.room -= 1
        if self.room < 0:
            raise UnsatisfiableError("the pattern asks for too long a text")
        if op == "LITERAL":
            return chr(arg)
        if op in ("IN", "ANY", "NOT_LITERAL"):
            return self.char(op, arg)
        if op == "BRANCH":
            return self.sequence(self.rng.choice(arg[1]))
        if op == "SUBPATTERN":
            self.groups[arg[0]] = text = self.sequence(arg[3])
            return text
        if op in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            low, high, inner = arg
            times = self.rng.randint(low, min(int(high), low + self.more))
            return "".join(self.sequence(inner) for _ in range(times))
        if op == "GROUPREF":
            return self.groups.get(arg, "")
        if op == "ATOMIC_GROUP":
            return self.sequence(arg)
        return ""  # AT, ASSERT, ASSERT_NOT and the like take no room; whether they hold is seen in the search

    def char(self, op: str, arg: Any) -> str:
        if op == "ANY":
            return self.rng.choice(_ANY)
        if op == "NOT_LITERAL":
            return self.rng.choice(_ANY.replace(chr(arg), ""))
        allowed = "".join(_members(str(kind), value) for kind, value in arg if str(kind) != "NEGATE")
        if str(arg[0][0]) == "NEGATE":
            allowed = "".join(c for c in _PRINTABLE if c not in allowed) or "\u00b7"
        return self.rng.choice(allowed)


def _members(kind: str, value: Any) -> str:
    if kind == "LITERAL":
        return chr(value)
    if kind == "RANGE":
        low, high = value
        return "".join(map(chr, range(low, min(high, low + 200) + 1)))
    return _CATEGORIES.get(str(value), "a")
