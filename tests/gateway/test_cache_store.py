"""Kept answers and their bounds: size, time, use. And which questions are under way."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import pytest

from tokenwire import dialects
from tokenwire.engine.hub import Hub
from tokenwire.engine.recording import Recording
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream
from tokenwire.gateway.cache import Cache, Key
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSource


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def hub(clock: ManualClock) -> Iterator[Hub]:
    made = Hub(clock)
    yield made
    made.close()


def cache_of(hub: Hub, max_bytes: int = 10_000, max_answer: int = 5_000) -> Cache:
    return Cache(hub.clock, hub.wheel, max_bytes=max_bytes, max_answer=max_answer)


def key(name: str, *, streaming: bool = True) -> Key:
    return Key(name.encode(), streaming)


def recording(size: int = 1000) -> Recording:
    return Recording(
        dialect="openai.chat", model="up/m", unary=False, runs=(), arrivals_ns=array("q"), opened=1, usage=None,
        notes="", size=size,
    )  # fmt: skip


def test_what_is_kept_is_found_for_its_time(hub: Hub, clock: ManualClock) -> None:
    cache = cache_of(hub)
    kept = recording()
    assert cache.find(key("a"), 60) is None
    cache.keep(key("a"), kept, 60)
    clock.advance(2.5)
    found = cache.find(key("a"), 60)
    assert found is not None
    assert (found.recording, found.age) == (kept, 2.5)
    clock.advance(57.4)
    assert cache.find(key("a"), 60) is not None
    clock.advance(0.1)
    assert cache.find(key("a"), 3600) is None, "to the second, whoever asks"
    figures = cache.statistics()
    assert (figures.hits, figures.misses, figures.stored, figures.dropped) == (2, 2, 1, 0)


def test_who_wants_a_younger_one_does_not_get_an_old_one(hub: Hub, clock: ManualClock) -> None:
    cache = cache_of(hub)
    cache.keep(key("a"), recording(), 3600)
    clock.advance(60)
    assert cache.find(key("a"), 30) is None
    assert cache.find(key("a"), 90) is not None


def test_the_other_form_will_do_where_it_may(hub: Hub) -> None:
    cache = cache_of(hub)
    whole, stream = recording(1), recording(2)
    cache.keep(key("a", streaming=False), whole, 60)
    assert cache.find(key("a"), 60) is None
    found = cache.find(key("a"), 60, either=True)
    assert found is not None
    assert found.recording is whole
    cache.keep(key("a"), stream, 60)
    found = cache.find(key("a"), 60, either=True)
    assert found is not None
    assert found.recording is stream, "its own first"


def test_the_least_recently_used_goes_first(hub: Hub) -> None:
    cache = cache_of(hub, 3000)
    for name in "abc":
        cache.keep(key(name), recording(), 60)
    assert cache.find(key("a"), 60) is not None
    cache.keep(key("d"), recording(), 60)
    assert [name for name in "abcd" if cache.find(key(name), 60)] == ["a", "c", "d"]
    cache.keep(key("e"), recording(2500), 60)
    assert [name for name in "abcde" if cache.find(key(name), 60)] == ["e"]
    figures = cache.statistics()
    assert (figures.answers, figures.bytes, figures.dropped) == (1, 2500, 4)


def test_a_newer_answer_takes_the_place_of_the_older(hub: Hub) -> None:
    cache = cache_of(hub, 3000)
    newer = recording(2000)
    cache.keep(key("a"), recording(), 60)
    cache.keep(key("b"), recording(), 60)
    cache.keep(key("a"), newer, 30)
    found = cache.find(key("a"), 60)
    assert found is not None
    assert found.recording is newer
    assert cache.find(key("b"), 60) is not None
    assert cache.statistics().bytes == 3000


def test_one_answer_is_bounded_by_all(hub: Hub) -> None:
    assert cache_of(hub, 1000, 5000).max_answer == 1000
    assert cache_of(hub, 10_000, 5000).max_answer == 5000


def test_what_has_had_its_time_leaves_memory_by_itself(hub: Hub, clock: ManualClock) -> None:
    cache = cache_of(hub)
    idle = len(hub.wheel)
    cache.keep(key("a"), recording(), 60)
    cache.keep(key("b"), recording(), 7)
    clock.advance(3)
    cache.keep(key("c"), recording(), 7)
    clock.advance(2.5)
    assert cache.statistics().answers == 3
    clock.advance(5)
    assert cache.statistics().answers == 1
    clock.advance(60)
    figures = cache.statistics()
    assert (figures.answers, figures.bytes, figures.dropped) == (0, 0, 0)
    assert len(hub.wheel) == idle, "nothing is looked for while nothing is kept"
    cache.keep(key("a"), recording(), 60)
    assert len(hub.wheel) == idle + 1


def test_one_can_be_forgotten_in_both_forms(hub: Hub) -> None:
    cache = cache_of(hub)
    for name in ("a", "b"):
        cache.keep(key(name), recording(), 60)
        cache.keep(key(name, streaming=False), recording(), 60)
    cache.forget(key("a", streaming=False))
    cache.forget(key("nobody asked"))
    assert cache.find(key("a"), 60, either=True) is None
    assert cache.find(key("b"), 60) is not None
    assert cache.statistics().bytes == 2000


def test_all_can_be_forgotten(hub: Hub) -> None:
    cache = cache_of(hub)
    cache.keep(key("a"), recording(), 60)
    cache.keep(key("b"), recording(), 30)
    cache.clear()
    assert cache.find(key("a"), 60) is None
    assert cache.statistics().bytes == 0


@pytest.fixture
def origin(hub: Hub) -> Stream:
    stream = hub.open(owner="-", dialect=dialects.get("openai.chat"), model="up/m", policy=Policy())
    stream.connecting(ScriptedSource())
    stream.begin()
    return stream


def test_a_question_under_way_is_found_until_its_end(hub: Hub, origin: Stream) -> None:
    cache = cache_of(hub)
    assert cache.running(key("a")) is None
    cache.run(key("a"), origin)
    assert cache.running(key("a")) is origin
    assert cache.running(key("a", streaming=False)) is None
    assert (cache.statistics().running, cache.statistics().shared) == (1, 1)
    origin.cancel()
    assert cache.running(key("a")) is None
    assert cache.statistics().running == 0


def test_one_whose_beginning_is_gone_is_not_shared(hub: Hub, origin: Stream) -> None:
    cache = cache_of(hub)
    cache.run(key("a"), origin)
    origin.append([chat.text("abcd")] * 300, 1)
    origin.append([chat.text("abcd")] * 300, 2)
    assert origin.trim(0)
    assert cache.running(key("a")) is None
    newer = hub.open(owner="-", dialect=dialects.get("openai.chat"), model="up/m", policy=Policy())
    cache.run(key("a"), newer)
    origin.cancel()
    assert cache.running(key("a")) is newer, "the end of the older is not that of the newer"
