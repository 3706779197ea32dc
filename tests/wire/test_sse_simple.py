"""wire/sse.simple: the short way to read one whole frame, held against the decoder."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenwire.wire import sse

PIECES = st.sampled_from([
    b"data: ", b"data:", b"event: ", b"event:", b"id: 1", b"retry: 1", b": note", b"\n", b"\n\n", b"\r", b"\r\n", b" ",
    b"a", b"{}", b"\0", b"\xff", b"\xc3\xa9", b"\xf0\x9f", b"\xef\xbb\xbf", b"event: x\ndata: y\n\n",
])  # fmt: skip


@given(st.lists(PIECES, max_size=7).map(b"".join))
@example(b"data: a\n\n")
@example(b"event: x\ndata: a\n\n")
@example(b"event: \ndata: a\n\n")
@example(b"event: x\ndata: a\ndata: b\n\n")
@example(b"event: x\ndata: a\n\ndata: b\n\n")
@example(b"event: x\n\n")
@example(b"data: a")
def test_what_it_reads_means_what_the_decoder_says(frame: bytes) -> None:
    event = sse.simple(frame)
    if event is not None:
        assert sse.Decoder().feed(frame) == [event]


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (b"data: a\n\n", sse.Event(data="a")),
        (b"data: \n\n", sse.Event()),
        (b"event: x\ndata:  a\n\n", sse.Event("x", " a")),
        (b"event: \ndata: \xff\n\n", sse.Event("message", "\ufffd")),
        (b"event:x\ndata: a\n\n", None),
        (b"event: x\ndata:a\n\n", None),
        (b"event: x\nid: 1\n\n", None),
        (b"data: a\r\n\r\n", None),
        (b"data: a\n", None),
        (b"", None),
    ],
)
def test_the_usual_forms_are_read(frame: bytes, event: sse.Event | None) -> None:
    assert sse.simple(frame) == event
