"""Sources as the vendors name them: a citation's data is the provider's own object, and each has another form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

#: Members in which an object holds the source itself: OpenAI's chat, Gemini's grounding chunks.
_WITHIN: Final = ("url_citation", "web", "retrievedContext", "maps")


class Source(NamedTuple):
    """An address, and what else was said of it. ``start`` and ``end`` count characters of the whole text."""

    url: str
    title: str | None
    start: int | None
    end: int | None
    text: str | None


def read_source(data: dict[str, Any]) -> Source | None:
    """The address in a citation of any vendor; None if it has none (pages of a document, files, references)."""
    for fields in _places(data):
        url = fields.get("url") or fields.get("uri")
        if isinstance(url, str) and url:
            return Source(
                url,
                _text(fields.get("title")),
                _place(fields.get("start_index", fields.get("startIndex"))),
                _place(fields.get("end_index", fields.get("endIndex"))),
                _text(fields.get("cited_text")),
            )
    return None


def _places(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield data
    for name in _WITHIN:
        if isinstance(inner := data.get(name), dict):
            yield inner


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _place(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
