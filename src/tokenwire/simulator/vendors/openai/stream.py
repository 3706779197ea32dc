"""The order of things in one answer: head, opening events, tokens at their times, end (reference section 3.2)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from tokenwire.simulator.answer import Choice
from tokenwire.simulator.exchange import Frame, Mark, Request, head
from tokenwire.simulator.latency import SNAPSHOTS
from tokenwire.simulator.vendors.openai.chunks import DONE, ChunkWriter, usage_of, whole
from tokenwire.simulator.vendors.openai.requests import ChatRequest

# The head comes this share of the way to the first token. Arbitrary, but it must be before: OpenAI's head and
# opening event arrive a moment earlier than the first token, and a client's time to first byte differs from
# that to the token.
_HEAD_SHARE = 0.8


class Play:
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
        self.request_id = new_request_id(rng)
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
        fields = headers("application/json", self.rng, wait, self.request_id)
        yield Frame(Mark.HEAD, head(request, 200, fields, length=len(body)), delay=wait)
        yield Frame(Mark.DATA, body, self.tokens)

    def stream(self, request: Request) -> Iterator[Frame]:
        """Head, opening events, tokens, closing events, usage if asked for, [DONE] (reference section 3.2)."""
        first = next(self.pace)
        lead = first * _HEAD_SHARE
        fields = headers("text/event-stream; charset=utf-8", self.rng, lead, self.request_id)
        yield Frame(Mark.HEAD, head(request, 200, fields, length=None), delay=lead)
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
        going = [_events(writer, index, choice, pace) for index, choice in enumerate(self.choices)]
        while len(going) > 1:
            self.rng.shuffle(going)
            for frames in going[:]:
                frame = next(frames, None)
                if frame is None:
                    going.remove(frames)
                else:
                    yield frame
        for frames in going:
            yield from frames
        if self.wanted.include_usage:
            yield Frame(Mark.USAGE, writer.usage(self.usage))
        yield Frame(Mark.DONE, DONE)


def _events(writer: ChunkWriter, index: int, choice: Choice, pace: Iterator[float]) -> Iterator[Frame]:
    """The frames of one alternative after its opening event, each token at the *pace* that all of them share."""
    for piece in choice.pieces:
        yield Frame(Mark.TOKEN, writer.text(index, piece), 1, next(pace))
    for number, call in enumerate(choice.calls):
        if len(choice.calls) > 1:
            yield Frame(Mark.TOKEN, writer.call(index, number, call), 1, next(pace))
        for piece in call.sent:
            yield Frame(Mark.ARGUMENTS, writer.arguments(index, number, piece), 1, next(pace))
    yield Frame(Mark.FINISH, writer.finish(index, choice.finish))


def new_request_id(rng: random.Random) -> str:
    return f"req_{rng.getrandbits(128):032x}"


def headers(
    content_type: str, rng: random.Random, seconds: float, request_id: str | None = None
) -> list[tuple[str, str]]:
    """OpenAI's response headers (reference section 2); *seconds* until the head is what it calls processing."""
    used = rng.randrange(1, 2000)
    return [
        ("content-type", content_type),
        ("x-request-id", request_id or new_request_id(rng)),
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
