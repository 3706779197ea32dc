"""Ollama's own API as the simulator serves it: routes, faults and refusals.

POST /api/chat, /api/generate     a stream of NDJSON unless ``stream`` is false
GET  /api/tags, /api/version
POST /api/show

The body has no place for switches: they are headers, and a fault may be the model's name. Faults of the framing of
events (``models.EVENTS``) are refused, since there are none; ``error-event`` is an error in another vendor's shape, and
``done-only`` a last line that says neither why nor how much.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import msgspec

from tokenwire.simulator.exchange import Context, Handler, Reply, Request, plain_reply
from tokenwire.simulator.fault_scene import Says
from tokenwire.simulator.knobs import read_knobs
from tokenwire.simulator.vendors.common import UnknownModelError, Voice, bent_reply, instead, plan_for
from tokenwire.simulator.vendors.json_bytes import to_json
from tokenwire.simulator.vendors.ollama.errors import ApiError, invalid, overloaded, rate_limited, server_error
from tokenwire.simulator.vendors.ollama.lines import LineWriter
from tokenwire.simulator.vendors.ollama.models import EVENTS, VERSION, bare, known, show, tags
from tokenwire.simulator.vendors.ollama.requests import ChatRequest, GenerateRequest, parse
from tokenwire.simulator.vendors.ollama.stream import Play
from tokenwire.simulator.vendors.ollama.turn import turn_for

# When a seeded answer began, which must not depend on the clock.
_SEEDED_EPOCH = 1_790_000_000

_JSON = [("content-type", "application/json; charset=utf-8")]
_TEXT = [("content-type", "text/plain")]

_VOICE = Voice(server_error, overloaded, rate_limited, overloaded, lambda: server_error().body())
_SAYS = Says(
    error=server_error().line(),
    overloaded=overloaded().line(),
    limited=rate_limited(1000).line(),
    reframed=to_json({"error": {"message": server_error().message, "type": "server_error"}}) + b"\n",
    ping=b"",
)


def route(request: Request) -> Handler | None:
    """The handler of a request to this vendor, None for any other."""
    entry = _ROUTES.get(request.path)
    if entry is None:
        return None
    method, handler = entry
    return handler if request.method == method else _wrong_method


def refusal(request: Request, error: ApiError) -> Reply:
    """An HTTP error with Ollama's body."""
    return plain_reply(request, error.status, [*_JSON, *error.headers], error.body())


def _handler(answer: Callable[[Request, Context], Reply], *, generation: bool = False) -> Handler:
    def handle(request: Request, context: Context) -> Reply:
        try:
            reply = answer(request, context)
        except ApiError as error:
            reply = refusal(request, error)
        return replace(reply, generation=generation)

    return handle


def _chat(request: Request, context: Context) -> Reply:
    return _answered(request, context, parse(request.body, ChatRequest))


def _generate(request: Request, context: Context) -> Reply:
    return _answered(request, context, parse(request.body, GenerateRequest))


def _answered(request: Request, context: Context, wanted: ChatRequest | GenerateRequest) -> Reply:
    try:
        knobs = read_knobs(request.headers, {})
        if knobs.answer is not None:
            raise ValueError(f"x-sim-answer: {knobs.answer} is no answer of {request.path}")
        if not known(wanted.model):
            raise UnknownModelError(wanted.model)
        plan = plan_for(request, context, bare(wanted.model), wanted.streamed, knobs)
    except UnknownModelError as error:
        raise _unknown(error.name) from None
    except ValueError as error:
        raise invalid(str(error)) from None
    if plan.fault.name in EVENTS:
        raise invalid(f"the fault {plan.fault.name} is one of events, and {request.path} sends lines")
    reply = instead(request, plan.fault, _VOICE)
    if reply is not None:
        return reply

    began = round(context.now * 1_000_000_000) if knobs.seed is None else _seeded(plan.seed)
    rng = random.Random(plan.seed)
    if not (wanted.messages if isinstance(wanted, ChatRequest) else wanted.prompt):
        generate = isinstance(wanted, GenerateRequest)
        writer = LineWriter(wanted.model, rng, generate=generate, alternatives=None)
        return plain_reply(request, 200, _JSON, writer.done(began, {"done_reason": wanted.idle})[:-1])
    turn = turn_for(wanted, plan.seed, knobs, halved=plan.fault.name == "surrogates")
    play = Play(wanted, turn, plan.pace(knobs), rng=rng, began=began, mute=plan.fault.name == "done-only")
    return bent_reply(request, play.stream(request) if plan.stream else play.whole(request), plan, _SAYS)


def _tags(request: Request, context: Context) -> Reply:
    return _json(request, tags())


def _version(request: Request, context: Context) -> Reply:
    return _json(request, {"version": VERSION})


def _show(request: Request, context: Context) -> Reply:
    try:
        body = msgspec.json.decode(request.body, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise invalid(f"invalid JSON: {error}") from None
    model = body.get("model") or body.get("name")
    if not isinstance(model, str):
        raise invalid("model is required")
    if not known(model):
        raise _unknown(model)
    return _json(request, show(model))


def _wrong_method(request: Request, context: Context) -> Reply:
    return plain_reply(request, 405, _TEXT, b"405 method not allowed")


def _json(request: Request, value: object) -> Reply:
    return plain_reply(request, 200, _JSON, to_json(value))


def _unknown(model: str) -> ApiError:
    return ApiError(404, f"model '{model}' not found")


def _seeded(seed: int) -> int:
    """Nanoseconds since 1970."""
    return (_SEEDED_EPOCH + seed % 10_000_000) * 1_000_000_000 + seed % 1_000_000_000


_ROUTES: Final[dict[str, tuple[str, Handler]]] = {
    "/api/chat": ("POST", _handler(_chat, generation=True)),
    "/api/generate": ("POST", _handler(_generate, generation=True)),
    "/api/tags": ("GET", _handler(_tags)),
    "/api/version": ("GET", _handler(_version)),
    "/api/show": ("POST", _handler(_show)),
}
