"""What the figures mean: percentiles, and ratios that survive a machine whose speed drifts. Pure.

Percentiles of raw values are those of ``tokenwire.measure.percentiles``, handed on to the rig from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.measure.percentiles import enough_samples, median, percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Bucket", "bucket_width", "enough_samples", "histogram_percentile", "median", "median_ratio", "percentile"]

Bucket = tuple[int, int]
"""Smallest value of a bucket, and how many values fell into it (``wire/histogram.h``)."""

_LINEAR = 128  # below it each value has a bucket of its own; above, 64 buckets an octave
_SUBDIVISION_BITS = 6


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


def median_ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> float | None:
    """The median over rounds of ``ours / theirs``, pairing the two of each round.

    Pairs first and medians after: the speed of a shared machine drifts from round to round, and both sides of
    a pair saw nearly the same machine. A round that lacks either side counts for nothing.
    """
    return median(mine / other for mine, other in zip(ours, theirs, strict=False) if mine is not None and other)
