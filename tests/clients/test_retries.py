"""Official SDKs that retry nothing themselves, before a relay that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

#: Model, and how often its upstreams are asked that can be reached: it is answered by the last of its route.
ANSWERED = {"second": 1, "third": 3}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ANSWERED)
def test_the_next_upstream_answers(sdk: Any, stats: Callable[[], dict[str, int]], model: str, stream: bool) -> None:
    if stream:
        chunks = sdk.stream(model, "one two three")
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
        assert sum(chunk.choices[0].delta.role is not None for chunk in chunks if chunk.choices) == 1
    else:
        messages = [{"role": "user", "content": "one two three"}]
        completion = sdk.call("chat.completions.create", model=model, messages=messages)
        assert completion.choices[0].message.content == "one two three"
    assert stats()["requests"] == ANSWERED[model]


@pytest.mark.parametrize("model", ANSWERED)
def test_the_streaming_helper_sees_one_answer(sdk: Any, model: str) -> None:
    _, completion = sdk.helper(model, "one two three")
    assert completion.choices[0].message.content == "one two three"


@pytest.mark.parametrize(
    ("fault", "asked", "raised"),
    [
        ("429-10", 3, openai.RateLimitError),
        ("429-20000", 1, openai.RateLimitError),  # a longer wait than is obeyed
        ("error-before-400", 1, openai.BadRequestError),
        ("error-before-503", 3, openai.InternalServerError),
        ("eof-0", 3, openai.InternalServerError),
        ("error-first", 3, openai.InternalServerError),
    ],
)
def test_what_fails_each_time_is_told_once(
    sdk: Any, stats: Callable[[], dict[str, int]], fault: str, asked: int, raised: type[openai.APIStatusError]
) -> None:
    with pytest.raises(raised):
        sdk.stream(f"flaky/fault-{fault}")
    assert stats()["requests"] == asked


def test_what_fails_within_the_answer_is_not_repeated(sdk: Any, stats: Callable[[], dict[str, int]]) -> None:
    with pytest.raises(openai.APIError):
        sdk.stream("flaky/fault-error-mid", "one two three four five")
    assert stats()["requests"] == 1
