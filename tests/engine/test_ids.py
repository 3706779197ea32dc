"""engine/ids: what an event id says, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.engine.ids import EventId, parse_event_id
from tokenwire.errors import NotResumable


@pytest.mark.parametrize(
    ("text", "event_id"),
    [
        ("1-0", EventId(1, 0)),
        ("1-42", EventId(1, 42)),
        ("2-7.3", EventId(2, 7, 3)),
        ("1-7.0", EventId(1, 7)),
        ("001-007", EventId(1, 7)),
        ("  1-42\t", EventId(1, 42)),
        ("9999999999-999999999999999999.999999999", EventId(9999999999, 999999999999999999, 999999999)),
    ],
)
def test_an_id_is_epoch_sequence_and_perhaps_frames(text: str, event_id: EventId) -> None:
    assert parse_event_id(text) == event_id


@pytest.mark.parametrize(
    "text",
    ["", " ", "1", "1-", "-1", "1-2-3", "1-2.", "1-2.3.4", "1.2", "a-b", "+1-2", "1-2x", "1 - 2", "1-2\n3", "1-\u0663",
     "1" * 11 + "-1", "1-" + "1" * 19, "1-1." + "1" * 10, "1-2\x00", "0x1-2", "1_0-2", "1-2 1-3"],
)  # fmt: skip
def test_anything_else_is_refused_with_400(text: str) -> None:
    with pytest.raises(NotResumable, match="is not an event id") as caught:
        parse_event_id(text)
    assert (caught.value.status, caught.value.code) == (400, "not_an_id")


def test_a_long_id_is_not_repeated_whole_in_the_refusal() -> None:
    with pytest.raises(NotResumable) as caught:
        parse_event_id("x" * 100_000)
    assert len(str(caught.value)) < 300


@settings(deadline=None)
@given(st.integers(0, 10**10 - 1), st.integers(0, 10**18 - 1), st.integers(0, 10**9 - 1))
def test_what_is_written_is_read_back(epoch: int, seq: int, frames: int) -> None:
    event_id = EventId(epoch, seq, frames)
    assert parse_event_id(str(event_id)) == event_id


def test_ids_are_ordered_as_numbers_and_not_as_text() -> None:
    texts = ["1-9", "1-9.2", "1-9.10", "1-10", "2-1", "10-1"]
    assert sorted(map(parse_event_id, reversed(texts))) == [parse_event_id(text) for text in texts]


def test_no_frames_are_not_written() -> None:
    assert (str(EventId(1, 5)), str(EventId(1, 5, 2))) == ("1-5", "1-5.2")
