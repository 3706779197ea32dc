"""Sources in Gemini's two forms, both ways (reference, section 6.2).

``groundingMetadata`` is one object for a whole answer: chunks (the sources) and supports (which bytes of the answer
rest on which chunks). It becomes one citation for each chunk, with the address where readers of every dialect look for
it; the first of them carries the whole object, so that a reader of this dialect is given it again unchanged.
``citationMetadata`` is a list of places that are quoted; each is a citation as it is. The Gemini API calls that list
``citationSources`` and Vertex ``citations``: both are read, the former is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_WHOLE: Final = "groundingMetadata"
_CHUNK: Final = "groundingChunk"
_QUOTED: Final = frozenset({"startIndex", "endIndex", "uri", "title", "license", "publicationDate"})


def read_grounding(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """One source for each chunk of ``groundingMetadata``; none if it has no chunks."""
    chunks = metadata.get("groundingChunks")
    found = [chunk for chunk in chunks if isinstance(chunk, dict)] if isinstance(chunks, list) else []
    return [{**_address(chunk), _CHUNK: chunk} for chunk in found]


def with_whole(source: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """*source*, carrying the object that it is from."""
    return {**source, _WHOLE: metadata}


def read_quotes(metadata: Any) -> list[dict[str, Any]]:
    """The sources of ``citationMetadata``."""
    fields = metadata if isinstance(metadata, dict) else {}
    quotes = fields.get("citations") or fields.get("citationSources")
    return [quote for quote in quotes if isinstance(quote, dict)] if isinstance(quotes, list) else []


def write(sources: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Members of a candidate for *sources*, whoever gave them: ``groundingMetadata``, ``citationMetadata``, or both."""
    whole: dict[str, Any] = {}
    chunks: list[dict[str, Any]] = []
    quotes: list[dict[str, Any]] = []
    for source in sources:
        if isinstance(metadata := source.get(_WHOLE), dict):
            whole, found = metadata, metadata.get("groundingChunks")
            chunks = list(found) if isinstance(found, list) else []
        elif source and _QUOTED.issuperset(source):
            quotes.append(source)
        elif not isinstance(chunk := source.get(_CHUNK), dict):
            chunks.append(_chunk(source))
        elif not whole:  # else it is one of those
            chunks.append(chunk)
    members: dict[str, Any] = {}
    if whole or chunks:
        members["groundingMetadata"] = {**whole, "groundingChunks": chunks}
    if quotes:
        members["citationMetadata"] = {"citationSources": quotes}
    return members


def _address(chunk: dict[str, Any]) -> dict[str, Any]:
    """``url`` and ``title`` of a chunk, under the names that the other dialects know."""
    for kind in ("web", "retrievedContext", "maps", "image"):
        if isinstance(fields := chunk.get(kind), dict):
            found = {"url": fields.get("uri"), "title": fields.get("title")}
            return {name: value for name, value in found.items() if isinstance(value, str)}
    return {}


def _chunk(source: dict[str, Any]) -> dict[str, Any]:
    """Another dialect's citation as a chunk: a page of the web, or a piece of the caller's own documents."""
    cited = source.get("url_citation")
    fields = cited if isinstance(cited, dict) else source
    address = fields.get("url") or fields.get("uri")
    title = fields.get("title") or fields.get("document_title") or fields.get("filename")
    named = {"title": title} if isinstance(title, str) else {}
    if isinstance(address, str):
        return {"web": {"uri": address, **named}}
    text = fields.get("cited_text")
    return {"retrievedContext": {**named, **({"text": text} if isinstance(text, str) else {})}}
