"""What is sent to a provider: one request, checked and encoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from tokenwire.errors import LocalProtocolError
from tokenwire.upstream.pool import Origin

# Nothing else may stand in a request's head (RFC 9110 section 5.5): a line end that came in with a key would end the
# line, and what follows would be a header of its own.
_NO_FIELD = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


def encode_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """Fields of many requests, encoded once. Raises ``LocalProtocolError`` for what no head can hold."""
    fields = list(fields)
    _check_fields(fields)
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")


def _check_fields(fields: Iterable[tuple[str, str]]) -> None:
    for name, value in fields:
        if _NO_FIELD.search(name) or _NO_FIELD.search(value):
            raise LocalProtocolError(f"{name!r}: a line end, a control or a non-Latin character in a request's head")


class Request(Struct, frozen=True, kw_only=True):
    """What is sent: *fields* are the header fields besides Host and Content-Length; *head* more of them, as
    ``encode_fields`` made them.

    Raises ``LocalProtocolError`` for a path or field that no HTTP head can hold.
    """

    origin: Origin
    path: str
    fields: Sequence[tuple[str, str]]
    body: bytes
    method: str = "POST"
    head: bytes = b""

    def __post_init__(self) -> None:
        _check_fields((("path", self.path), *self.fields))

    def encode(self) -> bytes:
        """Head and body."""
        origin, relayed = self.origin, self.origin.relayed
        target, to_proxy = (self.path, "") if relayed is None else (f"{origin}{self.path}", relayed.field)
        first = f"{self.method} {target} HTTP/1.1\r\nhost: {origin.header}\r\n{to_proxy}".encode("latin-1")
        fields = "".join([f"{name}: {value}\r\n" for name, value in self.fields]).encode("latin-1")
        return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (first, self.head, fields, len(self.body), self.body)
