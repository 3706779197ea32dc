"""measure/goodput: who is good, and how many a second."""

from __future__ import annotations

import pytest

from tokenwire.measure.goodput import Limits, good, goodput
from tokenwire.measure.request import Event, Request, State


def answer(*at_ms: float, tokens: int | None = None, state: State = "completed") -> Request:
    return Request(
        events=tuple(Event(at, "text") for at in at_ms),
        ended_ms=at_ms[-1] if at_ms else 1,
        output_tokens=len(at_ms) if tokens is None else tokens,
        state=state,
    )


# First token after 100 ms, gaps of 10, 10, 40, 10: e2e 170, TPOT 70 / 4 = 17.5.
USUAL = answer(100, 110, 120, 160, 170)


@pytest.mark.parametrize(
    ("limits", "broken"),
    [
        (Limits(), []),
        (Limits(ttft_ms=100, tpot_ms=17.5, e2e_ms=170), []),
        (Limits(ttft_ms=99.9), ["ttft_ms"]),
        (Limits(tpot_ms=17.4), ["tpot_ms"]),
        (Limits(e2e_ms=169), ["e2e_ms"]),
        (Limits(itl_ms=40), []),
        # 0.95 of the sorted gaps 10, 10, 10, 40: place 2.85, 10 + 0.85 * 30 = 35.5.
        (Limits(itl_ms=35.5), []),
        (Limits(itl_ms=35.4), ["itl_ms"]),
        (Limits(itl_ms=10, itl_quantile=0.5), []),
        (Limits(itl_ms=39, itl_quantile=1.0), ["itl_ms"]),
        (Limits(ttft_ms=1, tpot_ms=1, itl_ms=1, e2e_ms=1), ["ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"]),
    ],
)
def test_a_request_is_good_within_all_stated_limits(limits: Limits, broken: list[str]) -> None:
    assert limits.broken_by(USUAL) == broken
    assert good(USUAL, limits) == (not broken)


STRICT = Limits(ttft_ms=1000, tpot_ms=1000, itl_ms=1000, e2e_ms=1000)


@pytest.mark.parametrize(
    ("request_", "broken"),
    [
        (answer(100), []),  # one token: neither gaps nor further tokens
        (answer(100, tokens=0), []),
        (answer(100, 1101), ["tpot_ms", "itl_ms", "e2e_ms"]),  # two tokens are enough to wait
        (answer(), ["ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"]),
        (Request(events=(Event(5, "text"), Event(9, "text")), ended_ms=9), ["tpot_ms"]),  # nobody counted
        (Request(events=(Event(0, "text"),), ended_ms=0, output_tokens=1), []),  # at once is not never
        (Request(events=(Event(5, "structural"),), ended_ms=9), ["ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"]),
    ],
)
def test_what_is_missing_keeps_no_limit_and_what_cannot_be_breaks_none(request_: Request, broken: list[str]) -> None:
    assert STRICT.broken_by(request_) == broken
    assert Limits().broken_by(request_) == []


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_errored_and_stopped_ones_are_never_good(state: State) -> None:
    assert not good(answer(1, 2, state=state), Limits())
    assert not good(answer(1, 2, state=state), STRICT)


def test_goodput_is_good_requests_a_second() -> None:
    requests = [answer(1, 2), answer(5000), answer(1, 2, state="failed"), answer(3)]
    assert goodput(requests, STRICT, 4.0) == 0.5
    assert goodput(requests, Limits(), 4.0) == 0.75
    assert goodput([], STRICT, 4.0) == 0.0
    with pytest.raises(ValueError, match="no duration"):
        goodput(requests, STRICT, 0.0)


def test_a_quantile_beyond_all_is_refused() -> None:
    with pytest.raises(ValueError, match="itl_quantile"):
        Limits(itl_quantile=95)
