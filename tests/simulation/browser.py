"""A client's way to the relay: requests over virtual connections, the answer's bytes as they come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.relay import PORT

from tokenwire.errors import RemoteProtocolError, TokenwireError
from tokenwire.upstream.pool import Pool, parse_base_url
from tokenwire.upstream.request import Request

if TYPE_CHECKING:
    from tests.simulation.world import World

    from tokenwire.upstream.connection import Connection, Headers

URL = f"http://127.0.0.1:{PORT}"


class Broken(Exception):
    """The connection could not be had, or was cut."""


class Download:
    """``upstream.connection.Exchange``: one answer.

    Attributes:
        status: 0 before the head.
        whole: it ended where HTTP says it may.
    """

    def __init__(self) -> None:
        self.status = 0
        self.fields: dict[str, str] = {}
        self.whole = False
        self.connection: Connection | None = None
        self._parts: list[bytes] = []
        self._lost = ""
        self._news: asyncio.Future[None] | None = None

    async def head(self) -> None:
        """Raises ``Broken``."""
        while not self.status:
            await self._more()

    async def read(self) -> bytes:
        """The next bytes; b"" at the end. Raises ``Broken``."""
        while not self._parts:
            if self.whole:
                return b""
            await self._more()
        parts, self._parts = self._parts, []
        return b"".join(parts)

    async def body(self) -> bytes:
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    def drop(self) -> None:
        """Leave. Idempotent."""
        connection, self.connection = self.connection, None
        if connection is not None and not self.whole:
            connection.abort()  # and so it tells us nothing more
            self._lost = self._lost or "left"
            self._tell()

    def on_head(self, status: int, headers: Headers) -> None:
        self.status = status
        self.fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        self._tell()

    def on_body(self, data: bytes, chunk: bytes | None) -> None:
        self._parts.append(data)
        self._tell()

    def on_end(self) -> None:
        self.whole = True
        self._tell()

    def on_lost(self, error: RemoteProtocolError, *, answered: bool) -> None:
        self._lost = str(error)
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _more(self) -> None:
        if self._lost:
            raise Broken(self._lost)
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None


class Browser:
    """All clients' connections. Made within their process."""

    def __init__(self, world: World) -> None:
        self._pool = Pool(lambda: world.now_ns)
        self._origin, _ = parse_base_url(URL)

    async def ask(
        self, method: str, path: str, *, body: bytes = b"", fields: tuple[tuple[str, str], ...] = ()
    ) -> Download:
        """Send a request; its answer from the head on. Raises ``Broken``. Cancelling drops the connection."""
        extra = (*fields, ("content-type", "application/json")) if body else fields
        request = Request(origin=self._origin, path=path, fields=extra, body=body, method=method)
        download = Download()
        try:
            connection = self._pool.take(self._origin) or await self._pool.connect(self._origin, 5.0)
        except TokenwireError as error:
            raise Broken(str(error)) from error
        download.connection = connection
        connection.send(download, request.encode(), pacing=False)
        try:
            await download.head()
        except BaseException:
            download.drop()
            raise
        return download
