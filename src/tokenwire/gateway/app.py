"""The ASGI application: hot routes first, by hand; everything else is FastAPI's."""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tokenwire import __version__, dialects
from tokenwire.gateway import agui, generate, plain_chat, responses, ui_chat
from tokenwire.gateway.answers import header, send_body
from tokenwire.gateway.chats import Chats
from tokenwire.gateway.core import Core
from tokenwire.gateway.count_tokens import PATH as COUNT_TOKENS
from tokenwire.gateway.count_tokens import count_tokens
from tokenwire.gateway.idempotency import Keys
from tokenwire.gateway.page import Page
from tokenwire.gateway.settings import Settings
from tokenwire.gateway.signals import Signals
from tokenwire.gateway.streams import streams
from tokenwire.gateway.tickets import Tickets
from tokenwire.gateway.vendors import ROUTES, vendor_at

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tokenwire.gateway.sinks import Receive, ResponseSink, Scope, Send

log = logging.getLogger(__name__)

#: How long the readers of streams that were cut may take to read why.
LAST_WORDS_SECONDS = 5.0


class Gateway(Core):
    """One relay: engine, upstreams and routes. Make it inside the running loop; it is an ASGI application.

    ``startup`` and ``shutdown`` are also run by the ASGI lifespan, whichever comes first.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.keys = Keys(self.clock, self.hub)
        self.chats = Chats(self.hub)
        self.tickets = Tickets(self.clock)
        self.page = Page.load()
        self._answering = 0  # requests that a task of their server waits in
        self._control: FastAPI | None = None

    async def startup(self) -> None:
        if not self.tasks:
            # A third of a second, now and not in the turn of the first request for such a route, while others stream.
            import_module("tokenwire.gateway.control")
            for name in dialects.names():  # 10 ms for each vendor's, else paid by the first who reads in it
                dialect = dialects.get(name)
                dialect.decoder()
                dialect.encoder("st_" + "A" * 22, 0.0, "")
        await super().startup()
        if self.hub.recorder is not None:
            await self.tickets.share(self.hub.recorder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection scope; returns when it is answered."""
        kind = scope["type"]
        if kind == "http":
            self._answering += 1
            try:
                await self._route(scope, receive, send)
            finally:
                self._answering -= 1
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:  # websocket: nothing here speaks it
            await send({"type": "websocket.close", "code": 1000})

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hot and follow routes are matched before FastAPI sees anything."""
        path = scope["path"]
        vendor = vendor_at(path, scope["query_string"]) if scope["method"] == "POST" else None
        if vendor is not None:
            await generate.generate(self, vendor, scope, receive, send)
        elif path.startswith("/v1/streams") and (path == "/v1/streams" or path.startswith("/v1/streams/")):
            await streams(self, scope, receive, send)
        elif path == plain_chat.PATH:
            await plain_chat.plain_chat(self, scope, receive, send)
        elif ui_chat.matches(path):
            await ui_chat.ui_chat(self, scope, receive, send)
        elif path == agui.PATH and scope["method"] == "POST":
            await agui.agui(self, scope, receive, send)
        elif responses.matches(path):
            await responses.responses(self, scope, receive, send)
        elif path == COUNT_TOKENS and scope["method"] == "POST":
            await count_tokens(self, scope, receive, send)
        elif path == "/healthz":
            await send_body(send, 200, b'{"status":"ok"}')
        elif self.page.takes(scope):
            await self.page.serve(scope, send)
        else:
            if scope["method"] == "HEAD":  # FastAPI would say 405; servers leave the body out by themselves
                scope = {**scope, "method": "GET"}
            await self.control(scope, receive, send)

    def takes(self, scope: Scope, size: int) -> bool:
        """Whether ``answer`` takes this request, with a body of *size* bytes."""
        if not (scope["method"] == "POST" and scope["path"] in ROUTES and size <= self.settings.limits.request_body):
            return False
        return not (self.keys.stored and header(scope, b"idempotency-key"))  # the store may have to be asked

    def answer(self, scope: Scope, body: bytes, sink: ResponseSink) -> None:
        """What a call does, for a server that has the whole body at hand; nothing is waited for."""
        generate.answer(self, ROUTES[scope["path"]], scope, body, sink)

    @property
    def control(self) -> Any:
        """The FastAPI application with the control routes, made on first use."""
        if self._control is None:
            from tokenwire.gateway.control import control_routes

            self._control = control_routes(self, __version__)
        return self._control

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        signals: Signals | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.startup()
                signals = Signals(asyncio.get_running_loop(), self.asked_to_end)
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                if signals is not None:
                    signals.close()
                await self.wind_down()
                await self.wait_while(lambda: self._answering > 0, LAST_WORDS_SECONDS)
                await self.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return
