"""measure/request: section 7's figures of one request, the same as Timing gives of the same events."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.dialects.deltas import (
    Delta,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tokenwire.measure.request import Event, Kind, Request
from tokenwire.measure.timing import Timing

MS = 1_000_000

# 10 role | 30 thought | 50 text and text in one read | 300 a call | 301 finish | 302 usage | 303 end
TRACE = Request(
    events=(
        Event(10, "structural", chunk=0),
        Event(30, "reasoning", 2, chunk=1),
        Event(50, "text", 1, chunk=2),
        Event(50, "text", 1, chunk=2),
        Event(300, "tool_args", 3, chunk=3),
        Event(301, "structural", chunk=4),
        Event(302, "usage", chunk=5),
        Event(302, "done", chunk=5),
    ),
    first_byte_ms=9,
    ended_ms=303,
    output_tokens=7,
)


def test_the_figures_of_section_7() -> None:
    assert TRACE.ttfb_ms == 9
    assert TRACE.ttft_ms == 30
    assert TRACE.ttft_answer_ms == 50
    assert TRACE.itl_ms == [20, 0, 250]
    assert TRACE.tpot_ms == 45.0  # (300 - 30) / 6
    assert TRACE.e2e_ms == 300
    assert TRACE.stalls_ms == [250]  # over 200, and over 5 * 20
    assert TRACE.arrivals_ms("usage", "done") == [302, 302]


@pytest.mark.parametrize("kinds", [(), ("structural",), ("structural", "heartbeat", "usage", "error", "done")])
def test_without_anything_generated_there_is_no_value(kinds: tuple[Kind, ...]) -> None:
    events = tuple(Event(at, kind) for at, kind in enumerate(kinds))
    empty = Request(events=events, ended_ms=9, output_tokens=5, state="failed")
    assert (empty.ttfb_ms, empty.ttft_ms, empty.ttft_answer_ms, empty.tpot_ms, empty.e2e_ms) == (None,) * 5
    assert (empty.itl_ms, empty.stalls_ms) == ([], [])


@pytest.mark.parametrize("tokens", [None, 0, 1])
def test_a_single_token_takes_no_time_per_further_token(tokens: int | None) -> None:
    single = Request(events=(Event(5, "text", 1),), ended_ms=6, output_tokens=tokens)
    assert (single.ttft_ms, single.e2e_ms, single.tpot_ms, single.itl_ms) == (5, 5, None, [])


def test_thoughts_alone_are_no_answer() -> None:
    thinking = Request(events=(Event(5, "reasoning"), Event(9, "reasoning")), ended_ms=9, output_tokens=3)
    assert (thinking.ttft_ms, thinking.ttft_answer_ms, thinking.tpot_ms) == (5, None, 2.0)


def test_what_is_stored_is_short_and_comes_back() -> None:
    data = msgspec.json.encode(Request(events=(Event(5, "text", 1),), ended_ms=6))
    assert data == b'{"events":[{"arrival_ms":5,"kind":"text","tokens":1}],"ended_ms":6}'
    assert msgspec.json.decode(msgspec.json.encode(TRACE), type=Request) == TRACE


DELTAS: dict[Kind, Delta] = {
    "structural": Started(),
    "reasoning": ReasoningDelta("hm"),
    "text": TextDelta("a"),
    "tool_args": ToolCallDelta("{"),
    "usage": Usage(output=1),
    "done": Finished("stop"),
}


@given(
    st.lists(st.tuples(st.integers(0, 900), st.sampled_from(sorted(DELTAS))), max_size=30),
    st.one_of(st.none(), st.integers(0, 40)),
)
def test_timing_gives_the_same(steps: list[tuple[int, Kind]], tokens: int | None) -> None:
    asked_ns = 17 * MS
    timing = Timing(asked_ns)
    now_ms = 0
    events = []
    for gap_ms, kind in steps:
        now_ms += gap_ms
        events.append(Event(now_ms, kind))
        timing.see(DELTAS[kind], asked_ns + now_ms * MS)
    request = Request(events=tuple(events), ended_ms=now_ms, output_tokens=tokens)
    assert request.ttft_ms == timing.ttft_ms
    assert request.ttft_answer_ms == timing.ttft_answer_ms
    assert request.itl_ms == timing.itl_ms
    assert request.e2e_ms == timing.e2e_ms
    assert request.stalls_ms == timing.stalls_ms
    assert request.tpot_ms == timing.tpot_ms(tokens)


def test_a_stall_is_over_both_bounds() -> None:
    def waiting(*at_ms: float) -> list[float]:
        return Request(events=tuple(Event(at, "text") for at in at_ms), ended_ms=at_ms[-1]).stalls_ms

    assert waiting(0, 10, 20, 220) == []  # 200 is not over 200
    assert waiting(0, 10, 20, 221) == [201]
    assert waiting(0, 100, 200, 700) == []  # 500 is not over five times 100
    assert waiting(0, 100, 200, 701) == [501]


def test_a_call_begins_with_its_name() -> None:
    timing = Timing(0)
    timing.see(ToolCallStarted("c", "f"), 5 * MS)
    assert timing.ttft_ms == Request(events=(Event(5, "tool_args"),), ended_ms=5).ttft_ms
