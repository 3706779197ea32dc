"""The dialects by name, and the ends in words."""

from __future__ import annotations

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Encoder, Frame
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from tokenwire.dialects.endings import failure_of
from tokenwire.errors import RequestRefused
from tokenwire.wire.envelope import Codec


def test_every_name_has_a_dialect_of_that_name() -> None:
    assert dialects.names() == sorted(dialects.names())
    assert {"anthropic", "native", "openai.chat"} <= set(dialects.names())
    for name in dialects.names():
        assert dialects.get(name).name == name
        assert dialects.get(name) is dialects.get(name)


def test_a_dialect_of_one_route_is_no_name_of_the_outside() -> None:
    assert dialects.get("ollama.generate").name == "ollama.generate"
    assert "ollama.generate" not in dialects.names()
    assert "ollama" in dialects.names()


@pytest.mark.parametrize("name", ["", "openai", "../errors", "base"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(RequestRefused, match="native") as caught:
        dialects.get(name)
    assert (caught.value.status, caught.value.code) == (400, "unknown_dialect")


@pytest.mark.parametrize("name", dialects.names())
@pytest.mark.parametrize("stream", ["st_AAAA", "st_st_AAAA"])
def test_a_copied_encoder_invents_the_same_names(name: str, stream: str) -> None:
    encoder = dialects.get(name).encoder(stream, 1.0, "m")
    encoder.feed(Started())
    twin = encoder.copy()
    said: list[Delta] = [TextDelta("Hello"), ToolCallStarted("call_1", "f", block=1), ToolCallDelta("{}", block=1)]
    ends: list[Delta] = [ToolCallEnded(block=1), Finished("tool_use")]

    def told(each: Encoder) -> list[Frame]:
        frames = [frame for delta in (*said, *ends) for frame in each.feed(delta)]
        return frames + each.close(Terminal("completed", "tool_use"))

    assert told(twin) == told(encoder)


def test_ends_in_words() -> None:
    said = Failed("x", "y")
    assert failure_of(Terminal("failed", error=said)) is said
    assert failure_of(Terminal("cancelled")) == Failed("cancelled", "the stream was cancelled")
    assert failure_of(Terminal("orphaned")).retryable


@pytest.mark.parametrize("name", dialects.names())
def test_what_varies_from_frame_to_frame_may_vary(name: str) -> None:
    """Usage and ends are never holes of an envelope: a codec that is told so raises when the first log is packed."""
    Codec(dialects.get(name).holes)
