"""Gemini as the simulator serves it: routes, faults and refusals.

POST /v1beta/models/ID:streamGenerateContent   events with ?alt=sse, one JSON array without
POST /v1beta/models/ID:generateContent, ID:countTokens
GET  /v1beta/models[/ID]

The key comes in x-goog-api-key or ?key=; any is accepted, none is not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, unquote

from tokenwire.simulator.exchange import Context, Handler, Reply, Request, plain_reply
from tokenwire.simulator.faults import NO_FAULT
from tokenwire.simulator.knobs import read_knobs
from tokenwire.simulator.latency import SNAPSHOTS
from tokenwire.simulator.vendors.common import UnknownModelError, Voice, bent_reply, instead, plan_for
from tokenwire.simulator.vendors.gemini.errors import (
    ApiError,
    indented,
    invalid,
    overloaded,
    rate_limited,
    server_error,
)
from tokenwire.simulator.vendors.gemini.models import model, page, unknown_model
from tokenwire.simulator.vendors.gemini.prompt import content_tokens, prompt_tokens
from tokenwire.simulator.vendors.gemini.requests import CountRequest, GenerateRequest, parse
from tokenwire.simulator.vendors.gemini.rules import check
from tokenwire.simulator.vendors.gemini.stream import JSON, Play, headers
from tokenwire.simulator.vendors.gemini.turn import ANSWERS, turn_for

_ROOT = "/v1beta/"
_ROUTE = re.compile(r"/v1beta/models(?:/([^/:]+)(?::(\w+))?)?")
_STREAM, _WHOLE, _COUNT = "streamGenerateContent", "generateContent", "countTokens"

# Faults that are about what this API does not have, and those about what its array does not have.
_NO_OPENING = frozenset({"start-twice"})
_NO_EVENTS = frozenset({"no-space", "no-event", "id-lines"})


def route(request: Request) -> Handler | None:
    """The handler of a request to this vendor, None for any other."""
    if not request.path.startswith(_ROOT):
        return None
    found = _ROUTE.fullmatch(unquote(request.path))
    if found is None:
        return _handler(_not_found)
    if found[2] is None:
        return _handler(_models) if request.method == "GET" else _handler(_not_found)
    if request.method != "POST" or found[2] not in (_STREAM, _WHOLE, _COUNT):
        return _handler(_not_found)
    return _handler(_count) if found[2] == _COUNT else generate


def generate(request: Request, context: Context) -> Reply:
    """Answer a generateContent request, streaming or not, or refuse it in Google's words."""
    return replace(_handler(_generate)(request, context), generation=True)


def refusal(request: Request, error: ApiError) -> Reply:
    """An HTTP error with Google's headers and body, which is in an array where a stream would have been one."""
    array = _target(request)[1] == _STREAM and not _as_events(request)
    return plain_reply(request, error.status, headers(JSON, 0.0), error.body(array=array))


def _handler(answer: Callable[[Request, Context], Reply]) -> Handler:
    def handle(request: Request, context: Context) -> Reply:
        try:
            return answer(request, context)
        except ApiError as error:
            return refusal(request, error)

    return handle


def _generate(request: Request, context: Context) -> Reply:
    _known_caller(request)
    name, method = _target(request)
    wanted = parse(request.body, GenerateRequest)
    events = _as_events(request)
    try:
        knobs = read_knobs(request.headers, {})
        knobs.check_answer(ANSWERS, request.path)
        # The model is in the path: with it the same body is another request.
        tried = replace(request, body=name.encode() + b"\n" + request.body)
        plan = plan_for(tried, context, name, method == _STREAM, knobs)
        if plan.stream and plan.fault.name in (_NO_OPENING if events else _NO_OPENING | _NO_EVENTS):
            raise ValueError(f"there is nothing in this stream that the fault {plan.fault.name!r} could be about")
    except UnknownModelError as error:
        raise unknown_model(error, method) from None
    except ValueError as error:
        raise invalid(str(error)) from None
    check(wanted)
    voice = Voice(server_error, overloaded, rate_limited, overloaded, lambda: server_error().body())
    reply = instead(request, plan.fault, voice)
    if reply is not None:
        return reply

    turn = turn_for(wanted, name, plan.seed, knobs, halved=plan.fault.name == "surrogates")
    play = Play(
        SNAPSHOTS.get(name, name),
        turn,
        plan.pace(knobs, max(1, len(turn.candidates)) if plan.stream else 1),
        rng=random.Random(plan.seed),
        prompt=prompt_tokens(wanted),
        # A fault that counts tokens needs them one by one.
        group=knobs.group or (None if plan.fault == NO_FAULT else 1),
        array=not events,
    )
    return bent_reply(request, play.stream(request) if plan.stream else play.whole(request), plan, play)


def _count(request: Request, context: Context) -> Reply:
    _known_caller(request)
    name, method = _target(request)
    try:
        model(name)
    except ApiError:
        raise unknown_model(UnknownModelError(name), method) from None
    wanted = parse(request.body, CountRequest)
    whole = wanted.generate_content_request
    if not wanted.contents and whole is None:
        raise invalid("* CountTokensRequest.contents: contents is not specified")
    if whole is not None:
        check(whole)
    total = content_tokens(wanted.contents) if whole is None else prompt_tokens(whole).total
    return _json(request, {"totalTokens": total, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}]})


def _models(request: Request, context: Context) -> Reply:
    _known_caller(request)
    name, _ = _target(request)
    return _json(request, model(name) if name else page(request.query))


def _not_found(request: Request, context: Context) -> Reply:
    raise ApiError(404, f"Method not found: {request.method} {request.path}")


def _target(request: Request) -> tuple[str, str]:
    """(model, method) of the path, each "" if it has none."""
    found = _ROUTE.fullmatch(unquote(request.path))
    return ((found[1] or ""), (found[2] or "")) if found else ("", "")


def _as_events(request: Request) -> bool:
    return parse_qs(request.query).get("alt", [""])[-1] == "sse"


def _known_caller(request: Request) -> None:
    if not (
        request.headers.get("x-goog-api-key")
        or request.headers.get("authorization")
        or parse_qs(request.query).get("key", [""])[-1]
    ):
        raise ApiError(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
            "other form of API consumer identity to call this API.",
        )


def _json(request: Request, value: object) -> Reply:
    return plain_reply(request, 200, headers(JSON, 0.0), indented(value) + b"\n")
