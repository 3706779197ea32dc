"""Strings that look as if somebody meant them: by pattern, format, the property's name, the prompt."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenwire.simulator.schema.check import UnsatisfiableError
from tokenwire.simulator.schema.patterns import LONGEST, text_for

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


@dataclass(frozen=True)
class Hints:
    """What the prompt offers for plain strings.

    Attributes:
        prompt: the question itself, for properties such as ``query``.
        subject: what it is about (a city, a name), for properties such as ``location``.
    """

    prompt: str = ""
    subject: str = ""


_SUBJECT = (
    "city",
    "location",
    "place",
    "town",
    "country",
    "region",
    "destination",
    "subject",
    "topic",
    "symbol",
)
_PROMPT = ("query", "question", "prompt", "search", "q", "input", "text", "message")

_NAMES = ("Ada Novak", "Jonas Berg", "Mei Tanaka", "Amara Okafor", "Łukasz Wójcik", "Sofía Reyes")
_PLACES = ("Oslo", "Kraków", "Lisboa", "Nairobi", "Kyoto", "Montréal")
_SENTENCES = (
    "A short note that says what matters.",
    "It works, and here is how to check it.",
    "Two days by train, one by the sea.",
    "Nobody noticed, which was the point.",
)
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbour", "island", "juniper")

_BY_NAME: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("name", "author", "person", "user", "customer", "owner", "contact"), _NAMES),
    **dict.fromkeys(_SUBJECT, _PLACES),
    **dict.fromkeys(("description", "summary", "text", "note", "reason", "message", "content"), _SENTENCES),
    "title": ("The tide tables", "A week in the hills", "Notes on waiting"),
    "currency": ("EUR", "USD", "JPY"),
    "language": ("en", "pl", "ja"),
    "color": ("teal", "amber", "crimson"),
    "email": ("ada@example.com", "jonas@example.org"),
    "url": ("https://example.com/a", "https://example.org/b?c=1"),
    "phone": ("+1 555 0142", "+44 20 5550 0199"),
    "date": ("2026-03-14", "2026-11-02"),
}


def _stamp(rng: random.Random) -> str:
    return f"{_day(rng)}T{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}Z"


def _day(rng: random.Random) -> str:
    return f"{rng.randint(2020, 2030)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


_FORMATS: dict[str, Callable[[random.Random], str]] = {
    "date-time": _stamp,
    "date": _day,
    "time": lambda rng: _stamp(rng)[11:],
    "duration": lambda rng: f"P{rng.randint(1, 9)}DT{rng.randint(1, 23)}H",
    "email": lambda rng: f"{rng.choice(_WORDS)}{rng.randrange(100)}@example.com",
    "idn-email": lambda rng: f"{rng.choice(_WORDS)}@example.com",
    "hostname": lambda rng: f"{rng.choice(_WORDS)}.example.com",
    "idn-hostname": lambda rng: f"{rng.choice(_WORDS)}.example.com",
    "ipv4": lambda rng: f"192.0.2.{rng.randrange(256)}",
    "ipv6": lambda rng: f"2001:db8::{rng.randrange(1, 65536):x}",
    "uri": lambda rng: f"https://example.com/{rng.choice(_WORDS)}/{rng.randrange(1000)}",
    "iri": lambda rng: f"https://example.com/{rng.choice(_WORDS)}",
    "uri-reference": lambda rng: f"/{rng.choice(_WORDS)}/{rng.randrange(1000)}",
    "iri-reference": lambda rng: f"/{rng.choice(_WORDS)}",
    "uri-template": lambda rng: f"https://example.com/{{{rng.choice(_WORDS)}}}",
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "json-pointer": lambda rng: f"/{rng.choice(_WORDS)}/{rng.randrange(10)}",
    "relative-json-pointer": lambda rng: f"{rng.randrange(3)}/{rng.choice(_WORDS)}",
    "regex": lambda rng: f"^{rng.choice(_WORDS)}[0-9]+$",
    "byte": lambda rng: "dG9rZW53aXJl",
}


def string_for(core: dict[str, Any], name: str, hints: Hints, rng: random.Random) -> str:
    """A string for the assertions in *core*, for the property called *name* ("" if there is none).

    Raises:
        UnsatisfiableError: no such string was found.
    """
    shortest = core.get("minLength", 0)
    longest = core.get("maxLength")
    if shortest > LONGEST or (longest is not None and longest < shortest):
        raise UnsatisfiableError(f"no string has {shortest} to {longest} characters here")
    if "pattern" in core:
        return text_for(core["pattern"], shortest, longest, rng)
    if core.get("format") in _FORMATS:
        text = _FORMATS[core["format"]](rng)
        if shortest <= len(text) <= (len(text) if longest is None else longest):
            return text
        # Formats are annotations, lengths are assertions: where both can't be had, the length wins.
    return _fitted(_plain(name.lower(), hints, rng), shortest, longest, rng)


def _plain(name: str, hints: Hints, rng: random.Random) -> str:
    for wanted, hint in ((_SUBJECT, hints.subject), (_PROMPT, hints.prompt)):
        if hint and any(name == word or (len(word) > 1 and word in name) for word in wanted):
            return hint
    for word, values in _BY_NAME.items():
        if word in name:
            return rng.choice(values)
    return f"{rng.choice(_WORDS)} {rng.choice(_WORDS)}"


def _fitted(text: str, shortest: int, longest: int | None, rng: random.Random) -> str:
    while len(text) < shortest:
        text += f" {rng.choice(_WORDS)}"
    return text if longest is None else text[:longest]
