"""upstream/patience: a limit by the clock, unless it is we who are late."""

from __future__ import annotations

import asyncio

import pytest

from tokenwire.upstream.patience import TURNS, Patience


class ClockLoop(asyncio.SelectorEventLoop):
    """Its time is what the test says."""

    now = 0.0

    def time(self) -> float:
        return self.now


async def turns(count: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    for _ in range(count):
        loop.now += seconds
        await asyncio.sleep(0)


def run(count: int, seconds: float, limit: float = 5.0) -> float:
    """So many turns of so many seconds under *limit*; the time afterwards."""

    async def main() -> None:
        async with Patience(limit):
            await turns(count, seconds)

    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, ClockLoop)
        try:
            runner.run(main())
        except TimeoutError:
            return -loop.now
        return loop.now


def test_a_limit_is_kept_by_the_clock() -> None:
    assert run(490, 0.01) == pytest.approx(4.9)
    assert -5.6 < run(1000, 0.01) <= -5.0


def test_turns_that_take_a_minute_each_are_not_held_against_the_other_side() -> None:
    assert run(TURNS - 1, 60.0) == (TURNS - 1) * 60.0
    assert run(3 * TURNS, 60.0) < 0


def test_afterwards_nothing_is_left_to_fire() -> None:
    async def main() -> None:
        async with Patience(1.0):
            await turns(1, 0.01)
        await turns(50, 1.0)
        with pytest.raises(KeyError):
            async with Patience(1.0):
                raise KeyError
        await turns(50, 1.0)

    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        runner.run(main())
