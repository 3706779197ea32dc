"""What ``/openapi.json`` says of the routes that FastAPI does not serve: those matched before it, for speed."""

from __future__ import annotations

from typing import Any

from tokenwire.dialects import names

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
_LEASE = _header("X-Tokenwire-Lease", "seconds, 1 to 3600: who has not said for so long that he is there has left")
_NOT_FOUND = {"404": "no such stream for this caller"}

_MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
_LINES: dict[str, Any] = {"application/x-ndjson": {"schema": {"type": "string"}}}


def _asking(
    summary: str, vendor: str, parameters: list[dict[str, Any]] | None = None, *, lines: bool = False
) -> dict[str, Any]:
    """A route for answers in the dialect of *vendor*."""
    return _operation(
        summary,
        {"200": "the answer", "400": "a bad request", "404": "an unknown model", "422": "the key's other body"},
        parameters=[
            *(parameters or ()),
            _KEY,
            _ON_DISCONNECT,
            _LEASE,
            _header("X-Tokenwire-Ids", "1: events have ids, to resume from"),
            _header("X-Tokenwire-Usage", "live: the usage while it grows, in comments"),
            _header("X-Tokenwire-Dialect", "answer in this dialect instead"),
            _header("X-Tokenwire-Cache", "off: no kept answer, and keep none; refresh: keep a new one"),
        ],
        body=f"as {vendor}'s API takes it",
        content={**_JSON, **(_LINES if lines else _EVENTS)},
    )


PATHS: dict[str, Any] = {
    "/v1/chat/completions": {"post": _asking("OpenAI chat, streaming and not", "OpenAI")},
    "/v1/responses": {"post": _asking("OpenAI responses, streaming and not", "OpenAI")},
    "/v1/responses/{id}": {
        "get": _operation(
            "Look at a response, or go on reading it, as OpenAI's clients do",
            {"200": "the response, or its events", **_NOT_FOUND},
            parameters=[
                _STREAM,
                _query("stream", "true: events"),
                _query("starting_after", "the sequence_number of the last event seen"),
                _LEASE,
            ],
            content={**_JSON, **_EVENTS},
        )
    },
    "/v1/responses/{id}/cancel": {
        "post": _operation("Stop it", {"200": "the response", **_NOT_FOUND}, parameters=[_STREAM], content=_JSON)
    },
    "/v1/messages": {"post": _asking("Anthropic messages, streaming and not", "Anthropic")},
    "/v1beta/models/{model}:streamGenerateContent": {
        "post": _asking("Gemini, streaming; an array without alt=sse", "Google", [_MODEL])
    },
    "/v1beta/models/{model}:generateContent": {"post": _asking("Gemini, not streaming", "Google", [_MODEL])},
    "/ollama/api/chat": {"post": _asking("Ollama chat, streaming unless told not to", "Ollama", lines=True)},
    "/ollama/api/generate": {"post": _asking("Ollama generate, the same for a bare prompt", "Ollama", lines=True)},
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
            parameters=[_KEY, _ON_DISCONNECT, _LEASE],
            body='{"dialect": "openai.chat" or another, "request": {…}, "session"?, "on_disconnect"?, "lease"?, '
            '"metadata"?}',
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
                _query("dialect", ", ".join(names())),
                _query("ticket", "a ticket of this stream, where a header cannot be set"),
                _LEASE,
                _query("lease", "the same, where a header cannot be set"),
            ],
            content=_EVENTS,
        )
    },
    "/v1/streams/{id}/lease": {
        "post": _operation(
            "Say that one is still there",
            {"200": "for how long now; nothing, if the stream is over", "404": "no such stream, or no lease in force"},
            parameters=[
                _STREAM,
                _header("X-Tokenwire-Lease-Id", "which lease; without it, all that have no other word"),
            ],
            content=_JSON,
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
            "The AI SDK's useChat; or, in the plainest form, text events, then [DONE]",
            {"200": "events", "400": "a bad request", "404": "an unknown model"},
            parameters=[_KEY, _ON_DISCONNECT, _LEASE],
            body='what useChat sends, or {"prompt": "…", "model"?, "system"?, "messages"?: earlier turns}',
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
                _query("lease", "seconds, as X-Tokenwire-Lease"),
            ],
            content=_EVENTS,
        ),
    },
    "/api/chat/{id}/stream": {
        "get": _operation(
            "The rest of a chat's newest answer, for useChat after a reload",
            {"200": "events", "204": "nothing is under way"},
            parameters=[_STREAM, _LEASE],
            content=_EVENTS,
        )
    },
    "/api/chat/{id}/stop": {
        "post": _operation(
            "Stop a chat's newest answer", {"200": "whether one was"}, parameters=[_STREAM], content=_JSON
        )
    },
    "/agui": {
        "post": _operation(
            "AG-UI: one run of an agent",
            {"200": "events", "400": "a bad request", "404": "an unknown model"},
            parameters=[_KEY, _ON_DISCONNECT, _LEASE],
            body="a RunAgentInput; the model in forwardedProps.model",
            content=_EVENTS,
        )
    },
    "/healthz": {"get": _operation("Alive", {"200": "yes"}, content=_JSON)},
}
