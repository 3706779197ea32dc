"""The control routes: few calls, clear schemas, FastAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from tokenwire import dialects
from tokenwire.errors import RequestRefused
from tokenwire.gateway import guard
from tokenwire.gateway.agui import PATH as AGUI
from tokenwire.gateway.answers import MethodNotAllowed, refusal_body, refusal_headers
from tokenwire.gateway.count_tokens import PATH as COUNT_TOKENS
from tokenwire.gateway.models import (
    anthropic_model,
    anthropic_models,
    gemini_model,
    gemini_models,
    ollama_details,
    ollama_models,
    openai_model,
    openai_models,
)
from tokenwire.gateway.openapi import PATHS
from tokenwire.gateway.vendors import ANTHROPIC, ROUTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tokenwire.gateway.app import Gateway

HOME = """tokenwire {version}

  POST /v1/chat/completions        OpenAI chat, streaming and not
  POST /v1/responses               OpenAI responses, streaming and not
  POST /v1/messages                Anthropic messages, streaming and not
  POST /v1beta/models/{{model}}:streamGenerateContent, :generateContent      Gemini
  POST /ollama/api/chat            Ollama (its clients take {base}ollama for the host)
  POST /api/chat                   the AI SDK's useChat, or a prompt in, text events out
  POST /agui                       AG-UI
  GET  /v1/models                  what you may use here
  POST /v1/streams                 start a stream; GET {{events}} follows it, as often as you like
  GET  /openapi.json               these routes, machine-readable
  GET  /                           {page}

  curl -N {base}v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"Tell me of the sea."}}]}}'
"""

PAGE = "in a browser: the playground"
UNBUILT = "in a browser: the playground, once it is built (from a checkout: make page; then start again)"


class ShowRequest(BaseModel):
    """Ollama's clients have named the model in either way."""

    model: str = ""
    name: str = ""


def control_routes(gateway: Gateway, version: str) -> FastAPI:
    """A FastAPI application over *gateway*."""
    app = FastAPI(title="tokenwire", version=version, docs_url=None, redoc_url=None)

    @app.middleware("http")
    async def admitted(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            guard.admit(request.scope)
        except RequestRefused as error:
            return _refusal(request, error)
        return await call_next(request)

    @app.exception_handler(RequestRefused)
    async def refused(request: Request, error: RequestRefused) -> Response:
        return _refusal(request, error)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        where = f"{request.method} {request.url.path[:80]}"
        if error.status_code == 405:
            return _refusal(request, MethodNotAllowed(request.method, (error.headers or {}).get("Allow", "")))
        return _refusal(
            request, RequestRefused(error.status_code, "no_such_route", f"no route {where}; GET / lists them")
        )

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        """What this caller may use, in OpenAI's shape; in Anthropic's with an ``anthropic-version`` header."""
        directory = gateway.directory
        names = directory.names()
        if _is_anthropic(request):
            return anthropic_models(names, request.query_params)
        return openai_models({name: directory.dialects(name) for name in names})

    @app.get("/v1/models/{name:path}")
    async def model(request: Request, name: str) -> dict[str, Any]:
        """One model, in the same shapes; 404 with candidates."""
        target = gateway.directory.resolve(name)
        if _is_anthropic(request):
            return anthropic_model(name)
        return openai_model(name, gateway.directory.dialects(name), target.upstream.name)

    @app.get("/v1beta/models")
    async def listed_by_gemini(request: Request) -> dict[str, Any]:
        """The same in Gemini's shape, in pages."""
        return gemini_models(gateway.directory.names(), request.query_params)

    @app.get("/v1beta/models/{name:path}")
    async def known_by_gemini(name: str) -> dict[str, Any]:
        """One model in Gemini's shape."""
        gateway.directory.resolve(name)
        return gemini_model(name)

    @app.get("/ollama/api/tags")
    async def listed_by_ollama() -> dict[str, Any]:
        """The same in Ollama's shape."""
        return ollama_models(gateway.directory.names())

    @app.post("/ollama/api/show")
    async def known_by_ollama(wanted: ShowRequest) -> dict[str, Any]:
        """One model in Ollama's shape: what clients look for there before they ask it."""
        name = wanted.model or wanted.name
        gateway.directory.resolve(name)
        return ollama_details(name)

    @app.get("/ollama/api/version")
    async def version_for_ollama() -> dict[str, str]:
        """What Ollama's clients ask first."""
        return {"version": version}

    @app.get("/ollama", response_class=PlainTextResponse)
    @app.get("/ollama/", response_class=PlainTextResponse, include_in_schema=False)
    async def running() -> str:
        """The words by which Ollama's clients know a server."""
        return "Ollama is running"

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """503 while draining, or while no stream can begin: a load balancer sends nothing more. A store that cannot
        keep up is told, and costs nobody a token."""
        figures: dict[str, Any] = gateway.hub.statistics()._asdict()
        status = "draining" if gateway.draining else "ready"
        recorder = gateway.hub.recorder
        if recorder is not None:
            figures["store"] = {**recorder.statistics()._asdict(), "error": recorder.degraded}
            if status == "ready" and recorder.degraded is not None:
                status = "full" if recorder.full else "degraded"
        figures["cache"] = gateway.cache.statistics()._asdict()
        return JSONResponse({"status": status, **figures}, 503 if status in ("draining", "full") else 200)

    @app.get("/", response_class=PlainTextResponse)
    async def home(request: Request) -> str:
        """What is here, and a line to try."""
        names = gateway.directory.names()
        return HOME.format(
            version=version,
            base=request.base_url,
            model=names[0] if names else "UPSTREAM/MODEL",
            page=PAGE if gateway.page.built else UNBUILT,
        )

    async def hot() -> None:
        """Answered before FastAPI is asked; here so that another method gets 405 instead of 404."""

    for path in (*ROUTES, COUNT_TOKENS, AGUI):
        app.add_api_route(path, hot, methods=["POST"], include_in_schema=False)

    generated = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generated()
        schema["paths"] = {**PATHS, **schema["paths"]}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


def _is_anthropic(request: Request) -> bool:
    """Whether the caller is a client of Anthropic's: they all name the version, and have routes of their own."""
    return "anthropic-version" in request.headers or request.url.path.startswith(ANTHROPIC.path)


def _dialect(request: Request) -> str:
    """Whose words a refusal is to be in."""
    path = request.url.path
    if path.startswith("/v1beta"):
        return "gemini"
    if path.startswith("/ollama"):
        return "ollama"
    return "anthropic" if _is_anthropic(request) else "openai.chat"


def _refusal(request: Request, error: RequestRefused) -> Response:
    headers = {name.decode(): value.decode() for name, value in refusal_headers(error)}
    body = refusal_body(error, dialects.get(_dialect(request)))
    return Response(body, error.status, headers, media_type="application/json")
