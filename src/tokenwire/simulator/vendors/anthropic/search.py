"""The web search that runs at Anthropic, as far as its traces in an answer go: nothing is searched, or fetched."""

from __future__ import annotations

import base64
import random
import re
from dataclasses import dataclass
from typing import Any

from tokenwire.simulator.texts import pick
from tokenwire.simulator.tools import subjects
from tokenwire.simulator.vendors.anthropic.requests import MessagesRequest, ToolEntry
from tokenwire.simulator.vendors.anthropic.sources import Citation, fitting, spoken

_RESULTS = 3
_HOSTS = ("example.com", "example.org", "example.net")
_WANTED = frozenset({"search", "web", "internet", "online", "news", "latest", "today", "recent", "google"})
_WORD = re.compile(r"\w+")
_QUERY = 100


@dataclass(frozen=True)
class Search:
    """A search: what was asked for, the block of its results, and what the answer cites of them."""

    query: str
    results: list[dict[str, Any]]
    citations: list[Citation]


def search_tool(request: MessagesRequest) -> ToolEntry | None:
    """The web search among the tools, None if there is none or calling is forbidden."""
    if request.tool_choice and request.tool_choice.type == "none":
        return None
    return next((tool for tool in request.tools or () if (tool.type or "").startswith("web_search_")), None)


def searches(request: MessagesRequest, tool: ToolEntry, prompt: str) -> bool:
    """Whether this turn begins with a search: asked for by words or by the choice of tools, and not done yet."""
    if request.messages[-1].role != "user":
        return False  # a paused turn that goes on
    choice = request.tool_choice
    if choice and choice.type in ("any", "tool"):
        return choice.name == tool.name if choice.type == "tool" else len(request.tools or ()) == 1
    return not _WANTED.isdisjoint(_WORD.findall(prompt.lower()))


def search(tool: ToolEntry, prompt: str, rng: random.Random) -> Search:
    """A search for what *prompt* is about."""
    query = " ".join(subjects(prompt)) or " ".join(prompt.split())[:_QUERY] or "news"
    slug = "-".join(_WORD.findall(query.lower())) or "news"
    hosts = tool.allowed_domains or _HOSTS
    results, citations = [], []
    for number in range(_RESULTS):
        text = pick(prompt, variant=number)
        url = f"https://{hosts[number % len(hosts)]}/{number + 1}/{slug}"
        results.append(
            {
                "type": "web_search_result",
                "title": text.name.replace("-", " ").capitalize(),
                "url": url,
                "encrypted_content": _opaque(rng, 300),
                "page_age": None if number else "April 30, 2026",
            }
        )
        start, end = fitting(text.body, prompt)
        cited = text.body[start:end][:150]
        location = {
            "type": "web_search_result_location",
            "cited_text": cited,
            "url": url,
            "title": results[-1]["title"],
            "encrypted_index": _opaque(rng, 48),
        }
        citations.append(Citation(spoken(cited), location))
    return Search(query, results, citations)


def _opaque(rng: random.Random, size: int) -> str:
    return base64.b64encode(b"\x12\xbe" + rng.randbytes(size)).decode()
