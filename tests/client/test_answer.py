"""The fold alone: whatever the events hold, nothing is raised."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.client import Answer, Notice, Reset
from tokenwire.dialects.deltas import Opaque, TextDelta, Usage
from tokenwire.testing.native_frames import DELTAS, TEXT, events
from tokenwire.wire import sse
from tokenwire.wire.sse import Event

KINDS = ["started", "text", "tool_args", "usage", "notice", "reset", "snapshot", "error", "done", "message", "else"]


@pytest.mark.untraced
@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.one_of(
                st.text(max_size=20), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)
            ),
        )
    )
)
def test_nothing_is_raised(fed: list[tuple[str, str]]) -> None:
    answer = Answer()
    for kind, data in fed:
        answer.feed(Event(kind, data))
    assert isinstance(answer.text, str)


def whole() -> list[Event]:
    return [event for sent in events() for event in sse.Decoder().feed(sent)]


@settings(deadline=None)
@given(st.data())
def test_any_event_lost_or_doubled_is_found(data: st.DataObject) -> None:
    fed = whole()
    at = data.draw(st.integers(0, len(fed) - 2))
    fed[at : at + 1] = [fed[at]] * data.draw(st.sampled_from([0, 2]))
    answer = Answer()
    for event in fed:
        answer.feed(event)
    assert answer.done is not None
    assert answer.done.verified is False
    assert answer.done.mismatch


def test_what_was_told_at_once_counts_for_what_it_stands_for() -> None:
    answer = Answer()
    digest = hashlib.sha256(b'Hello "events":7').hexdigest()
    for kind, data in (
        ("started", '{"stream":"st_1","model":"m","created":1.0}'),
        ("reasoning", '{"t":"hm","events":2}'),
        ("text", '{"t":"Hello","events":3}'),
        ("text", '{"t":" \\"events\\":7"}'),
        ("tool_call", '{"id":"c","name":"f"}'),
        ("tool_args", '{"json":"{}","events":2}'),
        ("opaque", '{"dialect":"x","data":{"events":5}}'),
    ):
        answer.feed(Event(kind, data))
    answer.feed(Event("done", f'{{"state":"completed","events":11,"text_sha256":"{digest}"}}'))
    assert answer.done is not None
    assert (answer.done.verified, answer.done.mismatch) == (True, None)


def test_cost_and_estimates_are_read_wherever_they_stand() -> None:
    answer = Answer()
    answer.feed(Event("usage", '{"output":3,"cost_usd":0.1,"estimated":true}'))
    assert (answer.cost_usd, answer.usage) == (0.1, Usage(output=3, cost_usd=0.1, estimated=True))
    answer.feed(Event("usage", '{"output":4}'))  # an estimate says so each time: this is the provider's
    assert answer.usage == Usage(output=4, cost_usd=0.1, estimated=False)
    answer.feed(Event("snapshot", '{"text":"a","usage":{"output":5,"cost_usd":0.2,"estimated":true}}'))
    assert answer.usage == Usage(output=5, cost_usd=0.2, estimated=True)
    digest = hashlib.sha256(b"a").hexdigest()
    answer.feed(
        Event("done", f'{{"state":"completed","usage":{{"output":6,"cost_usd":0.3}},"text_sha256":"{digest}"}}')
    )
    assert answer.usage is not None
    assert (answer.cost_usd, answer.usage.output) == (0.3, 6)
    assert answer.done is not None
    assert answer.done.verified is None, "the snapshot did not say how many events there were"


def test_done_without_proof_is_not_verified() -> None:
    answer = Answer()
    answer.feed(Event("text", '{"t":"a"}'))
    answer.feed(Event("done", '{"state":"completed"}'))
    assert answer.done is not None
    assert (answer.done.verified, answer.done.mismatch) == (None, None)


def test_done_that_cannot_be_read_is_none() -> None:
    answer = Answer()
    updates = answer.feed(Event("done", '{"state":5}'))
    assert answer.done is None
    assert all(isinstance(update, Opaque) for update in updates)


@pytest.mark.parametrize("data", ["", "{", "[]", "null"])
def test_odd_news(data: str) -> None:
    answer = Answer()
    assert answer.feed(Event("notice", data)) == [Notice("unknown", {})]
    assert answer.feed(Event("reset", data)) == [Reset("unknown")]
    assert answer.feed(Event("message", data)) == []


def test_what_nobody_knows_is_passed_on() -> None:
    answer = Answer()
    assert answer.feed(Event("novelty", '{"content":"7"}')) == [Opaque("native", {"content": "7"}, "novelty")]


def test_a_fold_looks_like_its_stream() -> None:
    answer = Answer()
    updates = [update for event in whole() for update in answer.feed(event)]
    assert [update for update in updates if update in DELTAS] == DELTAS
    assert TextDelta("Héllo", block=1) in updates
    assert answer.text == TEXT
    assert answer.transcript.started is not None
    assert answer.transcript.started.model == "up/m"


def test_estimates_are_news_and_no_count_has_them() -> None:
    """They may come anywhere, as often as they like, and nothing is missing without them."""
    estimate = Event("usage", '{"input":14,"output":3,"estimated":true}', "1-2")
    fed = whole()
    for at in (1, len(fed) // 2, len(fed) - 1):
        answer = Answer()
        for event in [*fed[:at], estimate, estimate, *fed[at:]]:
            answer.feed(event)
        assert answer.done is not None
        assert (answer.done.verified, answer.done.mismatch) == (True, None)
        assert answer.usage is not None
        assert not answer.usage.estimated, "the provider's figure replaces ours"
    counted = Answer()
    for event in [*fed[:-1], Event("usage", '{"input":14,"output":3}', "1-2"), fed[-1]]:
        counted.feed(event)
    assert counted.done is not None
    assert counted.done.verified is False, "the provider's own is an event like others"
