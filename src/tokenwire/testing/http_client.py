"""An HTTP/1.1 client that hides nothing: raw bytes out, answers as they come in, and how the server left. ::

    client = await Client.connect(port)
    answer = client.post("/v1/chat/completions", {"model": "sim/echo", "messages": []})
    await answer.head()
    assert answer.status == 400

For tests of servers: requests may be pipelined, cut, slow or wrong; reading can stop while the connection stays open.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, cast

import httptools

from tokenwire.testing.rig import LIMIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self


class Answer:
    """One answer, filled in as its bytes arrive.

    Attributes:
        status: 0 until the head is whole.
        fields: header fields, names in lower case; the last of equal ones.
        body: what came of it so far, without framing.
        complete: it ended where its framing says; False for one that was cut.
        over: nothing more will come of it.
    """

    def __init__(self, *, to_head: bool) -> None:
        self.to_head = to_head
        self.status = 0
        self.version = ""
        self.fields: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False
        self.over = False
        self._changed = asyncio.Event()

    @property
    def blocks(self) -> list[str]:
        """The whole blocks of an event stream, comments among them; lines must end in LF."""
        return self.body.decode().split("\n\n")[:-1]

    @property
    def data(self) -> list[Any]:
        """The JSON of each event's data, ``[DONE]`` as that text."""
        lines = [line[6:] for block in self.blocks for line in block.split("\n") if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]

    @property
    def ids(self) -> list[str]:
        return [line[4:] for block in self.blocks for line in block.split("\n") if line.startswith("id: ")]

    @property
    def events(self) -> list[str]:
        """The names of the events; unnamed ones are left out."""
        return [line[7:] for block in self.blocks for line in block.split("\n") if line.startswith("event: ")]

    @property
    def text(self) -> str:
        """The text of choice 0 of an OpenAI chat stream."""
        choices = [choice for item in self.data if isinstance(item, dict) for choice in item.get("choices", ())]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def native_text(self) -> str:
        """The text of a stream in the native dialect."""
        return "".join(item["t"] for name, item in zip(self.events, self.data, strict=True) if name == "text")

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def until(self, condition: Callable[[Answer], object]) -> Self:
        """Until *condition* of this answer is true. Raises ``AssertionError`` if it is over or takes too long."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while not condition(self):
                assert not self.over, f"over too soon: {self.status} {bytes(self.body[-500:])!r}"
                self._changed.clear()
                await self._changed.wait()
        return self

    async def head(self) -> Self:
        return await self.until(lambda answer: answer.status)

    async def blocks_of(self, count: int) -> Self:
        """Until *count* blocks are whole."""
        return await self.until(lambda answer: len(answer.blocks) >= count)

    async def whole(self) -> Self:
        """Until it is over, cut or not: look at ``complete``."""
        return await self.until(lambda answer: answer.over)

    def tell(self) -> None:
        self._changed.set()

    def end(self, *, complete: bool) -> None:
        if not self.over:
            self.complete = complete
            self.over = True
        self.tell()


class Client(asyncio.Protocol):
    """One connection. Requests are answered in order; each call returns the ``Answer`` that is to come.

    Attributes:
        interim: statuses of interim answers (100).
        left: how the server went: ``fin``, ``reset``, or None while it is there.
    """

    def __init__(self) -> None:
        self.interim: list[int] = []
        self.left: Literal["fin", "reset"] | None = None
        self.received = 0
        self._host = b""
        self._due: deque[Answer] = deque()
        self._parser = httptools.HttpResponseParser(self)
        self._fields: dict[str, str] = {}
        self._current: Answer
        self._gone = asyncio.Event()

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int | None = None) -> Client:
        """To *port* of 127.0.0.1. A small *receive_buffer* (bytes) makes a client that soon takes no more.

        Raises ``OSError``: nobody listens there.
        """
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        _, client = await loop.create_connection(cls, sock=sock)
        client._host = b"127.0.0.1:%d" % port
        return client

    # ------------------------------------------------------------------ requests

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        fields: Mapping[str, str] | None = None,
        *,
        version: str = "1.1",
    ) -> Answer:
        """Send a request; *body* as JSON, or as it is if it is bytes."""
        self.send(self.encode(method, path, body, fields, version=version))
        return self.expect(to_head=method == "HEAD")

    def get(self, path: str, fields: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, None, fields)

    def post(self, path: str, body: object = None, fields: Mapping[str, str] | None = None) -> Answer:
        return self.request("POST", path, body, fields)

    def encode(
        self,
        method: str,
        path: str,
        body: object = None,
        fields: Mapping[str, str] | None = None,
        *,
        version: str = "1.1",
    ) -> bytes:
        """The bytes of a request; *fields* replace those that it would have."""
        payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        mine = {"host": self._host.decode()}
        if body is not None:
            mine |= {"content-type": "application/json", "content-length": str(len(payload))}
        mine |= {name.lower(): value for name, value in (fields or {}).items()}
        lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in mine.items() if value)]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def expect(self, *, to_head: bool = False) -> Answer:
        """The answer to a request that ``send`` sent."""
        answer = Answer(to_head=to_head)
        self._due.append(answer)
        if self.left is not None:
            answer.end(complete=False)
        return answer

    # ------------------------------------------------------------------ the connection

    def pause(self) -> None:
        """Read nothing more; the kernel's buffer fills."""
        self.transport.pause_reading()

    def resume(self) -> None:
        self.transport.resume_reading()

    def half_close(self) -> None:
        """FIN, and go on reading."""
        self.transport.write_eof()

    def reset(self) -> None:
        """RST."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def close(self) -> None:
        self.transport.close()

    async def gone(self) -> Literal["fin", "reset"]:
        """Until the connection is over; how the server ended it (our own ``close`` counts as ``fin``)."""
        async with asyncio.timeout(LIMIT_SECONDS):
            await self._gone.wait()
        assert self.left is not None
        return self.left

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._parser.feed_data(data)
        for answer in self._due:
            answer.tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self.left = "fin" if exc is None else "reset"
        for answer in self._due:
            unframed = answer.status and not answer.fields.keys() & {"content-length", "transfer-encoding"}
            answer.end(complete=bool(unframed) and exc is None)
        self._gone.set()

    # ------------------------------------------------------------------ httptools' callbacks

    def on_message_begin(self) -> None:
        self._fields = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self._current = answer = self._due[0]
            answer.status = status
            answer.version = self._parser.get_http_version()
            answer.fields = self._fields
            if answer.to_head:  # llhttp does not know, and waits for a body: such a connection is not used again
                self._due.popleft().end(complete=True)

    def on_body(self, data: bytes) -> None:
        self._current.body += data

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self.interim.append(self._parser.get_status_code())
        elif not self._current.over:
            self._due.popleft().end(complete=True)
