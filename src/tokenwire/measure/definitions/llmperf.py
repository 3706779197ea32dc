"""LLMPerf of the Ray project (``token_benchmark_ray.py``; no release since 2024), its OpenAI client; in seconds.

Read: ray-project/llmperf, src/llmperf/ray_clients/openai_chat_completions_client.py (commit 0451d33),
token_benchmark_ray.py (004d3af) and src/llmperf/common_metrics.py (1eac866).

Only chunks with content count. The text is counted by a tokenizer of its own (Llama's, unless told otherwise), for
which the tokens of the text's events stand in, else the provider's. Its client fails on comments and on a usage chunk,
which it does not ask for: both are passed over here, or no request through many a gateway would have figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.measure.definitions.report import (
    COUNTS,
    Definition,
    Figures,
    Summary,
    counted_tokens,
    deviation,
    known,
    mean,
    per,
    quantiles,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.measure.request import Request

_QUANTILES: Final = {f"p{number}": number / 100 for number in (25, 50, 75, 90, 95, 99)}
_METRICS: Final = (
    "inter_token_latency_s",
    "ttft_s",
    "end_to_end_latency_s",
    "request_output_throughput_token_per_s",
    "number_output_tokens",
)


def figures(request: Request) -> Figures | None:
    """One request's; None for one that is an error. What did not come is 0."""
    if request.state != "completed":
        return None
    texts = [event for event in request.events if event.kind == "text"]
    tokens = counted_tokens(request, texts) or 0
    latency = request.ended_ms / 1000
    # The times to each next chunk of text, the first one's included, add up to the time of the last.
    last = texts[-1].arrival_ms / 1000 if texts else 0.0
    return {
        "inter_token_latency_s": last / tokens if tokens else 0.0,
        "ttft_s": texts[0].arrival_ms / 1000 if texts else 0.0,
        "end_to_end_latency_s": latency,
        "request_output_throughput_token_per_s": tokens / latency if latency > 0 else 0.0,
        "number_output_tokens": tokens,
    }


def summarise(pairs: Sequence[tuple[Request, Figures | None]], wall_s: float | None) -> Summary:
    """pandas' linear quantiles, mean and sample deviation of what is no error; empty where everything is."""
    summary: Summary = {}
    for name in _METRICS:
        values = known(pairs, name)
        summary[name] = (
            {
                **quantiles(values, _QUANTILES),
                "mean": mean(values),
                "min": min(values),
                "max": max(values),
                "stddev": deviation(values, sample=True),
            }
            if values
            else {}
        )
    completed = sum(found is not None for _, found in pairs)
    errors = len(pairs) - completed
    per_second = per(completed, wall_s)
    summary[COUNTS] = {
        "num_requests_started": len(pairs),
        "num_completed_requests": completed,
        "number_errors": errors,
        "error_rate": errors / len(pairs) if pairs else 0.0,
        "num_completed_requests_per_min": None if per_second is None else per_second * 60,
        "mean_output_throughput_token_per_s": per(sum(known(pairs, "number_output_tokens")), wall_s),
    }
    return summary


LLMPERF: Final = Definition(
    name="llmperf",
    tool="LLMPerf token_benchmark_ray.py",
    source="ray-project/llmperf, 0451d33, 004d3af and 1eac866",
    difference="Its ITL is the time to the last text divided by the tokens, the first token's included; only text "
    "counts, so thinking is part of its TTFT; its latency ends with the body, and what a request lacks "
    "counts as 0.",
    figures=figures,
    summarise=summarise,
)
