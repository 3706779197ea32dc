"""Whether a text that may have been cut off is one whole JSON value: for the ends of streams, in `sse` and `ndjson`."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Raw
from msgspec.json import Decoder

# `Raw` makes msgspec walk over the value without building it: 16 MB of "[],[]," would be half a gigabyte of lists.
_WALKER: Final = Decoder(Raw)

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def is_whole_json(text: str) -> bool:
    """Whether *text* is one JSON value that cannot be the beginning of a longer one. Never raises.

    A bare number is not: ``12`` may be what is left of ``123``. Every other value shows its own end.
    """
    if text.rstrip(" \t\r\n")[-1:].isdigit():
        return False
    try:
        # RFC 8259 allows escapes of lone surrogates, and models do cut emoji in two; msgspec refuses them. Which
        # character is meant makes no difference here, so all of them are turned into harmless ones.
        _WALKER.decode(_SURROGATE.sub(r"\\u00", text))
    except (ValueError, RecursionError):
        return False
    return True
