"""The cheap look at a frame: what is plain, what is notable, which errors the SDKs would swallow."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.dialects.anthropic.dialect import DIALECT, Decoder, look, scan
from tokenwire.dialects.base import Mark
from tokenwire.testing import message_frames as m

OPENING = DIALECT.opening


@pytest.mark.parametrize(
    "frame",
    [
        m.text("a"),
        m.text("", 7, padding=11),
        m.text('"},"x":{"type":"error"'),
        m.thinking("a", 1),
        m.tool_input('{"a', 2),
        m.delta("text_delta", text="a", extra=[1]),
        OPENING + b'{ "delta" : {"text":"a","type":"text_delta"}, "index":0, "type":"content_block_delta" }\n\n',
        m.block(),
        m.end(3),
        m.PING,
        b"event: ping\ndata: {}\n\n",
    ],
)
def test_plain_frames_have_no_mark(frame: bytes) -> None:
    assert scan(frame) == Mark.PLAIN


@pytest.mark.parametrize(
    ("frame", "mark"),
    [
        (m.start(), Mark.NOTABLE),  # it has counts
        (m.finish(), Mark.NOTABLE),
        (m.finish(None), Mark.NOTABLE),
        (m.block(0, "thinking", signature="s"), Mark.NOTABLE),
        (m.block(0, "redacted_thinking", data="x"), Mark.NOTABLE),
        (m.delta("signature_delta", signature="s"), Mark.NOTABLE),
        (m.delta("something_new"), Mark.NOTABLE),
        (m.event("something_new"), Mark.NOTABLE),
        (m.STOP, Mark.DONE | Mark.NOTABLE),
        (b'data: {"type":"message_stop"}\n\n', Mark.DONE | Mark.NOTABLE),
        (b'event: message_stop\r\ndata: {"type":"message_stop"}\r\n\r\n', Mark.DONE | Mark.NOTABLE),
        (b'event: message_stop\ndata: {"type":\ndata: "message_stop"}\n', Mark.DONE | Mark.NOTABLE),
    ],
)
def test_other_frames_have(frame: bytes, mark: int) -> None:
    assert scan(frame) == mark


RAISED = Mark.NOTABLE | Mark.ERROR


@pytest.mark.parametrize(
    ("frame", "mark"),
    [
        (m.error(), RAISED),
        (m.event("error", error={"type": "api_error", "message": "x", "details": {}}, request_id="r"), RAISED),
        (b'data: {"type":"error","error":{"type":"api_error","message":"x"}}\n\n', RAISED | Mark.SWALLOWED),
        (b'event: message\ndata: {"error":{"type":"api_error","message":"x"}}\n\n', RAISED | Mark.SWALLOWED),
        (b'event: error\ndata: {"type":"api_error","message":"flat"}\n\n', RAISED | Mark.SWALLOWED),
        (b'event: error\ndata: {"error":{"message":"x","type":"x","code":500}}\n\n', RAISED | Mark.SWALLOWED),
        (b"event: error\ndata: no JSON\n\n", RAISED | Mark.SWALLOWED),
        (b"data: <html>\n\n", RAISED | Mark.SWALLOWED),
    ],
)
def test_errors_that_the_sdks_would_not_tell_are_replaced(frame: bytes, mark: int) -> None:
    assert scan(frame) == mark


def test_what_is_generated_beside_an_error_is_not_lost() -> None:
    decoder = Decoder()
    torn = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\\ud83c"}}\n\n'
    for frame in (m.start(), m.block(), torn):
        look(frame, decoder)
    mark, deltas = look(b'data: {"type":"error","error":{"type":"api_error","message":"x"}}\n\n', decoder)
    assert mark == RAISED | Mark.SWALLOWED
    assert len(deltas) == 1


def test_a_frame_of_two_events_has_both_marks() -> None:
    mark, deltas = look(m.finish() + m.STOP + m.error(), Decoder())
    assert mark == Mark.DONE | Mark.NOTABLE
    assert len(deltas) == 2


@given(st.binary(max_size=60), st.sampled_from([b"", OPENING, b"data: ", b"event: error\ndata: "]))
def test_nothing_raises(data: bytes, before: bytes) -> None:
    scan(before + data)
    scan(before + data + b"\n\n")


@given(
    st.text(max_size=20),
    st.sampled_from(["text_delta", "thinking_delta", "input_json_delta", "signature_delta", "x"]),
    st.sampled_from(["text", "thinking", "partial_json", "x"]),
    st.integers(-1, 3),
    st.integers(0, 3),
)
def test_what_is_plain_for_the_quick_look_is_plain(text: str, kind: str, member: str, index: int, padding: int) -> None:
    frame = m.delta(kind, index, padding, **{member: text})
    try:
        assert DIALECT.peek is not None
        DIALECT.peek(frame[len(OPENING) :])
    except ValueError:
        return
    decoder = Decoder()
    block = {"text_delta": "text", "thinking_delta": "thinking"}.get(kind, "tool_use")
    for before in (m.start(), m.block(index, block)):
        look(before, decoder)
    mark, deltas = look(frame, decoder)
    assert mark == Mark.PLAIN
    assert len(deltas) == bool(text)


def test_condensing_merges_plain_deltas_and_keeps_everything_else() -> None:
    odd = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"unnamed"}}\n\n'
    frames = [
        m.start(), m.PING, m.block(0, "server_tool_use", id="s"), m.tool_input("{"), m.tool_input("}"), m.end(),
        m.block(1), m.text("a", 1), m.PING, m.text("b", 1), m.text("c", 1), odd,
        m.delta("new_delta", 1), m.thinking("d", 1),
    ]  # fmt: skip
    assert DIALECT.condense is not None
    condensed = [(frame.event, json.loads(frame.data)) for frame in DIALECT.condense(frames)]
    deltas = [data["delta"] for _, data in condensed if data["type"] == "content_block_delta"]
    assert deltas == [
        {"type": "input_json_delta", "partial_json": "{}"},
        {"type": "text_delta", "text": "abc"},
        {"type": "text_delta", "text": "unnamed"},
        {"type": "new_delta"},
        {"type": "thinking_delta", "thinking": "d"},
    ]
    assert [event for event, _ in condensed][:4] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop"
    ]  # fmt: skip
    assert condensed[6][0] is None
