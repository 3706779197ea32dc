from __future__ import annotations

import itertools
import random

import pytest

from tokenwire.simulator.latency import INSTANT, PROFILES, Profile, delays, schedule

PUBLISHED = {
    "gpt-4o": (0.45, 145),
    "gpt-4o-mini": (0.35, 200),
    "claude-sonnet-4-5": (1.24, 71),
    "claude-sonnet-4-6": (0.85, 54),
    "gemini-2.0-flash": (0.34, 300),
    "llama-4-scout": (0.33, 2600),
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_profile_has_the_published_means(model: str) -> None:
    first, rate = PUBLISHED[model]
    firsts = [schedule(PROFILES[model], 1, seed)[0] for seed in range(2000)]
    gaps = schedule(PROFILES[model], 20_001, 1)[1:]
    assert sum(firsts) / len(firsts) == pytest.approx(first, rel=0.02)
    assert len(gaps) / sum(gaps) == pytest.approx(rate, rel=0.02)


def test_a_schedule_depends_on_its_seed_alone() -> None:
    profile = PROFILES["gpt-4o"]
    assert schedule(profile, 50, 7) == schedule(profile, 50, 7)
    assert schedule(profile, 50, 7) != schedule(profile, 50, 8)
    assert schedule(profile, 9, 7) == schedule(profile, 50, 7)[:9]


def test_the_jitter_is_log_normal() -> None:
    gaps = sorted(schedule(Profile(0.0, 1.0, 0.0, 0.4), 40_001, 3)[1:])
    mean = sum(gaps) / len(gaps)
    median, p95 = gaps[20_000], gaps[38_000]
    assert median / mean == pytest.approx(0.923, rel=0.02)  # exp(-0.4**2 / 2)
    assert p95 / median == pytest.approx(1.93, rel=0.03)  # exp(1.645 * 0.4)
    assert gaps[0] > 0


def test_without_jitter_the_times_are_exact() -> None:
    assert schedule(Profile(0.5, 50, 0.0, 0.0), 4, 9) == [0.5, 0.02, 0.02, 0.02]
    assert schedule(INSTANT, 3, 9) == [0.0, 0.0, 0.0]


def test_alternatives_side_by_side_keep_their_pace() -> None:
    assert schedule(Profile(0.5, 50, 0.0, 0.0).times(2), 3, 0) == [0.5, 0.01, 0.01]


def test_delays_have_no_end() -> None:
    assert len(list(itertools.islice(delays(INSTANT, random.Random(0)), 10_000))) == 10_000
