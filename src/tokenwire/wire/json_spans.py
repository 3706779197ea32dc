"""Where a value stands in a JSON text: byte spans of strings and whole numbers, found by path.

A parser says what a text means and forgets where each value stood; whoever wants to take a value out and
put another in, leaving every other byte alone, needs the place. So a text is read twice: by the standard
library's parser, which says whether it is JSON at all (`decode`), and then token by token (`locate`), which
may rely on that and needs no grammar of its own.

Pure Python, some tens of microseconds for a chunk of 300 bytes: for learning, never for the hot path.
"""

from __future__ import annotations

import enum
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection

Path: TypeAlias = tuple[str | int, ...]
"""Names and array positions from the root to a value: ``("choices", 0, "delta", "content")``."""


class Kind(enum.Enum):
    """What stands in a span."""

    STRING = "string"  # the body of a JSON string, without its quotes, escapes as they came
    INTEGER = "integer"  # digits alone: a whole number without sign, fraction or exponent
    SPACES = "spaces"  # any number of U+0020, also none; `locate` finds none, it is here for the envelopes


class Span(NamedTuple):
    """Bytes ``start`` up to, not including, ``stop``."""

    kind: Kind
    start: int
    stop: int


_NO_ESCAPE = re.compile(rb'\\(?!["/bfnrt]|u[0-9A-Fa-f]{4})')  # in a text without pairs of backslashes
_CONTROLS = bytes(range(0x20))
# The tokens that say where we are; white space, colons, true, false and null are passed over. The repeated
# group costs memory by the escape, which is why `locate` is for short texts.
_TOKEN = re.compile(
    rb"""
    " (?P<string> [^"\\]* (?:\\.[^"\\]*)* ) " (?P<name> [ \t\r\n]* : )?
    | (?P<number> [-0-9] [-+.0-9eE]* )
    | (?P<open> [{\[] )
    | (?P<close> [}\]] )
    | (?P<comma> , )
    """,
    re.VERBOSE | re.DOTALL,
)


def is_string_body(body: bytes) -> bool:
    """Whether *body* may stand between two quotes: RFC 8259 section 7, in strict UTF-8 (no surrogates).

    Linear, and at C speed. What ``\\u`` escapes spell is not looked at: a lone surrogate is legal.
    """
    # With the pairs gone, each backslash that is left starts an escape of another kind. Searches and counts
    # keep nothing: a pattern for the whole body, or a substitution of all escapes, would take hundreds of
    # megabytes for a body of 16 MiB that is made of escapes.
    if b"\\" in body:
        rest = body.replace(b"\\\\", b"  ")
        if rest.count(b'"') != rest.count(b'\\"') or _NO_ESCAPE.search(rest):
            return False
    elif b'"' in body:
        return False
    if len(body.translate(None, _CONTROLS)) != len(body):
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def decode(text: bytes) -> Any:
    """The JSON value that *text* is, more strictly than usual.

    Raises:
        ValueError: no JSON (RFC 8259: no NaN either) in UTF-8, or an object has one name twice: readers
            differ on which of the two counts (section 4).
        RecursionError: nested deeper than the interpreter's limit.
    """
    return _DECODER.decode(text.decode())


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice in one object")
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_refuse)


def locate(text: bytes, start: int, stop: int, wanted: Collection[Path]) -> dict[Path, Span]:
    """Where the *wanted* paths lead in the JSON value ``text[start:stop]``, which `decode` has accepted.

    For texts of some kilobytes: a hundred bytes of memory per escape while it runs.

    Returns:
        The spans, as places in *text*, of those paths that lead to a string or to digits alone.
    """
    spans: dict[Path, Span] = {}
    here: list[str | int] = []  # the path to the next value, when a string or number comes up
    for token in _TOKEN.finditer(text, start, stop):
        what = token.lastgroup
        if what == "name":
            here[-1] = json.loads(b'"%b"' % token["string"])
        elif what == "open":
            here.append(0 if token["open"] == b"[" else "")
        elif what == "close":
            here.pop()
        elif what == "comma":
            if isinstance(here[-1], int):
                here[-1] += 1
        elif (path := tuple(here)) in wanted:
            if what == "string":
                spans[path] = Span(Kind.STRING, *token.span("string"))
            elif token["number"].isdigit():
                spans[path] = Span(Kind.INTEGER, *token.span())
    return spans


def guess(text: bytes, start: int, stop: int, wanted: Collection[Path]) -> dict[Path, Span]:
    """What is probably what `locate` would say, for a fifth of its price; to be checked by whoever uses it.

    Returns:
        Spans of strings, if the name of each *wanted* path stands before exactly one string; else nothing.
    """
    spans: dict[Path, Span] = {}
    for path in wanted:
        found = list(_member(path[-1]).finditer(text, start, stop))
        if len(found) != 1:
            return {}
        spans[path] = Span(Kind.STRING, *found[0].span(1))
    return spans


@lru_cache(maxsize=64)
def _member(name: str | int) -> re.Pattern[bytes]:
    """A member of that name whose value is a string; an array's position matches nothing."""
    key = json.dumps(name).encode()
    return re.compile(rb'%b[ ]*:[ ]*"([^"\\]*(?:\\.[^"\\]*)*)"' % re.escape(key), re.DOTALL)
