"""Proofs of thoughts on their way through another vendor's dialect, and back.

A signature is of use only to the vendor that made it; to any other it is an error (Anthropic answers 400). In a foreign
dialect it therefore travels with its maker's name in front, in base64 as a whole: google-genai takes nothing else, and
what is opaque anyway may look like it. A reader of requests takes it off again, and knows whose it is.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

_MARK: Final = "tokenwire:"


def wrap(signature: str, maker: str, dialect: str) -> str:
    """*signature* of *maker*, a dialect's name, as it is told in *dialect*."""
    if maker == dialect or not signature or not maker:
        return signature
    return base64.b64encode(f"{_MARK}{maker}:{signature}".encode()).decode()


def unwrap(text: str, dialect: str) -> tuple[str, str]:
    """Signature and maker of what came in a request in *dialect*."""
    try:
        plain = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text, dialect
    if not plain.startswith(_MARK):
        return text, dialect
    maker, _, signature = plain.removeprefix(_MARK).partition(":")
    return signature, maker
