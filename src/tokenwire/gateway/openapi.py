"""What ``/openapi.json`` says of the routes that FastAPI does not serve: those matched before it, for speed."""

from __future__ import annotations

from typing import Any

_STREAM = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "st_…"}
_JSON: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
_EVENTS: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}


def _query(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string"}, "description": description}


def _operation(
    summary: str,
    answers: dict[str, str],
    *,
    parameters: list[dict[str, Any]] | None = None,
    body: str | None = None,
    content: dict[str, Any] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": parameters or [],
        "responses": {status: {"description": text} for status, text in answers.items()},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "description": body, "content": _JSON}
    if content is not None:
        next(iter(operation["responses"].values()))["content"] = content
    return operation


_KEY = _header("Idempotency-Key", "a repeated request attaches to the stream that the first one started")
_ON_DISCONNECT = _header("X-Tokenwire-On-Disconnect", "cancel, linger=SECONDS or finish")
_NOT_FOUND = {"404": "no such stream for this caller"}

PATHS: dict[str, Any] = {
    "/v1/chat/completions": {
        "post": _operation(
            "OpenAI chat, streaming and not",
            {"200": "the answer", "400": "a bad request", "404": "an unknown model", "422": "the key's other body"},
            parameters=[_KEY, _ON_DISCONNECT, _header("X-Tokenwire-Ids", "1: events have ids, to resume from")],
            body="as OpenAI's API takes it",
            content={**_JSON, **_EVENTS},
        )
    },
    "/v1/messages": {
        "post": _operation(
            "Anthropic messages, streaming and not",
            {"200": "the answer", "400": "a bad request", "404": "an unknown model", "422": "the key's other body"},
            parameters=[_KEY, _ON_DISCONNECT, _header("X-Tokenwire-Ids", "1: events have ids, to resume from")],
            body="as Anthropic's API takes it",
            content={**_JSON, **_EVENTS},
        )
    },
    "/v1/messages/count_tokens": {
        "post": _operation(
            "How many tokens a prompt has, by the provider's count",
            {"200": "the count", "400": "a bad request", "404": "an unknown model"},
            body="as Anthropic's API takes it",
            content=_JSON,
        )
    },
    "/v1/streams": {
        "post": _operation(
            "Start a stream",
            {"201": "id, state and where its events are", "400": "a bad request"},
            parameters=[_KEY, _ON_DISCONNECT],
            body='{"dialect": "openai.chat" or "anthropic", "request": {…}, "session"?, "on_disconnect"?, "metadata"?}',
            content=_JSON,
        ),
        "get": _operation("The caller's streams, oldest first", {"200": "the streams"}, content=_JSON),
    },
    "/v1/streams/{id}": {
        "get": _operation("Look", {"200": "the stream", **_NOT_FOUND}, parameters=[_STREAM], content=_JSON),
        "delete": _operation("Forget, cancelled first", {"204": "gone", **_NOT_FOUND}, parameters=[_STREAM]),
    },
    "/v1/streams/{id}/cancel": {
        "post": _operation(
            "Stop, as often as you like", {"200": "the stream", **_NOT_FOUND}, parameters=[_STREAM], content=_JSON
        )
    },
    "/v1/streams/{id}/events": {
        "get": _operation(
            "Follow, from anywhere, as often as you like",
            {"200": "events", "204": "over, and nothing is left", "400": "not an id", "409": "not continuous"}
            | _NOT_FOUND,
            parameters=[
                _STREAM,
                _header("Last-Event-ID", "the id of the last event seen"),
                _query("after", "the same, where a header cannot be set; the header wins"),
                _query("from", "start, snapshot or now"),
                _query("dialect", "native, openai.chat or anthropic"),
                _query("ticket", "a ticket of this stream, where a header cannot be set"),
            ],
            content=_EVENTS,
        )
    },
    "/v1/streams/{id}/ticket": {
        "post": _operation(
            "A right to follow this stream by its address alone, for a native EventSource",
            {"200": "the ticket, the address, and until when it must be used first", **_NOT_FOUND},
            parameters=[_STREAM],
            content=_JSON,
        )
    },
    "/api/chat": {
        "post": _operation(
            "The plainest form: text events, then [DONE]",
            {"200": "events", "400": "a bad request", "404": "an unknown model"},
            parameters=[_KEY, _ON_DISCONNECT],
            body='{"prompt": "…", "model"?, "system"?, "messages"?: earlier turns}',
            content=_EVENTS,
        ),
        "get": _operation(
            "The same for a native EventSource, with ids",
            {
                "200": "events",
                "204": "over",
                "400": "a bad request",
                "403": "another site's",
                "422": "the run's other prompt",
            },
            parameters=[
                _query("prompt", "what to answer"),
                _query("model", "which model; default: [server] default_model"),
                _query("system", "a system prompt"),
                _query("run", "a name of your own: who comes back with it goes on in the same answer"),
                _header("Last-Event-ID", "the id of the last event seen"),
                _query("after", "the same, where a header cannot be set; the header wins"),
            ],
            content=_EVENTS,
        ),
    },
    "/healthz": {"get": _operation("Alive", {"200": "yes"}, content=_JSON)},
}
