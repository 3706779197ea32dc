"""OpenAI's Chat Completions as the simulator serves it: routes, models, faults and refusals.

POST /v1/chat/completions     streaming or not
GET  /v1/models[/ID]
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from tokenwire.simulator.answer import Choice, answer
from tokenwire.simulator.exchange import (
    Context,
    Handler,
    Reply,
    Request,
    keeps_alive,
    plain_reply,
)
from tokenwire.simulator.fault_frames import bend
from tokenwire.simulator.faults import FAULTS, MODEL_PREFIX, UNARY, Fault, UnknownFaultError, parse_fault
from tokenwire.simulator.knobs import Knobs, read_knobs
from tokenwire.simulator.latency import INSTANT, PROFILES, Profile, delays
from tokenwire.simulator.schema import SchemaError, UnsatisfiableError
from tokenwire.simulator.tokens import split_surrogates
from tokenwire.simulator.vendors.openai_chunks import to_json
from tokenwire.simulator.vendors.openai_errors import (
    ApiError,
    invalid,
    overloaded,
    rate_limited,
    server_error,
)
from tokenwire.simulator.vendors.openai_requests import ChatRequest, ask_of, parse
from tokenwire.simulator.vendors.openai_stream import SNAPSHOTS, Play, headers

# `created` of a seeded answer, which must not depend on the clock.
_SEEDED_EPOCH = 1_790_000_000
_MODELS_CREATED = 1_715_367_049

# Separates the jitter from the ids, so that an exact timing does not change the bytes.
_PACE = 0x7061_6365

_NO_FAULT = Fault("")

_PAGE = b"<!doctype html>\n<html><head><title>Welcome</title></head><body><h1>It works</h1></body></html>\n"


def route(method: str, path: str) -> Handler | None:
    """The handler of a route of this vendor, None for any other."""
    if path == "/v1/chat/completions":
        return chat if method == "POST" else wrong_method
    if path == "/v1/models" or path.startswith("/v1/models/"):
        return models if method == "GET" else wrong_method
    return None


def chat(request: Request, context: Context) -> Reply:
    """Answer a chat completion request, or refuse it in OpenAI's words."""
    rng = random.Random(context.seed)
    try:
        reply = _chat(request, context)
    except ApiError as error:
        reply = refusal(request, error, rng)
    return replace(reply, generation=True)


def models(request: Request, context: Context) -> Reply:
    """The list of models, or one of them."""
    ids = [*PROFILES, *SNAPSHOTS.values(), *(MODEL_PREFIX + name for name in FAULTS)]
    entries = [{"id": each, "object": "model", "created": _MODELS_CREATED, "owned_by": "simulator"} for each in ids]
    rng = random.Random(context.seed)
    body: Any = {"object": "list", "data": entries}
    wanted = request.path.removeprefix("/v1/models").removeprefix("/")
    if wanted:
        body = next((entry for entry in entries if entry["id"] == wanted), None)
        if body is None:
            return refusal(request, _unknown_model(wanted), rng)
    return plain_reply(request, 200, headers("application/json", rng, 0.0), to_json(body))


def wrong_method(request: Request, context: Context) -> Reply:
    error = ApiError(405, f"Not allowed to {request.method} on {request.path}.", code="method_not_supported")
    return refusal(request, error, random.Random(context.seed))


def not_found(request: Request, context: Context) -> Reply:
    """No vendor knows the route."""
    error = ApiError(404, f"Invalid URL ({request.method} {request.path})", code="unknown_url")
    return refusal(request, error, random.Random(context.seed))


def refusal(request: Request, error: ApiError, rng: random.Random) -> Reply:
    """An HTTP error with OpenAI's headers and body."""
    given = dict(error.headers)
    fields = [(name, value) for name, value in headers("application/json", rng, 0.0) if name not in given]
    return plain_reply(request, error.status, [*fields, *error.headers], error.body())


def _chat(request: Request, context: Context) -> Reply:
    wanted = parse(request.body)
    metadata = {name.lower(): value for name, value in (wanted.metadata or {}).items()}
    try:
        knobs = read_knobs(request.headers, metadata)
        profile, fault = _model(wanted.model)
    except ValueError as error:
        raise invalid(str(error), "model" if isinstance(error, UnknownFaultError) else None) from None
    fault = knobs.fault or fault
    stream = bool(wanted.stream) and fault.name != "json-stream"
    if not stream and fault.name not in UNARY:
        fault = Fault("error-before", 500) if fault.name.startswith("error-") else _NO_FAULT
    instead = _instead(request, fault)
    if instead is not None:
        return instead

    seed = context.seed if knobs.seed is None else knobs.seed
    choices = _answer(wanted, seed, knobs)
    if fault.name == "surrogates":
        choices = [replace(choice, pieces=split_surrogates(choice.pieces)) for choice in choices]
    pace = delays(knobs.timing(profile).times(len(choices) if stream else 1), random.Random(seed ^ _PACE))
    play = Play(
        wanted,
        choices,
        pace,
        rng=random.Random(seed),
        created=int(context.now) if knobs.seed is None else _SEEDED_EPOCH + seed % 10_000_000,
    )
    frames = play.stream(request) if stream else play.whole(request)
    chunked = stream and not request.http_1_0
    error_event = b"data: " + server_error().body() + b"\n\n"
    return Reply(
        bend(fault, frames, chunked=chunked, error=error_event, rng=random.Random(seed)),
        chunked=chunked,
        keep_alive=keeps_alive(request, stream=stream),
        deaf=fault.name == "deaf",
    )


def _model(name: str) -> tuple[Profile, Fault]:
    if name.startswith(MODEL_PREFIX):
        return INSTANT, parse_fault(name.removeprefix(MODEL_PREFIX))
    for alias, snapshot in SNAPSHOTS.items():
        if name == snapshot:
            name = alias
    if name not in PROFILES:
        raise _unknown_model(name)
    return PROFILES[name], _NO_FAULT


def _unknown_model(name: str) -> ApiError:
    known = ", ".join(PROFILES)
    message = f"The model `{name}` does not exist. The simulator has {known} and {MODEL_PREFIX}NAME."
    return ApiError(404, message, param="model", code="model_not_found")


def _instead(request: Request, fault: Fault) -> Reply | None:
    """The reply of a fault that replaces the answer; None for all others."""
    if fault.name == "error-before":
        raise server_error(fault.n)
    if fault.name == "429":
        raise rate_limited(fault.n)
    if fault.name == "overloaded":
        raise overloaded()
    if fault.name == "html":
        return plain_reply(request, 200, [("content-type", "text/html; charset=utf-8")], _PAGE)
    if fault.name == "json-200":
        return plain_reply(request, 200, [("content-type", "application/json")], server_error().body())
    return None


def _answer(wanted: ChatRequest, seed: int, knobs: Knobs) -> list[Choice]:
    ask = ask_of(wanted, seed, knobs.tokens)
    try:
        return answer(ask)
    except (SchemaError, UnsatisfiableError) as error:
        calls = ask.schema is None
        param, code = ("tools", "invalid_function_parameters") if calls else ("response_format", None)
        raise invalid(f"Invalid schema in '{param}': {error}", param, code) from None
