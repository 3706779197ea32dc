"""measure/histogram: the promised error, merging, and what is stored."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.measure.histogram import RELATIVE_ERROR, Histogram, HistogramJson
from tokenwire.measure.percentiles import percentile, quantile

# From nothing to a day in nanoseconds: small ones and large ones alike often.
VALUES = st.one_of(st.integers(0, 300), st.integers(0, 2**20), st.integers(0, 86_400_000_000_000))
QUANTILES = st.one_of(st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]), st.floats(0, 1))


def made_of(values: list[int]) -> Histogram:
    made = Histogram()
    made.record_many(values)
    return made


def test_an_empty_one_has_no_values() -> None:
    empty = Histogram()
    assert (empty.count, empty.sum, empty.min, empty.max, empty.percentile(0.5)) == (0, 0, None, None, None)


def test_small_values_are_exact_and_interpolated() -> None:
    made = made_of([10, 20, 30, 41])
    assert (made.count, made.sum, made.min, made.max) == (4, 101, 10, 41)
    # Type 7: place 0.5 * 3 = 1.5, halfway between 20 and 30.
    assert made.percentile(0.5) == 25.0
    assert made.percentile(0.25) == 17.5  # place 0.75
    assert made.percentile(0.9) is None, "nothing lies beyond it"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        (127, 127),
        (128, 128),  # 1000_000|0: one bit cut off, 64 + 64
        (129, 128),
        (130, 129),
        (255, 191),  # 64 + 127
        (256, 192),  # two bits cut off: 128 + 64
        (1_000_000, 13 * 64 + (1_000_000 >> 13)),  # 20 bits, seven kept
    ],
)
def test_the_number_of_a_bucket(value: int, number: int) -> None:
    assert made_of([value]).to_json().buckets == (number, 1)


def test_a_bucket_is_told_by_its_middle_between_the_extremes() -> None:
    # 1024 to 1039 are one bucket of 16: its middle is 1031.5. What was recorded bounds it.
    assert made_of([1000, 1024, 1030, 2000]).percentile(0.5) == 1031.5
    assert made_of([1024] * 3).percentile(0.5) == 1024.0
    assert made_of([1039] * 3).percentile(0.5) == 1039.0


def test_negative_values_are_refused_and_leave_nothing() -> None:
    made = made_of([5])
    with pytest.raises(ValueError, match="-1 is negative"):
        made.record(-1)
    with pytest.raises(ValueError, match="negative"):
        Histogram().record(-7)
    assert made.to_json() == made_of([5]).to_json()


@pytest.mark.untraced
@given(st.lists(VALUES, min_size=1, max_size=300), QUANTILES)
def test_a_percentile_is_that_of_the_raw_values_to_the_promised_error(values: list[int], q: float) -> None:
    made = made_of(values)
    exact = percentile(values, q)
    found = made.percentile(q)
    assert (found is None) == (exact is None)
    if found is not None and exact is not None:
        assert abs(found - exact) <= RELATIVE_ERROR * exact + 1e-9 * exact  # the second for the rounding of floats
    assert (made.count, made.sum, made.min, made.max) == (len(values), sum(values), min(values), max(values))


@given(VALUES)
def test_one_value_alone_is_exact(value: int) -> None:
    assert made_of([value] * 100).percentile(0.99) == value == quantile([value], 0.99)


@given(st.lists(VALUES, max_size=50), st.lists(VALUES, max_size=50))
def test_merging_is_recording_all(some: list[int], others: list[int]) -> None:
    merged = made_of(some)
    merged.merge(made_of(others))
    assert merged.to_json() == made_of(some + others).to_json()


def test_one_can_be_merged_with_itself() -> None:
    made = made_of([1, 500])
    made.merge(made)
    assert made.to_json() == made_of([1, 500, 1, 500]).to_json()


@given(st.lists(VALUES, max_size=50))
def test_what_is_stored_comes_back_and_goes_on(values: list[int]) -> None:
    data = msgspec.json.encode(made_of(values).to_json())
    back = Histogram.from_json(msgspec.json.decode(data, type=HistogramJson))
    assert back.to_json() == made_of(values).to_json()
    back.record(7)
    assert back.to_json() == made_of([*values, 7]).to_json()


def test_the_stored_form_is_compact() -> None:
    assert msgspec.json.encode(Histogram().to_json()) == b"{}"
    data = msgspec.json.encode(made_of([3, 3, 1000]).to_json())
    # 1000 has ten bits: three are cut off, 3 * 64 + 125.
    assert data == b'{"count":3,"sum":1006,"min":3,"max":1000,"buckets":[3,2,317,1]}'


@pytest.mark.parametrize(
    "stored",
    [
        HistogramJson(count=1, sum=1, min=1, max=1, buckets=(1,)),
        HistogramJson(count=1, sum=1, min=1, max=1, buckets=(-1, 1)),
        HistogramJson(count=0, sum=1, min=1, max=1, buckets=(1, 0)),
        HistogramJson(count=2, sum=2, min=1, max=1, buckets=(1, 1, 1, 1)),
        HistogramJson(count=2, sum=1, min=1, max=1, buckets=(1, 1)),
        HistogramJson(count=1, sum=1, max=1, buckets=(1, 1)),
        HistogramJson(count=1, sum=1, min=1, buckets=(1, 1)),
    ],
    ids=["odd", "below zero", "empty", "twice", "count", "no min", "no max"],
)
def test_what_contradicts_itself_is_refused(stored: HistogramJson) -> None:
    with pytest.raises(ValueError, match="histogram"):
        Histogram.from_json(stored)
