"""``vllm bench serve``, as its backend openai-chat measures.

Read: vllm-project/vllm, vllm/benchmarks/lib/endpoint_request_func.py (async_request_openai_chat_completions; commit
02cfb53) and vllm/benchmarks/serve.py (calculate_metrics; commit 009e6d4).

Every chunk whose ``choices`` is not empty counts, whatever is in it: the role, an empty delta, the finish reason. The
trailing usage chunk (no choices), comments and ``[DONE]`` do not. An error that comes as a chunk of a complete body has
no choices either, so such a request is a success if a counted chunk came before it. Without usage vLLM counts the text
by its own tokenizer, for which the tokens of the text's events stand in, and takes 1 if it has none.
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
from tokenwire.measure.timing import gaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.measure.request import Request

#: ``--metric-percentiles`` is 99 if nothing else is asked for; the others are those that one usually asks for.
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_METRICS: Final = {"ttft_ms": "ttft", "tpot_ms": "tpot", "itl_ms": "itl", "e2el_ms": "e2el"}


def figures(request: Request) -> Figures | None:
    """One request's; None for one that it counts as failed, of which it measures nothing."""
    chunks = request.arrivals_ms("structural", "reasoning", "text", "tool_args")
    told = any(event.kind == "error" for event in request.events)
    if not chunks or request.state == "cancelled" or (request.state == "failed" and not told):
        return None
    tokens = _output_len(request)
    return {
        "ttft_ms": chunks[0],
        "itl_ms": gaps(chunks),
        "e2el_ms": chunks[-1],
        # 0 for goodput, but left out of its mean and percentiles.
        "tpot_ms": (chunks[-1] - chunks[0]) / (tokens - 1) if tokens > 1 else None,
    }


def _output_len(request: Request) -> int:
    texts = [event for event in request.events if event.kind == "text"]
    counted = request.output_tokens or counted_tokens(request, texts)
    return 1 if counted is None else counted


def summarise(pairs: Sequence[tuple[Request, Figures | None]], wall_s: float | None) -> Summary:
    """numpy's mean, median, population deviation and linear percentiles; all 0 where there are no values."""
    summary: Summary = {}
    for name, short in _METRICS.items():
        values = known(pairs, name) or [0.0]
        summary[name] = {
            f"mean_{short}_ms": mean(values),
            f"median_{short}_ms": quantiles(values, {"": 0.5})[""],
            f"std_{short}_ms": deviation(values),
            **{f"{key}_{short}_ms": value for key, value in quantiles(values, _QUANTILES).items()},
        }
    completed = [request for request, found in pairs if found]
    total_output = sum(map(_output_len, completed))
    summary[COUNTS] = {
        "completed": len(completed),
        "failed": len(pairs) - len(completed),
        "total_output_tokens": total_output,
        "request_throughput": per(len(completed), wall_s),
        "output_throughput": per(total_output, wall_s),
    }
    return summary


VLLM_BENCH: Final = Definition(
    name="vllm-bench",
    tool="vllm bench serve",
    source="vllm-project/vllm, vllm/benchmarks, 02cfb53 and 009e6d4",
    difference="A role or an empty delta already ends its TTFT, a finish reason its E2E, both are gaps of its ITL "
    "too, and a figure that no request has is printed as 0.",
    figures=figures,
    summarise=summarise,
)
