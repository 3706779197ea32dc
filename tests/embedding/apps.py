"""Apps with a relay in them, on real sockets in the test's own loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from uvicorn.server import ServerState

from tokenwire.fastapi import Relay
from tokenwire.gateway.settings import LimitSettings, Settings
from tokenwire.testing.http_client import Client
from tokenwire.testing.relay import settings_for
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.upstream import ScriptedUpstream, Step

#: Our protocol class, as an app names it.
OURS = "tokenwire.fastapi:HttpProtocol"
USER = {"x-user": "ada"}


def user_of(request: Request) -> str | None:
    return request.headers.get("x-user")


def shared_app(settings: Settings, principal: Callable[[Request], str | None] = lambda request: "anybody") -> FastAPI:
    """An app with those of the gateway's routes that both have; ``app.state.relay`` is its relay."""
    relay = Relay(settings, principal=principal)
    app = FastAPI(lifespan=relay.lifespan)
    app.state.relay = relay
    app.include_router(relay.router, prefix="/v1")

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(request: Request) -> Response:
        return relay.respond(request, body=await request.body(), dialect="openai.chat")

    @app.get("/v1/models")
    @app.get("/healthz")
    async def well() -> dict[str, str]:
        return {"status": "ok"}

    return app


class Serving:
    """A running app.

    Attributes:
        port: where it listens.
        state: uvicorn's.
    """

    def __init__(self, port: int, state: ServerState) -> None:
        self.port = port
        self.state = state
        self._clients: list[Client] = []

    async def connect(self, **options: Any) -> Client:
        self._clients.append(await Client.connect(self.port, **options))
        return self._clients[-1]

    async def close(self) -> None:
        shared = vars(self.state).get("tokenwire_shared")
        if shared is not None and shared.acceptor is not None:
            await until(lambda: not shared.acceptor.look())  # the server has closed its socket
        for client in self._clients:
            client.transport.abort()
            await client.gone()
        for connection in list(self.state.connections):
            connection.transport.abort()
        await until(lambda: not self.state.connections and not self.state.tasks)


@asynccontextmanager
async def serving(app: Any, *, http: str = OURS, relay: Relay | None = None) -> AsyncIterator[Serving]:
    """*app* under uvicorn, with *relay* running (by default that of ``app.state``). Leaving it cuts what still runs."""
    relay = relay or app.state.relay
    config = uvicorn.Config(
        app, http=http, lifespan="off", access_log=False, log_level="warning", ws="websockets-sansio"
    )  # fmt: skip
    config.load()
    state = ServerState()

    def protocol() -> Any:
        return config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

    async with relay:
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        running = Serving(server.sockets[0].getsockname()[1], state)
        try:
            yield running
        finally:
            server.close()
            relay.running.core.cut()
            await running.close()


def saying_app(source: Callable[[], Any], limits: LimitSettings | None = None, **arguments: Any) -> FastAPI:
    """An app whose ``/say`` answers with what *source* returns; ``?dialect=``."""
    relay = Relay(Settings(limits=limits or LimitSettings()), principal=user_of)
    app = FastAPI()
    app.state.relay = relay
    app.include_router(relay.router)

    @app.api_route("/say", methods=["GET", "POST"], response_model=None)
    async def say(request: Request, dialect: str = "openai.chat") -> Response:
        return relay.respond(request, source=source(), dialect=dialect, **arguments)

    return app


async def asked(running: Serving, dialect: str = "openai.chat") -> Any:
    return await (await running.connect()).get(f"/say?dialect={dialect}", USER).whole()


def asking_app(settings: Settings, **options: Any) -> FastAPI:
    """``POST /ask`` passes its JSON to ``respond`` as arguments; ``POST /chat`` passes its body on whole."""
    relay = Relay(settings, **{"principal": user_of, **options})
    app = FastAPI()
    app.state.relay = relay
    if relay.resumable:
        app.include_router(relay.router)

    @app.post("/ask", response_model=None)
    def ask(request: Request, body: dict[str, Any]) -> Response:  # in a thread
        return relay.respond(request, **body)

    @app.api_route("/chat", methods=["GET", "POST"], response_model=None)
    @app.post("/api/chat", response_model=None)
    async def chat(request: Request, dialect: str = "openai.chat", model: str | None = None) -> Response:
        if request.method == "GET":
            return relay.respond(request, model="up/m", messages=[{"role": "user", "content": "hi"}], dialect=dialect)
        return relay.respond(request, body=await request.body(), dialect=dialect, model=model)

    return app


def run(main: Any, *scripts: list[Step], http: str = OURS, **options: Any) -> None:
    """``main(running, upstream, relay)``, with the app in front of a scripted upstream ``up``."""

    async def within() -> None:
        async with ScriptedUpstream(*scripts) as upstream:
            app = asking_app(settings_for(upstream.base_url), **options)
            async with serving(app, http=http) as running:
                await main(running, upstream, app.state.relay)

    run_in("uvloop", within)


USER_SAYS = {"role": "user", "content": "hi"}


_app: FastAPI | None = None


async def app(scope: Any, receive: Any, send: Any) -> None:
    """For servers in a process of their own: ``RELAY_UPSTREAM`` is the base URL of its one upstream ``up``."""
    global _app
    if _app is None:
        _app = shared_app(settings_for(os.environ["RELAY_UPSTREAM"], linger=1.0))
    await _app(scope, receive, send)
