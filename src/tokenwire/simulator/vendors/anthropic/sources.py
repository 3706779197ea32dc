"""Sources that an answer cites: documents and search results of the request (reference section 5.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tokenwire.simulator.vendors.anthropic.requests import Block, PromptRequest
from tokenwire.simulator.vendors.anthropic.rules import cites
from tokenwire.simulator.vendors.searching import best, fitting, spoken

#: At most so many sources are cited in one answer.
MOST_CITED = 3


@dataclass(frozen=True)
class Citation:
    """One citation: what is said, and the object that says where it was found."""

    said: str
    location: dict[str, Any]


def citations_of(request: PromptRequest, prompt: str) -> list[Citation]:
    """A citation from each source that allows it, as many as ``MOST_CITED``."""
    found: list[Citation] = []
    documents = results = 0
    for block in _sources(request):
        if block["type"] == "document":
            if cites(block):
                found.append(_from_document(block, documents, prompt))
            documents += 1
        else:
            if cites(block):
                found.append(_from_result(block, results, prompt))
            results += 1
    return found[:MOST_CITED]


def _sources(request: PromptRequest) -> Iterator[Block]:
    """All sources, those that tools brought included."""
    for message in request.messages:
        for block in message.blocks:
            if block["type"] in ("document", "search_result"):
                yield block
            elif block["type"] == "tool_result" and isinstance(block.get("content"), list):
                yield from (part for part in block["content"] if part.get("type") in ("document", "search_result"))


def _from_document(block: Block, index: int, prompt: str) -> Citation:
    source = block["source"]
    shared = {"document_index": index, "document_title": block.get("title")}
    if source.get("type") == "text":
        text = str(source.get("data", ""))
        start, end = fitting(text, prompt)
        where = {"start_char_index": start, "end_char_index": end, "file_id": None}
        return Citation(
            spoken(text[start:end]), {"type": "char_location", "cited_text": text[start:end], **shared, **where}
        )
    if source.get("type") == "content":
        parts = _texts(source.get("content"))
        place = best(parts, prompt)
        where = {"start_block_index": place, "end_block_index": place + 1, "file_id": None}
        return Citation(
            spoken(parts[place]), {"type": "content_block_location", "cited_text": parts[place], **shared, **where}
        )
    # A PDF, by value or by reference. Nothing here reads one: the citation is of its first page.
    said = str(block.get("title") or "the document")
    where = {"start_page_number": 1, "end_page_number": 2, "file_id": source.get("file_id")}
    return Citation(said, {"type": "page_location", "cited_text": said, **shared, **where})


def _from_result(block: Block, index: int, prompt: str) -> Citation:
    parts = _texts(block["content"])
    place = best(parts, prompt)
    location = {
        "type": "search_result_location",
        "cited_text": parts[place],
        "source": block["source"],
        "title": block["title"],
        "search_result_index": index,
        "start_block_index": place,
        "end_block_index": place + 1,
    }
    return Citation(spoken(parts[place]), location)


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [str(part.get("text", "")) for part in content or () if isinstance(part, dict)] or [""]
