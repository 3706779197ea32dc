"""What the times of a stream mean: the one home of DESIGN section 7's definitions that concern a single stream.

Times are CLOCK_MONOTONIC nanoseconds in, milliseconds out. A stream without generated events has no value, never 0.
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import TYPE_CHECKING

from tokenwire.dialects.deltas import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta, ToolCallStarted
from tokenwire.measure.percentiles import quantile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.dialects.deltas import Delta

#: A gap that long is a stall, unless the stream is slow by nature: then so many of its median gaps are.
STALL_MS = 200.0
STALL_MEDIANS = 5.0


class Timing:
    """The times of one stream, growing with it: eight bytes an event.

    Args:
        asked_ns: when the request was sent; None until it was.
    """

    __slots__ = ("_answer_ns", "_arrivals", "asked_ns")

    def __init__(self, asked_ns: int | None = None) -> None:
        self.asked_ns = asked_ns
        self._arrivals = array("q")
        self._answer_ns: int | None = None

    def see(self, delta: Delta, arrived_ns: int) -> None:
        """*delta* arrived. Counts if it was generated: text, thought, refusal or part of a call, and not empty."""
        if isinstance(delta, TextDelta | ReasoningDelta | RefusalDelta):
            if not delta.text:
                return
            if self._answer_ns is None and isinstance(delta, TextDelta):
                self._answer_ns = arrived_ns
        elif not isinstance(delta, ToolCallStarted | ToolCallDelta):
            return
        self._arrivals.append(arrived_ns)

    @property
    def events(self) -> int:
        """Generated events."""
        return len(self._arrivals)

    @property
    def ttft_ms(self) -> float | None:
        """From the request to the first generated event."""
        return self._since(self._arrivals[0]) if self._arrivals else None

    @property
    def ttft_answer_ms(self) -> float | None:
        """From the request to the first text that is not empty: after the thinking, where a model thinks."""
        return None if self._answer_ns is None else self._since(self._answer_ns)

    @property
    def e2e_ms(self) -> float | None:
        """From the request to the last generated event."""
        return self._since(self._arrivals[-1]) if self._arrivals else None

    @property
    def itl_ms(self) -> list[float]:
        """The gaps between one generated event and the next, in order. Events of one read have gaps of 0."""
        return [gap / 1e6 for gap in gaps(self._arrivals)]

    @property
    def longest_gap_ms(self) -> float | None:
        return max(self.itl_ms, default=None)

    @property
    def stalls_ms(self) -> list[float]:
        """The gaps that a reader notices: over 200 ms, and over five times the stream's median gap."""
        return stalls(self.itl_ms)

    def tpot_ms(self, output_tokens: int | None) -> float | None:
        """Time per output token after the first, for an answer of *output_tokens*. None for fewer than two."""
        if not self._arrivals:
            return None
        return time_per_output_token((self._arrivals[-1] - self._arrivals[0]) / 1e6, output_tokens)

    def _since(self, moment_ns: int) -> float | None:
        return None if self.asked_ns is None else (moment_ns - self.asked_ns) / 1e6


def gaps(arrivals: Iterable[float]) -> list[float]:
    """The times between one arrival and the next, in the unit of *arrivals*: ITL, of generated events."""
    return [later - earlier for earlier, later in pairwise(arrivals)]


def stalls(gaps_ms: list[float]) -> list[float]:
    """Those of a stream's gaps that a reader notices: over 200 ms, and over five times its median gap."""
    bound = max(STALL_MS, STALL_MEDIANS * quantile(gaps_ms, 0.5)) if gaps_ms else 0.0
    return [gap for gap in gaps_ms if gap > bound]


def time_per_output_token(span_ms: float, output_tokens: int | None) -> float | None:
    """TPOT, of *span_ms* from the first generated event to the last. None if tokens are unknown or fewer than two."""
    return None if output_tokens is None or output_tokens < 2 else span_ms / (output_tokens - 1)
