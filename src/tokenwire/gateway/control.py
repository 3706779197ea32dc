"""The control routes: few calls, clear schemas, FastAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from tokenwire import dialects
from tokenwire.dialects.deltas import Failed
from tokenwire.errors import RequestRefused
from tokenwire.gateway import guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tokenwire.gateway.app import Gateway

HOME = """tokenwire {version}

  POST /v1/chat/completions        OpenAI chat, streaming and not
  GET  /v1/models                  what you may use here
  POST /v1/streams                 start a stream; GET {{events}} follows it, as often as you like
  GET  /openapi.json               these routes, machine-readable

  curl -N {base}v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"Tell me of the sea."}}]}}'
"""


def control_routes(gateway: Gateway, version: str) -> FastAPI:
    """A FastAPI application over *gateway*."""
    app = FastAPI(title="tokenwire", version=version, docs_url=None, redoc_url=None)

    @app.middleware("http")
    async def admitted(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            guard.admit(request.scope)
        except RequestRefused as error:
            return _refusal(error)
        return await call_next(request)

    @app.exception_handler(RequestRefused)
    async def refused(request: Request, error: RequestRefused) -> Response:
        return _refusal(error)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """What this caller may use, in OpenAI's shape."""
        return gateway.directory.listing()

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """One model, in OpenAI's shape; 404 with candidates."""
        target = gateway.directory.resolve(name)
        return {"id": name, "object": "model", "created": 0, "owned_by": target.upstream.name}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """503 while draining: a load balancer sends nothing more."""
        figures = gateway.hub.statistics()._asdict()
        status = "draining" if gateway.draining else "ready"
        return JSONResponse({"status": status, **figures}, 503 if gateway.draining else 200)

    @app.get("/", response_class=PlainTextResponse)
    async def home(request: Request) -> str:
        """What is here, and a line to try."""
        names = gateway.directory.names()
        return HOME.format(version=version, base=request.base_url, model=names[0] if names else "UPSTREAM/MODEL")

    return app


def _refusal(error: RequestRefused) -> Response:
    failed = Failed(code=error.code, message=str(error), upstream_status=error.status, raw={"param": error.param})
    body = dialects.get("openai.chat").error_body(failed, error.status)
    return Response(body, error.status, media_type="application/json")
