"""measure/usage: what was told, what is estimated, and how that is marked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenwire.dialects.deltas import (
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tokenwire.measure.prices import seller
from tokenwire.measure.usage import Meter, said

NOBODY = seller("sim", "http://127.0.0.1:1/v1", "openai.chat")
OPENAI = seller("openai", "http://127.0.0.1:1/v1", "openai.chat")
BODY = json.dumps({"messages": [{"role": "user", "content": "x" * 44}]}).encode()
WHEN = 1_750_000_000.0


def settle(told: Usage | None, tokens: float = 50.0, *, finished: bool = False, meter: Meter | None = None) -> Usage:
    if meter is None:
        meter = Meter(BODY, NOBODY, "m")
        meter.close(estimate=True)
    return meter.settle(told, lambda: tokens, WHEN, finished=finished)


def test_what_the_provider_told_is_taken_and_the_answer_is_not_looked_at() -> None:
    meter = Meter(BODY, NOBODY, "m")
    meter.close(estimate=False)
    told = Usage(3, 5, 1, raw={"prompt_tokens": 3})
    assert meter.settle(told, lambda: pytest.fail("no need"), WHEN, finished=True) == told


def test_what_it_did_not_tell_is_estimated_and_marked() -> None:
    assert settle(None) == Usage(14, 50, estimated=True)
    assert settle(Usage(input=3)) == Usage(3, 50, estimated=True)
    assert settle(Usage(output=60), finished=True) == Usage(14, 60, estimated=True)


@pytest.mark.parametrize(("told", "finished", "output", "estimated"), [
    (1, False, 50, True),  # Anthropic's count at the start
    (1, True, 1, False),
    (45, False, 45, False),  # told as it went on
    (60, False, 60, False),
])  # fmt: skip
def test_a_count_of_the_beginning_is_not_that_of_what_came(
    told: int, finished: bool, output: int, estimated: bool
) -> None:
    assert settle(Usage(3, told), finished=finished) == Usage(3, output, estimated=estimated)


def test_the_cost_is_that_of_the_estimate() -> None:
    meter = Meter(BODY, OPENAI, "gpt-4o")
    meter.close(estimate=True)
    usage = settle(None, meter=meter)
    assert usage.cost_usd == pytest.approx(14 * 2.5e-6 + 50 * 10e-6)
    assert usage.estimated


def test_a_cost_that_was_told_stays() -> None:
    assert settle(Usage(3, 5, cost_usd=7.0), finished=True, meter=Meter(BODY, OPENAI, "gpt-4o")).cost_usd == 7.0


def test_a_request_that_is_no_json_has_no_count() -> None:
    meter = Meter(b"{", OPENAI, "gpt-4o")
    meter.close(estimate=True)
    meter.close(estimate=True)
    assert settle(None, meter=meter) == Usage(None, 50, estimated=True)


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (TextDelta("a"), "a"),
        (ReasoningDelta("b"), "b"),
        (RefusalDelta("c"), "c"),
        (ToolCallStarted("id", "name"), "name"),
        (ToolCallDelta("{}"), "{}"),
        (Started(model="m"), ""),
        (Finished("stop"), ""),
        (Usage(1, 2), ""),
    ],
)
def test_what_is_paid_for(delta: Any, text: str) -> None:
    assert said(delta) == text
