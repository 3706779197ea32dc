"""Counts the tries of a request, for faults that strike the first few of them only.

A try is told from another request by what it asks: the same body with the same key, or the same ``X-Sim-Run``. After
its last failure the count starts anew, so that an experiment can be repeated.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

#: Requests that are remembered. One that never succeeds stays until so many others came.
MOST = 4096


class Tries:
    """How often each request was tried."""

    def __init__(self) -> None:
        self._failed: OrderedDict[bytes, int] = OrderedDict()

    def strikes(self, request: bytes, limit: int) -> bool:
        """Whether this try of *request* is one of the first *limit* ones; it is counted."""
        failed = self._failed.pop(request, 0)
        if failed >= limit:
            return False
        self._failed[request] = failed + 1
        if len(self._failed) > MOST:
            self._failed.popitem(last=False)
        return True


def digest(run: str | None, headers: Mapping[str, str], body: bytes) -> bytes:
    """What tells one request from another: its *run* if it names one, else its key and its body."""
    if run is not None:
        return run.encode("utf-8", "surrogatepass")
    key = next((headers[name] for name in ("x-api-key", "x-goog-api-key", "authorization") if headers.get(name)), "")
    return hashlib.blake2b(body, key=hashlib.blake2b(key.encode("latin-1", "replace")).digest()).digest()
