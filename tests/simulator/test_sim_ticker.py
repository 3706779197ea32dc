"""The timer, on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tokenwire.simulator.ticker import Ticker


class Timer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """An event loop that is all clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []
        self.problems: list[dict[str, Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.problems.append(context)

    @property
    def live(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def move(self, to: float) -> None:
        """Run what is due, in order, until the clock shows *to*."""
        while due := [timer for timer in self.live if timer.when <= to]:
            first = min(due, key=lambda timer: timer.when)
            self.timers.remove(first)
            self.now = max(self.now, first.when)
            first.callback()
        self.now = to


def test_everybody_is_woken_at_the_next_millisecond_and_never_early() -> None:
    clock = Clock()
    ticker = Ticker(clock)
    woken: list[tuple[str, float]] = []
    for name, due in [("b", 100.0121), ("a", 100.0102), ("c", 100.0122), ("exact", 100.010)]:
        ticker.at(due, lambda now, name=name: woken.append((name, now)))  # type: ignore[misc]
    clock.move(101)
    assert [name for name, _ in woken] == ["exact", "a", "b", "c"]
    assert [now for _, now in woken] == pytest.approx([100.010, 100.011, 100.013, 100.013])


def test_one_timer_serves_all() -> None:
    clock = Clock()
    ticker = Ticker(clock)
    for n in range(50):
        ticker.at(100.5 + n / 10, lambda now: None)
    ticker.at(100.1, lambda now: None)
    assert len(clock.live) == 1
    assert clock.live[0].when == pytest.approx(100.1)


def test_what_is_past_is_woken_in_the_next_turn() -> None:
    clock = Clock()
    ticker = Ticker(clock)
    turns: list[float] = []

    def again(now: float) -> None:
        turns.append(now)
        if len(turns) < 3:
            ticker.at(now, again)

    ticker.at(99.0, again)
    assert turns == []
    clock.timers.pop().callback()
    assert len(turns) == 1  # the second call waits for a turn of its own
    clock.move(100.0)
    assert len(turns) == 3


def test_a_late_loop_wakes_all_that_have_become_due() -> None:
    clock = Clock()
    ticker = Ticker(clock)
    woken: list[int] = []
    for n in range(5):
        ticker.at(100.001 + n / 1000, lambda now, n=n: woken.append(n))  # type: ignore[misc]
    clock.now = 100.0035
    clock.timers.pop().callback()
    assert woken == [0, 1, 2]
    clock.move(101)
    assert woken == [0, 1, 2, 3, 4]


def test_a_failing_stream_does_not_silence_the_others() -> None:
    clock = Clock()
    ticker = Ticker(clock)
    woken: list[float] = []
    ticker.at(100.1, lambda now: 1 / 0)  # type: ignore[arg-type]
    ticker.at(100.1, woken.append)
    clock.move(101)
    assert len(woken) == 1
    assert isinstance(clock.problems[0]["exception"], ZeroDivisionError)


def test_a_closed_ticker_wakes_nobody() -> None:
    clock = Clock()
    ticker = Ticker(clock)
    ticker.at(100.1, lambda now: pytest.fail("woken"))
    ticker.close()
    clock.move(101)
    ticker.close()
