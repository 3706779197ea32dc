"""engine/clock and testing/clock: real time, and time by hand."""

from __future__ import annotations

import asyncio
import time

import pytest

from tokenwire.engine.clock import Clock, LoopClock
from tokenwire.testing.clock import ManualClock


def test_the_clock_of_the_loop_is_monotonic_and_calls_back() -> None:
    async def main() -> None:
        clock: Clock = LoopClock()
        called = asyncio.get_running_loop().create_future()
        before = time.monotonic_ns()
        clock.call_later(0, lambda: called.set_result(clock.now_ns()))
        never = clock.call_later(0, lambda: pytest.fail("it was cancelled"))
        never.cancel()
        assert before <= await called <= time.monotonic_ns()
        assert abs(clock.wall() - time.time()) < 60

    asyncio.run(main())


def test_the_clock_of_another_loop_can_be_handed_in() -> None:
    loop = asyncio.new_event_loop()
    try:
        LoopClock(loop).call_later(0, loop.stop)
        loop.run_forever()  # hangs unless it is called
    finally:
        loop.close()


def test_time_by_hand_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(now_ns=5, wall=7.0)
    assert (clock.now_ns(), clock.wall(), clock.next_in, clock.pending) == (5, 7.0, None, 0)
    clock.advance(1.5)
    assert (clock.now_ns(), clock.wall()) == (1_500_000_005, 8.5)


def test_calls_run_in_order_of_due_time_then_of_asking_and_see_their_own_time() -> None:
    clock = ManualClock(now_ns=0)
    seen: list[tuple[str, int]] = []
    for name, delay in (("late", 2.0), ("first", 1.0), ("second", 1.0), ("after", 3.5)):
        clock.call_later(delay, lambda name=name: seen.append((name, clock.now_ns())))  # type: ignore[misc]
    clock.advance(3)
    assert seen == [("first", 1_000_000_000), ("second", 1_000_000_000), ("late", 2_000_000_000)]
    assert (clock.pending, clock.next_in) == (1, 0.5)


def test_a_call_asked_for_by_a_call_runs_in_the_same_advance_if_it_falls_due_there() -> None:
    clock = ManualClock(now_ns=0)
    seen: list[int] = []

    def again() -> None:
        seen.append(clock.now_ns())
        if len(seen) < 5:
            clock.call_later(1, again)

    clock.call_later(1, again)
    clock.advance(3)
    assert seen == [1_000_000_000, 2_000_000_000, 3_000_000_000]
    clock.advance(10)
    assert len(seen) == 5


def test_cancelled_calls_do_not_run_and_cancelling_twice_or_late_is_harmless() -> None:
    clock = ManualClock()
    seen: list[str] = []
    kept = clock.call_later(1, lambda: seen.append("kept"))
    dropped = clock.call_later(1, lambda: seen.append("dropped"))
    dropped.cancel()
    dropped.cancel()
    assert clock.pending == 1
    clock.advance(1)
    kept.cancel()
    assert seen == ["kept"]


def test_what_a_call_raises_comes_out_and_the_rest_runs_at_the_next_advance() -> None:
    clock = ManualClock(now_ns=0)
    seen: list[int] = []
    clock.call_later(1, lambda: 1 // 0)  # type: ignore[arg-type]
    clock.call_later(2, lambda: seen.append(clock.now_ns()))
    with pytest.raises(ZeroDivisionError):
        clock.advance(5)
    assert clock.now_ns() == 1_000_000_000
    clock.advance(1)
    assert seen == [2_000_000_000]


def test_a_delay_in_the_past_means_now() -> None:
    clock = ManualClock(now_ns=10)
    seen: list[int] = []
    clock.call_later(-3, lambda: seen.append(clock.now_ns()))
    clock.advance(0)
    assert seen == [10]


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        ManualClock().advance(-1)


def test_a_call_that_arms_itself_without_delay_is_found_out() -> None:
    clock = ManualClock()

    def again() -> None:
        clock.call_later(0, again)

    again()
    with pytest.raises(RuntimeError, match="never rests"):
        clock.advance(1)
