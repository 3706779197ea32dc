"""What all tests share: the mark ``untraced``."""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Run what is marked ``untraced`` without the tracer of coverage, which makes Python code take three times as long.

    Meant for tests of very many cases: the lines that they reach are reached by plainer tests, which are traced. The
    tracer is put back when the test is over; without one (no coverage) nothing changes.
    """
    if item.get_closest_marker("untraced") is None:
        return (yield)
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
