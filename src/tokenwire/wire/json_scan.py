"""The small tables by which `partial_json` reads strings and numbers that may be cut anywhere."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

_strict = msgspec.json.Decoder(str).decode
_SURROGATE = re.compile("[\ud800-\udfff]")

#: As much of a string's body as is whole: characters and complete escapes (RFC 8259, section 7). It stops at a quote,
#: at an escape that is cut or wrong, at a control character, at a surrogate that was not written as an escape, and
#: after 200 escapes: what a repeated group has passed is kept for going back. (Possessive groups would not, and match
#: wrongly in the first releases of Python 3.11.)
string_run: Final = re.compile(
    r'[^"\\\x00-\x1f\ud800-\udfff]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f\ud800-\udfff]*){0,200}'
).match

#: An escape of which the end has not come, at the end of a text.
cut_escape: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z").match
#: As much of an escape as is right; what follows it is the wrong character.
right_of_escape: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,4})?").match

#: A number, as long as it goes; the group is its fraction and exponent (section 6).
number_run: Final = re.compile(r"-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)").match

space_run: Final = re.compile(r"[ \t\r\n]*").match


def decode_run(run: str) -> str:
    """A whole piece of a string's body, its escapes decoded. Halves of surrogate pairs stay what they are."""
    quoted = f'"{run}"'
    try:
        return _strict(quoted)
    except msgspec.DecodeError:  # half a pair: legal JSON, and no Unicode
        text: str = json.loads(quoted)
        return text


def mended(text: str) -> tuple[str, str]:
    """(*text* with pairs of surrogates joined and lone ones made U+FFFD, the high half that it ends in or "")."""
    if _SURROGATE.search(text) is None:
        return text, ""
    half = ""
    if "\ud800" <= text[-1] <= "\udbff":
        text, half = text[:-1], text[-1]
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), half


_unit = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.|.", re.DOTALL).match


def after(text: str, position: int, count: int) -> int:
    """Where the text is *count* characters of a string's value after *position*, which is in its body."""
    for _ in range(count):
        found = _unit(text, position)
        position = len(text) if found is None else found.end()
    return position


# The grammar of a number, by character. A state is the row of what may follow; the names say what was read last.
Row = dict[str, Any]
START: Final[Row] = {}
_SIGN: Final[Row] = {}
_ZERO: Final[Row] = {}
_WHOLE: Final[Row] = {}
_POINT: Final[Row] = {}
_FRACTION: Final[Row] = {}
_E: Final[Row] = {}
_E_SIGN: Final[Row] = {}
_POWER: Final[Row] = {}
_DIGITS = "0123456789"

START.update(dict.fromkeys("123456789", _WHOLE), **{"-": _SIGN, "0": _ZERO})
_SIGN.update(dict.fromkeys("123456789", _WHOLE), **{"0": _ZERO})
_ZERO.update({".": _POINT, "e": _E, "E": _E})
_WHOLE.update(_ZERO, **dict.fromkeys(_DIGITS, _WHOLE))
_POINT.update(dict.fromkeys(_DIGITS, _FRACTION))
_FRACTION.update(_POINT, e=_E, E=_E)
_E.update(dict.fromkeys(_DIGITS, _POWER), **{"+": _E_SIGN, "-": _E_SIGN})
_E_SIGN.update(dict.fromkeys(_DIGITS, _POWER))
_POWER.update(_E_SIGN)
_ENDS = tuple(map(id, (_ZERO, _WHOLE, _FRACTION, _POWER)))


def may_end(row: Row) -> bool:
    """Whether a number may end here: "-", "1." and "1e" are none."""
    return id(row) in _ENDS


def number_of(text: str) -> int | float:
    """The value of a whole number's text, as `json.loads` has it: an int without fraction and exponent.

    Raises:
        ValueError: an int of more digits than the interpreter reads (`sys.set_int_max_str_digits`).
    """
    if text.lstrip("-").isdigit():
        return int(text)
    return float(text)
