"""engine/timers: one coarse wheel for all deadlines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.engine.timers import GRANULARITY_NS, Timer, Wheel
from tokenwire.testing.clock import Call, ManualClock

GRANULE = GRANULARITY_NS / 1e9


def ignore(_: object) -> None:
    pass


@pytest.fixture
def wheel(clock: ManualClock) -> Wheel:
    return Wheel(clock)


def test_a_timer_fires_once_and_at_most_one_granule_late(clock: ManualClock, wheel: Wheel) -> None:
    fired: list[int] = []
    timer = wheel.after(1.0, lambda: fired.append(clock.now_ns()))
    begun = clock.now_ns()
    clock.advance(0.999)
    assert (fired, timer.active, len(wheel)) == ([], True, 1)
    clock.advance(0.001 + GRANULE)
    assert len(fired) == 1
    assert 1.0 <= (fired[0] - begun) / 1e9 <= 1.0 + GRANULE
    assert (timer.active, len(wheel)) == (False, 0)
    clock.advance(10)
    assert len(fired) == 1


def test_timers_of_one_granule_share_a_call_of_the_clock_and_fire_in_order_of_arming(clock: ManualClock) -> None:
    wheel = Wheel(clock, granularity_ns=1_000_000_000)
    fired: list[str] = []
    for name in ("a", "b", "c"):
        wheel.after(0.2, lambda name=name: fired.append(name))  # type: ignore[misc]
    assert clock.pending == 1
    clock.advance(1)
    assert fired == ["a", "b", "c"]


def test_a_nearer_deadline_comes_first_though_it_was_armed_last(clock: ManualClock, wheel: Wheel) -> None:
    fired: list[str] = []
    wheel.after(2, lambda: fired.append("far"))
    wheel.after(1, lambda: fired.append("near"))
    assert clock.pending == 1
    clock.advance(1.5)
    assert fired == ["near"]
    clock.advance(1)
    assert fired == ["near", "far"]


def test_a_cancelled_timer_does_not_fire_and_costs_nothing_to_cancel_again(clock: ManualClock, wheel: Wheel) -> None:
    fired: list[str] = []
    timer = wheel.after(1, lambda: fired.append("never"))
    wheel.after(1, lambda: fired.append("beside"))
    timer.cancel()
    timer.cancel()
    assert (timer.active, len(wheel)) == (False, 1)
    clock.advance(2)
    assert fired == ["beside"]


def test_a_callback_may_cancel_a_timer_of_its_own_granule(clock: ManualClock, wheel: Wheel) -> None:
    fired: list[str] = []
    timers: list[Timer] = []
    wheel.after(1, lambda: timers[0].cancel())
    timers.append(wheel.after(1, lambda: fired.append("never")))
    clock.advance(2)
    assert fired == []


def test_what_a_callback_raises_is_logged_and_harms_no_other_timer(
    clock: ManualClock, wheel: Wheel, caplog: pytest.LogCaptureFixture
) -> None:
    fired: list[str] = []
    wheel.after(1, lambda: 1 // 0)  # type: ignore[arg-type]
    wheel.after(1, lambda: fired.append("same granule"))
    wheel.after(2, lambda: fired.append("later"))
    with caplog.at_level(logging.ERROR):
        clock.advance(3)
    assert fired == ["same granule", "later"]
    assert "ZeroDivisionError" in caplog.text


def test_a_callback_may_arm_itself_again(clock: ManualClock, wheel: Wheel) -> None:
    begun = clock.now_ns()
    fired: list[float] = []

    def again() -> None:
        fired.append((clock.now_ns() - begun) / 1e9)
        wheel.after(0.5, again)

    wheel.after(0.5, again)
    clock.advance(2.2)
    assert len(fired) == 4
    assert all(later - earlier <= 0.5 + GRANULE for earlier, later in pairwise(fired))


def test_a_timer_armed_by_a_callback_does_not_hold_back_those_that_are_due_before_it(
    clock: ManualClock, wheel: Wheel
) -> None:
    """The hub's tick arms itself again while other deadlines wait: they must not wait for the hub."""
    fired: list[float] = []
    begun = clock.now_ns()
    wheel.after(0.1, lambda: ignore(wheel.after(5, lambda: None)))
    wheel.after(0.2, lambda: fired.append((clock.now_ns() - begun) / 1e9))
    clock.advance(0.2 + GRANULE)
    assert len(fired) == 1


def test_a_timer_armed_for_now_by_a_callback_fires_in_the_next_granule(clock: ManualClock, wheel: Wheel) -> None:
    fired: list[str] = []
    wheel.after(1, lambda: ignore(wheel.after(0, lambda: fired.append("second"))))
    wheel.after(9, lambda: fired.append("far"))
    clock.advance(1 + 2 * GRANULE)
    assert fired == ["second"]


def test_a_clock_that_calls_too_early_is_asked_again() -> None:
    """libuv rounds to whole milliseconds of a time that it reads once per turn."""

    class Hasty(ManualClock):
        def call_later(self, delay: float, callback: Callable[[], None]) -> Call:
            return super().call_later(delay - 0.003 if delay > 0.01 else delay, callback)

    clock = Hasty()
    begun = clock.now_ns()
    wheel = Wheel(clock)
    fired: list[int] = []
    wheel.after(0.1, lambda: fired.append(clock.now_ns() - begun))
    clock.advance(0.1 + GRANULE)
    assert len(fired) == 1
    assert fired[0] >= 100_000_000


def test_closing_forgets_every_timer(clock: ManualClock, wheel: Wheel) -> None:
    fired: list[str] = []
    wheel.close()  # with nothing armed
    wheel.after(1, lambda: fired.append("never"))
    wheel.close()
    assert (len(wheel), clock.pending) == (0, 0)
    clock.advance(5)
    assert fired == []
    wheel.after(1, lambda: fired.append("after"))  # it can be used again
    clock.advance(5)
    assert fired == ["after"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=12),
    st.lists(st.floats(0, 0.7), max_size=12),
    st.dictionaries(st.integers(0, 11), st.floats(0, 1), max_size=6),
)
def test_every_timer_fires_within_a_granule_whatever_else_goes_on(
    deadlines: list[tuple[float, bool]], steps: list[float], chained: dict[int, float]
) -> None:
    clock = ManualClock()
    wheel = Wheel(clock)
    late: list[float] = []
    waiting = 0

    def arm(delay: float, then: float | None) -> Timer:
        nonlocal waiting
        waiting += 1
        due = clock.now_ns() + int(delay * 1e9)

        def fire() -> None:
            nonlocal waiting
            waiting -= 1
            late.append((clock.now_ns() - due) / 1e9)
            if then is not None:
                arm(then, None)

        return wheel.after(delay, fire)

    for index, (delay, cancelled) in enumerate(deadlines):
        timer = arm(delay, chained.get(index))
        if cancelled:
            timer.cancel()
            waiting -= 1
    for step in steps:
        clock.advance(step)
    clock.advance(4)
    assert waiting == len(wheel) == 0
    assert all(0 <= one <= GRANULE + 1e-6 for one in late)
