"""OpenAI's Responses as the simulator serves them: routes, faults and refusals.

POST   /v1/responses            streaming or not, in the background or not
GET    /v1/responses/ID         with ?stream=true&starting_after=N the rest of a stream in the background
POST   /v1/responses/ID/cancel
DELETE /v1/responses/ID
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import parse_qs

from tokenwire.simulator.exchange import Context, Frame, Handler, Mark, Reply, Request, head, plain_reply
from tokenwire.simulator.faults import NO_FAULT, UnknownFaultError
from tokenwire.simulator.knobs import Knobs, read_knobs
from tokenwire.simulator.vendors.common import Plan, UnknownModelError, Voice, bent_reply, instead, plan_for
from tokenwire.simulator.vendors.json_bytes import to_json
from tokenwire.simulator.vendors.openai.chat import created_at, refusal, unknown_model, wrong_method
from tokenwire.simulator.vendors.openai.errors import (
    ApiError,
    flaky,
    invalid,
    overloaded,
    rate_limited,
    server_error,
)
from tokenwire.simulator.vendors.openai.stream import headers
from tokenwire.simulator.vendors.openai_responses.kept import Kept
from tokenwire.simulator.vendors.openai_responses.prompt import prompt_tokens
from tokenwire.simulator.vendors.openai_responses.requests import Item, ResponsesRequest, parse
from tokenwire.simulator.vendors.openai_responses.rules import check, check_tools
from tokenwire.simulator.vendors.openai_responses.stream import Play
from tokenwire.simulator.vendors.openai_responses.turn import ANSWERS, turn_for
from tokenwire.simulator.vendors.openai_responses.words import Words

_ROOT = "/v1/responses"

# An event that is kept weighs as much as so many tokens.
_EVENT = 8

_VOICE = Voice(server_error, overloaded, rate_limited, flaky, lambda: server_error().body())


def route(request: Request) -> Handler | None:
    """The handler of a request to this vendor, None for any other."""
    if request.path == _ROOT:
        return create if request.method == "POST" else wrong_method
    if not request.path.startswith(f"{_ROOT}/"):
        return None
    name, _, action = request.path.removeprefix(f"{_ROOT}/").partition("/")
    handlers = {("", "GET"): _retrieve, ("", "DELETE"): _delete, ("cancel", "POST"): _cancel}
    answer = handlers.get((action, request.method))
    if answer is None or not name:
        return wrong_method if action in ("", "cancel") else None
    return _handler(answer)


def create(request: Request, context: Context) -> Reply:
    """Answer a request for a response, or refuse it in OpenAI's words."""
    return replace(_handler(_create)(request, context), generation=True)


def _handler(answer: Callable[[Request, Context], Reply]) -> Handler:
    def handle(request: Request, context: Context) -> Reply:
        try:
            return answer(request, context)
        except ApiError as error:
            return refusal(request, error, random.Random(context.seed))

    return handle


def _planned(
    request: Request, context: Context, model: str, stream: bool, metadata: dict[str, str]
) -> tuple[Plan, Knobs]:
    switches: dict[str, object] = {name.lower(): value for name, value in metadata.items()}
    try:
        knobs = read_knobs(request.headers, switches)
        knobs.check_answer(ANSWERS, request.path)
        return plan_for(request, context, model, stream, knobs), knobs
    except UnknownModelError as error:
        raise unknown_model(error) from None
    except ValueError as error:
        raise invalid(str(error), "model" if isinstance(error, UnknownFaultError) else None) from None


def _create(request: Request, context: Context) -> Reply:
    wanted = parse(request.body)
    plan, knobs = _planned(request, context, wanted.model, bool(wanted.stream), wanted.metadata or {})
    check_tools(wanted.tools or [])
    items = _conversation(wanted, context)
    check(items)
    reply = instead(request, plan.fault, _VOICE)
    if reply is not None:
        return reply

    pings = plan.fault.name == "pings"
    play = Play(
        wanted,
        turn_for(wanted, items, plan.seed, knobs, halved=plan.fault.name == "surrogates"),
        plan.pace(knobs),
        rng=random.Random(plan.seed),
        prompt=prompt_tokens(wanted, items),
        created=created_at(context, plan, knobs),
        keepalives=max(1, plan.fault.n) if pings else None,
        finished=lambda: None if wanted.store is False else keep(),
    )
    if pings:
        plan = plan._replace(fault=NO_FAULT)  # keepalives are numbered, so nobody can add them afterwards
    kept = Kept(play, [*items, *(item.whole() for item in play.turn.items)], started=context.now + play.lead)
    size = play.turn.tokens * (_EVENT if wanted.background else 1) + prompt_tokens(wanted, items).total

    def keep() -> None:
        context.memory.keep(play.writer.id, kept, size)

    if wanted.background:
        kept.events = list(play.events())
        keep()
        frames = play.stream(request, kept.live()) if plan.stream else play.whole(request)
    else:
        frames = play.stream(request) if plan.stream else play.whole(request)
    return bent_reply(request, frames, plan, play.words)


def _conversation(wanted: ResponsesRequest, context: Context) -> list[Item]:
    """The items of earlier responses, if this one goes on, and those of the request."""
    name = wanted.previous_response_id
    if name is None:
        return wanted.items
    before = context.memory.get(name)
    if not isinstance(before, Kept):
        message = f"Previous response with id '{name}' not found."
        raise invalid(message, "previous_response_id", "previous_response_not_found")
    return [*before.items, *wanted.items]


def _retrieve(request: Request, context: Context) -> Reply:
    kept = _found(request, context)
    asked = {name: values[-1] for name, values in parse_qs(request.query).items()}
    stream = asked.get("stream") == "true"
    after = asked.get("starting_after", "-1")
    if not after.removeprefix("-").isdecimal() or len(after) > 18:
        raise invalid(f"Invalid value for 'starting_after': {after!r} is no integer.", "starting_after")
    if stream and kept.events is None:
        raise _no_response(request)
    plan, _ = _planned(request, context, "instant", stream, {})
    if plan.fault.name == "pings":
        raise invalid("The events of this stream have their numbers already: no keepalive fits between them.", None)
    reply = instead(request, plan.fault, _VOICE)
    if reply is not None:
        return reply
    rng = random.Random(context.seed)
    if not plan.stream:
        body = to_json(kept.response(context.now))
        opening = head(request, 200, headers("application/json", rng, 0.0), length=len(body))
        return bent_reply(
            request, iter((Frame(Mark.HEAD, opening), Frame(Mark.DATA, body))), plan, Words(kept.play.writer)
        )
    opening = head(request, 200, headers("text/event-stream; charset=utf-8", rng, 0.0), length=None)
    words, start = Words(kept.play.writer), max(0, int(after) + 1)
    padded = asked.get("include_obfuscation", "true") == "true"

    def frames() -> Iterator[Frame]:
        yield Frame(Mark.HEAD, opening)
        yield from words.follow(kept.rest(start, context.now, padded=padded), start)

    return bent_reply(request, frames(), plan, words)


def _cancel(request: Request, context: Context) -> Reply:
    kept = _found(request, context)
    if kept.events is None:
        raise invalid("Cannot cancel a synchronous response.", None)
    kept.cancel(context.now)
    return _json(request, context, kept.response(context.now))


def _delete(request: Request, context: Context) -> Reply:
    name = _found(request, context).play.writer.id
    context.memory.drop(name)
    return _json(request, context, {"id": name, "object": "response", "deleted": True})


def _found(request: Request, context: Context) -> Kept:
    kept = context.memory.get(_name(request))
    if not isinstance(kept, Kept):
        raise _no_response(request)
    return kept


def _no_response(request: Request) -> ApiError:
    return ApiError(404, f"Response with id '{_name(request)}' not found.")


def _name(request: Request) -> str:
    return request.path.removeprefix(f"{_ROOT}/").partition("/")[0]


def _json(request: Request, context: Context, value: object) -> Reply:
    fields = headers("application/json", random.Random(context.seed), 0.0)
    return plain_reply(request, 200, fields, to_json(value))
