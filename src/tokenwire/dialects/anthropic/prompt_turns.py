"""The messages of a Messages request -> turns: their content blocks, of every type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenwire.dialects.anthropic.blocks import NAME
from tokenwire.dialects.prompt.media import of_text
from tokenwire.dialects.prompt.vocabulary import Call, Foreign, Media, Result, Said, Thought, Turn
from tokenwire.dialects.request_body import refused
from tokenwire.dialects.signatures import unwrap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.dialects.prompt.reading import Fields
    from tokenwire.dialects.prompt.vocabulary import Part, Role


class Reader:
    """Reads the messages of one request, in order.

    Attributes:
        rest: members of them that were not understood, by path.
    """

    def __init__(self) -> None:
        self.rest: dict[str, Any] = {}
        self._names: dict[str, str] = {}  # of the tools called, by the call's id

    def turns(self, messages: Iterable[Fields]) -> list[Turn]:
        """The turns; results are taken out of those of the user, and stand before the rest of it.

        Raises:
            RequestRefused: 400, naming the member that is not as the dialect has it.
        """
        turns: list[Turn] = []
        for message in messages:
            role = message.word("role", "user", "assistant", "system")
            if role is None:
                raise refused(f"{message.at('role')!r} is missing", message.at("role"))
            parts = self._content(message, "content")
            results = [part for part in parts if isinstance(part, Result)]
            if results:
                turns.append(Turn(role="tool", parts=[*results], where=message.where))
            parts = [part for part in parts if not isinstance(part, Result)]
            if parts or not results:
                turns.append(Turn(role=_ROLES[role], parts=parts, where=message.where))
            self.rest |= message.rest()
        return turns

    def part(self, block: Fields) -> Part:
        """One content block."""
        kind = block.need("type")
        found = self._block(kind, block)
        if found is None:
            return Foreign(kind=kind, data=block.value, where=block.where)
        if kind == "document" and (citations := block.object("citations")) and citations.flag("enabled"):
            return Foreign(kind="document with citations", data=None, where=citations.where)
        self.rest |= block.rest()
        return found

    def _content(self, fields: Fields, name: str) -> list[Part]:
        content = fields.any(name)
        if isinstance(content, str):
            return [Said(text=content, where=fields.at(name))] if content else []
        parts: list[Part] = []
        for block in fields.objects(name):
            part = self.part(block)
            parts.append(part)
            if isinstance(part, Result):  # what no result of a tool can hold elsewhere stands beside it
                parts += self._pieces(block, part)
        return parts

    def _block(self, kind: str, block: Fields) -> Part | None:
        if kind == "text":
            return Said(text=block.text("text") or "", where=block.where)
        if kind == "tool_use":
            name = self._names[block.need("id")] = block.need("name")
            arguments = msgspec.json.encode(block.mapping("input") or {}).decode()
            return Call(id=block.need("id"), name=name, arguments=arguments, where=block.where)
        if kind == "tool_result":
            id_ = block.need("tool_use_id")
            name = self._names.get(id_, "")
            block.any("content")
            return Result(call_id=id_, name=name, error=bool(block.flag("is_error")), where=block.where)
        if kind == "thinking":
            return _thought(block.text("signature"), block.text("thinking") or "", block)
        if kind == "redacted_thinking":
            thought = _thought(block.need("data"), "", block)
            thought.redacted = True
            return thought
        if kind in ("image", "document"):
            return _media(kind, block)
        return None

    def _pieces(self, block: Fields, result: Result) -> list[Part]:
        """What the tool gave back goes into *result*; what only this dialect knows of it is returned."""
        pieces = self._content(block, "content")
        result.parts = [piece for piece in pieces if isinstance(piece, Said | Media)]
        return [piece for piece in pieces if not isinstance(piece, Said | Media)]


_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}


def _thought(signature: str | None, text: str, block: Fields) -> Thought:
    """The signature is the maker's own, or wrapped by us where the thought came from another vendor."""
    thought = Thought(text=text, where=block.where)
    if signature:
        thought.signature, thought.dialect = unwrap(signature, NAME)
    return thought


def _media(kind: str, block: Fields) -> Part | None:
    """A picture or a document; None for a source that is neither data nor an address nor a file."""
    source = block.object("source")
    if source is None:
        raise refused(f"{block.at('source')!r} is missing", block.at("source"))
    media = Media(kind="image" if kind == "image" else "file", where=block.where)
    media.name = block.text("title") if kind == "document" else None
    form = source.need("type")
    if form == "base64":
        media.mime, media.data = source.text("media_type"), source.need("data")
    elif form == "url":
        media.url = source.need("url")
    elif form == "file":
        media.file_id, media.vendor = source.need("file_id"), NAME
    elif form == "text":
        media.mime, media.data = "text/plain", of_text(source.need("data"))
    else:
        return None
    return media
