"""An HTTP proxy for tests: a real one on 127.0.0.1, which tunnels and forwards, or refuses, or says nothing. ::

async with ForwardProxy(credentials="me:secret") as proxy:
    parse_proxy(f"http://me:secret@127.0.0.1:{proxy.port}")
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing import Self

_REFUSED: Final = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
)


class ForwardProxy:
    """Tunnels CONNECT and forwards absolute-form requests.

    Args:
        credentials: ``USER:PASSWORD`` that every request must show, or 407.
        answer: is all that it ever says; b"": nothing, and it reads on.
        tls: a server's context, for an https proxy.
        reach: tells which port of 127.0.0.1 to connect to, whatever was asked for.

    Attributes:
        heads: of the requests that it got, in order, as they came.
    """

    def __init__(
        self,
        *,
        credentials: str | None = None,
        answer: bytes | None = None,
        tls: ssl.SSLContext | None = None,
        reach: Callable[[], int] | None = None,
    ) -> None:
        self.heads: list[bytes] = []
        self.port = 0
        self._wanted = None
        if credentials is not None:
            shown = base64.b64encode(credentials.encode())
            self._wanted = b"\r\nproxy-authorization: Basic %b\r\n" % shown
        self._answer = answer
        self._tls = tls
        self._reach = reach
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """``http(s)://127.0.0.1:PORT``."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients have come."""
        return self._clients

    _clients = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """No coroutine: from 3.11.5 on, asyncio complains of one of its own that ends by being cancelled."""
        self._clients += 1
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward: asyncio.StreamWriter | None = None
        back: asyncio.Task[None] | None = None
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                refusal = self._answer
                if refusal is None and self._wanted is not None and self._wanted not in head:
                    refusal = _REFUSED
                if refusal is not None:
                    writer.write(refusal)
                    continue
                method, target, _ = head.split(b" ", 2)
                if onward is None:
                    place = urlsplit(b"//" + target if method == b"CONNECT" else target)
                    assert place.hostname is not None
                    port = (place.port or 80) if self._reach is None else self._reach()
                    answers, onward = await asyncio.open_connection("127.0.0.1", port)
                    back = asyncio.create_task(_pump(answers, writer))
                if method == b"CONNECT":
                    writer.write(b"HTTP/1.1 200 Connection established\r\nvia: 1.1 test\r\n\r\n")
                    await _pump(reader, onward)
                    return
                onward.write(_origin_form(head) + await reader.readexactly(_length(head)))
        except (asyncio.IncompleteReadError, OSError):
            pass  # it left
        finally:
            for each in (writer, onward):
                if each is not None:
                    each.transport.abort()
            if back is not None:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything from one to the other; the end of one is the end of the other."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort() if reader.exception() else writer.close()


def _origin_form(head: bytes) -> bytes:
    """The head as an origin wants it: no authority in its first line, nothing that was meant for us."""
    first, *fields = head.split(b"\r\n")
    method, target, version = first.split(b" ")
    path = target.split(b"/", 3)[3]
    kept = [field for field in fields if not field.lower().startswith(b"proxy-")]
    return b"\r\n".join([b"%b /%b %b" % (method, path, version), *kept])


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
