"""``Relay.router``: the routes by which a caller comes back to his streams, and stops them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tokenwire import dialects
from tokenwire.errors import NotResumable, RequestRefused
from tokenwire.fastapi.response import RelayResponse, follow_openly
from tokenwire.gateway import lease, ui_chat
from tokenwire.gateway.answers import refusal_body, refusal_headers
from tokenwire.gateway.following import Following
from tokenwire.gateway.streams import describe, follow

if TYPE_CHECKING:
    from tokenwire.engine.stream import Stream
    from tokenwire.fastapi.relay import Relay
    from tokenwire.gateway.respond import Responding
    from tokenwire.gateway.sinks import ResponseSink, Send


def routes(relay: Relay) -> APIRouter:
    """Made once for each relay."""
    router = APIRouter(tags=["streams"])

    async def mine(request: Request, stream_id: str) -> Stream:
        return await relay.running.core.hub.find(stream_id, await relay.owner_of(request))

    @router.get("/streams/{stream_id}", summary="A stream's state")
    async def look(request: Request, stream_id: str) -> Response:
        try:
            return JSONResponse(describe(await mine(request, stream_id)))
        except RequestRefused as error:
            return _refused(error, "native")

    @router.head("/streams/{stream_id}/events", include_in_schema=False)
    @router.get("/streams/{stream_id}/events", summary="A stream's events, from the start or after Last-Event-ID")
    async def events(request: Request, stream_id: str) -> Response:
        async def answer(sink: ResponseSink, send: Send) -> None:
            stream = await mine(request, stream_id)
            follow_openly(stream, sink)
            await follow(relay.running.core, stream, request.scope, sink, send)

        return RelayResponse(relay, answer, "native")

    @router.post("/streams/{stream_id}/cancel", summary="Stop a stream")
    async def cancel(request: Request, stream_id: str) -> Response:
        try:
            stream = await mine(request, stream_id)
        except RequestRefused as error:
            return _refused(error, "native")
        stream.cancel()
        return JSONResponse(describe(stream))

    @router.post("/streams/{stream_id}/lease", summary="Say that one is still there")
    async def renew(request: Request, stream_id: str) -> Response:
        try:
            stream = await mine(request, stream_id)
            return JSONResponse(lease.renewed(stream, request.scope, await request.body()))
        except RequestRefused as error:
            return _refused(error, "native")

    async def resume(request: Request, chat_id: str) -> Response:
        async def answer(sink: ResponseSink, send: Send) -> Responding:
            stream = relay.running.chats.running(await relay.owner_of(request), chat_id)
            if stream is not None:
                await relay.running.core.hub.whole(stream)  # of a long answer, the store may have the beginning
            if stream is None or stream.terminal is not None:
                raise NotResumable(204, "over", "no answer of this chat is under way")
            follow_openly(stream, sink)
            dialect = ui_chat.again(stream, ui_chat.version_of(request.scope))
            leased = lease.asked(request.scope)
            return Following(stream, sink, dialect, ids=True, start="snapshot", leased=leased)

        return RelayResponse(relay, answer, "ui-messages")

    async def stop(request: Request, chat_id: str) -> Response:
        try:
            stream = relay.running.chats.running(await relay.owner_of(request), chat_id)
        except RequestRefused as error:
            return _refused(error, "ui-messages")
        return JSONResponse({"stopped": stream is not None and stream.cancel()})

    for prefix in ("/api/chat", "/chat"):  # what useChat asks for by default; and that behind a prefix of the app's
        shown: dict[str, Any] = {"include_in_schema": prefix == "/api/chat"}
        router.get(prefix + "/{chat_id}/stream", summary="The rest of a chat's answer", **shown)(resume)
        router.post(prefix + "/{chat_id}/stop", summary="Stop a chat's answer", **shown)(stop)
    return router


def _refused(error: RequestRefused, dialect: str) -> Response:
    headers = {name.decode(): value.decode() for name, value in refusal_headers(error)}
    body = refusal_body(error, dialects.get(dialect))
    return Response(body, error.status, {"cache-control": "no-store", **headers}, "application/json")
