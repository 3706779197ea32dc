"""The web search that runs at Anthropic, as far as its traces in an answer go: nothing is searched, or fetched."""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass
from typing import Any

from tokenwire.simulator.vendors.anthropic.requests import MessagesRequest, ToolEntry
from tokenwire.simulator.vendors.anthropic.sources import Citation
from tokenwire.simulator.vendors.searching import pages_for, query_for, spoken, wants_search


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
    return wants_search(prompt)


def search(tool: ToolEntry, prompt: str, rng: random.Random) -> Search:
    """A search for what *prompt* is about."""
    query = query_for(prompt)
    results, citations = [], []
    for number, page in enumerate(pages_for(prompt, query, tool.allowed_domains or ())):
        results.append(
            {
                "type": "web_search_result",
                "title": page.title,
                "url": page.url,
                "encrypted_content": _opaque(rng, 300),
                "page_age": None if number else "April 30, 2026",
            }
        )
        location = {
            "type": "web_search_result_location",
            "cited_text": page.cited,
            "url": page.url,
            "title": page.title,
            "encrypted_index": _opaque(rng, 48),
        }
        citations.append(Citation(spoken(page.cited), location))
    return Search(query, results, citations)


def _opaque(rng: random.Random, size: int) -> str:
    return base64.b64encode(b"\x12\xbe" + rng.randbytes(size)).decode()
