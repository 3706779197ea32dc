"""Files that clients send, by ``data:`` or web address."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from tokenwire.dialects.prompt.vocabulary import Media
from tokenwire.dialects.request_body import refused

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind: TypeAlias = Literal["image", "audio", "video", "file"]

_KINDS: Final[Mapping[str, Kind]] = {"image": "image", "audio": "audio", "video": "video"}


def kind_of(mime: str) -> Kind:
    """What a media type is of; ``image`` alone is one to the AI SDK."""
    return _KINDS.get(mime.partition("/")[0].lower(), "file")


def media_at(url: str, mime: str, where: str, name: str | None = None) -> Media:
    """The file at *url*. Raises ``RequestRefused`` (400) unless that is a data:, http: or https: address."""
    if url[:5].lower() == "data:":
        head, comma, body = url[5:].partition(",")
        if not comma:
            raise refused(f"{where!r} is no data: address", where)
        told, *extra = head.split(";")
        coded = any(each.strip().lower() == "base64" for each in extra)
        data = body if coded else base64.b64encode(unquote_to_bytes(body)).decode()
        mime = mime or told
        return Media(kind=kind_of(mime), mime=mime or None, data=data, name=name, where=where)
    if url.lower().startswith(("http://", "https://")):
        return Media(kind=kind_of(mime), mime=mime or None, url=url, name=name, where=where)
    raise refused(f"{where!r} must be a data:, http: or https: address", where)
