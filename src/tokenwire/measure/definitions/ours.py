"""DESIGN section 7, in the form of the others: what ``measure.request`` gives of one request, and how we sum it up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenwire.measure.definitions.report import COUNTS, Definition, Figures, Summary, known, mean, per
from tokenwire.measure.percentiles import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenwire.measure.request import Request

_SCALARS: Final = ("ttfb_ms", "ttft_ms", "ttft_answer_ms", "tpot_ms", "e2e_ms")
_LISTS: Final = ("itl_ms", "stalls_ms")
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


def figures(request: Request) -> Figures:
    """All of them, whatever became of the request."""
    return {name: getattr(request, name) for name in _SCALARS + _LISTS}


def summarise(pairs: Sequence[tuple[Request, Figures | None]], wall_s: float | None) -> Summary:
    """Of completed requests; gaps and stalls pooled. A percentile without enough values for it is None."""
    completed = [pair for pair in pairs if pair[0].state == "completed"]
    summary: Summary = {}
    for name in _SCALARS + _LISTS:
        values = known(completed, name)
        summary[name] = {
            "count": len(values),
            "mean": mean(values) if values else None,
            "min": min(values, default=None),
            "max": max(values, default=None),
            **{key: percentile(values, q) for key, q in _QUANTILES.items()},
        }
    summary[COUNTS] = {
        "requests": len(pairs),
        "completed": len(completed),
        "failed": sum(request.state == "failed" for request, _ in pairs),
        "cancelled": sum(request.state == "cancelled" for request, _ in pairs),
        "estimated": sum(request.estimated for request, _ in completed),
        "completed_per_s": per(len(completed), wall_s),
        "output_tokens_per_s": per(sum(request.output_tokens or 0 for request, _ in completed), wall_s),
    }
    return summary


OURS: Final = Definition(
    name="tokenwire",
    tool="tokenwire",
    source="DESIGN section 7",
    difference="These are ours: only events that hold something generated count, E2E ends with the last of them, "
    "what cannot be known is absent, and no percentile is given for too few values.",
    figures=figures,
    summarise=summarise,
)
