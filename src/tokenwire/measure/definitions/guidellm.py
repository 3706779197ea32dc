"""GuideLLM (``guidellm benchmark``), as its backend openai_http measures a stream.

Read: vllm-project/guidellm, src/guidellm/schemas/base/request_stats.py (commit 31c74ea), schemas/base/statistics.py
(0280467), benchmark/schemas/metrics.py (1a145a4), and an excerpt of the HTTP backend's streaming loop, of 0.7.

An iteration is a chunk with reasoning, text or a part of a call. Distributions are kept apart for successful,
incomplete (cancelled) and errored requests; only the first have a latency. The tokens of a request weigh its TPOT,
those after the first its ITL, and what a request does not have is 0 in a distribution. An answer without text, calls
and tokens is an error, even if it was complete (since 0.7.3; known from the pull request that says so, not from its
code).

GuideLLM also leaves out what lies outside its measuring window, which a list of requests does not have. And a
percentile of its may be one rank higher where the rank is a whole number, because it adds up shares that are not exact
in binary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tokenwire.measure.definitions.report import COUNTS, Definition, Figures, Summary, per
from tokenwire.measure.percentiles import nearest_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.measure.request import Request

_QUANTILES: Final = {
    "p001": 0.001, "p01": 0.01, "p05": 0.05, "p10": 0.1, "p25": 0.25, "p50": 0.5,
    "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999,
}  # fmt: skip
_METRICS: Final = (
    "request_latency",
    "time_to_first_token_ms",
    "time_to_first_output_token_ms",
    "time_per_output_token_ms",
    "inter_token_latency_ms",
    "output_tokens",
)
_GROUPS: Final = ("successful", "incomplete", "errored")
#: What is taken off a request's tokens for its weight; those without are weighed alike.
_WEIGHTS: Final = {"time_per_output_token_ms": 0, "inter_token_latency_ms": 1}


def figures(request: Request) -> Figures:
    """One request's; ``request_latency`` is in seconds."""
    tokens = request.arrivals_ms()
    output_tokens = _output_tokens(request)
    count = output_tokens or 0
    return {
        "request_latency": request.ended_ms / 1000 if request.state == "completed" else None,
        "time_to_first_token_ms": tokens[0] if tokens else None,
        "time_to_first_output_token_ms": next(iter(request.arrivals_ms("text", "tool_args")), None),
        "time_per_output_token_ms": (tokens[-1] if tokens else request.ended_ms) / count if count else None,
        "inter_token_latency_ms": (tokens[-1] - tokens[0]) / (count - 1) if tokens and count > 1 else None,
        "output_tokens": output_tokens,
    }


def _output_tokens(request: Request) -> int | None:
    """By usage, else an iteration is taken for a token."""
    if request.output_tokens is not None:
        return request.output_tokens
    return len(request.arrivals_ms()) or None


def summarise(pairs: Sequence[tuple[Request, Figures | None]], wall_s: float | None) -> Summary:
    """Each distribution as ``NAME.successful``, ``.incomplete``, ``.errored`` and ``.total``."""
    groups = {
        group: [(request, found) for request, found in pairs if found and _group(request) == group] for group in _GROUPS
    }
    groups["total"] = [pair for group in _GROUPS for pair in groups[group]]
    summary: Summary = {}
    for group, members in groups.items():
        for name in _METRICS:
            values = [_or_zero(found[name]) for _, found in members]
            weights = [
                max((_output_tokens(request) or 0) - _WEIGHTS[name], 0) if name in _WEIGHTS else 1
                for request, _ in members
            ]
            key = "output_token_count" if name == "output_tokens" else name
            summary[f"{key}.{group}"] = _distribution(values, weights)
    summary[COUNTS] = {
        **{group: len(members) for group, members in groups.items()},
        "requests_per_second": per(len(groups["successful"]), wall_s),
    }
    return summary


def _group(request: Request) -> str:
    if request.state == "cancelled":
        return "incomplete"
    usable = request.arrivals_ms("text", "tool_args") or request.output_tokens
    return "successful" if request.state == "completed" and usable else "errored"


def _or_zero(value: float | list[float] | None) -> float:
    return value if isinstance(value, int | float) else 0.0


def _distribution(values: list[float], weights: list[int]) -> dict[str, float | None]:
    """Weighted, with percentiles that are values; all 0 where nothing counts."""
    total = sum(weights)
    if not total:
        return dict.fromkeys(("mean", "median", "std_dev", "min", "max", "count", *_QUANTILES), 0.0)
    mean = math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / total
    variance = math.fsum(weight * (value - mean) ** 2 for value, weight in zip(values, weights, strict=True)) / total
    counted = [value for value, weight in zip(values, weights, strict=True) if weight]
    return {
        "mean": mean,
        "median": nearest_rank(values, 0.5, weights),
        "std_dev": math.sqrt(variance),
        "min": min(counted),
        "max": max(counted),
        "count": total,
        **{key: nearest_rank(values, q, weights) for key, q in _QUANTILES.items()},
    }


GUIDELLM: Final = Definition(
    name="guidellm",
    tool="guidellm benchmark",
    source="vllm-project/guidellm, src/guidellm, 31c74ea, 0280467 and 1a145a4",
    difference="Its TPOT includes the time to the first token, its ITL is our TPOT, both weighed by their "
    "requests' tokens, its latency ends with the body, its percentiles are measured values, and what a "
    "request lacks counts as 0.",
    figures=figures,
    summarise=summarise,
)
