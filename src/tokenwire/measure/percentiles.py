"""Quantiles of raw values, in the two ways that tools print them. Pure.

Ours is linear interpolation between the two nearest ranks (type 7 of Hyndman and Fan, "Sample Quantiles in Statistical
Packages", 1996): what numpy, pandas and spreadsheets do when they are not told otherwise. The inverse of the cumulative
distribution (their type 1) never invents a value that was not measured; GuideLLM prints that one.

Percentiles of several runs are never averaged: put the values together, or merge histograms (``measure.histogram``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What rounding adds to a share, as in 1 - 0.99, which is a little more than 0.01 in binary.
_ROUNDING = 1e-9


def enough_samples(count: int, q: float) -> bool:
    """Whether *count* samples say anything about the quantile *q*: one of them at least must lie beyond it.

    So there is no p99 under 100 samples and no p99.9 under 1,000. Any sample at all gives a median and what is below.
    """
    return count > 0 and (q <= 0.5 or count * (1 - q) >= 1 - _ROUNDING)


def quantile(values: Sequence[float], q: float) -> float:
    """The quantile *q* (0 to 1) of *values* in any order, by linear interpolation, however few they are.

    Raises:
        ValueError: there are none, or *q* is not between 0 and 1.
    """
    if not values or not 0 <= q <= 1:
        raise ValueError(f"the quantile {q} of {len(values)} values")
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def percentile(values: Sequence[float], q: float) -> float | None:
    """The quantile *q* (0 to 1) by linear interpolation, or None where there are too few *values* to tell it."""
    return quantile(values, q) if enough_samples(len(values), q) else None


def nearest_rank(values: Sequence[float], q: float, weights: Sequence[float] | None = None) -> float | None:
    """The smallest of *values* that a share of *q* (0 to 1) of them does not exceed: always one of them.

    Args:
        weights: how much each value counts, in the order of *values*; those of weight 0 do not exist.

    Returns:
        None where nothing counts. Unlike ``percentile`` it answers for few values too, as the tools do that use it.
    """
    pairs = sorted(
        (value, weight) for value, weight in zip(values, weights or [1] * len(values), strict=True) if weight
    )
    wanted = q * sum(weight for _, weight in pairs) * (1 - _ROUNDING)
    seen = 0.0
    for value, weight in pairs:
        seen += weight
        if seen >= wanted:
            return value
    return None


def median(values: Iterable[float | None]) -> float | None:
    """The median of those that exist, or None."""
    known = sorted(value for value in values if value is not None)
    half = len(known) // 2
    if not known:
        return None
    # By hand: the module statistics takes 20 ms to import, and all of the house imports this one.
    return known[half] if len(known) % 2 else (known[half - 1] + known[half]) / 2
