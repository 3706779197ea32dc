"""NVIDIA AIPerf (``aiperf profile``), in the units it displays: milliseconds, and tokens per second.

Read: ai-dynamo/aiperf, src/aiperf/metrics/types/: ttft_metric.py, ttst_metric.py and inter_chunk_latency_metric.py
(commit 58028d5), time_to_first_output_token_metric.py (0b75810), inter_token_latency_metric.py (58dd5de),
request_latency_metric.py (4f7ccff); src/aiperf/metrics/metric_dicts.py (0fec57a).

A response counts if something was parsed from it: reasoning, text or a part of a call. The first output is the first of
them that is no reasoning. A request without any is invalid and counts as an error. The ITL's divisor is the tokens
minus one, as it is without ``--per-chunk-usage``. Tokens are the provider's (``--use-server-token-count``).

AIPerf has an ``adj_`` band beside three of these, where a failed request is infinitely slow. It is not computed here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tokenwire.measure.definitions.report import (
    COUNTS,
    Definition,
    Figures,
    Summary,
    deviation,
    known,
    mean,
    per,
    quantiles,
)
from tokenwire.measure.timing import gaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.measure.request import Request

_QUANTILES: Final = {f"p{number}": number / 100 for number in (1, 5, 10, 25, 50, 75, 90, 95, 99)}
_METRICS: Final = (
    "time_to_first_token",
    "time_to_second_token",
    "time_to_first_output_token",
    "request_latency",
    "inter_token_latency",
    "inter_chunk_latency",
    "output_token_throughput_per_user",
    "output_sequence_length",
)


def figures(request: Request) -> Figures | None:
    """One request's; None for one that is no success."""
    responses = request.arrivals_ms()
    if request.state != "completed" or not responses:
        return None
    tokens = request.output_tokens
    itl = (responses[-1] - responses[0]) / (tokens - 1) if tokens is not None and tokens > 1 else None
    return {
        "time_to_first_token": responses[0],
        "time_to_second_token": responses[1] - responses[0] if len(responses) > 1 else None,
        "time_to_first_output_token": next(iter(request.arrivals_ms("text", "tool_args")), None),
        "request_latency": responses[-1],
        "inter_token_latency": itl,
        "inter_chunk_latency": gaps(responses),
        "output_token_throughput_per_user": 1000 / itl if itl else None,
        "output_sequence_length": tokens,
    }


def summarise(pairs: Sequence[tuple[Request, Figures | None]], wall_s: float | None) -> Summary:
    """Mean, population deviation and linear percentiles; a metric without values is absent."""
    summary: Summary = {}
    for name in _METRICS:
        if values := known(pairs, name):
            summary[name] = {
                "avg": mean(values),
                "min": min(values),
                "max": max(values),
                "std": deviation(values),
                **quantiles(values, _QUANTILES),
            }
    succeeded = sum(found is not None for _, found in pairs)
    cancelled = sum(request.state == "cancelled" for request, _ in pairs)
    errors = len(pairs) - succeeded - cancelled
    summary[COUNTS] = {
        "request_count": succeeded,
        "error_request_count": errors,
        "cancelled_request_count": cancelled,
        "request_error_rate": 100 * errors / (succeeded + errors) if succeeded + errors else None,
        "request_throughput": per(succeeded, wall_s),
        "output_token_throughput": per(math.fsum(known(pairs, "output_sequence_length")), wall_s),
    }
    return summary


AIPERF: Final = Definition(
    name="aiperf",
    tool="aiperf profile",
    source="ai-dynamo/aiperf, src/aiperf/metrics, 58028d5, 0b75810, 58dd5de, 4f7ccff and 0fec57a",
    difference="Its times to the first token and of the whole are ours, but its ITL is our TPOT, our ITL is its "
    "inter-chunk latency, a call counts as the first output as text does, and it prints percentiles of "
    "however few values.",
    figures=figures,
    summarise=summarise,
)
