"""A relay in the test's own event loop: our edge on a real socket, and everything behind it to look at. ::

    async with serving(settings_for(upstream.base_url)) as relay:
        client = await relay.connect()
        answer = client.post("/v1/chat/completions", chat("hello"))

What it reports while it runs, and how it was left, can fail the test.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import uvicorn
from uvicorn.server import ServerState

from tokenwire.gateway.app import Gateway
from tokenwire.gateway.server import configure, listen
from tokenwire.gateway.settings import LimitSettings, RetrySettings, Settings, UpstreamSettings
from tokenwire.testing import chat_frames
from tokenwire.testing.http_bytes import LAST_CHUNK, head, http_chunk
from tokenwire.testing.http_client import Client
from tokenwire.testing.rig import until
from tokenwire.testing.upstream import REQUEST

if TYPE_CHECKING:
    from tokenwire.engine.stream import Stream
    from tokenwire.testing.upstream import Step

#: How a provider's streamed answer begins.
STREAM_HEAD: Final = head(200, ("content-type", "text/event-stream"), ("transfer-encoding", "chunked"))

#: ``tokenwire`` is our edge; the others are uvicorn's own protocols, which offer no transport.
Edge = Literal["tokenwire", "httptools", "h11"]


class Relay:
    """A running relay.

    Attributes:
        gateway: the application.
        port: where it listens.
    """

    def __init__(self, gateway: Gateway, port: int, state: ServerState) -> None:
        self.gateway = gateway
        self.port = port
        self._state = state
        self._clients: list[Client] = []

    async def connect(self, *, receive_buffer: int | None = None) -> Client:
        """A new client, closed with the relay at the latest."""
        client = await Client.connect(self.port, receive_buffer=receive_buffer)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Drop every connection."""
        for client in self._clients:
            client.transport.abort()
            await client.gone()
        for connection in list(self._state.connections):
            connection.transport.abort()
        await until(lambda: not self._state.connections and not self._state.tasks)

    @property
    def edges(self) -> list[Any]:
        """The server's protocol objects of the connections that are open."""
        return list(self._state.connections)

    @property
    def connections(self) -> int:
        """Client connections that are open."""
        return len(self._state.connections)

    @property
    def streams(self) -> list[Stream]:
        """Every stream that is held, oldest first."""
        return list(self.gateway.hub.mine("local"))

    async def stream(self, index: int = 0) -> Stream:
        """The stream number *index*, once it is there."""
        await until(lambda: len(self.streams) > index)
        return self.streams[index]


def settings_for(base_url: str, upstream: Mapping[str, Any] | None = None, **limits: Any) -> Settings:
    """One upstream ``up`` at *base_url* that is not asked for its models, and is asked everything else once (a test of
    a failure need not wait for its repetition); *upstream* are more of its settings."""
    fields: dict[str, Any] = {"models": [], "retry": RetrySettings(attempts=1), **(upstream or {})}
    return Settings(upstreams={"up": UpstreamSettings(base_url=base_url, **fields)}, limits=LimitSettings(**limits))


def chat(prompt: str = "hi", *, model: str = "up/instant", stream: bool = True, **fields: Any) -> dict[str, Any]:
    """The body of a chat completion request."""
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}], **fields}


def message(prompt: str = "hi", *, model: str = "up/claude", stream: bool = True, **fields: Any) -> dict[str, Any]:
    """The body of a Messages request."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "max_tokens": 50, "stream": stream, "messages": messages, **fields}


def chunks(*frames: bytes) -> bytes:
    """Each frame as one HTTP chunk, which is how providers send tokens."""
    return b"".join(map(http_chunk, frames))


def streamed(*pieces: str) -> list[Step]:
    """A script: one request, answered with a whole chat stream at once."""
    return [REQUEST, STREAM_HEAD + chunks(*chat_frames.answer(*pieces)) + LAST_CHUNK]


async def started(client: Client, **fields: Any) -> str:
    """Start a stream over ``POST /v1/streams`` (*fields*: more of its body); the path of its events."""
    answer = await client.post("/v1/streams", {"dialect": "openai.chat", "request": chat(), **fields}).whole()
    events: str = answer.json["events"]
    return events


@asynccontextmanager
async def serving(settings: Settings, *, edge: Edge = "tokenwire") -> AsyncIterator[Relay]:
    """A relay on a free port of 127.0.0.1.

    Leaving it cuts what still runs. Raises ``AssertionError`` then, if the application raised or broke ASGI's rules.
    """
    gateway = Gateway(settings)
    config = configure(gateway) if edge == "tokenwire" else _stock(gateway, edge)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    complaints = _Complaints()
    server = await loop.create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        sock=(sock := listen("127.0.0.1", 0)),
    )
    await gateway.startup()
    relay = Relay(gateway, sock.getsockname()[1], state)
    try:
        yield relay
    finally:
        server.close()
        gateway.cut()
        await relay.close()
        await gateway.shutdown()
        complaints.stop()
    assert not complaints.told, complaints.told


def _stock(gateway: Gateway, edge: Literal["httptools", "h11"]) -> uvicorn.Config:
    return uvicorn.Config(gateway, http=edge, ws="none", access_log=False, log_level="warning")


class _Complaints(logging.Handler):
    """What uvicorn logs of the application's exceptions and offences."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []
        logging.getLogger("uvicorn.error").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(logging.Formatter().format(record))

    def stop(self) -> None:
        logging.getLogger("uvicorn.error").removeHandler(self)
