"""The order of things in one answer: head, a line for each token or call at its time, the last line."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

from tokenwire.simulator.exchange import Frame, Mark, Request, head
from tokenwire.simulator.vendors.ollama.lines import LineWriter
from tokenwire.simulator.vendors.ollama.requests import ChatRequest, GenerateRequest
from tokenwire.simulator.vendors.ollama.turn import Turn

_NDJSON = [("content-type", "application/x-ndjson")]
_JSON = [("content-type", "application/json; charset=utf-8")]

# A model that is loaded is found in so many nanoseconds, more or less; evaluating the prompt takes most of the time
# to the first token.
_LOADING = (20_000_000, 60_000_000)
_PROMPT_SHARE = 0.9
#: Between two lines that come at once. Clocks do not stand still, and their readers may look.
_TICK = 1_000

# Numbers of a vocabulary that nobody has, for the context of /api/generate.
_VOCABULARY = 150_000
_MOST_CONTEXT = 4096


class Play:
    """One answer, on its way to become frames.

    Args:
        pace: seconds before each token.
        began: when the request came, in nanoseconds since 1970.
        mute: the last line says neither why nor how much, as those of old servers.
    """

    def __init__(
        self,
        wanted: ChatRequest | GenerateRequest,
        turn: Turn,
        pace: Iterator[float],
        *,
        rng: random.Random,
        began: int,
        mute: bool,
    ) -> None:
        self._wanted = wanted
        self._turn = turn
        self._pace = pace
        self._rng = rng
        self._began = began
        self._mute = mute
        self._clock = began
        generate = isinstance(wanted, GenerateRequest)
        self._writer = LineWriter(wanted.model, rng, generate=generate, alternatives=wanted.alternatives)

    def whole(self, request: Request) -> Iterator[Frame]:
        """Head and body, once everything is generated."""
        waits = list(itertools.islice(self._pace, max(self._turn.tokens, 1)))
        for wait in waits:
            self._tick(wait)
        body = self._writer.whole(self._turn, self._clock, self._members(waits[0]))
        yield Frame(Mark.HEAD, head(request, 200, _JSON, length=len(body)), delay=sum(waits))
        yield Frame(Mark.DATA, body, self._turn.tokens)

    def stream(self, request: Request) -> Iterator[Frame]:
        """The head comes with the first line: a server does not answer before it has something to say."""
        first = next(self._pace)
        self._pace = itertools.chain([0.0], self._pace)
        self._tick(first)
        yield Frame(Mark.HEAD, head(request, 200, _NDJSON, length=None), delay=first)
        writer, turn = self._writer, self._turn
        yield from self._said(turn.thoughts, writer.thinking)
        yield from self._said(turn.pieces, writer.text)
        for call in turn.calls:
            wait = sum(itertools.islice(self._pace, call.tokens))
            self._tick(wait)
            yield Frame(Mark.ARGUMENTS, writer.call(call.entry, self._clock), call.tokens, wait)
        self._tick(0.0)
        yield Frame(Mark.DONE, writer.done(self._clock, self._members(first)))

    def _said(self, pieces: list[str], line: Callable[[str, int], bytes]) -> Iterator[Frame]:
        for piece in pieces:
            wait = next(self._pace)
            self._tick(wait)
            yield Frame(Mark.TOKEN, line(piece, self._clock), 1, wait)

    def _tick(self, seconds: float) -> None:
        self._clock += round(seconds * 1_000_000_000) + _TICK

    def _members(self, first: float) -> dict[str, Any]:
        """The end of the last line, the *first* token having come after so many seconds."""
        if self._mute:
            return {}
        prompt = round(first * _PROMPT_SHARE * 1_000_000_000) + _TICK
        loading = self._rng.randrange(*_LOADING)
        generating = max(self._clock - self._began - prompt, _TICK)
        members: dict[str, Any] = {"done_reason": self._turn.reason}
        prompt_tokens = self._wanted.prompt_tokens()
        if isinstance(self._wanted, GenerateRequest) and not self._wanted.raw:
            before = self._wanted.context or []
            size = min(prompt_tokens + self._turn.tokens - len(before), _MOST_CONTEXT)
            members["context"] = [*before, *self._rng.choices(range(_VOCABULARY), k=size)]
        return members | {
            "total_duration": loading + prompt + generating,
            "load_duration": loading,
            "prompt_eval_count": prompt_tokens,
            "prompt_eval_duration": prompt,
            "eval_count": self._turn.tokens,
            "eval_duration": generating,
        }
