"""What a stream used and cost, whether or not its provider said so.

A provider tells its counts with the last event, if at all: of a stream that was cancelled, cut or lost, and of many
local servers, they never come. Then they are estimated (``measure.tokens``) and marked so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import structs

from tokenwire.dialects.deltas import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta, ToolCallStarted, Usage
from tokenwire.measure.prices import Seller, cost_usd
from tokenwire.measure.tokens import count, count_prompt, whole

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tokenwire.dialects.deltas import Delta
    from tokenwire.measure.worker import Worker

Counter: TypeAlias = Callable[[str], float]

#: Tokens. Of a few words the estimate is too rough to doubt a provider's count.
_SLACK: Final = 8
#: A request that is read at once while tokens come (0.2 ms); a larger one is in a thread.
SMALL: Final = 16 * 1024
#: Tokens: an answer's usual length.
_FAR: Final = 1000


class Meter:
    """One per stream, from its request to the last question for its usage.

    Args:
        body: the request as it goes upstream; held until ``close``.
        seller, model: whose price, and of what.
    """

    __slots__ = ("_body", "_input", "_job", "_line", "_line_of", "_model", "_seller")

    def __init__(self, body: bytes, seller: Seller, model: str) -> None:
        self._body: bytes | None = body
        self._input: int | None = None
        self._job: Future[int | None] | None = None
        self._seller = seller
        self._model = model
        self._line: tuple[float, float] | None = None
        self._line_of: tuple[int | None, ...] | None = None

    def prompt(self, count: Counter, worker: Worker) -> int | None:
        """The request's tokens, about, while the answer still comes: None while a thread reads it, if it is large."""
        body = self._body
        if body is not None:
            if len(body) <= SMALL:
                self._input, self._body = count_prompt(body, count), None
            elif self._job is None:
                self._job = worker.submit(count_prompt, body, count)
            elif self._job.done():
                failed = self._job.cancelled() or self._job.exception() is not None
                self._input, self._body = None if failed else self._job.result(), None
        return self._input

    def priced(self, usage: Usage, when: float) -> Usage:
        """*usage* of an answer that still comes, with its cost, where the price is known. A look-up takes 50 us, and
        with the same input the cost is a straight line: two of them do for all of the answer."""
        line_of = (usage.input, usage.cached_input, usage.cache_write)
        if line_of != self._line_of:
            self._line_of = line_of
            ends = [cost_usd(self._seller, self._model, structs.replace(usage, output=n), when) for n in (0, _FAR)]
            self._line = None if ends[0] is None or ends[1] is None else (ends[0], (ends[1] - ends[0]) / _FAR)
        if self._line is None or usage.output is None:
            return usage
        return structs.replace(usage, cost_usd=self._line[0] + self._line[1] * usage.output)

    def close(self, *, estimate: bool, count: Counter = count) -> None:
        """The stream is over: the request is read for the last time, if an *estimate* is wanted, and let go."""
        body, self._body, self._job = self._body, None, None
        if estimate and body is not None:
            self._input = count_prompt(body, count)

    def settle(self, told: Usage | None, said: Callable[[], float], when: float, *, finished: bool) -> Usage:
        """The usage: *told* where the provider did, else estimated; and the cost, where the price is known.

        Args:
            said: the tokens of the answer, by ``measure.tokens``; called only where the provider told none.
            when: seconds since 1970, for prices that change.
            finished: the answer is whole. Of one that is not, the count may be that of its beginning (Anthropic tells
                one at the start): if twice as much was said since, it is not taken.
        """
        told = told or Usage()
        count, output = self._input if told.input is None else told.input, told.output
        if output is None or not finished:
            tokens = whole(said())
            if output is None or tokens >= 2 * output + _SLACK:
                output = tokens
        estimated = told.estimated or told.input is None or output is not told.output
        usage = structs.replace(told, input=count, output=output, estimated=estimated)
        if usage.cost_usd is None:
            usage = structs.replace(usage, cost_usd=cost_usd(self._seller, self._model, usage, when))
        return usage


def said(delta: Delta) -> str:
    """What *delta* adds to the text that a model generated and that is paid for; "" for most kinds."""
    if isinstance(delta, TextDelta | ReasoningDelta | RefusalDelta):
        return delta.text
    if isinstance(delta, ToolCallDelta):
        return delta.json
    return delta.name if isinstance(delta, ToolCallStarted) else ""
