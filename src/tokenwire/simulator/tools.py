"""Which tools a prompt asks for, and what to say once they have answered: by words alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

#: At most this many calls at once; more never make a better test.
MOST_CALLS = 4
# Only the beginning of a prompt is looked at: it may have megabytes.
_LOOKED_AT = 10_000
# Longest quotation of a tool result, in characters: the answer should stay shorter than an essay.
_QUOTED = 600

_WORD = re.compile(r"[^\W\d_]+|\d+")
_NAME = re.compile(r"[^\W\d_][\w'’.-]*")
# "in Oslo", "for kyoto": where a name may stand that nobody wrote with a capital.
_AFTER_PREPOSITION = re.compile(
    r"\b(?:in|for|at|of|about|from|to)\s+([^\W\d_][\w'’-]*)(?:\s+and\s+([^\W\d_][\w'’-]*))?"
)
# What makes a model call one tool after the other, a turn each, and what makes it botch the arguments of a call.
_IN_TURNS = re.compile(r"\bone (?:after (?:another|the other)|by one)\b|\bstep by step\b", re.IGNORECASE)
_GARBLED = re.compile(r"\bgarbled arguments\b", re.IGNORECASE)
_JOINED = re.compile(r"\band\b|\bthen\b|&|,|;|\+", re.IGNORECASE)
# Words that say nothing about which tool is meant.
_NOISE = """
    a an and any are as at be by can could current do does for from get give given has have how i if in into is
    it me my now of on or please return returns set should show so tell than that the their then there this to
    today tomorrow use used what when where which who will with would you your
"""
_STOP_WORDS = frozenset(_NOISE.split())


@dataclass(frozen=True)
class Tool:
    """A function that may be called; ``parameters`` is the JSON Schema of its arguments."""

    name: str
    description: str
    parameters: Any


def plan_calls(prompt: str, tools: tuple[Tool, ...], *, must: bool, parallel: bool) -> list[tuple[Tool, str]]:
    """The calls to make, each with the subject that it is about ("" if none is seen); none if nothing fits.

    A tool fits if the prompt shares a word with its name or description. Several calls are made if *parallel*
    allows it and the prompt joins things ("and", a comma): one for each subject, or one for each fitting
    tool.

    Args:
        must: call the best tool even if no word fits.
    """
    prompt = prompt[:_LOOKED_AT]
    fitting = _by_fit(prompt, tools)
    if not fitting:
        return [(tools[0], _first(subjects(prompt)))] if must and tools else []
    about = subjects(prompt)
    joined = parallel and _JOINED.search(prompt) is not None
    if not joined:
        return [(fitting[0], _first(about))]
    if len(fitting) > 1 and len(about) <= len(fitting):
        return [(tool, about[min(i, len(about) - 1)] if about else "") for i, tool in enumerate(fitting[:MOST_CALLS])]
    return [(fitting[0], subject) for subject in about[:MOST_CALLS] or [""]]


def in_turns(prompt: str) -> bool:
    """Whether each call is to have a turn of its own, when the one before is answered."""
    return _IN_TURNS.search(prompt[:_LOOKED_AT]) is not None


def garbled(prompt: str) -> bool:
    """Whether the arguments of the first calls are to be no JSON: their end is missing."""
    return _GARBLED.search(prompt[:_LOOKED_AT]) is not None


def _first(about: list[str]) -> str:
    return about[0] if about else ""


def _by_fit(prompt: str, tools: tuple[Tool, ...]) -> list[Tool]:
    """Tools whose name shares a word with the prompt, else those whose description does; the best first.

    Among equals the order in which the prompt mentions them decides: "weather … time" calls in that order.
    """
    asked = _words(prompt)
    for part in ("name", "description"):
        scored = []
        for tool in tools:
            places = [asked.index(word) for word in set(_words(getattr(tool, part))) if word in asked]
            if places:
                scored.append((-len(places), min(places), tool))
        if scored:
            return [tool for _, _, tool in sorted(scored, key=lambda entry: entry[:2])]
    return []


def _words(text: str) -> list[str]:
    """The words that say something, lower case and singular, in order; ``getUser_names`` has two."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text)
    return [word.removesuffix("s") for word in _WORD.findall(spaced.lower()) if word not in _STOP_WORDS]


def subjects(prompt: str) -> list[str]:
    """What the prompt is about, by its spelling: names with a capital, else words after a preposition."""
    found: list[str] = []
    openers: list[str] = []  # a capital at the start of a sentence says nothing: the last resort
    end = -1
    for match in _NAME.finditer(prompt):
        word = match[0].rstrip(".-'’")
        if not word[0].isupper() or word == "I":
            continue
        before = prompt[: match.start()].rstrip(" \"\\'([")
        if not before or before[-1] in ".!?:\n":
            openers.append(word)
            continue
        if found and match.start() == end + 1 and prompt[end] == " ":
            found[-1] += f" {word}"  # New York
        else:
            found.append(word)
        end = match.start() + len(word)
    if not found:
        pairs = _AFTER_PREPOSITION.findall(prompt)
        found = [word for pair in pairs for word in pair] or openers
        found = [word for word in found if word and word.lower() not in _STOP_WORDS]
    return list(dict.fromkeys(found))


def report_results(results: tuple[tuple[str, str], ...]) -> str:
    """An answer that quotes what the tools said.

    Args:
        results: (tool name, content) in the order of the calls.
    """
    if len(results) == 1:
        name, content = results[0]
        return f"Here is what `{name}` says: {_quoted(content)}\n\nThat should answer your question."
    lines = [f"{i}. `{name}`: {_quoted(content)}" for i, (name, content) in enumerate(results, 1)]
    return "I have the results of all the calls:\n\n" + "\n".join(lines) + "\n\nThat should answer your question."


def _quoted(content: str) -> str:
    return content if len(content) <= _QUOTED else content[:_QUOTED] + " …"
