"""The lists of models that providers give, in their vendors' shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from tokenwire.errors import RemoteProtocolError

_T = TypeVar("_T")


class Page(NamedTuple):
    """Names, and what the address of the next page has beside the first one's; None if this is the last."""

    names: list[str]
    after: str | None = None


#: The body of a provider's answer -> what is in it. Raises ``RemoteProtocolError`` for no list.
Lister: TypeAlias = Callable[[bytes], Page]


class _Entry(msgspec.Struct):
    id: str


class _Data(msgspec.Struct):
    """OpenAI's list, which is whole, and Anthropic's, which comes in pages."""

    data: list[_Entry]
    has_more: bool = False
    last_id: str | None = None


class _Named(msgspec.Struct):
    name: str
    supported: list[str] | None = msgspec.field(default=None, name="supportedGenerationMethods")


class _Models(msgspec.Struct):
    """Gemini's list, in pages, and Ollama's."""

    models: list[_Named]
    next: str | None = msgspec.field(default=None, name="nextPageToken")


def data(body: bytes) -> Page:
    page = _read(body, _Data)
    more = page.has_more and page.last_id
    return Page([entry.id for entry in page.data], f"&after_id={quote(page.last_id or '', safe='')}" if more else None)


def gemini(body: bytes) -> Page:
    """Those that generate: embedding models are in the list, too."""
    page = _read(body, _Models)
    names = [
        entry.name.removeprefix("models/")
        for entry in page.models
        if entry.supported is None or "generateContent" in entry.supported
    ]
    return Page(names, f"&pageToken={quote(page.next, safe='')}" if page.next else None)


def ollama(body: bytes) -> Page:
    return Page([entry.name for entry in _read(body, _Models).models])


def _read(body: bytes, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"that is no list of models: {error}") from error
