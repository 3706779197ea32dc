"""measure/timing: what the times of one stream mean (DESIGN section 7)."""

from __future__ import annotations

from tokenwire.dialects.deltas import (
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.measure.timing import Timing

MS = 1_000_000


def test_only_what_was_generated_counts() -> None:
    timing = Timing(10 * MS)
    timing.see(Started(), 11 * MS)
    timing.see(TextDelta(""), 12 * MS)
    assert (timing.events, timing.ttft_ms, timing.e2e_ms, timing.longest_gap_ms) == (0, None, None, None)
    timing.see(ReasoningDelta("hm"), 30 * MS)
    timing.see(TextDelta("a"), 50 * MS)
    timing.see(ToolCallStarted("c", "f"), 60 * MS)
    timing.see(ToolCallDelta("{}"), 60 * MS)
    timing.see(ToolCallEnded(), 61 * MS)
    timing.see(Usage(output=5), 70 * MS)
    timing.see(Finished("stop"), 70 * MS)
    assert timing.events == 4
    assert (timing.ttft_ms, timing.ttft_answer_ms, timing.e2e_ms) == (20.0, 40.0, 50.0)
    assert timing.itl_ms == [20.0, 10.0, 0.0]
    assert timing.longest_gap_ms == 20.0
    assert timing.tpot_ms(4) == 10.0


def test_what_cannot_be_known_has_no_value() -> None:
    timing = Timing()
    assert (timing.ttft_ms, timing.ttft_answer_ms, timing.e2e_ms, timing.stalls_ms) == (None, None, None, [])
    timing.see(TextDelta("a"), 5)
    assert timing.ttft_ms is None, "nobody knows when it was asked"
    assert timing.tpot_ms(None) is None
    assert timing.tpot_ms(1) is None
    assert Timing(0).tpot_ms(9) is None


def test_a_stall_is_what_a_reader_notices() -> None:
    timing = Timing(0)
    now = 0
    for gap in (10, 10, 300, 10, 10, 150):
        now += gap * MS
        timing.see(TextDelta("a"), now)
    assert timing.stalls_ms == [300.0]
    slow = Timing(0)
    for n in range(5):
        slow.see(TextDelta("a"), n * 500 * MS)
    assert slow.stalls_ms == [], "slow by nature"
    even = Timing(0)
    for at in (0, 10, 20, 30, 400, 410, 420):
        even.see(TextDelta("a"), at * MS)
    assert even.stalls_ms == [370.0]
