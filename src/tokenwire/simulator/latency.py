"""How fast the pretended models are: time to first token, tokens per second, seeded jitter around both."""

from __future__ import annotations

import functools
import itertools
import math
import random
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Spread of the logarithm. Arbitrary, as vendors publish means only: the 95th percentile of the time to first token is
# 1.5 times its mean (0.25), that of the gaps between tokens 1.8 times (0.4).
_SIGMA_FIRST = 0.25
_SIGMA_GAP = 0.4

_BITS = 10  # of an index into the table of jitter factors


@dataclass(frozen=True, slots=True)
class Profile:
    """Timing of one model.

    Attributes:
        first: mean time from the request to the first token, seconds.
        rate: mean tokens per second afterwards; 0 means that all come at once.
        sigma_first, sigma_gap: log-normal jitter of both; 0 means exact times.
    """

    first: float
    rate: float
    sigma_first: float = _SIGMA_FIRST
    sigma_gap: float = _SIGMA_GAP

    def times(self, n: int) -> Profile:
        """The profile of *n* alternatives that are written side by side: each keeps its own pace."""
        return replace(self, rate=self.rate * n)


INSTANT = Profile(0.0, 0.0, 0.0, 0.0)

#: Model id -> timing. Means are the published figures for each vendor's own endpoint (Llama 4 Scout as served
#: by Groq), rounded. Such figures age within months; what matters here is the spread, from 54 to 2,600 tokens
#: a second.
PROFILES = {
    "gpt-4o": Profile(0.45, 145),
    "gpt-4o-mini": Profile(0.35, 200),
    "claude-sonnet-4-5": Profile(1.24, 71),
    "claude-sonnet-4-6": Profile(0.85, 54),
    "gemini-2.0-flash": Profile(0.34, 300),
    "llama-4-scout": Profile(0.33, 2600),
    "instant": INSTANT,
    "echo": INSTANT,
}

#: The dated snapshots behind aliases: what an answer names as its model. Either is accepted.
SNAPSHOTS = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
}


def delays(profile: Profile, rng: random.Random) -> Iterator[float]:
    """Seconds to wait before each token, without end: the first is the time to first token."""
    yield profile.first * rng.choice(_factors(profile.sigma_first))
    gap = 1 / profile.rate if profile.rate else 0.0
    factors = _factors(profile.sigma_gap)
    draw = rng.getrandbits
    while True:
        yield gap * factors[draw(_BITS)]


@functools.cache
def _factors(sigma: float) -> tuple[float, ...]:
    """A log-normal distribution with the mean 1, as equally likely values.

    Drawing from a table costs a tenth of drawing from the distribution itself, which would be a fifth of the cost of a
    token. The table holds the middle of each of 1,024 equal shares, scaled so that its mean is 1 exactly: the jitter
    leaves the published means alone.
    """
    normal = NormalDist()
    size = 1 << _BITS
    values = [math.exp(sigma * normal.inv_cdf((i + 0.5) / size)) for i in range(size)]
    mean = math.fsum(values) / size
    return tuple(value / mean for value in values)


def schedule(profile: Profile, n: int, seed: int) -> list[float]:
    """The delays of an answer of *n* tokens, in seconds; the same seed gives the same list."""
    return list(itertools.islice(delays(profile, random.Random(seed)), n))
