"""A small deterministic tokenizer: text -> token-like pieces that join to the text again, exactly.

No vendor's vocabulary: the pieces only have the *shape* of tokens (a word with its leading space, half a long
word, a run of punctuation, one or two ideographs), because that is what decides how many events a stream has
and how large they are. English comes to about four characters a piece, as with the real ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Alternatives in order; the last one takes any single character, so that every text is covered without a gap.
_PIECE = re.compile(
    r"""
      [ ]?[A-Za-z]+                                   # a Latin word with its leading space; cut below if long
    | [ ]?[0-9]{1,3}                                  # digits go in threes
    | [\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]{1,2}  # kana and ideographs: one or two a token
    | [ ]?[^\W\d_]+                                   # letters of every other script, accents included
    | [ ]?[!-/:-@\[-`{-~]{1,3}                        # ASCII punctuation in short runs, as in `"},`
    | \n+
    | [ \t]+(?=[ \t])                                 # indentation, but for the next word's own blank
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
_WHOLE = 8  # a word of up to this many characters, its blank included, is one piece
_CUT = 5  # what longer ones are cut into
_CUT_OTHER = 3  # other scripts are rarer in any vocabulary, so their pieces are shorter

#: Longest text that is counted piece by piece; a longer one is counted on this much of it and scaled (a 32
#: MiB prompt would hold the event loop for seconds, and nobody checks its count to the token).
EXACT = 200_000


def pieces(text: str) -> list[str]:
    """Cut *text* into token-like pieces; ``"".join(pieces(text)) == text``. No code point is ever cut."""
    found: list[str] = []
    for piece in _PIECE.findall(text):
        if len(piece) <= _CUT_OTHER or not piece[-1].isalpha():
            found.append(piece)
        elif piece.isascii():
            if len(piece) <= _WHOLE:
                found.append(piece)
            else:
                found += [piece[i : i + _CUT] for i in range(0, len(piece), _CUT)]
        else:
            found += [piece[i : i + _CUT_OTHER] for i in range(0, len(piece), _CUT_OTHER)]
    return found


def count(text: str) -> int:
    """The number of pieces of *text*; scaled from its first part beyond ``EXACT`` characters."""
    if len(text) <= EXACT:
        return len(pieces(text))
    return round(len(pieces(text[:EXACT])) * len(text) / EXACT)


def split_surrogates(parts: Iterable[str]) -> list[str]:
    """Cut every character beyond U+FFFF into two pieces, one lone surrogate each, as some servers do.

    The result is not valid Unicode by itself: it can only travel as JSON escapes.
    JSON.
    """
    halves: list[str] = []
    for part in parts:
        if part.isascii() or max(part) <= "\uffff":
            halves.append(part)
            continue
        units = part.encode("utf-16-be")
        text = ""
        for i in range(0, len(units), 2):
            unit = chr(int.from_bytes(units[i : i + 2], "big"))
            text += unit
            if "\ud800" <= unit <= "\udbff":
                halves.append(text)
                text = ""
        halves.append(text)
    return halves
