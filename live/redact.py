"""Nothing that is the caller's own leaves the machine in a recording: keys, accounts, cookies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

REDACTED: Final = "redacted"

#: Headers that name the caller or track the connection; their being there is recorded, their value is not.
_HEADERS: Final = re.compile(
    r"cookie|authorization|organi[sz]ation|project|account|^x-api-key$|^cf-ray$|^report-to$", re.IGNORECASE
)

#: What looks like a key or an account, wherever it stands. Providers repeat a wrong key, starred, in their errors.
_TEXTS: Final = re.compile(
    rb"\b(?:sk|gsk|pk|xai|rk)[-_][A-Za-z0-9_*-]{6,}"
    rb"|\b(?:org|proj|user|acct|ws)[-_](?=[A-Za-z0-9]*[0-9])[A-Za-z0-9]{8,}"
    rb"|\bAIza[A-Za-z0-9_-]{20,}"
    rb"|(?i:\bbearer )[A-Za-z0-9._~+/=-]{8,}"
)


class Redactor:
    """*secrets*: texts that are known to be secret (keys, values of configured headers), whatever they look like."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # Longer ones first: one may be part of another. Short ones would strike words of the answer.
        known = sorted({secret.encode() for secret in secrets if len(secret) >= 6}, key=len, reverse=True)
        self._known = re.compile(b"|".join(map(re.escape, known))) if known else None

    def body(self, data: bytes) -> bytes:
        if self._known is not None:
            data = self._known.sub(REDACTED.encode(), data)
        return _TEXTS.sub(REDACTED.encode(), data)

    def headers(self, fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
        """Header fields by lower-case name; of equal ones the last."""
        kept = {}
        for name, value in fields:
            lower = name.decode("latin-1").lower()
            hidden = _HEADERS.search(lower) is not None
            kept[lower] = REDACTED if hidden else self.body(value).decode("latin-1")
        return kept
