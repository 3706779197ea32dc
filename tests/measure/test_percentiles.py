"""measure/percentiles: linear interpolation, nearest rank, and when there are too few values."""

from __future__ import annotations

import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.measure.percentiles import enough_samples, median, nearest_rank, percentile, quantile

FLOATS = st.floats(-1e9, 1e9)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([], 0.5, None),
        ([7.0], 0.5, 7.0),
        ([7.0], 0.0, 7.0),
        ([1.0, 2.0], 0.5, 1.5),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([float(i) for i in range(101)], 0.99, 99.0),
        ([0.0] * 99, 0.99, None),
        ([0.0] * 99 + [1.0], 0.99, pytest.approx(0.01)),  # place 98.01
        ([0.0] * 999, 0.999, None),
        ([0.0] * 999 + [1.0], 0.999, pytest.approx(0.001)),  # place 998.001
        ([0.0] * 10, 0.9, 0.0),
        ([0.0] * 9, 0.9, None),
        ([0.0] * 9, 1.0, None),
    ],
)
def test_percentile_interpolates_and_wants_enough_samples(
    values: list[float], q: float, expected: float | None
) -> None:
    assert percentile(values, q) == expected


@pytest.mark.parametrize(
    ("least", "q"), [(1, 0.5), (1, 0.01), (4, 0.75), (10, 0.9), (20, 0.95), (100, 0.99), (1000, 0.999)]
)
def test_one_sample_at_least_lies_beyond(least: int, q: float) -> None:
    assert enough_samples(least, q)
    assert not enough_samples(least - 1, q)


@pytest.mark.parametrize(("values", "q"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_a_quantile_of_nothing_or_of_no_share_is_refused(values: list[float], q: float) -> None:
    with pytest.raises(ValueError, match="the quantile"):
        quantile(values, q)


@given(st.lists(FLOATS, min_size=2, max_size=60), st.integers(2, 40))
def test_quantiles_are_those_of_the_standard_library(values: list[float], parts: int) -> None:
    # Its "inclusive" is type 7 too.
    expected = statistics.quantiles(values, n=parts, method="inclusive")
    found = [quantile(values, part / parts) for part in range(1, parts)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-3)


@given(st.lists(FLOATS, min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_the_formula_in_exact_numbers(values: list[float], q: float) -> None:
    ordered = [Fraction(value) for value in sorted(values)]
    place = Fraction(q) * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    expected = ordered[below] + (ordered[above] - ordered[below]) * (place - below)
    assert quantile(values, q) == pytest.approx(float(expected), rel=1e-9, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([], 0.5, None),
        ([7.0], 0.999, 7.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),  # half of them do not exceed 2
        ([4.0, 1.0, 3.0, 2.0], 0.51, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.25, 1.0),
        ([4.0, 1.0, 3.0, 2.0], 0.0, 1.0),
        ([4.0, 1.0, 3.0, 2.0], 1.0, 4.0),
        ([float(i) for i in range(1, 11)], 0.9, 9.0),  # 0.9 * 10 ranks, whatever its binary digits are
        ([float(i) for i in range(1, 101)], 0.07, 7.0),
    ],
)
def test_nearest_rank_gives_a_value_that_was_measured(values: list[float], q: float, expected: float | None) -> None:
    assert nearest_rank(values, q) == expected


def test_weights_count_a_value_more_than_once() -> None:
    # 5 counts nine times, 1 once: nine tenths of what counts does not come before 5.
    assert nearest_rank([5.0, 1.0], 0.1, [9, 1]) == 1.0
    assert nearest_rank([5.0, 1.0], 0.11, [9, 1]) == 5.0
    assert nearest_rank([5.0, 1.0], 0.0, [9, 0]) == 5.0, "what has no weight is not there"
    assert nearest_rank([5.0, 1.0], 0.5, [0, 0]) is None
    with pytest.raises(ValueError, match="zip"):
        nearest_rank([5.0, 1.0], 0.5, [1])


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.integers(0, 1000))
def test_nearest_rank_is_the_inverse_of_the_distribution(values: list[int], per_mille: int) -> None:
    expected = min(
        value for value in values if sum(other <= value for other in values) * 1000 >= per_mille * len(values)
    )
    assert nearest_rank(values, per_mille / 1000) == expected


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=20), st.sampled_from([0.1, 0.5, 0.9])
)
def test_a_weight_is_as_many_values(pairs: list[tuple[int, int]], q: float) -> None:
    alone = [value for value, times in pairs for _ in range(times)]
    weighted = nearest_rank([value for value, _ in pairs], q, [times for _, times in pairs])
    assert weighted == nearest_rank(alone, q)


def test_median_ignores_what_was_not_measured() -> None:
    assert median([None, 3.0, 1.0, None, 2.0]) == 2.0
    assert median([None]) is None


@given(st.lists(FLOATS, min_size=1))
def test_the_median_is_the_half_percentile(values: list[float]) -> None:
    assert median(values) == statistics.median(values) == pytest.approx(percentile(values, 0.5), abs=1e-6)
