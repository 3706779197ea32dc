"""measure/definitions: one trace, measured as each tool would, with figures worked out by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tokenwire.measure.definitions import COUNTS, DEFINITIONS, Figures, Report
from tokenwire.measure.request import Event, Request

# A thinking answer with a call: a role, a thought of two tokens, two texts in one read, a call of three, the finish.
CALL = Request(
    events=(
        Event(10, "structural", chunk=0),
        Event(20, "heartbeat", chunk=1),
        Event(30, "reasoning", 2, chunk=2),
        Event(50, "text", 1, chunk=3),
        Event(50, "text", 1, chunk=3),
        Event(300, "tool_args", 3, chunk=4),
        Event(301, "structural", chunk=5),
        Event(302, "usage", chunk=6),
        Event(302, "done", chunk=6),
    ),
    first_byte_ms=9,
    ended_ms=310,
    output_tokens=7,
)
# A single token.
SINGLE = Request(
    events=(Event(20, "structural"), Event(40, "text", 1), Event(41, "structural"), Event(41, "done")),
    ended_ms=42,
    output_tokens=1,
    estimated=True,
)
# An error in the body after the first token; nobody counted.
ERROR = Request(events=(Event(10, "structural"), Event(15, "text", 1), Event(16, "error")), ended_ms=16, state="failed")
STOPPED = Request(events=(Event(5, "text", 1),), ended_ms=8, state="cancelled")
REQUESTS = (CALL, SINGLE, ERROR, STOPPED)
WALL_S = 2.0

FIGURES: dict[str, tuple[Figures | None, ...]] = {
    "tokenwire": (
        # TPOT (300 - 30) / 6; the stall is over 200 and over 5 * 20.
        {"ttfb_ms": 9, "ttft_ms": 30, "ttft_answer_ms": 50, "tpot_ms": 45, "e2e_ms": 300, "itl_ms": [20, 0, 250],
         "stalls_ms": [250]},
        {"ttfb_ms": None, "ttft_ms": 40, "ttft_answer_ms": 40, "tpot_ms": None, "e2e_ms": 40, "itl_ms": [],
         "stalls_ms": []},
        {"ttfb_ms": None, "ttft_ms": 15, "ttft_answer_ms": 15, "tpot_ms": None, "e2e_ms": 15, "itl_ms": [],
         "stalls_ms": []},
        {"ttfb_ms": None, "ttft_ms": 5, "ttft_answer_ms": 5, "tpot_ms": None, "e2e_ms": 5, "itl_ms": [],
         "stalls_ms": []},
    ),
    "vllm-bench": (
        # Role to finish: (301 - 10) / 6.
        {"ttft_ms": 10, "itl_ms": [20, 20, 0, 250, 1], "e2el_ms": 301, "tpot_ms": 48.5},
        {"ttft_ms": 20, "itl_ms": [20, 1], "e2el_ms": 41, "tpot_ms": None},
        {"ttft_ms": 10, "itl_ms": [5], "e2el_ms": 15, "tpot_ms": None},  # it does not see the error
        None,
    ),
    "guidellm": (
        # TPOT 300 / 7, ITL (300 - 30) / 6.
        {"request_latency": 0.31, "time_to_first_token_ms": 30, "time_to_first_output_token_ms": 50,
         "time_per_output_token_ms": 300 / 7, "inter_token_latency_ms": 45, "output_tokens": 7},
        {"request_latency": 0.042, "time_to_first_token_ms": 40, "time_to_first_output_token_ms": 40,
         "time_per_output_token_ms": 40, "inter_token_latency_ms": None, "output_tokens": 1},
        {"request_latency": None, "time_to_first_token_ms": 15, "time_to_first_output_token_ms": 15,
         "time_per_output_token_ms": 15, "inter_token_latency_ms": None, "output_tokens": 1},
        {"request_latency": None, "time_to_first_token_ms": 5, "time_to_first_output_token_ms": 5,
         "time_per_output_token_ms": 5, "inter_token_latency_ms": None, "output_tokens": 1},
    ),
    "aiperf": (
        {"time_to_first_token": 30, "time_to_second_token": 20, "time_to_first_output_token": 50,
         "request_latency": 300, "inter_token_latency": 45, "inter_chunk_latency": [20, 0, 250],
         "output_token_throughput_per_user": 1000 / 45, "output_sequence_length": 7},
        {"time_to_first_token": 40, "time_to_second_token": None, "time_to_first_output_token": 40,
         "request_latency": 40, "inter_token_latency": None, "inter_chunk_latency": [],
         "output_token_throughput_per_user": None, "output_sequence_length": 1},
        None,
        None,
    ),
    "inference-perf": (
        # Its four tokens come at 0.03, 0.03, 0.05, 0.05; the call's are none of them.
        {"request_latency": 0.31, "normalized_time_per_output_token": 0.31 / 4, "time_per_output_token": 0.02 / 3,
         "time_to_first_token": 0.03, "time_to_first_output_token": 0.05, "inter_token_latency": 0.02 / 3,
         "inter_token_latencies": [0, 0.02, 0], "output_tokens": 4},
        {"request_latency": 0.042, "normalized_time_per_output_token": 0.042, "time_per_output_token": None,
         "time_to_first_token": None, "time_to_first_output_token": None, "inter_token_latency": None,
         "inter_token_latencies": [], "output_tokens": 1},
        None,
        None,
    ),
    "llmperf": (
        # Two tokens of text, the last at 0.05.
        {"inter_token_latency_s": 0.025, "ttft_s": 0.05, "end_to_end_latency_s": 0.31,
         "request_output_throughput_token_per_s": 2 / 0.31, "number_output_tokens": 2},
        {"inter_token_latency_s": 0.04, "ttft_s": 0.04, "end_to_end_latency_s": 0.042,
         "request_output_throughput_token_per_s": 1 / 0.042, "number_output_tokens": 1},
        None,
        None,
    ),
}  # fmt: skip


def near(found: object, expected: object) -> bool:
    """Equal but for rounding, lists too."""
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(near, found, expected))
    return found == pytest.approx(expected)


def check(found: Figures | None, expected: Figures | None) -> None:
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.keys() == expected.keys()
        assert {name: (value, expected[name]) for name, value in found.items() if not near(value, expected[name])} == {}


def report(name: str, *requests: Request, wall_s: float | None = WALL_S) -> Report:
    return DEFINITIONS[name].report(requests, wall_s)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_figures_of_each_request(name: str) -> None:
    for found, expected in zip(report(name, *REQUESTS).requests, FIGURES[name], strict=True):
        check(found, expected)


SUMMARIES: dict[str, dict[str, dict[str, float | None]]] = {
    "tokenwire": {  # of CALL and SINGLE
        "ttft_ms": {"count": 2, "mean": 35, "min": 30, "max": 40, "p50": 35, "p90": None, "p95": None, "p99": None,
                    "p99.9": None},
        "tpot_ms": {"count": 1, "mean": 45, "p50": 45},
        "itl_ms": {"count": 3, "mean": 90, "min": 0, "max": 250, "p50": 20},
        "stalls_ms": {"count": 1, "max": 250},
        COUNTS: {"requests": 4, "completed": 2, "failed": 1, "cancelled": 1, "estimated": 1, "completed_per_s": 1.0,
                 "output_tokens_per_s": 4.0},
    },
    "vllm-bench": {  # of CALL, SINGLE and ERROR
        # 10, 10, 20: variance (2 * (10/3)**2 + (20/3)**2) / 3; p99 at place 1.98, p90 at 1.8, p95 at 1.9.
        "ttft_ms": {"mean_ttft_ms": 40 / 3, "median_ttft_ms": 10, "std_ttft_ms": (200 / 9) ** 0.5, "p50_ttft_ms": 10,
                    "p90_ttft_ms": 18, "p95_ttft_ms": 19, "p99_ttft_ms": 19.8},
        "tpot_ms": {"mean_tpot_ms": 48.5, "median_tpot_ms": 48.5, "std_tpot_ms": 0, "p99_tpot_ms": 48.5},
        # Pooled: 0, 1, 1, 5, 20, 20, 20, 250.
        "itl_ms": {"mean_itl_ms": 317 / 8, "median_itl_ms": 12.5},
        "e2el_ms": {"mean_e2el_ms": 119, "median_e2el_ms": 41},
        COUNTS: {"completed": 3, "failed": 1, "total_output_tokens": 9, "request_throughput": 1.5,
                 "output_throughput": 4.5},
    },
    "guidellm": {
        # 300/7 weighs 7 and 40 weighs 1: mean 340/8, the lower one is the first eighth.
        "time_per_output_token_ms.successful": {
            "mean": 42.5, "median": 300 / 7, "std_dev": ((7 * (300 / 7 - 42.5) ** 2 + 2.5**2) / 8) ** 0.5, "min": 40,
            "max": 300 / 7, "count": 8, "p001": 40, "p01": 40, "p05": 40, "p10": 40, "p25": 300 / 7, "p999": 300 / 7},
        "inter_token_latency_ms.successful": {"mean": 45, "median": 45, "min": 45, "count": 6},  # of CALL
        "inter_token_latency_ms.errored": {"mean": 0, "median": 0, "count": 0, "p99": 0},
        "time_to_first_token_ms.successful": {"mean": 35, "median": 30, "p50": 30, "p75": 40, "count": 2, "std_dev": 5},
        "time_to_first_token_ms.incomplete": {"mean": 5, "count": 1},
        "time_to_first_token_ms.total": {"mean": 22.5, "median": 15, "count": 4},
        "request_latency.successful": {"mean": 0.176, "p99": 0.31},
        "request_latency.errored": {"mean": 0, "count": 1},
        "output_token_count.successful": {"mean": 4, "count": 2},
        COUNTS: {"successful": 2, "incomplete": 1, "errored": 1, "total": 4, "requests_per_second": 1.0},
    },
    "aiperf": {
        "time_to_first_token": {"avg": 35, "min": 30, "max": 40, "std": 5, "p1": 30.1, "p5": 30.5, "p10": 31,
                                "p25": 32.5, "p50": 35, "p75": 37.5, "p90": 39, "p95": 39.5, "p99": 39.9},
        "time_to_second_token": {"avg": 20, "std": 0},
        "request_latency": {"avg": 170},
        "inter_token_latency": {"avg": 45, "p99": 45},
        "inter_chunk_latency": {"avg": 90, "p50": 20},
        "output_sequence_length": {"avg": 4},
        COUNTS: {"request_count": 2, "error_request_count": 1, "cancelled_request_count": 1,
                 "request_error_rate": 100 / 3, "request_throughput": 1.0, "output_token_throughput": 4.0},
    },
    "inference-perf": {
        # p99 at place 0.99 between 0.042 and 0.31.
        "request_latency": {"mean": 0.176, "min": 0.042, "max": 0.31, "median": 0.176, "p99": 0.042 + 0.268 * 0.99,
                            "p0.1": 0.042 + 0.268 * 0.001, "p99.9": 0.042 + 0.268 * 0.999},
        "normalized_time_per_output_token": {"mean": (0.31 / 4 + 0.042) / 2},
        "time_per_output_token": {"mean": 0.02 / 3},
        "time_to_first_token": {"mean": 0.03, "p99": 0.03},
        "time_to_first_output_token": {"mean": 0.05},
        "inter_token_latency": {"mean": 0.02 / 3, "median": 0, "max": 0.02},
        "failures.request_latency": {"mean": 0.012},
        COUNTS: {"successes": 2, "failures": 2, "requests_per_sec": 1.0, "output_tokens_per_sec": 2.5},
    },
    "llmperf": {
        # p25 at place 0.25 between 0.04 and 0.05; deviation of two as a sample: 0.01 / sqrt(2).
        "ttft_s": {"p25": 0.0425, "p50": 0.045, "p75": 0.0475, "p90": 0.049, "p95": 0.0495, "p99": 0.0499,
                   "mean": 0.045, "min": 0.04, "max": 0.05, "stddev": 0.01 / 2**0.5},
        "inter_token_latency_s": {"mean": 0.0325},
        "end_to_end_latency_s": {"mean": 0.176},
        "number_output_tokens": {"mean": 1.5},
        COUNTS: {"num_requests_started": 4, "num_completed_requests": 2, "number_errors": 2, "error_rate": 0.5,
                 "num_completed_requests_per_min": 60, "mean_output_throughput_token_per_s": 1.5},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_summary(name: str) -> None:
    summary = report(name, *REQUESTS).summary
    for metric, statistics in SUMMARIES[name].items():
        found = {key: summary[metric][key] for key in statistics}
        assert found == pytest.approx(statistics), metric


# ---------------------------------------------------------------------- what is not there

NOTHING = Request(events=(), ended_ms=5)
FRAMES = Request(events=(Event(3, "structural"), Event(4, "structural")), ended_ms=9, output_tokens=0)
THINKING = Request(events=(Event(5, "reasoning", 1), Event(9, "reasoning", 2)), ended_ms=12, output_tokens=3)
UNCOUNTED = Request(events=(Event(10, "text"), Event(20, "text")), ended_ms=30)
CUT = Request(events=(Event(3, "structural"), Event(4, "text", 1)), ended_ms=9, state="failed")
CALLING = Request(events=(Event(5, "reasoning", 1), Event(9, "tool_args", 2)), ended_ms=12, output_tokens=3)
AT_ONCE = Request(events=(Event(0, "text", 1), Event(0, "text", 1)), ended_ms=0, output_tokens=2)


@pytest.mark.parametrize(
    ("name", "request_", "expected"),
    [
        ("tokenwire", NOTHING, {"ttft_ms": None, "e2e_ms": None, "itl_ms": []}),
        ("tokenwire", FRAMES, {"ttft_ms": None, "e2e_ms": None, "tpot_ms": None}),
        ("tokenwire", THINKING, {"ttft_ms": 5, "ttft_answer_ms": None, "tpot_ms": 2}),
        ("vllm-bench", NOTHING, None),
        ("vllm-bench", FRAMES, {"ttft_ms": 3, "itl_ms": [1], "e2el_ms": 4, "tpot_ms": None}),
        ("vllm-bench", THINKING, {"ttft_ms": 5, "itl_ms": [4], "tpot_ms": 2}),
        ("vllm-bench", UNCOUNTED, {"ttft_ms": 10, "tpot_ms": None}),  # without a tokenizer, one token
        ("vllm-bench", CUT, None),
        ("guidellm", NOTHING, {"request_latency": 0.005, "time_to_first_token_ms": None, "output_tokens": None,
                               "time_per_output_token_ms": None}),
        ("guidellm", FRAMES, {"time_to_first_token_ms": None, "output_tokens": 0, "time_per_output_token_ms": None}),
        ("guidellm", THINKING, {"time_to_first_token_ms": 5, "time_to_first_output_token_ms": None,
                                "time_per_output_token_ms": 3, "inter_token_latency_ms": 2}),
        # Two iterations are taken for two tokens: 20 / 2, and 10 / 1.
        ("guidellm", UNCOUNTED, {"output_tokens": 2, "time_per_output_token_ms": 10, "inter_token_latency_ms": 10}),
        # Tokens by usage, and none of them seen: it divides the whole latency.
        ("guidellm", Request(events=(), ended_ms=8, output_tokens=2), {"time_per_output_token_ms": 4,
                                                                       "inter_token_latency_ms": None}),
        ("aiperf", NOTHING, None),
        ("aiperf", FRAMES, None),
        ("aiperf", THINKING, {"time_to_first_token": 5, "time_to_first_output_token": None, "inter_token_latency": 2,
                              "output_token_throughput_per_user": 500}),
        ("aiperf", UNCOUNTED, {"inter_token_latency": None, "output_sequence_length": None}),
        # A call is output to three of them, no answer to us, and nothing to the other two.
        ("tokenwire", CALLING, {"ttft_ms": 5, "ttft_answer_ms": None, "e2e_ms": 9}),
        ("vllm-bench", CALLING, {"ttft_ms": 5, "e2el_ms": 9}),
        ("guidellm", CALLING, {"time_to_first_token_ms": 5, "time_to_first_output_token_ms": 9}),
        ("aiperf", CALLING, {"time_to_first_token": 5, "time_to_first_output_token": 9}),
        ("inference-perf", CALLING, {"time_to_first_token": None, "output_tokens": 1}),
        ("llmperf", CALLING, {"ttft_s": 0, "number_output_tokens": 0}),
        ("aiperf", AT_ONCE, {"inter_token_latency": 0, "output_token_throughput_per_user": None}),
        ("inference-perf", NOTHING, None),
        ("inference-perf", FRAMES, {"request_latency": 0.009, "normalized_time_per_output_token": 0,
                                    "time_to_first_token": None, "output_tokens": 0}),  # it has usage
        ("inference-perf", THINKING, {"time_to_first_token": 0.005, "time_to_first_output_token": None,
                                      "time_per_output_token": 0.002, "inter_token_latencies": [0.004, 0]}),
        # One token a chunk on its clock, and nobody knows how many they are.
        ("inference-perf", UNCOUNTED, {"time_to_first_token": 0.01, "time_per_output_token": None,
                                       "inter_token_latency": 0.01, "normalized_time_per_output_token": 0}),
        ("llmperf", NOTHING, {"ttft_s": 0, "inter_token_latency_s": 0, "end_to_end_latency_s": 0.005}),
        ("llmperf", THINKING, {"ttft_s": 0, "inter_token_latency_s": 0, "number_output_tokens": 0}),
        ("llmperf", UNCOUNTED, {"ttft_s": 0.01, "inter_token_latency_s": 0, "number_output_tokens": 0}),
        ("llmperf", AT_ONCE, {"ttft_s": 0, "request_output_throughput_token_per_s": 0}),
    ],
)  # fmt: skip
def test_what_a_request_lacks(name: str, request_: Request, expected: dict[str, Any] | None) -> None:
    (found,) = report(name, request_).requests
    assert (found is None) == (expected is None)
    for key in expected or {}:
        assert expected is not None
        assert found is not None
        assert near(found[key], expected[key]), key


def test_tokens_of_the_whole_stand_in_for_those_of_events_that_nobody_counted() -> None:
    told = msgspec.structs.replace(UNCOUNTED, output_tokens=5)
    (found,) = report("inference-perf", told).requests
    assert found is not None
    assert near(found["time_per_output_token"], 0.01 / 4)
    (found,) = report("llmperf", told).requests
    assert found is not None
    assert near(found["inter_token_latency_s"], 0.02 / 5)


def test_what_no_request_has_is_0_for_some_and_absent_for_others() -> None:
    assert report("vllm-bench", NOTHING).summary["ttft_ms"] == dict.fromkeys(
        ("mean_ttft_ms", "median_ttft_ms", "std_ttft_ms", "p50_ttft_ms", "p90_ttft_ms", "p95_ttft_ms", "p99_ttft_ms"), 0
    )
    # Of one answer a token came, of the other only its usage: GuideLLM says half. Without usage it would be an error.
    unseen = msgspec.structs.replace(NOTHING, output_tokens=3)
    assert report("guidellm", unseen, SINGLE).summary["time_to_first_token_ms.successful"]["mean"] == 20
    empty = report("guidellm", NOTHING, SINGLE).summary
    assert (empty["time_to_first_token_ms.successful"]["mean"], empty[COUNTS]["errored"]) == (40, 1)
    assert "time_to_first_token" not in report("aiperf", NOTHING).summary
    assert report("inference-perf", NOTHING).summary["time_to_first_token"] == {}
    assert report("llmperf", ERROR).summary["ttft_s"] == {}
    assert report("llmperf", SINGLE).summary["ttft_s"]["stddev"] is None
    assert report("tokenwire", NOTHING).summary["ttft_ms"]["mean"] is None


def test_ours_gives_no_tail_for_too_few() -> None:
    summary = report("tokenwire", *[SINGLE] * 99).summary["ttft_ms"]
    assert (summary["p95"], summary["p99"]) == (40, None)
    assert report("tokenwire", *[SINGLE] * 100).summary["ttft_ms"]["p99"] == 40


@pytest.mark.parametrize("name", DEFINITIONS)
def test_no_requests_and_no_duration_are_no_error(name: str) -> None:
    empty = report(name)
    assert empty.requests == ()
    without = report(name, *REQUESTS, wall_s=None).summary[COUNTS]
    rates = {key for key, value in without.items() if value is None}
    assert rates
    assert all("per_" in key or "throughput" in key for key in rates)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_report_can_be_stored(name: str) -> None:
    made = report(name, *REQUESTS)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Report) == made


def test_each_says_what_it_is() -> None:
    for name, definition in DEFINITIONS.items():
        assert name == definition.name
        assert definition.difference.endswith(".")
        assert definition.difference.count(". ") == 0, "one sentence"
        assert definition.source
    assert next(iter(DEFINITIONS)) == "tokenwire"
    assert report("aiperf").difference == DEFINITIONS["aiperf"].difference
