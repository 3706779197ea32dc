"""engine/leases: a lease that lapses is a reader that has left, and only renewals that may keep it do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tokenwire.engine.hub import Hub
from tokenwire.engine.leases import PERIODS_UNNAMED, Lease, Leases, Renewed
from tokenwire.engine.states import State
from tokenwire.engine.stream import Stream
from tokenwire.engine.timers import GRANULARITY_NS, Wheel
from tokenwire.errors import NotResumable
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink

GRANULE = GRANULARITY_NS / 1e9
Streaming = Callable[..., Stream]
Sinks = Callable[..., ScriptedSink]


class Desk:
    """Leases, and who lapsed in which order."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.wheel = Wheel(clock)
        self.leases = Leases(self.wheel, clock)
        self.lapsed: list[str] = []

    def grant(self, name: str, seconds: float = 15) -> Lease:
        return self.leases.grant(seconds, lambda: self.lapsed.append(name))


@pytest.fixture
def desk(clock: ManualClock) -> Desk:
    return Desk(clock)


def test_a_lease_that_is_not_renewed_lapses_once(desk: Desk) -> None:
    desk.grant("a")
    desk.clock.advance(15)
    assert (desk.lapsed, len(desk.leases)) == ([], 1)
    desk.clock.advance(GRANULE)
    assert (desk.lapsed, len(desk.leases)) == (["a"], 0)
    desk.clock.advance(100)
    assert desk.lapsed == ["a"]
    assert desk.clock.pending == 0


def test_each_renewal_gives_the_whole_time_anew(desk: Desk) -> None:
    lease = desk.grant("a")
    for _ in range(100):
        desk.clock.advance(14.9)
        assert desk.leases.renew(lease.id) == Renewed(1, 15.0)
    assert desk.lapsed == []
    desk.clock.advance(15 + 2 * GRANULE)
    assert desk.lapsed == ["a"]


def test_a_renewal_arms_no_timer(desk: Desk) -> None:
    lease = desk.grant("a")
    for _ in range(1000):
        desk.leases.renew(lease.id)
    assert len(desk.wheel) == 1


def test_by_its_id_one_lease_is_renewed_and_no_other(desk: Desk) -> None:
    first, second = desk.grant("first"), desk.grant("second")
    assert first.id != second.id
    desk.clock.advance(10)
    desk.leases.renew(second.id)
    desk.clock.advance(10)
    assert desk.lapsed == ["first"]
    with pytest.raises(NotResumable) as caught:
        desk.leases.renew(first.id)
    assert (caught.value.status, caught.value.code) == (404, "lease_not_found")


def test_without_an_id_all_are_renewed_that_were_not_renewed_by_theirs(desk: Desk) -> None:
    named, one, other = desk.grant("named", 10), desk.grant("one", 20), desk.grant("other", 30)
    desk.leases.renew(named.id)
    desk.clock.advance(5)
    assert desk.leases.renew() == Renewed(2, 20.0)
    desk.clock.advance(6)
    assert desk.lapsed == ["named"], "its client knows its id, and has left"
    assert (one.named, other.named) == (False, False)


def test_without_an_id_nobody_keeps_an_older_connection_alive_for_ever(desk: Desk) -> None:
    """A dead one, for all that is known: it ends, and the newest goes on."""
    desk.grant("dead")
    desk.clock.advance(5)
    desk.leases.renew()
    desk.grant("alive")
    for _ in range(PERIODS_UNNAMED * 3 - 1):
        desk.clock.advance(5)
        desk.leases.renew()
    assert desk.lapsed == []
    for _ in range(20):
        desk.clock.advance(5 + GRANULE)
        desk.leases.renew()
    assert desk.lapsed == ["dead"]


def test_who_knows_its_id_may_keep_an_older_one(desk: Desk) -> None:
    old = desk.grant("old")
    desk.grant("new")
    for _ in range(PERIODS_UNNAMED * 2):
        desk.clock.advance(14)
        desk.leases.renew(old.id)
    assert desk.lapsed == ["new"]


def test_nothing_comes_of_a_lease_whose_reader_is_over(desk: Desk) -> None:
    lease, other = desk.grant("a"), desk.grant("b")
    desk.leases.release(lease)
    desk.leases.release(lease)
    desk.leases.over()
    desk.clock.advance(100)
    assert (desk.lapsed, len(desk.wheel)) == ([], 0)
    for lease_id in (lease.id, other.id, None):
        with pytest.raises(NotResumable):
            desk.leases.renew(lease_id)


# -- who promises to come


def test_who_started_a_stream_may_promise_to_come(clock: ManualClock, streaming: Streaming) -> None:
    stream = streaming(linger=0)
    lease = stream.leaving.promised(stream, 10)
    assert lease is not None
    assert stream.leaving.leases is not None
    for _ in range(10):
        clock.advance(9)
        stream.leaving.leases.renew(lease.id)
    assert stream.terminal is None
    clock.advance(10 + 2 * GRANULE)
    assert stream.state is State.CANCELLED


def test_said_again_a_promise_is_renewed(clock: ManualClock, streaming: Streaming) -> None:
    stream = streaming(linger=5)
    first = stream.leaving.promised(stream, 10)
    clock.advance(9)
    assert stream.leaving.promised(stream, 10) is first
    clock.advance(9)
    assert stream.terminal is None
    clock.advance(2)
    assert stream.terminal is None, "now it lingers"
    clock.advance(5)
    assert stream.state is State.CANCELLED


def test_a_promise_is_kept_by_the_first_reader(clock: ManualClock, hub: Hub, streaming: Streaming, sink: Sinks) -> None:
    stream = streaming(linger=0)
    stream.leaving.promised(stream, 10)
    reader = stream.attach(sink(), stream.dialect, ids=False)
    reader.start()
    clock.advance(100)
    assert stream.terminal is None
    assert stream.leaving.promised(stream, 10) is None, "somebody reads"
    reader.leave()
    assert stream.state is State.CANCELLED, "at once: nobody's promise holds it"
    assert stream.leaving.promised(stream, 10) is None
    assert len(hub.wheel) == 1


def test_a_promise_ends_the_linger_and_ends_with_the_stream(
    clock: ManualClock, hub: Hub, streaming: Streaming, sink: Sinks
) -> None:
    stream = streaming(linger=5)
    reader = stream.attach(sink(), stream.dialect, ids=False)
    reader.start()
    reader.leave()
    stream.leaving.promised(stream, 10)
    clock.advance(9)
    assert stream.terminal is None
    stream.append(chat.answer("a"), clock.now_ns())
    stream.finish()
    assert stream.state is State.COMPLETED
    assert (len(stream.leaving.leases or ()), len(hub.wheel)) == (0, 1)
