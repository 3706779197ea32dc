"""What a stream used and cost, whether or not its provider said so.

A provider tells its counts with the last event, if at all: of a stream that was cancelled, cut or lost, and of many
local servers, they never come. Then they are estimated (``measure.tokens``) and marked so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from tokenwire.dialects.deltas import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta, ToolCallStarted, Usage
from tokenwire.measure.prices import Seller, cost_usd
from tokenwire.measure.tokens import count_prompt, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenwire.dialects.deltas import Delta

#: Tokens. Of a few words the estimate is too rough to doubt a provider's count.
_SLACK = 8


class Meter:
    """One per stream, from its request to the last question for its usage.

    Args:
        body: the request as it goes upstream; held until ``close``.
        seller, model: whose price, and of what.
    """

    __slots__ = ("_body", "_input", "_model", "_seller")

    def __init__(self, body: bytes, seller: Seller, model: str) -> None:
        self._body: bytes | None = body
        self._input: int | None = None
        self._seller = seller
        self._model = model

    def close(self, *, estimate: bool) -> None:
        """The stream is over: the request is read for the last time, if an *estimate* is wanted, and let go."""
        body, self._body = self._body, None
        if estimate and body is not None:
            self._input = count_prompt(body)

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
