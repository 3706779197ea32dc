"""HTTP/1.1 in plain bytes, for servers that are scripts: answers to send, requests to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

LAST_CHUNK: Final = b"0\r\n\r\n"


def head(status: int = 200, *fields: tuple[str, str]) -> bytes:
    """The head of an HTTP/1.1 answer through its empty line."""
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def http_chunk(data: bytes) -> bytes:
    """*data* as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(
    body: bytes | Iterable[bytes],
    *,
    status: int = 200,
    content_type: str = "application/json",
    framing: Literal["length", "chunked", "close"] = "length",
    fields: Sequence[tuple[str, str]] = (),
) -> bytes:
    """A whole answer.

    Args:
        body: in one piece, or in pieces: with *framing* ``chunked`` each of them is one chunk.
        framing: how the body ends; after ``close`` the script must go on with ``CLOSE``.
    """
    pieces = [body] if isinstance(body, bytes) else list(body)
    extra = [("Content-Type", content_type), *fields]
    if framing == "chunked":
        extra.append(("Transfer-Encoding", "chunked"))
        return head(status, *extra) + b"".join(map(http_chunk, pieces)) + LAST_CHUNK
    whole = b"".join(pieces)
    if framing == "length":
        extra.append(("Content-Length", str(len(whole))))
    return head(status, *extra) + whole


class ReceivedRequest(NamedTuple):
    """One request as it came; names of fields in lower case, the last of equal ones."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes


def take_request(pending: bytearray) -> ReceivedRequest | None:
    """Take the first whole request out of *pending*; None if it is not whole yet. Chunked bodies are not understood."""
    end = pending.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = pending[:end].decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = end + 4 + int(fields.get("content-length", "0"))
    if len(pending) < size:
        return None
    method, _, rest = first.partition(" ")
    body = bytes(pending[end + 4 : size])
    del pending[:size]
    return ReceivedRequest(method, rest.removesuffix(" HTTP/1.1"), fields, body)
