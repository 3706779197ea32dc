"""Goodput: requests that were good, per second. Good is what completed within all limits that were stated.

After Zhong et al., "DistServe: Disaggregating Prefill and Decoding for Goodput-optimized Large Language Model Serving"
(OSDI 2024), with DESIGN section 7's figures. Without limits it is the throughput of completed requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from tokenwire.measure.percentiles import quantile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenwire.measure.request import Request


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a request must keep to, in milliseconds; a figure that equals its limit keeps it. None: not stated.

    Attributes:
        itl_ms: for the quantile *itl_quantile* of the request's own gaps. However few they are: this judges these
            gaps, and estimates nothing beyond them. 0.95 is arbitrary; 1.0 limits the longest gap.

    Raises:
        ValueError: *itl_quantile* is not between 0 and 1.
    """

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    itl_ms: float | None = None
    itl_quantile: float = 0.95
    e2e_ms: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.itl_quantile <= 1:
            raise ValueError(f"itl_quantile is {self.itl_quantile}, not between 0 and 1")

    def broken_by(self, request: Request) -> list[str]:
        """The names of the limits that *request* did not keep, whatever became of it.

        A figure that should be there and is not (a first token that never came, tokens that nobody counted) keeps no
        limit. Where there was nothing to wait for, there is nothing to break: a single event has no gaps, and an answer
        of one token no time per further token.
        """
        broken = []
        if _over(request.ttft_ms, self.ttft_ms):
            broken.append("ttft_ms")
        tokens = request.output_tokens
        single = tokens is not None and tokens < 2 and request.ttft_ms is not None
        if not single and _over(request.tpot_ms, self.tpot_ms):
            broken.append("tpot_ms")
        itl_ms = request.itl_ms
        without_gaps = None if request.ttft_ms is None else 0.0
        if _over(quantile(itl_ms, self.itl_quantile) if itl_ms else without_gaps, self.itl_ms):
            broken.append("itl_ms")
        if _over(request.e2e_ms, self.e2e_ms):
            broken.append("e2e_ms")
        return broken


def _over(figure: float | None, limit: float | None) -> bool:
    """Whether a limit that was stated is not kept."""
    return limit is not None and (figure is None or figure > limit)


def good(request: Request, limits: Limits) -> bool:
    """Whether *request* counts: completed, neither failed nor cancelled, and within all *limits*."""
    return request.state == "completed" and not limits.broken_by(request)


def goodput(requests: Iterable[Request], limits: Limits, wall_s: float) -> float:
    """Good requests per second.

    Args:
        requests: all that were made, failed and cancelled ones too: they took their time.
        wall_s: how long that took altogether, seconds, by the clock on the wall.

    Raises:
        ValueError: it took no time.
    """
    if wall_s <= 0:
        raise ValueError(f"{wall_s} s are no duration")
    return sum(good(request, limits) for request in requests) / wall_s
