"""The bounds of one client connection, apart from ``edge``: settings need them without the server."""

from __future__ import annotations

from msgspec import Struct


class EdgeLimits(Struct, frozen=True, kw_only=True):
    """Bounds of one client connection.

    Attributes:
        head_bytes: request line and headers, give or take one read; nginx allows 32 KiB.
        head_seconds: from a request's first byte (of a new connection: from its beginning) to the end of its head.
        body_seconds: longest silence within a body; and how long the rest of a body that was refused is taken and
            thrown away, so that the client comes to read why.
        pipelined_bytes: input held unparsed while an answer streams; more is not a browser, and is cut off.
        user_timeout: seconds that sent bytes may stay unacknowledged (TCP_USER_TIMEOUT): clients that vanished.
        stalled_timeout: the same while a live client just does not read: past the reader's own time-out.
        unsent_bytes: what the kernel takes beyond what the network has (TCP_NOTSENT_LOWAT); by default it would
            swallow 4 MB before anybody notices a reader that stands still.
    """

    head_bytes: int = 64 * 1024
    head_seconds: float = 20.0
    body_seconds: float = 60.0
    pipelined_bytes: int = 64 * 1024
    user_timeout: float = 20.0
    stalled_timeout: float = 75.0
    unsent_bytes: int = 16 * 1024
