"""Ports that are ours: a port merely found free may be another test process's a moment later."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def refusing_port(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port of *host* that refuses connections for as long as the context is entered: bound, not listened on.

    A server that sets SO_REUSEADDR may listen there nevertheless, so it also serves to choose a port beforehand.

    Raises:
        OSError: *port* is given and already another's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
        yield held.getsockname()[1]
