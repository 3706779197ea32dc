"""engine/pacing: paced connections are polled once a frame."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tokenwire.engine.pacing import FRAME_SECONDS, FrameClock
from tokenwire.testing.clock import ManualClock


class Connection:
    """Polled a given number of times, then it has enough."""

    def __init__(self, clock: ManualClock, times: int = 1_000_000, then: Callable[[], None] | None = None) -> None:
        self.clock = clock
        self.left = times
        self.then = then
        self.polled: list[int] = []

    def poll(self) -> bool:
        self.polled.append(self.clock.now_ns())
        self.left -= 1
        if self.then is not None:
            self.then()
        return self.left > 0


@pytest.fixture
def frames(clock: ManualClock) -> FrameClock:
    return FrameClock(clock)


def test_a_paced_connection_is_polled_once_a_frame(clock: ManualClock, frames: FrameClock) -> None:
    connection = Connection(clock)
    begun = clock.now_ns()
    frames.add(connection)
    assert connection.polled == []  # not at once: what it had was read when it was paced
    clock.advance(10 * FRAME_SECONDS)
    assert [now - begun for now in connection.polled] == [8_000_000 * (n + 1) for n in range(10)]


def test_all_connections_share_one_tick_in_order_of_joining(clock: ManualClock, frames: FrameClock) -> None:
    order: list[str] = []
    for name in ("a", "b", "c"):
        frames.add(Connection(clock, then=lambda name=name: order.append(name)))  # type: ignore[misc]
        clock.advance(FRAME_SECONDS / 8)
    assert (len(frames), clock.pending) == (3, 1)
    clock.advance(FRAME_SECONDS)
    assert order == ["a", "b", "c"]


def test_nothing_ticks_while_nothing_is_paced(clock: ManualClock, frames: FrameClock) -> None:
    assert clock.pending == 0
    connection = Connection(clock, times=3)
    frames.add(connection)
    clock.advance(1)
    assert (len(connection.polled), len(frames), clock.pending) == (3, 0, 0)
    frames.add(connection)
    connection.left = 2
    clock.advance(1)
    assert (len(connection.polled), clock.pending) == (5, 0)


def test_a_removed_connection_is_not_polled_again(clock: ManualClock, frames: FrameClock) -> None:
    kept, gone = Connection(clock), Connection(clock)
    frames.add(kept)
    frames.add(gone)
    frames.remove(gone)
    frames.remove(gone)
    clock.advance(FRAME_SECONDS)
    assert (len(kept.polled), gone.polled, len(frames)) == (1, [], 1)


def test_a_poll_may_remove_any_connection_itself_included(clock: ManualClock, frames: FrameClock) -> None:
    later = Connection(clock)

    def leave() -> None:
        frames.remove(first)
        frames.remove(later)

    first = Connection(clock, then=leave)
    frames.add(first)
    frames.add(later)
    clock.advance(1)
    assert (len(first.polled), later.polled, clock.pending) == (1, [], 0)


def test_a_poll_may_add_a_connection_which_waits_for_the_next_frame(clock: ManualClock, frames: FrameClock) -> None:
    added = Connection(clock)
    first = Connection(clock, times=1, then=lambda: frames.add(added))
    frames.add(first)
    clock.advance(FRAME_SECONDS)
    assert added.polled == []
    clock.advance(FRAME_SECONDS)
    assert len(added.polled) == 1
    assert clock.pending == 1


def test_a_poll_that_raises_ends_the_pacing_of_that_connection_only(
    clock: ManualClock, frames: FrameClock, caplog: pytest.LogCaptureFixture
) -> None:
    bad = Connection(clock, then=lambda: 1 // 0)  # type: ignore[arg-type]
    good = Connection(clock)
    frames.add(bad)
    frames.add(good)
    with caplog.at_level(logging.ERROR):
        clock.advance(3 * FRAME_SECONDS)
    assert (len(bad.polled), len(good.polled), len(frames)) == (1, 3, 1)
    assert "ZeroDivisionError" in caplog.text
