"""Citations of any vendor as sources of a UI message, and back."""

from __future__ import annotations

from typing import Any, Final

from tokenwire.dialects.ui_messages.words import OURS

_PDF: Final = "application/pdf"

#: Where vendors wrap a source: OpenAI's chat, and the kinds of Gemini's grounding.
_INNER: Final = ("url_citation", "web", "retrievedContext", "maps", "image")


def source_fields(source: dict[str, Any], id: str) -> dict[str, Any]:
    """A ``source-url`` part where the source has an address, else a ``source-document``; the vendor's own object goes
    with it, for whoever knows it."""
    cited = next((inner for name in _INNER if isinstance(inner := source.get(name), dict)), source)
    ours = {OURS: {"citation": source}}
    url = _text(cited, "url", "uri", "sourceUri")
    title = _text(cited, "title", "document_title", "filename")
    if url:
        named = {"title": title} if title else {}
        return {"type": "source-url", "sourceId": id, "url": url, **named, "providerMetadata": ours}
    kind = _PDF if source.get("type") == "page_location" else "text/plain"
    title = title or _text(cited, "source", "file_id") or "document"
    return {"type": "source-document", "sourceId": id, "mediaType": kind, "title": title, "providerMetadata": ours}


def read_source(part: dict[str, Any]) -> dict[str, Any]:
    """The vendor's object of such a part; that of a part which is not ours is made of its address and title."""
    metadata = part.get("providerMetadata")
    ours = metadata.get(OURS) if isinstance(metadata, dict) else None
    source = ours.get("citation") if isinstance(ours, dict) else None
    if isinstance(source, dict):
        return source
    return {name: part[name] for name in ("url", "title", "filename") if isinstance(part.get(name), str)}


def _text(fields: dict[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := fields.get(name), str) and value), "")
