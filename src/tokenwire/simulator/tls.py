"""TLS: the server's context, what its records add to the bytes on the wire, and handshakes that go wrong."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

#: Bytes of plain text in a record, at most (RFC 8446, section 5.1).
RECORD = 16384

#: What may go wrong before anything is encrypted -> what happens.
HANDSHAKE_FAULTS = {
    "stall": "the connection is accepted, and the handshake never answered",
    "close": "the connection is closed as soon as the client has said hello",
    "reset": "the same by RST",
    "alert": "the handshake is refused by a fatal alert: handshake_failure",
    "plain": "plain HTTP is answered to the client's hello, as by a server without TLS",
}

# A record of type alert (21) of TLS 1.2 with two bytes: fatal (2), handshake_failure (40); RFC 8446, section 6.
_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
_PLAIN = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 20\r\nconnection: close\r\n\r\nThis is no TLS port\n"


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """A context with the chain in *cert* (PEM, the server's certificate first) and its private *key*.

    Raises:
        OSError: a file cannot be read, or is not what it should be (``ssl.SSLError``).
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def record_overhead(connection: ssl.SSLObject | None) -> int:
    """Bytes that each record adds on an open *connection*; 0 without TLS.

    The head has 5, the tag 16. TLS 1.3 adds one for the type inside (RFC 8446, section 5.2), AES-GCM of TLS 1.2 eight
    for its nonce (RFC 5288, section 3). Older ciphers pad, and are not negotiated with a default context.
    """
    if connection is None:
        return 0
    if connection.version() == "TLSv1.3":
        return 5 + 16 + 1
    cipher = connection.cipher()
    return 5 + 16 + (8 if cipher is not None and "GCM" in cipher[0] else 0)


class BrokenHandshake(asyncio.Protocol):
    """A connection whose handshake goes wrong.

    Args:
        fault: a key of ``HANDSHAKE_FAULTS``.
        crowd: the set of open connections, kept up to date.
        reset: closes a transport by RST.
    """

    def __init__(self, fault: str, crowd: set[BrokenHandshake], reset: Callable[[asyncio.Transport], None]) -> None:
        self._fault = fault
        self._crowd = crowd
        self._reset = reset
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._crowd.add(self)

    def data_received(self, data: bytes) -> None:
        if self._fault == "stall":
            return
        if self._fault == "reset":
            self._reset(self._transport)
            return
        if self._fault == "alert":
            self._transport.write(_ALERT)
        elif self._fault == "plain":
            self._transport.write(_PLAIN)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.discard(self)

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()
