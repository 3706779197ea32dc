"""inference-perf of the Kubernetes SIGs, as it measures chat; in seconds.

Read: kubernetes-sigs/inference-perf, inference_perf/reportgen/base.py (summarize_requests and what it calls; commit
010d12f), inference_perf/apis/streaming_parser.py (35d21d6), apis/chat.py (005a9a3), apis/response_errors.py (71f089e),
config/reportgen/config.py (452e5e3); and, for reasoning, e2e/tests/test_reasoning_metric_parity.py (1902a65) and the
regression tests of its issue 559.

Each token has the time of its chunk; chunks with text or reasoning count, parts of calls do not. So ITL is 0 between
tokens of one chunk. A stream with a single token has no TTFT: it cannot be told from an answer that was not streamed. A
body that holds an error, or neither content nor usage, is a failure. Tokens are counted by a tokenizer of its own, for
which those of the events stand in, else the provider's (``use_server_output_tokens``). Where the tokens of an event are
unknown it is one, as it is when inference-perf has no tokenizer.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Final

from tokenwire.measure.definitions.report import (
    COUNTS,
    Definition,
    Figures,
    Summary,
    counted_tokens,
    known,
    mean,
    per,
    quantiles,
)
from tokenwire.measure.timing import gaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.measure.request import Event, Request

_POINTS: Final = (0.1, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)
_QUANTILES: Final = {"median" if point == 50 else f"p{point:g}": point / 100 for point in _POINTS}
_METRICS: Final = {
    "request_latency": "request_latency",
    "normalized_time_per_output_token": "normalized_time_per_output_token",
    "time_per_output_token": "time_per_output_token",
    "time_to_first_token": "time_to_first_token",
    "time_to_first_output_token": "time_to_first_output_token",
    "inter_token_latency": "inter_token_latencies",  # all gaps; goodput is what takes each request's mean
}


def figures(request: Request) -> Figures | None:
    """One request's; None for one that failed."""
    content = _content(request)
    if request.state != "completed" or not (content or request.output_tokens is not None):
        return None
    times = [event.arrival_ms / 1000 for event in content for _ in repeat(None, _tokens(event))]
    tokens = counted_tokens(request, content) or 0
    latency = request.ended_ms / 1000
    streamed = len(times) > 1
    between = gaps(times)
    return {
        "request_latency": latency,
        "normalized_time_per_output_token": latency / tokens if tokens else 0.0,
        "time_per_output_token": (times[-1] - times[0]) / (tokens - 1) if streamed and tokens > 1 else None,
        "time_to_first_token": times[0] if streamed else None,
        "time_to_first_output_token": next((at / 1000 for at in request.arrivals_ms("text")), None)
        if streamed
        else None,
        "inter_token_latency": mean(between) if between else None,
        "inter_token_latencies": between,
        "output_tokens": tokens,
    }


def _content(request: Request) -> list[Event]:
    return [event for event in request.events if event.kind in ("text", "reasoning")]


def _tokens(event: Event) -> int:
    return 1 if event.tokens is None else event.tokens


def summarise(pairs: Sequence[tuple[Request, Figures | None]], wall_s: float | None) -> Summary:
    """Means and linear percentiles of the successes; a metric without values is empty."""
    summary: Summary = {name: _distribution(known(pairs, source)) for name, source in _METRICS.items()}
    succeeded = sum(found is not None for _, found in pairs)
    output_tokens = sum(known(pairs, "output_tokens"))
    summary["failures.request_latency"] = _distribution(
        [request.ended_ms / 1000 for request, found in pairs if found is None]
    )
    summary[COUNTS] = {
        "successes": succeeded,
        "failures": len(pairs) - succeeded,
        "requests_per_sec": per(succeeded, wall_s),
        "output_tokens_per_sec": per(output_tokens, wall_s),
    }
    return summary


def _distribution(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {}
    return {"mean": mean(values), "min": min(values), "max": max(values), **quantiles(values, _QUANTILES)}


INFERENCE_PERF: Final = Definition(
    name="inference-perf",
    tool="inference-perf",
    source="kubernetes-sigs/inference-perf, inference_perf, 010d12f, 35d21d6, 005a9a3, 71f089e and 1902a65",
    difference="Its ITL has a gap of 0 for every further token of a chunk, its latency ends with the body, calls "
    "count for nothing, a single token has no TTFT, and NTPOT divides the whole latency by the tokens.",
    figures=figures,
    summarise=summarise,
)
