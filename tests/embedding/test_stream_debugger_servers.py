"""``StreamDebugger`` around real apps on real sockets: FastAPI's, and our own relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from uvicorn.server import ServerState

from tokenwire.fastapi import StreamDebugger
from tokenwire.fastapi.tracing import Chunk, End, Record
from tokenwire.gateway.app import Gateway
from tokenwire.gateway.edge import EdgeProtocol
from tokenwire.gateway.port import EXTENSION
from tokenwire.testing import chat_frames as frames
from tokenwire.testing.http_client import Client
from tokenwire.testing.relay import STREAM_HEAD, chat, chunks, settings_for, streamed
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import REQUEST, ScriptedUpstream, Step


@asynccontextmanager
async def serving(app: Any, **config: Any) -> AsyncIterator[int]:
    """*app* on uvicorn; its port."""
    settings = uvicorn.Config(app, ws="none", lifespan="off", access_log=False, log_level="warning", **config)
    settings.load()
    state = ServerState()

    def protocol() -> Any:
        return settings.http_protocol_class(config=settings, server_state=state, app_state={})  # type: ignore[call-arg]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await until(lambda: not state.connections and not state.tasks)


def ends(records: list[Record]) -> list[End]:
    return [record for record in records if isinstance(record, End)]


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_a_fastapi_stream_is_told_chunk_by_chunk_and_so_is_its_clients_leaving(http: str) -> None:
    app = FastAPI()
    go = asyncio.Event()
    records: list[Record] = []

    @app.get("/whole")
    async def whole() -> StreamingResponse:
        async def tokens() -> AsyncIterator[bytes]:
            for number in range(5):
                yield b"data: %d\n\n" % number

        return StreamingResponse(tokens(), media_type="text/event-stream")

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def tokens() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await go.wait()

        return StreamingResponse(tokens(), media_type="text/event-stream")

    async def main() -> None:
        async with serving(StreamDebugger(app, trace=records.append), http=http) as port:
            client = await Client.connect(port)
            answer = await client.get("/whole").whole()
            assert answer.blocks == [f"data: {number}" for number in range(5)]
            [end] = ends(records)
            assert (end.ended_by, end.chunks, end.events, end.left_ns) == ("app", 5, 5, None)
            assert end.total_ns >= (end.ttfb_ns or 0) > 0
            await client.get("/endless").blocks_of(1)
            client.close()
            await until(lambda: len(ends(records)) == 2)
            left = ends(records)[1]
            assert (left.ended_by, left.path, left.chunks) == ("client", "/endless", 1)
            await client.gone()

    run_in("asyncio", main)


@pytest.mark.parametrize("edge", ["tokenwire", "httptools"])
def test_our_relay_is_seen_through_on_its_own_server_and_on_another(edge: str) -> None:
    records: list[Record] = []
    offered: list[bool] = []
    first: list[Step] = [REQUEST, STREAM_HEAD + chunks(frames.role(), frames.text("one")), asyncio.Event()]

    async def main() -> None:
        async with ScriptedUpstream(first, streamed("Hello", " world")) as upstream:
            gateway = Gateway(settings_for(upstream.base_url))
            debugger = StreamDebugger(gateway, trace=records.append)

            async def app(scope: Any, receive: Any, send: Any) -> None:
                offered.append(EXTENSION in (scope.get("extensions") or {}))
                await debugger(scope, receive, send)

            def ours(**arguments: Any) -> EdgeProtocol:
                return EdgeProtocol(limits=gateway.settings.limits.edge(), wheel=gateway.hub.wheel, **arguments)

            await gateway.startup()
            async with serving(app, http=ours if edge == "tokenwire" else edge) as port:
                leaving = await Client.connect(port)
                await leaving.post("/v1/chat/completions", chat()).blocks_of(2)
                leaving.close()
                assert await upstream.peers[0].gone()
                await until(lambda: len(ends(records)) == 1)
                answer = await (await Client.connect(port)).post("/v1/chat/completions", chat()).whole()
                assert (answer.text, answer.complete) == ("Hello world", True)
            gateway.cut()
            await gateway.shutdown()

    run_in("uvloop", main)
    assert offered == [edge == "tokenwire"] * 2
    left, whole = ends(records)
    assert (left.ended_by, left.events, left.error) == ("client", 2, None)
    assert whole.ended_by == "app"
    assert whole.events == 5  # a role, two texts, a finish, [DONE]
    assert all(record.between for record in records if isinstance(record, Chunk))
