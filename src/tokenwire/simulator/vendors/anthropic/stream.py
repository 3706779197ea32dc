"""The order of things in one answer: head, message_start, blocks at their times, the end (reference section 5.2)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from tokenwire.simulator.exchange import Frame, Mark, Request, head
from tokenwire.simulator.fault_scene import Says
from tokenwire.simulator.latency import SNAPSHOTS
from tokenwire.simulator.vendors.anthropic.blocks import Block, Given, Text, Thinking, ToolUse, Turn
from tokenwire.simulator.vendors.anthropic.errors import overloaded, rate_limited, server_error
from tokenwire.simulator.vendors.anthropic.events import PING, EventWriter
from tokenwire.simulator.vendors.anthropic.ids import new_request_id
from tokenwire.simulator.vendors.anthropic.prompt import InputUsage
from tokenwire.simulator.vendors.anthropic.requests import MessagesRequest
from tokenwire.simulator.vendors.common import Group, groups

# The head and message_start come this share of the way to the first token, as on the OpenAI side.
_HEAD_SHARE = 0.8

#: A ping is sent when so many seconds have passed without an event.
PING_SECONDS = 10.0

# How many tokens an event holds: the first one comes alone, later ones in groups of this many, equally likely. Real
# streams differ by model and load; what matters is that an event is neither one token nor always the same number.
_GROUPS = (1, 2, 3, 3, 4, 5, 6, 8)

_ORGANIZATION = "51d0a7e0-5e0a-4000-8000-000000000001"


class Play:
    """One answer, on its way to become frames.

    Args:
        pace: seconds before each token.
        group: exact number of tokens in an event, None for as they come.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        wanted: MessagesRequest,
        turn: Turn,
        pace: Iterator[float],
        *,
        rng: random.Random,
        usage: InputUsage,
        group: int | None,
        now: float,
    ) -> None:
        self.turn = turn
        self._pace = pace
        self._rng = rng
        self._group = group
        self._usage = usage
        self._now = now
        self._request_id = new_request_id(rng)
        self._writer = EventWriter(model=SNAPSHOTS.get(wanted.model, wanted.model), rng=rng, usage=usage)

    @property
    def says(self) -> Says:
        """The errors of this answer; they name its request."""
        error = server_error().event(self._request_id)
        return Says(
            error=error,
            overloaded=overloaded().event(self._request_id),
            limited=rate_limited(1000).event(self._request_id),
            reframed=error.removeprefix(b"event: error\n"),
            ping=PING,
        )

    def whole(self, request: Request) -> Iterator[Frame]:
        """Head and body, once everything is generated."""
        body = self._writer.whole(self.turn)
        wait = sum(itertools.islice(self._pace, self.turn.tokens))
        yield Frame(Mark.HEAD, head(request, 200, self._headers("application/json"), length=len(body)), delay=wait)
        yield Frame(Mark.DATA, body, self.turn.tokens)

    def stream(self, request: Request) -> Iterator[Frame]:
        """Head, message_start, the blocks one after the other, message_delta, message_stop; pings where they fall."""
        first = next(self._pace)
        lead = first * _HEAD_SHARE
        self._pace = itertools.chain([first - lead], self._pace)
        fields = self._headers("text/event-stream; charset=utf-8")
        yield Frame(Mark.HEAD, head(request, 200, fields, length=None), delay=lead)
        yield from _awake(self._events())

    def _events(self) -> Iterator[Frame]:
        writer = self._writer
        yield Frame(Mark.START, writer.start())
        # The first ping follows message_start or, mostly, the event that opens the first block.
        early = not self.turn.blocks or self._rng.random() < 0.25
        if early:
            yield Frame(Mark.DATA, PING)
        for number, block in enumerate(self.turn.blocks):
            opened = isinstance(block, ToolUse)  # its name was generated as well, which is a token here
            delay = next(self._pace) if opened else 0.0
            tokens = block.tokens if isinstance(block, Given) else int(opened)
            yield Frame(Mark.DATA, writer.open(block), tokens, delay)
            if not number and not early:
                yield Frame(Mark.DATA, PING)
            yield from self._deltas(block)
            yield Frame(Mark.DATA, writer.close())
        yield Frame(Mark.FINISH, writer.finish(self.turn))
        yield Frame(Mark.DONE, writer.stop())

    def _deltas(self, block: Block) -> Iterator[Frame]:
        writer = self._writer
        if isinstance(block, Text):
            for location in block.citations or ():
                yield Frame(Mark.DATA, writer.citation(location))
            for text, tokens, delay in self._groups(block.pieces):
                yield Frame(Mark.TOKEN, writer.text(text), tokens, delay)
        elif isinstance(block, Thinking):
            for text, tokens, delay in self._groups(block.pieces):
                if block.shown:
                    yield Frame(Mark.TOKEN, writer.text(text), tokens, delay)
                else:
                    yield Frame(Mark.DATA, b"", tokens, delay)
            if block.signature:
                yield Frame(Mark.DATA, writer.signature(block.signature))
        elif isinstance(block, ToolUse):
            yield Frame(Mark.DATA, writer.arguments(""))
            for burst in block.bursts:
                held = list(self._groups(burst))
                if not block.eager:  # held back until the value is whole, and then sent at once
                    delays = itertools.chain([sum(group.delay for group in held)], itertools.repeat(0.0))
                    held = [group._replace(delay=delay) for group, delay in zip(held, delays, strict=False)]
                for text, tokens, delay in held:
                    yield Frame(Mark.ARGUMENTS, writer.arguments(text), tokens, delay)

    def _groups(self, pieces: list[str]) -> Iterator[Group]:
        return groups(pieces, self._pace, self._rng, _GROUPS, self._group)

    def _headers(self, content_type: str) -> list[tuple[str, str]]:
        return headers(content_type, self._rng, self._now, self._request_id, self._usage.total)


def _awake(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames, with pings in long waits."""
    for frame in frames:
        delay = frame.delay
        while delay > PING_SECONDS:
            yield Frame(Mark.DATA, PING, delay=PING_SECONDS)
            delay -= PING_SECONDS
        yield frame if delay == frame.delay else frame._replace(delay=delay)


def headers(
    content_type: str, rng: random.Random, now: float, request_id: str | None = None, used: int = 0
) -> list[tuple[str, str]]:
    """Anthropic's response headers (reference section 2); *used* input tokens of the minute are gone."""
    reset = datetime.fromtimestamp(int(now) + 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = [
        ("content-type", content_type),
        ("cache-control", "no-cache"),
        ("request-id", request_id or new_request_id(rng)),
        ("anthropic-organization-id", _ORGANIZATION),
    ]
    limits = {"requests": (4000, 1), "input-tokens": (2_000_000, used), "output-tokens": (400_000, 0)}
    limits["tokens"] = (2_400_000, used)
    for name, (limit, gone) in limits.items():
        left = max(0, limit - gone // 1000 * 1000 if limit > 4000 else limit - gone)
        fields += [
            (f"anthropic-ratelimit-{name}-limit", str(limit)),
            (f"anthropic-ratelimit-{name}-remaining", str(left)),
            (f"anthropic-ratelimit-{name}-reset", reset),
        ]
    return fields
