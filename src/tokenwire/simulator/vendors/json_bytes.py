"""JSON as the vendors write it: compact, other scripts as themselves."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tokenwire.simulator.answer import compact


def json_string(text: str) -> bytes:
    """*text* as a JSON string, other scripts as themselves; lone surrogates as escapes, since UTF-8 has none."""
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError:
        return json.dumps(text).encode()


def to_json(value: Any) -> bytes:
    """Compact JSON, with the same exception for lone surrogates."""
    try:
        return compact(value).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
