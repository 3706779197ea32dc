"""What a late joiner is told first: condensed frames in the provider's dialect, an encoder's prefix in any other."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Frame
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable
from tokenwire.testing import message_frames as m

Streaming = Callable[..., Stream]
ANTHROPIC = dialects.get("anthropic")
FLAT = b'event: error\ndata: {"message":"the SDKs would not tell what it was"}\n\n'


def texts(frames: list[Frame]) -> list[str]:
    deltas = [json.loads(frame.data).get("delta", {}) for frame in frames]
    return [delta["text"] for delta in deltas if "text" in delta]


def test_in_its_own_dialect_a_prefix_is_the_frames_condensed(streaming: Streaming) -> None:
    stream = streaming(ANTHROPIC)
    frames = [m.start(), m.block(), *(m.text(f"{n} ") for n in range(300)), m.end(), m.block(1), m.text("more", 1)]
    for frame in frames:
        stream.append([frame], 1)
    assert texts(stream.prefix(ANTHROPIC, len(frames))) == ["".join(f"{n} " for n in range(300)), "more"]
    assert texts(stream.prefix(ANTHROPIC, 3)) == ["0 "]
    assert stream.prefix(ANTHROPIC, 0) == []
    native = stream.prefix(dialects.get("native"), len(frames))
    assert [frame.event for frame in native] == ["started", "snapshot"]


def test_what_readers_are_not_shown_is_in_no_prefix(streaming: Streaming) -> None:
    stream = streaming(ANTHROPIC)
    stream.append([m.start(), m.block(), m.text("a"), FLAT], 1)
    assert stream.terminal is not None
    assert [frame.event for frame in stream.prefix(ANTHROPIC, stream.log.last_frame)] == [
        "message_start", "content_block_start", "content_block_delta"
    ]  # fmt: skip


def test_a_whole_answer_has_an_encoders_prefix(queued: Streaming) -> None:
    from tokenwire.testing.sinks import ScriptedSource

    stream = queued(ANTHROPIC)
    stream.connecting(ScriptedSource())
    stream.begin(unary=True)
    stream.append_unary(b'{"type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn"}', 1)
    assert texts(stream.prefix(ANTHROPIC, 1)) == ["a"]


def test_a_beginning_that_is_gone_cannot_be_told(streaming: Streaming) -> None:
    stream = streaming(ANTHROPIC)
    stream.append([m.start(), m.block()], 1)
    for number in range(300):
        stream.append([m.text(f"{number} ")], 1)
    assert stream.trim(0)
    for name in ("anthropic", "native"):
        with pytest.raises(NotResumable) as caught:
            stream.prefix(dialects.get(name), stream.log.last)
        assert caught.value.status == 410
