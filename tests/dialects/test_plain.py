"""The plainest form: one data line for each event, and what the two textbook loops make of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire import dialects
from tokenwire.dialects.base import encode_frames
from tokenwire.dialects.deltas import (
    Delta,
    Failed,
    Finished,
    Opaque,
    ReasoningDelta,
    RefusalDelta,
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tokenwire.dialects.plain import dialect as plain
from tokenwire.dialects.transcript import Transcript
from tokenwire.errors import LocalProtocolError


def wire(deltas: list[Delta], terminal: Terminal) -> bytes:
    encoder = plain.DIALECT.encoder("st_1", 1.0, "up/m")
    frames = [frame for delta in deltas for frame in encoder.feed(delta)]
    return encode_frames(frames + encoder.close(terminal))


def test_text_and_its_end() -> None:
    deltas: list[Delta] = [
        Started(),
        TextDelta("Grüße"),
        TextDelta(""),
        TextDelta('"\n'),
        Finished("stop"),
        Usage(output=2),
    ]
    assert wire(deltas, Terminal("completed")).decode() == (
        'data: {"text":"Grüße"}\n\ndata: {"text":"\\"\\n"}\n\ndata: [DONE]\n\n'
    )


def test_what_is_no_text_of_the_answer_is_left_out() -> None:
    deltas: list[Delta] = [
        ReasoningDelta("hm"),
        ToolCallStarted("c", "f"),
        ToolCallDelta("{}"),
        Opaque("x", {}),
        TextDelta("other", choice=1),
        RefusalDelta("no"),
    ]
    assert wire(deltas, Terminal("completed")) == b'data: {"text":"no"}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(
    ("terminal", "error"),
    [
        (
            Terminal("failed", error=Failed("overloaded", "try later", retryable=True, upstream_status=503)),
            {"code": "overloaded", "message": "try later", "retryable": True},
        ),
        (
            Terminal("cancelled"),
            {"code": "cancelled", "message": "the stream was cancelled", "retryable": False},
        ),
    ],
)
def test_an_error_is_the_end_and_no_done_follows(terminal: Terminal, error: dict[str, object]) -> None:
    written = wire([TextDelta("a")], terminal)
    assert written.count(b"data: ") == 2
    assert b"[DONE]" not in written
    assert json.loads(written.split(b"\n\n")[1][6:]) == {"error": error}
    if terminal.error is not None:
        assert json.loads(plain.DIALECT.error_body(terminal.error, 503)) == {"error": error}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
def test_every_reader_of_lines_finds_one_line_for_each_event(texts: list[str]) -> None:
    written = wire([TextDelta(text) for text in texts], Terminal("completed")).decode()
    lines = [line for line in written.splitlines() if line]  # Python's ends of lines are eleven
    assert all(line.startswith("data: ") for line in lines)
    assert [json.loads(line[6:])["text"] for line in lines[:-1]] == texts
    assert lines[-1] == "data: [DONE]"


def test_a_heartbeat_is_an_event_that_says_nothing() -> None:
    """A loop that looks for no prefix would throw at a comment."""
    block, end = plain.DIALECT.heartbeat.decode().split("\n\n")
    assert (json.loads(block[6:]), end) == ({"text": ""}, "")


def test_a_prefix_is_the_whole_text_so_far() -> None:
    fold = Transcript()
    encoder = plain.DIALECT.encoder("st_1", 1.0, "up/m")
    assert encoder.prefix(fold) == []
    for text in ("a", "b"):
        fold.apply(TextDelta(text))
    assert [frame.data for frame in encoder.prefix(fold)] == ['{"text":"ab"}']
    assert encoder.copy().close(Terminal("completed")) == [plain.DONE]


def test_it_is_nobodys_to_ask_for_and_read_by_nobody() -> None:
    assert "plain" not in dialects.names()
    with pytest.raises(LocalProtocolError):
        plain.DIALECT.decode_response(b"{}")
