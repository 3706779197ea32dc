"""The mark ``untraced``: no tracer within the test, and the same one as before after it, however it ended."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from tests.conftest import pytest_runtest_call


def tracer(*_: Any) -> None:
    """As coverage's: called for every function."""


@pytest.mark.untraced  # so that the tracer of coverage is out of the way
@pytest.mark.parametrize("fails", [False, True])
def test_the_tracer_is_away_and_comes_back(request: pytest.FixtureRequest, fails: bool) -> None:
    assert sys.gettrace() is None
    running = pytest_runtest_call(request.node)
    sys.settrace(tracer)
    try:
        next(running)
        within = sys.gettrace()
        with pytest.raises(ZeroDivisionError if fails else StopIteration):
            running.throw(ZeroDivisionError()) if fails else running.send(None)
        after = sys.gettrace()
    finally:
        sys.settrace(None)
    assert (within, after) == (None, tracer)


def test_what_has_no_mark_keeps_its_tracer(request: pytest.FixtureRequest) -> None:
    before = sys.gettrace()
    running = pytest_runtest_call(request.node)
    next(running)
    assert sys.gettrace() is before
    with pytest.raises(StopIteration, match="its result"):
        running.send("its result")
