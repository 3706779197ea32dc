"""What the readers and writers of requests need to know of files: their types, and addresses that hold them whole."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import unquote_to_bytes

# The first bytes of a file, in base64: whole groups of three bytes, so that what follows does not change them.
_BEGINNINGS: Final = {
    "/9j/": "image/jpeg", "iVBORw0K": "image/png", "R0lG": "image/gif", "UklG": "image/webp", "JVBE": "application/pdf",
}  # fmt: skip


def guess(data: str, default: str = "application/octet-stream") -> str:
    """The media type of a file given as base64, by its first bytes."""
    return next((mime for beginning, mime in _BEGINNINGS.items() if data.startswith(beginning)), default)


def open_data_url(url: str) -> tuple[str | None, str] | None:
    """Media type and base64 of a ``data:`` URL; None for any other address, and for one that is not well-formed."""
    if url[:5].lower() != "data:" or "," not in url:
        return None
    head, _, data = url[5:].partition(",")
    mime, *parameters = head.split(";")
    if parameters and parameters[-1].strip().lower() == "base64":
        return mime or None, data
    return mime or "text/plain", base64.b64encode(unquote_to_bytes(data)).decode()


def data_url(mime: str, data: str) -> str:
    return f"data:{mime};base64,{data}"


def to_text(data: str) -> str | None:
    """The text in base64; None if it is no UTF-8."""
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def of_text(text: str) -> str:
    """*text* in base64."""
    return base64.b64encode(text.encode()).decode()
