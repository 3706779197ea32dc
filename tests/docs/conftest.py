"""What the tests of the documentation share: one relay and one simulator for all pages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from tests.docs import pages
from tests.docs.backdrop import Backdrop
from tests.docs.pages import Block
from tests.docs.runner import Runner

from tokenwire.simulator import latency

Ran = list[tuple[Block, str]]


@pytest.fixture(scope="session")
def backdrop() -> Iterator[Backdrop]:
    """The relay that a reader has running. Its simulator writes more quickly than the models do."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL", "_PROXY", "_proxy"))]:
            patch.delenv(name)
        patch.setitem(latency.PROFILES, "gpt-4o", latency.Profile(0.01, 4000))
        patch.setitem(latency.PROFILES, "gpt-4o-mini", latency.Profile(0.01, 4000))
        with Backdrop() as running:
            yield running


@pytest.fixture(scope="session")
def ran(backdrop: Backdrop, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    """``ran(page)``: every block of that page with what it printed, run when it is first asked for."""
    done: dict[str, Ran] = {}

    def run(page: str) -> Ran:
        if page not in done:
            with Runner(page, backdrop, tmp_path_factory.mktemp("page")) as runner:
                for block in pages.blocks(page):
                    runner.run(block)
            done[page] = runner.outputs
        return done[page]

    return run
