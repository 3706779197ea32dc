"""What these tests share: how many schedules they play, and where they begin."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tokenwire.testing.processes import without_proxies


@pytest.fixture(scope="session", autouse=True)
def _no_proxies() -> Iterator[None]:
    with without_proxies():
        yield


@pytest.fixture(scope="session")
def seeds() -> Callable[[int], range]:
    """``seeds(count)``: of the schedules to be played, as many as there are usually.

    ``CHAOS_SEEDS=FIRST:COUNT`` in the environment plays others, or more; a failure says which one it was.
    """
    first, _, more = os.environ.get("CHAOS_SEEDS", "1:").partition(":")
    return lambda count: range(int(first), int(first) + int(more or count))
