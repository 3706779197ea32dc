"""Contents of AG-UI messages: a text, or parts."""

from __future__ import annotations

from typing import Any, Final

from tokenwire.dialects.prompt.vocabulary import Media, Said
from tokenwire.dialects.request_body import refused
from tokenwire.dialects.ui_messages.media import Kind, kind_of, media_at

_KINDS: Final[dict[str, Kind]] = {"image": "image", "audio": "audio", "video": "video", "document": "file"}


def read_content(content: Any, where: str) -> list[Said | Media]:
    """The parts of a user's message or of a tool's. Raises ``RequestRefused`` (400), naming what is not one."""
    if isinstance(content, str):
        return [Said(text=content, where=where)]
    if not isinstance(content, list):
        raise refused(f"{where!r} must be a string or an array of parts", where)
    return [_part(part, f"{where}.{number}") for number, part in enumerate(content)]


def text_of(fields: dict[str, Any], name: str) -> str:
    """A member as a text; "" if it is none."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _part(part: Any, where: str) -> Said | Media:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return Said(text=part["text"], where=where)
    if kind == "binary":  # what there was before 1.0
        return _binary(part, where)
    source = part.get("source") if isinstance(part, dict) else None
    if kind not in _KINDS or not isinstance(source, dict) or not isinstance(source.get("value"), str):
        raise refused(f"{where!r} must be a text, image, audio, video or document", where)
    value, mime = source["value"], text_of(source, "mimeType")
    name = _name(part)
    if source.get("type") == "data":
        return Media(kind=_KINDS[kind], mime=mime or None, data=value, name=name, where=where)
    if source.get("type") == "file":
        vendor = text_of(source, "provider")
        return Media(kind=_KINDS[kind], mime=mime or None, file_id=value, vendor=vendor, name=name, where=where)
    media = media_at(value, mime, where, name)
    media.kind = _KINDS[kind]
    return media


def _binary(part: dict[str, Any], where: str) -> Media:
    mime, name = text_of(part, "mimeType"), text_of(part, "filename") or None
    if data := text_of(part, "data"):
        return Media(kind=kind_of(mime), mime=mime or None, data=data, name=name, where=where)
    if url := text_of(part, "url"):
        return media_at(url, mime, where, name)
    raise refused(f"{where!r} must have data or a url", where)


def _name(part: dict[str, Any]) -> str | None:
    """A file's name, where a client tells it: the protocol has no place for it but the part's metadata."""
    metadata = part.get("metadata")
    return (text_of(metadata, "filename") or None) if isinstance(metadata, dict) else None
