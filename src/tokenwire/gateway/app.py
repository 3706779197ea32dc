"""The ASGI application: hot routes first, by hand; everything else is FastAPI's."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from tokenwire import __version__
from tokenwire.dialects.deltas import Failed
from tokenwire.engine.clock import LoopClock
from tokenwire.engine.hub import Hub
from tokenwire.engine.pacing import FrameClock
from tokenwire.gateway import chat
from tokenwire.gateway.answers import send_body
from tokenwire.gateway.directory import Directory
from tokenwire.gateway.idempotency import Keys
from tokenwire.gateway.page import Page
from tokenwire.gateway.settings import Settings
from tokenwire.gateway.streams import streams
from tokenwire.upstream.pool import Pool

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tokenwire.gateway.sinks import Receive, ResponseSink, Scope, Send

log = logging.getLogger(__name__)


class Gateway:
    """One relay: engine, upstreams and routes. Make it inside the running loop; it is an ASGI application.

    ``startup`` and ``shutdown`` are also run by the ASGI lifespan, whichever comes first.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = LoopClock()
        self.hub = Hub(self.clock, settings.limits.retention())
        self.pacing = FrameClock(self.clock)
        self.pool = Pool(self.clock.now_ns, self.pacing)
        self.directory = Directory(settings, self.pool)
        self.keys = Keys(self.clock, self.hub)
        self.page = Page.load()
        self.draining = False
        self._control: FastAPI | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def startup(self) -> None:
        """Begin to fetch the model lists."""
        if not self._tasks:
            self._tasks.append(asyncio.get_running_loop().create_task(self.directory.run()))

    def drain(self) -> None:
        """No new streams from now on; the running ones go on."""
        self.draining = True

    def busy(self) -> bool:
        """Whether a stream runs, or a reader of an ended one has not got it all."""
        figures = self.hub.statistics()
        return figures.running > 0 or figures.readers > 0

    def cut(self) -> None:
        """End every stream that still runs, each told why."""
        for stream in self.hub.running():
            stream.fail(Failed(code="shutting_down", message="the relay is shutting down", retryable=True))

    async def shutdown(self) -> None:
        """End everything. Idempotent."""
        self.drain()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.hub.close()
        self.pool.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hot and follow routes are matched before FastAPI sees anything."""
        kind = scope["type"]
        if kind == "http":
            path = scope["path"]
            if path == chat.PATH and scope["method"] == "POST":
                await chat.chat_completions(self, scope, receive, send)
            elif path.startswith("/v1/streams") and (path == "/v1/streams" or path.startswith("/v1/streams/")):
                await streams(self, scope, receive, send)
            elif path == "/healthz":
                await send_body(send, 200, b'{"status":"ok"}')
            elif self.page.takes(scope):
                await self.page.serve(scope, send)
            else:
                if scope["method"] == "HEAD":  # FastAPI would say 405; servers leave the body out by themselves
                    scope = {**scope, "method": "GET"}
                await self.control(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:  # websocket: nothing here speaks it
            await send({"type": "websocket.close", "code": 1000})

    def takes(self, scope: Scope, size: int) -> bool:
        """Whether ``answer`` takes this request, with a body of *size* bytes."""
        limit = self.settings.limits.request_body
        return bool(scope["path"] == chat.PATH and scope["method"] == "POST" and size <= limit)

    def answer(self, scope: Scope, body: bytes, sink: ResponseSink) -> None:
        """What a call does, for a server that has the whole body at hand; nothing is waited for."""
        chat.answer(self, scope, body, sink)

    @property
    def control(self) -> Any:
        """The FastAPI application with the control routes, made on first use (its import takes a third of a second)."""
        if self._control is None:
            from tokenwire.gateway.control import control_routes

            self._control = control_routes(self, __version__)
        return self._control

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.startup()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return
