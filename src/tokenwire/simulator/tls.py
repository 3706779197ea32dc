"""TLS as far as it is bytes: the server's context, what records add on the wire, and which handshakes go wrong."""

from __future__ import annotations

import ssl
from pathlib import Path

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
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
PLAIN = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 20\r\nconnection: close\r\n\r\nThis is no TLS port\n"


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
