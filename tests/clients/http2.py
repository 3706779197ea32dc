"""An HTTP/2 client as a browser is one: many requests on one connection, and RST_STREAM for each that is aborted.

On the h2 library; httpx, which has HTTP/2 as well, never resets a stream that its caller has left.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events


class Answer:
    """One request's answer, as it comes.

    Attributes:
        status: 0 until the head is there.
        reads: the body, in one piece for each read of the socket that brought some of it.
        over: the server has ended it.
    """

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self._number = number
        self.status = 0
        self.reads: list[bytes] = []
        self.over = asyncio.Event()
        self.came = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.reads)

    async def whole(self) -> bytes:
        """The body, when it is complete."""
        async with asyncio.timeout(20):
            await self.over.wait()
        return self.body

    async def until(self, mark: bytes) -> None:
        """Returns when *mark* has come."""
        async with asyncio.timeout(20):
            while mark not in self.body:
                assert not self.over.is_set(), f"it ended with {self.body[-300:]!r}"
                self.came.clear()
                await self.came.wait()

    def abort(self) -> None:
        """Leave: what an AbortController does."""
        self._connection.reset(self._number)


class Connection(asyncio.Protocol):
    """One connection; ``post`` may be called again and again."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self._answers: dict[int, Answer] = {}
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._send()

    def post(self, path: str, body: Any) -> Answer:
        """Send *body* as JSON to *path*."""
        content = json.dumps(body).encode()
        number = self._h2.get_next_available_stream_id()
        answer = self._answers[number] = Answer(self, number)
        self._h2.send_headers(
            number,
            [
                (":method", "POST"),
                (":scheme", "https"),
                (":authority", self._authority),
                (":path", path),
                ("content-type", "application/json"),
                ("content-length", str(len(content))),
            ],
        )
        self._h2.send_data(number, content, end_stream=True)
        self._send()
        return answer

    def reset(self, number: int) -> None:
        self._h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        self._send()

    def data_received(self, data: bytes) -> None:
        brought: dict[int, bytes] = {}
        for event in self._h2.receive_data(data):
            match event:
                case h2.events.ResponseReceived():
                    self._answers[event.stream_id].status = int(dict(event.headers)[b":status"])
                case h2.events.DataReceived():
                    brought[event.stream_id] = brought.get(event.stream_id, b"") + event.data
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    self._answers[event.stream_id].over.set()
                    self._answers[event.stream_id].came.set()
        for number, piece in brought.items():
            self._answers[number].reads.append(piece)
            self._answers[number].came.set()
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        for answer in self._answers.values():
            answer.over.set()
            answer.came.set()

    def close(self) -> None:
        self._transport.abort()

    def _send(self) -> None:
        self._transport.write(self._h2.data_to_send())


@asynccontextmanager
async def connect(url: str, trust: ssl.SSLContext) -> AsyncIterator[Connection]:
    """A connection to *url*'s host and port, which must choose HTTP/2."""
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    trust.set_alpn_protocols(["h2"])
    loop = asyncio.get_running_loop()
    transport, connection = await loop.create_connection(
        lambda: Connection(where.netloc), where.hostname, where.port, ssl=trust
    )
    chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol()
    assert chosen == "h2", f"the server chose {chosen}"
    try:
        yield connection
    finally:
        connection.close()
