"""Chunks past the middleware: when they go straight to the transport, and when they must not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response, WebSocket
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from tests.embedding.apps import OURS, Serving, serving
from websockets.asyncio.client import connect as open_websocket

from tokenwire.fastapi import Relay
from tokenwire.fastapi.express import EXTENSION
from tokenwire.gateway.settings import LimitSettings, Settings
from tokenwire.testing.rig import run_in, settle, until

LOOPS = ["uvloop", "asyncio"]


class Watched:
    """An app with one route that streams what is put into ``said``, and middleware that counts the chunks it sees."""

    def __init__(self, **options: Any) -> None:
        self.relay = Relay(Settings(), **options)
        self.app = FastAPI()
        self.said: asyncio.Queue[str | None] = asyncio.Queue()
        self.closed = False
        self.seen: list[bytes] = []
        self.head: dict[bytes, bytes] = {}

        async def tokens() -> AsyncIterator[str]:
            try:
                while (text := await self.said.get()) is not None:
                    yield text
            finally:
                self.closed = True

        @self.app.api_route("/say", methods=["GET", "POST"], response_model=None)
        async def say(request: Request) -> Response:
            return self.relay.respond(request, source=tokens(), dialect="openai.chat")

        self.app.state.relay = self.relay
        self.app.add_middleware(self._Counting, watched=self)

    class _Counting:
        """Pure ASGI, and the outermost of those that were added before ``serving``."""

        def __init__(self, app: Any, watched: Watched) -> None:
            self.app, self.watched = app, watched

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def counting(message: Any) -> None:
                if message["type"] == "http.response.start":
                    self.watched.head = dict(message["headers"])
                elif message.get("body"):
                    self.watched.seen.append(message["body"])
                await send(message)

            await self.app(scope, receive, counting)

    def say(self, *texts: str | None) -> None:
        for text in texts:
            self.said.put_nowait(text)


async def answered(watched: Watched, running: Serving, count: int = 5) -> Any:
    """*count* tokens, each sent when the one before it has arrived."""
    answer = (await running.connect()).get("/say")
    for number in range(count):
        watched.say(f"<{number}>")
        await answer.until(lambda answer, number=number: answer.text.endswith(f"<{number}>"))  # type: ignore[misc]
    watched.say(None)
    await answer.whole()
    assert answer.complete
    assert answer.text == "".join(f"<{number}>" for number in range(count))
    assert answer.data[-1] == "[DONE]"
    return answer


@pytest.mark.parametrize("loop", LOOPS)
def test_middleware_sees_the_head_the_first_chunk_and_the_end(loop: str) -> None:
    async def main() -> None:
        watched = Watched()
        watched.app.add_middleware(CORSMiddleware, allow_origins=["*"])
        async with serving(watched.app) as running:
            await answered(watched, running, 20)
            assert watched.head[b"content-type"].startswith(b"text/event-stream")
            assert len(watched.seen) < 4, "the others went past it"
            # The connection is ordinary HTTP again.
            client = await running.connect()
            watched.say("x", None)
            first = client.get("/say", {"origin": "http://page"})
            second = client.get("/nowhere")
            assert (await first.whole()).text == "x"
            assert first.fields["access-control-allow-origin"] == "*"
            assert (await second.whole()).status == 404

    run_in(loop, main)


def test_middleware_that_passes_messages_on_by_a_task_of_its_own_loses_and_reorders_nothing() -> None:
    async def passed_on(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-added"] = "1"
        return response

    async def main() -> None:
        watched = Watched()
        watched.app.add_middleware(BaseHTTPMiddleware, dispatch=passed_on)
        async with serving(watched.app) as running:
            answer = await answered(watched, running, 20)
            assert answer.fields["x-added"] == "1"
            assert len(watched.seen) < 5
            burst = (await running.connect()).get("/say")
            watched.say(*(f"[{number}]" for number in range(300)), None)
            await burst.whole()
            assert burst.text == "".join(f"[{number}]" for number in range(300))

    run_in("uvloop", main)


def altering(part: str) -> Any:
    """Middleware that changes one thing of an answer."""

    class Altering:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            chunks = 0

            async def sending(message: Any) -> None:
                nonlocal chunks
                if message["type"] == "http.response.start":
                    if part == "coding":
                        message["headers"] = [*message["headers"], (b"content-encoding", b"identity")]
                    elif part == "head":
                        message["headers"] = [each for each in message["headers"] if each[0] != b"cache-control"]
                elif message.get("body"):
                    chunks += 1
                    if part == "chunk" and chunks == 1:
                        message = {**message, "body": b": seen\n\n" + message["body"]}
                await send(message)
                if part == "more" and chunks == 1 and message.get("body"):
                    chunks += 1
                    await send({"type": "http.response.body", "body": b": more\n\n", "more_body": True})

            await self.app(scope, receive, sending)

    return Altering


@pytest.mark.parametrize("part", ["coding", "head", "chunk", "more"])
def test_middleware_that_changes_an_answer_gets_every_chunk(part: str) -> None:
    async def main() -> None:
        watched = Watched()
        app: Any = altering(part)(watched.app)
        async with serving(app, relay=watched.relay) as running:
            answer = (await running.connect()).get("/say")
            for number in range(8):
                watched.say(f"<{number}>")
                await answer.until(lambda answer, number=number: f"<{number}>".encode() in answer.body)  # type: ignore[misc]
            watched.say(None)
            await answer.whole()
            assert answer.complete
            assert len(watched.seen) >= 8

    run_in("uvloop", main)


@pytest.mark.parametrize("how", ["removed", "off", "h11"])
def test_where_the_way_is_not_offered_or_not_wanted_every_chunk_is_sent(how: str) -> None:
    class Debugging:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            extensions = dict(scope.get("extensions") or {})
            assert extensions.pop(EXTENSION, None) is not None
            await self.app({**scope, "extensions": extensions}, receive, send)

    async def main() -> None:
        watched = Watched(express=how != "off")
        if how == "removed":
            watched.app.add_middleware(Debugging)
        async with serving(watched.app, http="h11" if how == "h11" else OURS) as running:
            await answered(watched, running, 8)
            assert len(watched.seen) >= 8

    run_in("uvloop", main)


def test_a_compressed_answer_is_compressed_to_its_end() -> None:
    async def main() -> None:
        watched = Watched()
        # Starlette leaves event streams alone; older ones, and others, compress them.
        gzip: Any = GZipMiddleware(watched.app, minimum_size=0)
        async with serving(gzip, relay=watched.relay) as running:
            client = await running.connect()
            watched.say("a", "b", None)
            answer = await client.get("/say", {"accept-encoding": "gzip"}).whole()
            assert answer.complete
            if answer.fields.get("content-encoding") == "gzip":
                import gzip as codec

                assert b"[DONE]" in codec.decompress(bytes(answer.body))
            else:
                assert answer.text == "ab"

    run_in("uvloop", main)


@pytest.mark.parametrize("tokens", [0, 1, 6])
@pytest.mark.parametrize("http", [OURS, "httptools", "h11"])
def test_a_client_that_leaves_closes_the_generator(http: str, tokens: int) -> None:
    async def main() -> None:
        watched = Watched()
        async with serving(watched.app, http=http) as running:
            client = await running.connect()
            answer = client.get("/say")
            for number in range(tokens):
                watched.say(f"<{number}>")
                await answer.until(lambda answer, number=number: answer.text.endswith(f"<{number}>"))  # type: ignore[misc]
            await until(lambda: watched.relay.running.core.hub.running())
            await settle()
            client.close()
            await until(lambda: watched.closed)
            await until(lambda: not watched.relay.running.core.hub.running())

    run_in("uvloop", main)


def test_a_reader_that_stands_still_is_held_by_the_transport_and_goes_on() -> None:
    async def main() -> None:
        watched = Watched()
        async with serving(watched.app) as running:
            client = await running.connect(receive_buffer=4096)
            answer = client.get("/say")
            watched.say("<first>")
            await answer.until(lambda answer: answer.text)
            client.pause()
            pieces = [f"<{number}>" + "x" * 20_000 for number in range(400)]
            watched.say(*pieces, None)
            [stream] = watched.relay.running.core.hub.running()
            await until(lambda: stream.terminal is not None)
            assert stream.readers, "8 MB are more than the kernel takes"
            assert stream.readers[0].sink.unsent > 0
            client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            client.resume()
            await answer.whole()
            assert answer.text == "<first>" + "".join(pieces)

    run_in("uvloop", main)


def test_a_reader_that_takes_nothing_for_too_long_is_told_and_let_go() -> None:
    async def main() -> None:
        watched = Watched()
        watched.relay = watched.app.state.relay = Relay(Settings(limits=LimitSettings(reader_timeout=0.1)))
        async with serving(watched.app) as running:
            client = await running.connect(receive_buffer=4096)
            answer = client.get("/say")
            watched.say("<first>")
            await answer.until(lambda answer: answer.text)
            client.pause()
            watched.say(*("x" * 20_000 for _ in range(400)))
            await until(lambda: watched.closed)  # nobody can come back: the answer is cancelled
            client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            client.resume()
            await answer.whole()
            assert answer.complete
            assert answer.data[-1]["error"]["code"] == "reader_timeout"

    run_in("uvloop", main)


def test_a_body_that_nobody_read_is_no_reason_to_drop_its_client() -> None:
    async def main() -> None:
        watched = Watched()
        async with serving(watched.app) as running:
            client = await running.connect()
            whole = client.encode("POST", "/say", b"x" * 300_000)
            client.send(whole[:100_000])
            answer = client.expect()
            watched.say("one")
            await answer.until(lambda answer: answer.text == "one")
            client.send(whole[100_000:])
            watched.say(" two", None)
            assert (await answer.whole()).text == "one two"

    run_in("uvloop", main)


def test_old_clients_and_those_that_want_the_head_alone_are_answered() -> None:
    async def main() -> None:
        watched = Watched()
        async with serving(watched.app) as running:
            watched.say("old", None)
            old = await (await running.connect()).request("GET", "/say", version="1.0").whole()
            assert (old.text, old.complete) == ("old", True)

    run_in("uvloop", main)


def test_a_websocket_is_still_the_apps() -> None:
    async def main() -> None:
        watched = Watched()

        @watched.app.websocket("/echo")
        async def echo(socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_text(await socket.receive_text() + "!")
            await socket.close()

        echo.__annotations__["socket"] = WebSocket
        async with (
            serving(watched.app) as running,
            open_websocket(f"ws://127.0.0.1:{running.port}/echo", proxy=None) as client,
        ):
            await client.send("hello")
            assert await client.recv() == "hello!"

    run_in("uvloop", main)
