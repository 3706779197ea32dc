"""OpenAI's Chat Completions as the simulator serves it: routes, models, headers, and the order of events.

POST /v1/chat/completions     streaming or not
GET  /v1/models[/ID]
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tokenwire.simulator.answer import Choice, answer
from tokenwire.simulator.exchange import (
    Context,
    Frame,
    Handler,
    Mark,
    Reply,
    Request,
    head,
    keeps_alive,
    plain_reply,
)
from tokenwire.simulator.fault_frames import bend
from tokenwire.simulator.faults import FAULTS, MODEL_PREFIX, UNARY, Fault, UnknownFaultError, parse_fault
from tokenwire.simulator.knobs import Knobs, read_knobs
from tokenwire.simulator.latency import INSTANT, PROFILES, Profile, delays
from tokenwire.simulator.schema import SchemaError, UnsatisfiableError
from tokenwire.simulator.tokens import split_surrogates
from tokenwire.simulator.vendors.openai_chunks import DONE, ChunkWriter, new_id, to_json, usage_of, whole
from tokenwire.simulator.vendors.openai_errors import (
    ApiError,
    invalid,
    overloaded,
    rate_limited,
    server_error,
)
from tokenwire.simulator.vendors.openai_requests import ChatRequest, ask_of, parse

#: Names that OpenAI answers with: the dated snapshot behind an alias. Either is accepted.
SNAPSHOTS = {"gpt-4o": "gpt-4o-2024-08-06", "gpt-4o-mini": "gpt-4o-mini-2024-07-18"}

# The head comes this share of the way to the first token. Arbitrary, but it must be before: OpenAI's head and
# opening event arrive a moment earlier than the first token, and a client's time to first byte differs from
# that to the token.
_HEAD_SHARE = 0.8

# `created` of a seeded answer, which must not depend on the clock.
_SEEDED_EPOCH = 1_790_000_000
_MODELS_CREATED = 1_715_367_049

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
    return plain_reply(request, 200, _headers("application/json", rng, 0.0), to_json(body))


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
    headers = [(name, value) for name, value in _headers("application/json", rng, 0.0) if name not in given]
    return plain_reply(request, error.status, [*headers, *error.headers], error.body())


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
        fault = Fault("error-before", 500) if fault.name.startswith("error-") else NO_FAULT
    instead = _instead(request, fault)
    if instead is not None:
        return instead

    seed = context.seed if knobs.seed is None else knobs.seed
    choices = _answer(wanted, seed, knobs)
    if fault.name == "surrogates":
        choices = [replace(choice, pieces=split_surrogates(choice.pieces)) for choice in choices]
    pace = delays(knobs.timing(profile).times(len(choices) if stream else 1), random.Random(seed ^ _PACE))
    play = _Play(
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


NO_FAULT = Fault("")
# Separates the jitter from the ids, so that an exact timing does not change the bytes.
_PACE = 0x7061_6365


def _model(name: str) -> tuple[Profile, Fault]:
    if name.startswith(MODEL_PREFIX):
        return INSTANT, parse_fault(name.removeprefix(MODEL_PREFIX))
    for alias, snapshot in SNAPSHOTS.items():
        if name == snapshot:
            name = alias
    if name not in PROFILES:
        raise _unknown_model(name)
    return PROFILES[name], NO_FAULT


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


class _Play:
    """One answer, on its way to become frames."""

    def __init__(
        self,
        wanted: ChatRequest,
        choices: list[Choice],
        pace: Iterator[float],
        *,
        rng: random.Random,
        created: int,
    ) -> None:
        self.wanted = wanted
        self.choices = choices
        self.pace = pace
        self.rng = rng
        self.request_id = _request_id(rng)
        self.tokens = sum(choice.tokens for choice in choices)
        self.usage = usage_of(wanted.prompt_tokens(), self.tokens)
        self.model = SNAPSHOTS.get(wanted.model, wanted.model)
        self.created = created
        self.logprobs = (wanted.top_logprobs or 0) if wanted.logprobs else None

    def whole(self, request: Request) -> Iterator[Frame]:
        """Head and body, once everything is generated; the alternatives are generated side by side."""
        body = whole(
            self.choices,
            created=self.created,
            model=self.model,
            rng=self.rng,
            usage=self.usage,
            logprobs=self.logprobs,
        )
        longest = max(choice.tokens for choice in self.choices)
        wait = sum(itertools.islice(self.pace, longest))
        headers = _headers("application/json", self.rng, wait, self.request_id)
        yield Frame(Mark.HEAD, head(request, 200, headers, length=len(body)), delay=wait)
        yield Frame(Mark.DATA, body, self.tokens)

    def stream(self, request: Request) -> Iterator[Frame]:
        """Head, opening events, tokens, closing events, usage if asked for, [DONE] (reference section 3.2)."""
        first = next(self.pace)
        lead = first * _HEAD_SHARE
        headers = _headers("text/event-stream; charset=utf-8", self.rng, lead, self.request_id)
        yield Frame(Mark.HEAD, head(request, 200, headers, length=None), delay=lead)
        writer = ChunkWriter(
            created=self.created,
            model=self.model,
            rng=self.rng,
            usage=self.wanted.include_usage,
            padding=self.wanted.obfuscation,
            logprobs=self.logprobs,
        )
        pace = itertools.chain([first - lead], self.pace)
        for index, choice in enumerate(self.choices):
            opened = len(choice.calls) == 1  # the event opens the call as well, which is a token
            yield Frame(Mark.START, writer.start(index, choice), opened, next(pace) if opened else 0.0)
        going = [_events(writer, index, choice) for index, choice in enumerate(self.choices)]
        while going:
            if len(going) > 1:
                self.rng.shuffle(going)
            for events in going[:]:
                event = next(events, None)
                if event is None:
                    going.remove(events)
                else:
                    mark, data, tokens = event
                    yield Frame(mark, data, tokens, next(pace) if tokens else 0.0)
        if self.wanted.include_usage:
            yield Frame(Mark.USAGE, writer.usage(self.usage))
        yield Frame(Mark.DONE, DONE)


def _events(writer: ChunkWriter, index: int, choice: Choice) -> Iterator[tuple[Mark, bytes, int]]:
    """One alternative after its opening event: (what it is, its bytes, tokens)."""
    for piece in choice.pieces:
        yield Mark.TOKEN, writer.text(index, piece), 1
    for number, call in enumerate(choice.calls):
        if len(choice.calls) > 1:
            yield Mark.TOKEN, writer.call(index, number, call), 1
        for piece in call.pieces:
            yield Mark.ARGUMENTS, writer.arguments(index, number, piece), 1
    yield Mark.FINISH, writer.finish(index, choice.finish), 0


def _request_id(rng: random.Random) -> str:
    return f"req_{rng.getrandbits(128):032x}"


def _headers(
    content_type: str, rng: random.Random, seconds: float, request_id: str | None = None
) -> list[tuple[str, str]]:
    """OpenAI's response headers (reference section 2); *seconds* until the head is what it calls processing."""
    used = rng.randrange(1, 2000)
    return [
        ("content-type", content_type),
        ("x-request-id", request_id or _request_id(rng)),
        ("openai-organization", "org-simulator"),
        ("openai-project", "proj_simulator"),
        ("openai-processing-ms", str(round(seconds * 1000))),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "2000000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", str(2_000_000 - used)),
        ("x-ratelimit-reset-requests", "6ms"),
        ("x-ratelimit-reset-tokens", f"{used * 60 // 2000}ms"),
    ]


__all__ = ["SNAPSHOTS", "chat", "models", "new_id", "not_found", "refusal", "route", "wrong_method"]
