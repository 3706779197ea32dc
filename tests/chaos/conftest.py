"""What these tests share: how many schedules they play, and where they begin."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tokenwire.testing.processes import without_proxies


@pytest.fixture(scope="session", autouse=True)
def _no_proxies() -> Iterator[None]:
    with without_proxies():
        yield


@pytest.fixture(scope="session")
def seeds() -> range:
    """``CHAOS_SEEDS=FIRST:COUNT`` in the environment plays others, or more; a failure says which one it was."""
    first, _, count = os.environ.get("CHAOS_SEEDS", "1:0").partition(":")
    return range(int(first), int(first) + int(count or 1))
