"""Ten thousand schedules of everything that can go wrong: nothing is lost, doubled or reordered."""

from __future__ import annotations

import pytest
from tests.simulation.play import Failure, played, remembered
from tests.simulation.relay import Machine, machine
from tests.simulation.schedule import Schedule, play

#: Schedules of this test, and into how many tests they are divided.
SCHEDULES = 10_000
PORTIONS = 20


def told(failures: list[Failure]) -> str:
    return "\n\n".join(map(str, failures))


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_nothing_is_lost_doubled_or_reordered(portion: int) -> None:
    size = SCHEDULES // PORTIONS
    failures = played(range(portion * size, (portion + 1) * size), most=3)
    assert not failures, told(failures)


@pytest.mark.untraced
@pytest.mark.parametrize("seed", remembered())
def test_what_once_failed_does_not_again(seed: int) -> None:
    failures = played([seed])
    assert not failures, told(failures)


@pytest.mark.untraced
@pytest.mark.parametrize("seed", [11, 510, 1933])
def test_a_seed_is_one_schedule_to_the_byte(seed: int) -> None:
    def once(simulated: Machine) -> tuple[list[str], int, list[tuple[int, int, int]]]:
        schedule: Schedule = play(seed, simulated)
        links = [(link.port, link.near.delivered, link.far.delivered) for link in schedule.network.links]
        return schedule.actions, schedule.world.steps, links

    with machine() as simulated:
        assert once(simulated) == once(simulated)
