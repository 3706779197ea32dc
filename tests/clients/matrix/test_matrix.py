"""Every official client reads every kind of upstream through a running relay, and gets what the provider said.

With ``TOKENWIRE_WRITE_MATRIX=1`` in the environment the cells are written to ``docs/sdk-matrix.md``; without it they
are held to what stands there.
"""

from __future__ import annotations

import os

import pytest
from tests.clients.matrix.cells import SCENARIOS, Matrix, Scenario
from tests.clients.matrix.driver import Kind
from tests.clients.matrix.page import DOCS, page
from tests.clients.matrix.world import READERS, UPSTREAMS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Received unexpected tool content block"),  # langchain-anthropic, of `caller`
]


@pytest.mark.untraced
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("kind", READERS, ids=lambda kind: kind.name)
def test_a_client_gets_what_the_provider_said(matrix: Matrix, kind: Kind, upstream: str, scenario: Scenario) -> None:
    cell = matrix.cell(kind, upstream, scenario)
    assert not cell.faults


def test_the_page_says_what_is_seen(matrix: Matrix) -> None:
    seen = page({
        (kind.name, upstream, scenario): matrix.cell(kind, upstream, scenario)
        for kind in READERS for upstream in UPSTREAMS for scenario in SCENARIOS
    })  # fmt: skip
    if os.environ.get("TOKENWIRE_WRITE_MATRIX"):
        DOCS.write_text(seen, "utf-8")
    assert DOCS.read_text("utf-8") == seen, "write it anew: see the page's first lines"
