"""A small whole answer (a model list), over the same connections. Not for streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tokenwire.errors import RemoteProtocolError, UpstreamStatus, UpstreamTimeout
from tokenwire.upstream.origin import refused_by_proxy
from tokenwire.upstream.request import Request

if TYPE_CHECKING:
    from tokenwire.upstream.connection import Headers
    from tokenwire.upstream.origin import Origin
    from tokenwire.upstream.pool import Pool

#: Model lists are tens of kilobytes; OpenRouter's is under one megabyte.
MAX_BODY = 8 * 1024 * 1024


class _Whole:
    """Collects one answer into a future."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.over = False  # the connection is its pool's again, or gone
        self._status = 0
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self._size = 0

    def on_head(self, status: int, headers: Headers) -> None:
        self._status = status
        self._headers = headers

    def on_body(self, data: bytes, chunk: bytes | None) -> None:
        self._size += len(data)
        if self._size > MAX_BODY:
            self._fail(RemoteProtocolError(f"the answer is larger than {MAX_BODY} bytes"))
        else:
            self._parts.append(data)

    def on_end(self) -> None:
        self.over = True
        body = b"".join(self._parts)
        if self._status != 200:
            by_proxy = refused_by_proxy(self._origin, self._status)
            self._fail(by_proxy or UpstreamStatus(self._status, self._headers, body, f"status {self._status}"))
        elif not self.result.done():
            self.result.set_result(body)

    def on_lost(self, error: RemoteProtocolError, *, answered: bool) -> None:
        self.over = True
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


async def fetch(pool: Pool, request: Request, *, timeout: float) -> bytes:
    """The body of a 200 answer.

    Raises ``ConnectFailed``, ``UpstreamTimeout``, ``UpstreamStatus`` or ``RemoteProtocolError``. Always asks over a
    new connection (a kept one may be stale, and this is rare). *timeout* (seconds) is for connecting, and once more for
    the answer. Cancelling closes the connection.
    """
    connection = await pool.connect(request.origin, timeout)
    whole = _Whole(request.origin)
    connection.send(whole, request.encode(), pacing=False)
    try:
        async with asyncio.timeout(timeout):
            return await whole.result
    except TimeoutError as error:
        raise UpstreamTimeout("total", timeout) from error
    finally:
        if not whole.over:
            connection.abort()
