"""JSON that holds no character at which some client ends a line."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

# google-genai reads lines as httpx does, which is as Python does: these three end one too, though SSE knows only CR
# and LF. The others that do are control characters, which JSON escapes anyway.
_ENDS: Final = re.compile("[\x85\u2028\u2029]")


def dumps(value: Any) -> str:
    """*value* as JSON on one line, whoever reads it."""
    text = msgspec.json.encode(value).decode()
    return text if text.isascii() else _ENDS.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"
