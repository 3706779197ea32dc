"""What every benchmark on one machine needs: a free port, a short HTTP exchange, a bounded wait."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_for(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Return once *condition* holds. Raises TimeoutError, saying *otherwise*, after *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} within {seconds:g} s")
        time.sleep(0.02)


def free_port() -> int:
    """A TCP port that was free a moment ago. Another process could take it first; then the relay says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def exchange(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """One small HTTP exchange with 127.0.0.1: the status and the body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {} if data is None else {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
