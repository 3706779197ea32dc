"""Anthropic's Messages as the simulator serves it: routes, faults and refusals.

POST /v1/messages                 streaming or not
POST /v1/messages/count_tokens
GET  /v1/models[/ID]              with an anthropic-version header; OpenAI's otherwise
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from tokenwire.simulator.exchange import Context, Handler, Reply, Request, plain_reply
from tokenwire.simulator.faults import NO_FAULT
from tokenwire.simulator.knobs import read_knobs
from tokenwire.simulator.tokens import split_surrogates
from tokenwire.simulator.vendors.anthropic.blocks import Text
from tokenwire.simulator.vendors.anthropic.errors import (
    ApiError,
    flaky,
    invalid,
    overloaded,
    rate_limited,
    server_error,
)
from tokenwire.simulator.vendors.anthropic.ids import new_request_id
from tokenwire.simulator.vendors.anthropic.models import model, page
from tokenwire.simulator.vendors.anthropic.prompt import input_usage
from tokenwire.simulator.vendors.anthropic.requests import MessagesRequest, PromptRequest, parse
from tokenwire.simulator.vendors.anthropic.rules import check
from tokenwire.simulator.vendors.anthropic.stream import Play, headers
from tokenwire.simulator.vendors.anthropic.turn import ANSWERS, turn_for
from tokenwire.simulator.vendors.common import UnknownModelError, Voice, bent_reply, instead, plan_for
from tokenwire.simulator.vendors.json_bytes import to_json

_VERSION = "anthropic-version"
_MESSAGES = "/v1/messages"
_COUNT = "/v1/messages/count_tokens"
_MODELS = "/v1/models"

# Switches that `metadata` may hold beside Anthropic's own `user_id`, which is all that the real API accepts.
_SWITCH = "x-sim-"


def route(request: Request) -> Handler | None:
    """The handler of a request to this vendor, None for any other: its own routes, and all that name its version."""
    path = request.path
    if path in (_MESSAGES, _COUNT):
        if request.method != "POST":
            return _handler(_wrong_method)
        return messages if path == _MESSAGES else _handler(_count)
    if _VERSION not in request.headers and not path.startswith(f"{_MESSAGES}/"):
        return None
    if path == _MODELS or path.startswith(f"{_MODELS}/"):
        return _handler(_models if request.method == "GET" else _wrong_method)
    return None if path.startswith("/v1/chat/") else _handler(_not_found)


def messages(request: Request, context: Context) -> Reply:
    """Answer a Messages request, or refuse it in Anthropic's words."""
    return replace(_handler(_messages)(request, context), generation=True)


def refusal(request: Request, error: ApiError, context: Context) -> Reply:
    """An HTTP error with Anthropic's headers and body, which share the request's id."""
    rng = random.Random(context.seed)
    request_id = new_request_id(rng)
    given = dict(error.headers)
    fields = headers("application/json", rng, context.now, request_id)
    fields = [(name, value) for name, value in fields if name not in given]
    return plain_reply(request, error.status, [*fields, *error.headers], error.body(request_id))


def _handler(answer: Callable[[Request, Context], Reply]) -> Handler:
    def handle(request: Request, context: Context) -> Reply:
        try:
            return answer(request, context)
        except ApiError as error:
            return refusal(request, error, context)

    return handle


def _messages(request: Request, context: Context) -> Reply:
    _versioned(request)
    wanted = parse(request.body, MessagesRequest)
    try:
        knobs = read_knobs(request.headers, _switches(wanted))
        knobs.check_answer(ANSWERS, request.path)
        plan = plan_for(request, context, wanted.model, bool(wanted.stream), knobs)
    except UnknownModelError as error:
        raise ApiError(404, f"model: {error.name}. {error}") from None
    except ValueError as error:
        raise invalid(str(error)) from None
    check(wanted)
    voice = Voice(server_error, overloaded, rate_limited, flaky, lambda: _error_body(context))
    reply = instead(request, plan.fault, voice)
    if reply is not None:
        return reply

    turn = turn_for(wanted, plan.seed, knobs)
    if plan.fault.name == "surrogates":
        halved = [
            replace(block, pieces=split_surrogates(block.pieces)) if isinstance(block, Text) else block
            for block in turn.blocks
        ]
        turn = replace(turn, blocks=halved)
    play = Play(
        wanted,
        turn,
        plan.pace(knobs),
        rng=random.Random(plan.seed),
        usage=input_usage(wanted),
        # A fault that counts tokens needs them one by one.
        group=knobs.group or (None if plan.fault == NO_FAULT else 1),
        now=context.now,
    )
    frames = play.stream(request) if plan.stream else play.whole(request)
    return bent_reply(request, frames, plan, play.says)


def _count(request: Request, context: Context) -> Reply:
    _versioned(request)
    wanted = parse(request.body, PromptRequest)
    check(wanted)
    return _json(request, context, {"input_tokens": input_usage(wanted).total})


def _models(request: Request, context: Context) -> Reply:
    wanted = request.path.removeprefix(_MODELS).removeprefix("/")
    return _json(request, context, model(wanted) if wanted else page(request.query))


def _wrong_method(request: Request, context: Context) -> Reply:
    raise ApiError(405, "Method Not Allowed", headers=(("allow", "POST" if _MESSAGES in request.path else "GET"),))


def _not_found(request: Request, context: Context) -> Reply:
    raise ApiError(404, "Not Found")


def _versioned(request: Request) -> None:
    if _VERSION not in request.headers:
        raise invalid(f"{_VERSION}: header is required")


def _switches(wanted: MessagesRequest) -> dict[str, object]:
    switches = {name.lower(): value for name, value in (wanted.metadata or {}).items()}
    for name in switches:
        if name != "user_id" and not name.startswith(_SWITCH):
            raise ValueError(f"metadata.{name}: Extra inputs are not permitted")
    return switches


def _error_body(context: Context) -> bytes:
    return server_error().body(new_request_id(random.Random(context.seed)))


def _json(request: Request, context: Context, value: object) -> Reply:
    fields = headers("application/json", random.Random(context.seed), context.now)
    return plain_reply(request, 200, fields, to_json(value))
