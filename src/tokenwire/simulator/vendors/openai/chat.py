"""OpenAI's Chat Completions as the simulator serves it: routes, models, faults and refusals.

POST /v1/chat/completions     streaming or not
GET  /v1/models[/ID]
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from tokenwire.simulator.answer import Choice, answer
from tokenwire.simulator.exchange import Context, Handler, Reply, Request, plain_reply
from tokenwire.simulator.fault_scene import Says
from tokenwire.simulator.faults import FAULTS, MODEL_PREFIX, UnknownFaultError
from tokenwire.simulator.knobs import Knobs, read_knobs
from tokenwire.simulator.latency import PROFILES, SNAPSHOTS
from tokenwire.simulator.schema import SchemaError, UnsatisfiableError
from tokenwire.simulator.tokens import split_surrogates
from tokenwire.simulator.vendors.common import Plan, UnknownModelError, Voice, bent_reply, instead, plan_for
from tokenwire.simulator.vendors.json_bytes import to_json
from tokenwire.simulator.vendors.openai.errors import (
    ApiError,
    flaky,
    invalid,
    overloaded,
    rate_limited,
    server_error,
)
from tokenwire.simulator.vendors.openai.requests import ChatRequest, ask_of, parse
from tokenwire.simulator.vendors.openai.stream import Play, headers

# `created` of a seeded answer, which must not depend on the clock.
_SEEDED_EPOCH = 1_790_000_000
_MODELS_CREATED = 1_715_367_049

_VOICE = Voice(server_error, overloaded, rate_limited, flaky, lambda: server_error().body())


def _event(error: ApiError) -> bytes:
    return b"data: " + error.body() + b"\n\n"


_SAYS = Says(
    error=_event(server_error()),
    overloaded=_event(overloaded()),
    limited=_event(rate_limited(1000)),
    reframed=b"event: error\n" + _event(server_error()),
    ping=b": ping\n\n",
)


def route(request: Request) -> Handler | None:
    """The handler of a request to this vendor, None for any other."""
    if request.path == "/v1/chat/completions":
        return chat if request.method == "POST" else wrong_method
    if request.path == "/v1/models" or request.path.startswith("/v1/models/"):
        return models if request.method == "GET" else wrong_method
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
            return refusal(request, unknown_model(UnknownModelError(wanted)), rng)
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
        knobs.check_answer((), request.path)
        plan = plan_for(request, context, wanted.model, bool(wanted.stream), knobs)
    except UnknownModelError as error:
        raise unknown_model(error) from None
    except ValueError as error:
        raise invalid(str(error), "model" if isinstance(error, UnknownFaultError) else None) from None
    reply = instead(request, plan.fault, _VOICE)
    if reply is not None:
        return reply

    choices = _answer(wanted, plan.seed, knobs)
    if plan.fault.name == "surrogates":
        choices = [replace(choice, pieces=split_surrogates(choice.pieces)) for choice in choices]
    play = Play(
        wanted,
        choices,
        plan.pace(knobs, len(choices) if plan.stream else 1),
        rng=random.Random(plan.seed),
        created=created_at(context, plan, knobs),
    )
    return bent_reply(request, play.stream(request) if plan.stream else play.whole(request), plan, _SAYS)


def created_at(context: Context, plan: Plan, knobs: Knobs) -> int:
    """Unix time in seconds: now, or a time that depends on the seed alone if there is one."""
    return int(context.now) if knobs.seed is None else _SEEDED_EPOCH + plan.seed % 10_000_000


def unknown_model(error: UnknownModelError) -> ApiError:
    message = f"The model `{error.name}` does not exist. {error}"
    return ApiError(404, message, param="model", code="model_not_found")


def _answer(wanted: ChatRequest, seed: int, knobs: Knobs) -> list[Choice]:
    ask = ask_of(wanted, seed, knobs.tokens)
    try:
        return answer(ask)
    except (SchemaError, UnsatisfiableError) as error:
        calls = ask.schema is None
        param, code = ("tools", "invalid_function_parameters") if calls else ("response_format", None)
        raise invalid(f"Invalid schema in '{param}': {error}", param, code) from None
