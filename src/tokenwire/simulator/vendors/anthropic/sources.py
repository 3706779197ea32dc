"""Sources that an answer cites: documents and search results of the request (reference section 5.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tokenwire.simulator.vendors.anthropic.requests import Block, PromptRequest
from tokenwire.simulator.vendors.anthropic.rules import cites

#: At most so many sources are cited in one answer.
MOST_CITED = 3

_SENTENCE = re.compile(r"[^.!?\n]*[^.!?\s][^.!?\n]*[.!?]*\s*")
_WORD = re.compile(r"\w{3,}")
# Longest citation, in characters.
_CITED = 300


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
        place = _best(parts, prompt)
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
    place = _best(parts, prompt)
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


def _best(parts: list[str], prompt: str) -> int:
    """The part that shares most words with *prompt*; the first among equals."""
    wanted = set(_WORD.findall(prompt.lower()))
    shared = [len(wanted.intersection(_WORD.findall(part.lower()))) for part in parts]
    return shared.index(max(shared))


def fitting(text: str, prompt: str) -> tuple[int, int]:
    """Start and end of the sentence of *text* that fits *prompt* best; of all of it if it has no sentence."""
    spans = [match.span() for match in _SENTENCE.finditer(text)]
    if not spans:
        return 0, min(len(text), _CITED)
    start, end = spans[_best([text[start:end] for start, end in spans], prompt)]
    return start, min(end, start + _CITED)


def spoken(cited: str) -> str:
    """A citation as the answer says it: without its end, since the sentence goes on."""
    return " ".join(cited.split()).rstrip(".!?") or "nothing"
