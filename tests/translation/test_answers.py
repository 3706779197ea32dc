"""Every recorded answer, in every dialect: it says the same, or what it does not say is declared."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.translation.answers import (
    ERRORS,
    STREAMS,
    TARGETS,
    Case,
    bytewise,
    calls_of,
    decode,
    decode_each,
    differences,
    encode,
    events_of,
    fold,
)

from tokenwire import dialects
from tokenwire.dialects.deltas import Delta
from tokenwire.dialects.transcript import Transcript

each_stream = pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.path)
each_error = pytest.mark.parametrize("case", ERRORS, ids=lambda case: case.path)
each_target = pytest.mark.parametrize("target", TARGETS)


@cache
def recorded(case: Case) -> list[Delta]:
    return decode(dialects.get(case.dialect), [case.body])


def test_all_dialects_of_old_take_part() -> None:
    assert {"anthropic", "native", "openai.chat"} <= set(TARGETS)
    assert {"anthropic", "openai.chat"} <= {case.dialect for case in STREAMS}


@pytest.mark.untraced
@each_stream
def test_an_answer_is_the_same_byte_by_byte(case: Case) -> None:
    assert decode(dialects.get(case.dialect), bytewise(case.body)) == recorded(case)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_an_answer_is_the_same_wherever_it_is_cut(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(STREAMS))
    body = case.body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert decode(dialects.get(case.dialect), chunks) == recorded(case)


@pytest.mark.untraced
@each_stream
def test_a_translated_answer_says_the_same(case: Case) -> None:
    """In every dialect: the one that fails is an argument of the function below."""
    source = fold(recorded(case))
    for target in TARGETS:
        says_the_same(case, target, source)


def says_the_same(case: Case, target: str, source: Transcript) -> None:
    dialect = dialects.get(target)
    body = encode(dialect, recorded(case))
    deltas = decode(dialect, [body])
    assert decode(dialect, bytewise(body)) == deltas
    again = fold(deltas)
    assert (again.failed is None) == (source.failed is None)
    if source.failed is None:
        assert differences(source, again, dialect) == []
        return
    assert again.failed is not None
    assert (again.failed.message, again.failed.retryable) == (source.failed.message, source.failed.retryable)
    assert again.choice().text == source.choice().text
    assert again.choice().reasoning == source.choice().reasoning
    assert calls_of(again.choice()) == calls_of(source.choice())


@pytest.mark.untraced
@each_stream
def test_an_answer_that_is_cut_at_any_event_fails_and_tells_no_half_call(case: Case) -> None:
    """In every dialect, after every event."""
    source = dialects.get(case.dialect)
    events = events_of(source, [case.body])
    whole = {index: calls_of(choice) for index, choice in fold(recorded(case)).choices.items()}
    for cut in range(len(events)):
        deltas = [delta for each in decode_each(source, events[:cut]) for delta in each]
        before = fold(deltas)
        if before.failed is None:  # whole without its last events, as far as the dialect says
            continue
        for target in TARGETS:
            dialect, at = dialects.get(target), (target, cut)
            after = fold(decode(dialect, [encode(dialect, deltas)]))
            assert after.failed is not None, at
            told, meant = after.failed, before.failed
            assert (told.message, told.retryable) == (meant.message, meant.retryable), at
            for index, choice in after.choices.items():
                assert [call for call in calls_of(choice) if call not in whole[index]] == [], at


@each_target
@each_error
def test_an_error_before_the_answer_is_the_same_error(case: Case, target: str) -> None:
    dialect = dialects.get(target)
    status = case.expected["http"]["status"]
    failure = dialects.get(case.dialect).describe_error(case.body, status)
    again = dialect.describe_error(dialect.error_body(failure, status), status)
    assert (again.message, again.retryable) == (failure.message, failure.retryable)
    assert again.upstream_status == status
