"""What is handed to the chat as text need not be any: arguments and pipes are bytes, and perhaps no UTF-8."""

from __future__ import annotations

import io
import re
import sys
from typing import Final

# Python keeps each byte that it could not decode as half of a surrogate pair, which no JSON can hold.
_NO_TEXT: Final = re.compile("[\udc80-\udcff]")


class Mended:
    """Makes text of what is handed in. That it had to is said on standard error, once."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, text: str) -> str:
        """*text* with U+FFFD for each byte that is no UTF-8."""
        if not _NO_TEXT.search(text):
            return text
        mended = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if mended.count("\ufffd") > text.count("\ufffd") and not self._said:
            self._said = True
            print("tokenwire: what is no UTF-8 was replaced by U+FFFD", file=sys.stderr)
        return mended


def lenient() -> None:
    """Standard input and output raise no ``UnicodeError``, whatever the locale: bytes come as arguments' do."""
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
