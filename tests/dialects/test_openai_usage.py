"""Usage objects, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from tokenwire.dialects.deltas import Usage
from tokenwire.dialects.openai_chat.usage import read_usage, usage_object


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 3},
                "total_tokens": 15,
            },
            Usage(10, 5, 4, 2, 3),
        ),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 6, "completion_tokens": 1}, Usage(10, 1, 6)),  # DeepSeek
        (
            {
                "prompt_tokens": 310,
                "completion_tokens": 24,
                "total_tokens": 500,
                "completion_tokens_details": {"reasoning_tokens": 166},
            },
            Usage(310, 190, reasoning=166),  # xAI: reasoning stands beside the completion
        ),
        (
            {"completion_tokens": 24, "total_tokens": 30, "completion_tokens_details": {"reasoning_tokens": 6}},
            Usage(None, 30, reasoning=6),
        ),
        (
            {"prompt_tokens": 5, "total_tokens": 11, "completion_tokens_details": {"reasoning_tokens": 6}},
            Usage(5, None, reasoning=6),
        ),
        ({"prompt_tokens": 1.0, "completion_tokens": None}, Usage(1)),
        ({"completion_tokens": 0}, Usage(output=0)),
    ],
)
def test_counts_are_normalised_and_the_object_kept(raw: dict[str, Any], usage: Usage) -> None:
    read = read_usage(raw)
    assert read is not None
    assert read.raw is raw
    assert Usage(read.input, read.output, read.cached_input, read.cache_write, read.reasoning) == usage
    assert usage_object(read) is raw


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        [],
        "x",
        {"prompt_tokens": None},
        {"trafficType": "X"},
        {"prompt_tokens": "5"},
        {"prompt_tokens": True},
        {"prompt_tokens": -1},
        {"completion_tokens": 1.5},
        {"completion_tokens": float("inf")},
        {"completion_tokens": float("nan")},
    ],
)
def test_an_object_that_says_nothing_is_none(raw: Any) -> None:
    assert read_usage(raw) is None


def test_another_dialects_usage_is_said_in_our_words_as_far_as_known() -> None:
    assert usage_object(Usage()) == {}
    assert usage_object(Usage(1, None, 0, raw={"input_tokens": 1})) == {
        "prompt_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert usage_object(Usage(1, 2, None, 3, 4)) == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cache_write_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
