"""Percentiles, histograms and ratios of the rig."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import figures


def bucket_floor(value: int) -> int:
    """The bucket of *value* in wire/histogram.h, told another way: only the seven leading bits are kept."""
    drop = max(0, value.bit_length() - 7)
    return value >> drop << drop


def histogram(values: list[int]) -> list[tuple[int, int]]:
    floors = [bucket_floor(value) for value in values]
    return [(floor, floors.count(floor)) for floor in sorted(set(floors))]


@pytest.mark.parametrize(("floor", "width"), [(0, 1), (127, 1), (128, 2), (254, 2), (256, 4), (1 << 20, 1 << 14)])
def test_buckets_grow_by_octaves(floor: int, width: int) -> None:
    assert figures.bucket_width(floor) == width
    assert bucket_floor(floor + width - 1) == floor
    assert bucket_floor(floor + width) == floor + width


@pytest.mark.untraced
@given(st.lists(st.integers(0, 10_000_000), min_size=100, max_size=300), st.sampled_from([0.1, 0.5, 0.9, 0.99]))
def test_a_histogram_gives_the_percentile_to_one_bucket(values: list[int], q: float) -> None:
    found = figures.histogram_percentile(histogram(values), q)
    assert found is not None
    # The value at that rank, and its neighbour: between two far values both are right.
    rank = q * len(values)
    ordered = sorted(values)
    low, high = ordered[max(0, int(rank) - 1)], ordered[min(len(values) - 1, int(rank))]
    assert bucket_floor(low) <= found <= bucket_floor(high) + figures.bucket_width(bucket_floor(high))


def test_a_histogram_with_too_few_values_has_no_tail() -> None:
    assert figures.histogram_percentile([(5, 99)], 0.99) is None
    assert figures.histogram_percentile([], 0.5) is None


def test_ratios_are_paired_before_the_median() -> None:
    # The machine was twice as slow in the second round: pairing sees it, the ratio of the medians would not.
    assert figures.median_ratio([10.0, 24.0, 11.0], [10.0, 20.0, 10.0]) == pytest.approx(1.1)
    assert figures.median_ratio([10.0, None, 30.0], [5.0, 1.0, 10.0]) == pytest.approx(2.5)
    assert figures.median_ratio([1.0], [0.0]) is None
    assert figures.median_ratio([1.0], [None]) is None
