"""The web search that runs at a vendor, as far as its traces in an answer go: nothing is searched, or fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenwire.simulator.texts import pick
from tokenwire.simulator.tools import subjects

_PAGES = 3
_HOSTS = ("example.com", "example.org", "example.net")
_WANTED = frozenset({"search", "web", "internet", "online", "news", "latest", "today", "recent", "google"})
_WORD = re.compile(r"\w+")
_LONG_WORD = re.compile(r"\w{3,}")
_SENTENCE = re.compile(r"[^.!?\n]*[^.!?\s][^.!?\n]*[.!?]*\s*")
_QUERY = 100
# Longest citation, in characters: of a source, and of a page of the web.
_CITED = 300
_CITED_PAGE = 150


@dataclass(frozen=True)
class Page:
    """A page that was found, and the sentence of it that is cited."""

    title: str
    url: str
    cited: str


def wants_search(prompt: str) -> bool:
    """Whether *prompt* asks for the web, by its words."""
    return not _WANTED.isdisjoint(_WORD.findall(prompt.lower()))


def query_for(prompt: str) -> str:
    """What is searched for."""
    return " ".join(subjects(prompt)) or " ".join(prompt.split())[:_QUERY] or "news"


def pages_for(prompt: str, query: str, hosts: Sequence[str] = ()) -> list[Page]:
    """What is found, on these *hosts* if any are named."""
    hosts = hosts or _HOSTS
    slug = "-".join(_WORD.findall(query.lower())) or "news"
    found = []
    for number in range(_PAGES):
        text = pick(prompt, variant=number)
        start, end = fitting(text.body, prompt)
        url = f"https://{hosts[number % len(hosts)]}/{number + 1}/{slug}"
        found.append(Page(text.name.replace("-", " ").capitalize(), url, text.body[start:end][:_CITED_PAGE]))
    return found


def best(parts: list[str], prompt: str) -> int:
    """The part that shares most words with *prompt*; the first among equals."""
    wanted = set(_LONG_WORD.findall(prompt.lower()))
    shared = [len(wanted.intersection(_LONG_WORD.findall(part.lower()))) for part in parts]
    return shared.index(max(shared))


def fitting(text: str, prompt: str) -> tuple[int, int]:
    """Start and end of the sentence of *text* that fits *prompt* best; of all of it if it has no sentence."""
    spans = [match.span() for match in _SENTENCE.finditer(text)]
    if not spans:
        return 0, min(len(text), _CITED)
    start, end = spans[best([text[start:end] for start, end in spans], prompt)]
    return start, min(end, start + _CITED)


def spoken(cited: str) -> str:
    """A citation as the answer says it: without its end, since the sentence goes on."""
    return " ".join(cited.split()).rstrip(".!?") or "nothing"


def cited_answer(pages: list[Page]) -> tuple[str, list[tuple[int, int]]]:
    """An answer that quotes *pages*, and (start, end) of each quotation in it."""
    text = "The web has this: "
    spans = []
    for number, page in enumerate(pages):
        text += "; also, " if number else ""
        start = len(text)
        text += spoken(page.cited)
        spans.append((start, len(text)))
    return text + ".", spans
