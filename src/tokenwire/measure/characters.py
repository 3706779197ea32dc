"""What a text is made of, as far as the number of its tokens depends on it: a few counts that add up over its parts.

Tokenizers first cut a text into words, runs of punctuation, groups of digits and breaks, then each of these into the
longest pieces of their vocabulary. So besides the characters of each kind, the words and the runs count: English has
one token a word whatever its length, and ``"},`` is one. Scripts are kept apart, because vocabularies treat them very
differently; the first byte of a character in UTF-8 tells enough of them (RFC 3629 section 3).
"""

from __future__ import annotations

from typing import Final

_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = b"0123456789"
_BLANKS: Final = b" \t\r\n"
_ASCII: Final = bytes(range(0x80))
SIGNS: Final = "".join(chr(byte) for byte in range(0x21, 0x7F) if byte not in _LETTERS + _DIGITS)
_OTHERS: Final = bytes(byte for byte in _ASCII if byte not in _LETTERS + _DIGITS + _BLANKS)
#: All that begins no character of several bytes.
_NO_LEADS: Final = _ASCII + bytes(range(0x80, 0xC0))

# Four kinds of ASCII; its words, the long ones among them, and the letters of those; runs of signs; the scripts.
WORDS: Final = 4
RUNS: Final = 7
SCRIPTS: Final = 8
_BY_LEAD: Final = (
    (range(0xC2, 0xCE), 2.5),  # Latin with accents, and a few signs
    (range(0xCE, 0xD0), 2.5),  # Greek
    (range(0xD0, 0xD5), 2.5),  # Cyrillic
    (range(0xD5, 0xD8), 2.5),  # Armenian, Hebrew
    (range(0xD8, 0xE0), 2.5),  # Arabic, and a few more
    ((0xE0,), 1.2),  # Indic
    ((0xE1,), 1.2),  # Vietnamese, Georgian, Khmer …
    ((0xE2,), 1.2),  # signs: quotes, dashes, arrows
    ((0xE3,), 1.2),  # kana, and the punctuation of Chinese and Japanese
    (range(0xE4, 0xEA), 1.2),  # Han
    (range(0xEA, 0xEE), 1.2),  # Hangul
    ((0xEE, 0xEF), 1.2),  # full-width forms
    (range(0xF0, 0xF8), 0.5),  # emoji
)
_INDIC: Final = SCRIPTS + 5
_THAI: Final = SCRIPTS + len(_BY_LEAD)

#: Tokens of one of each, by the static rule (``measure.tokens``), which knows nothing of words and runs.
RULE: Final = (1 / 4.4, 1 / 2.5, 1 / 2.0, 1 / 4.4, 0.0, 0.0, 0.0, 0.0, *(1 / each for _, each in _BY_LEAD), 1 / 1.2)
_APART: Final = (0, 0, 0, 0, 0.5, 0.4, 0.1, 0.3) + (0,) * (len(_BY_LEAD) + 1)
#: How far from that a vocabulary may well be, one standard deviation: half, and of words and runs what is usual.
DOUBT: Final = tuple(doubt or weight / 2 for weight, doubt in zip(RULE, _APART, strict=True))
SIZE: Final = len(RULE)

#: Words longer than this are cut by most vocabularies.
_WHOLE: Final = 8

_ONLY_LETTERS: Final = bytes(byte if byte in _LETTERS else 0x20 for byte in range(256))
_ONLY_SIGNS: Final = bytes(byte if chr(byte) in SIGNS else 0x20 for byte in range(256))
# Each first byte as the number of its script: then one count a script tells.
_NUMBERED: Final = bytes(
    next((number for number, (leads, _) in enumerate(_BY_LEAD) if byte in leads), 0xFF) for byte in range(256)
)
_NONE: Final = (0,) * (SIZE - SCRIPTS)


def profile(text: str) -> list[int]:
    """The counts of *text*: ``SIZE`` of them, or of ASCII the first ones, since all others are 0. 10 ns a byte."""
    data = text.encode("utf-8", "replace")
    size = len(data)
    # bytes.translate deletes in C: what it shortens is the count.
    counts = [size - len(data.translate(None, kind)) for kind in (_LETTERS, _DIGITS, _OTHERS, _BLANKS)]
    words = data.translate(_ONLY_LETTERS).split()
    counts.append(len(words))
    long = [word for word in words if len(word) > _WHOLE]
    counts.append(len(long))
    counts.append(len(b"".join(long)))
    counts.append(len(data.translate(_ONLY_SIGNS).split()))
    if len(text) == size:
        return counts
    leads = data.translate(_NUMBERED, _NO_LEADS)
    counts += _NONE
    while leads:  # a text has two or three scripts: quicker than to ask for each of them
        number = leads[:1]
        others = leads.replace(number, b"")
        counts[SCRIPTS + number[0]] = len(leads) - len(others)
        leads = others
    thai = data.count(b"\xe0\xb8") + data.count(b"\xe0\xb9")  # it shares its first byte with the Indic scripts
    counts[_INDIC] -= thai
    counts[_THAI] = thai
    return counts
