"""Schedules in numbers: ``python -m tests.simulation.play --seed 7`` plays one again, ``--count 1000000`` many.

A seed that failed is printed with what it did and how to play it again; put it into ``seeds.txt``, and it is a test.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.simulation.relay import machine
from tests.simulation.schedule import play

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.schedule import Schedule

#: Seeds that once failed, one a line; what stands behind a "#" says of what.
SEEDS: Final = Path(__file__).with_name("seeds.txt")
#: Schedules that one process plays at a time.
PORTION: Final = 500


class Failure(NamedTuple):
    seed: int
    actions: list[str]
    error: str

    def __str__(self) -> str:
        again = f"python -m tests.simulation.play --seed {self.seed}"
        return "\n".join([f"seed {self.seed} (again: {again})", *self.actions, self.error])


def remembered() -> list[int]:
    """The seeds that once failed."""
    lines = SEEDS.read_text(encoding="utf-8").splitlines()
    return [int(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]


def played(seeds: Iterable[int], *, most: int = 10) -> list[Failure]:
    """Play them, in this process, until *most* have failed; what failed."""
    failures: list[Failure] = []
    with machine() as simulated:
        for seed in seeds:
            try:
                play(seed, simulated)
            except Exception as error:
                schedule: Schedule | None = getattr(error, "schedule", None)
                actions = [] if schedule is None else schedule.actions
                failures.append(Failure(seed, actions, "".join(traceback.format_exception(error))))
                if len(failures) == most:
                    break
    return failures


def _portion(first: int, count: int) -> list[Failure]:
    gc.freeze()
    return played(range(first, first + count))


def _many(first: int, count: int, processes: int) -> int:
    """Play *count* schedules in so many processes; how many failed."""
    began, done, failed = time.monotonic(), 0, 0
    starts = range(first, first + count, PORTION)
    sizes = [min(PORTION, first + count - start) for start in starts]
    with ProcessPoolExecutor(processes) as pool:
        for size, failures in zip(sizes, pool.map(_portion, starts, sizes), strict=True):
            done += size
            failed += len(failures)
            for failure in failures:
                print(failure, flush=True)
            if sys.stderr.isatty():
                rate = done / (time.monotonic() - began)
                print(f"\r{done:,} of {count:,} schedules, {rate:.0f}/s, {failed} failed", end="", file=sys.stderr)
    seconds = time.monotonic() - began
    print(f"{done:,} schedules (seeds {first} to {first + count - 1}) in {seconds:.0f} s: {failed} failed")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description="Play simulated schedules.")
    parser.add_argument("--seed", type=int, help="play this one, and say what it did")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if given.seed is None:
        return 1 if _many(given.first, given.count, given.processes) else 0
    with machine() as simulated:
        try:
            schedule = play(given.seed, simulated)
        except Exception as error:
            print(*getattr(error, "schedule").actions, sep="\n")  # noqa: B009  # mypy knows of no such attribute
            raise
    print(*schedule.actions, sep="\n")
    print(f"{schedule.world.seconds:.3f} s, {schedule.world.steps} callbacks: all is as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
