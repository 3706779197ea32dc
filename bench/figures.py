"""What the figures mean: percentiles, and ratios that survive a machine whose speed drifts. Pure."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Bucket = tuple[int, int]
"""Smallest value of a bucket, and how many values fell into it (``wire/histogram.h``)."""

_LINEAR = 128  # below it each value has a bucket of its own; above, 64 buckets an octave
_SUBDIVISION_BITS = 6


def enough_samples(count: int, q: float) -> bool:
    """Whether *count* samples say anything about the quantile *q*: one of them at least must lie beyond it.

    So there is no p99 under 100 samples; any sample at all gives a median.
    """
    # The tolerance is for 1 - 0.99, which is a little more than 0.01 in binary.
    return count > 0 and (q <= 0.5 or count * (1 - q) >= 1 - 1e-9)


def percentile(values: Sequence[float], q: float) -> float | None:
    """The quantile *q* (0 to 1) by linear interpolation, or None where there are too few *values*."""
    if not enough_samples(len(values), q):
        return None
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def bucket_width(floor: int) -> int:
    """Width of the bucket that starts at *floor*."""
    return 1 if floor < _LINEAR else 1 << (floor.bit_length() - 1 - _SUBDIVISION_BITS)


def histogram_percentile(buckets: Sequence[Bucket], q: float) -> float | None:
    """The quantile *q* of a histogram, spread evenly within its bucket; None where there are too few values.

    Args:
        buckets: In ascending order. The answer is exact to the width of one bucket, 1.6 %.
    """
    total = sum(count for _, count in buckets)
    if not enough_samples(total, q):
        return None
    rank = q * total
    seen = 0
    for floor, count in buckets:
        if seen + count >= rank:
            return floor + bucket_width(floor) * (rank - seen) / count
        seen += count
    raise AssertionError("the ranks of a histogram end within it")


def median(values: Iterable[float | None]) -> float | None:
    """The median of those that exist, or None."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def median_ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> float | None:
    """The median over rounds of ``ours / theirs``, pairing the two of each round.

    Pairs first and medians after: the speed of a shared machine drifts from round to round, and both sides of
    a pair saw nearly the same machine. A round that lacks either side counts for nothing.
    """
    return median(mine / other for mine, other in zip(ours, theirs, strict=False) if mine is not None and other)
