"""The chat's figures: what is counted, what is estimated, and that the two are told apart."""

from __future__ import annotations

import pytest

from tokenwire.cli.chat_figures import Figures
from tokenwire.dialects.deltas import TextDelta, Usage


@pytest.mark.parametrize(("estimated", "shown"), [(False, "7 tokens"), (True, "~7 tokens")])
def test_an_estimate_is_marked_whoever_made_it(estimated: bool, shown: str) -> None:
    figures = Figures(0)
    figures.take(TextDelta("one two"), 1_000_000)
    assert "~" in figures.line(2_000_000, None), "nobody has told yet"
    figures.take(Usage(output=7, estimated=estimated), 3_000_000)
    assert figures.tokens == 7
    assert figures.line(4_000_000, None).split(" · ")[-1] == shown
