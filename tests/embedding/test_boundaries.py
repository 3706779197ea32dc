"""The counters agree with the decoders, however the bytes are cut, and hold nothing of them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tokenwire.fastapi.boundaries import LineCounter, SseCounter, counter_for
from tokenwire.wire import ndjson, sse

SSE_PIECES = [b"data: x\n", b"data\n", b"data:", b"datax: y\n", b"event: e", b"id: 1\n", b": hb", b"\n", b"\r", b"\r\n"]
LINE_PIECES = [b'{"a":1}', b"\n", b"\r\n", b" ", b"\t", b"\x0b"]


@given(st.booleans(), st.lists(st.sampled_from(SSE_PIECES)), st.lists(st.integers(0, 60)))
def test_sse_events_are_counted_as_the_decoder_finds_them(bom: bool, pieces: list[bytes], cuts: list[int]) -> None:
    wire = b"\xef\xbb\xbf" * bom + b"".join(pieces)
    counter, decoder = SseCounter(), sse.Decoder()
    for chunk in _cut(wire, cuts):
        assert counter.feed(chunk) == len(decoder.feed(chunk))
    whole = SseCounter()
    whole.feed(wire)
    assert whole.between == counter.between
    if counter.between and wire not in (b"\xef\xbb\xbf", b""):  # what follows owes nothing to what came before
        [event] = decoder.feed(b"\ndata: y\n\n")
        assert (event.event, event.data) == ("message", "y")


@given(st.lists(st.sampled_from(LINE_PIECES)), st.lists(st.integers(0, 40)))
def test_lines_are_counted_as_the_decoder_finds_them(pieces: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(pieces)
    counter, decoder = LineCounter(), ndjson.Decoder()
    for chunk in _cut(wire, cuts):
        assert counter.feed(chunk) == len(decoder.feed(chunk))
    assert counter.between == (not wire.rpartition(b"\n")[2].strip(b" \t\r"))


def test_a_chunk_that_ends_within_an_event_is_not_between_two() -> None:
    counter = SseCounter()
    chunks = (b"data: a\n\n", b"da", b"ta: b", b"\n", b"\n", b": hb", b"\n", b"event: x\n", b"\n")
    seen = [(counter.feed(chunk), counter.between) for chunk in chunks]
    expected = [(1, True), (0, False), (0, False), (0, False), (1, True), (0, True), (0, True), (0, False), (0, True)]
    assert seen == expected


def test_a_line_end_that_is_cut_is_one_line_end() -> None:
    counter = SseCounter()
    assert [counter.feed(chunk) for chunk in (b"data: a\r", b"\n", b"", b"\r", b"\ndata: b\r\n\r")] == [0, 0, 0, 1, 1]


def test_a_huge_event_is_counted_and_not_held() -> None:
    counter = SseCounter()
    for _ in range(5):
        counter.feed(b"data: " + b"x" * 1_000_000)
    assert counter.feed(b"\n\n") == 1
    assert len(counter._held) < 10


def test_only_types_with_events_are_counted() -> None:
    assert isinstance(counter_for("text/event-stream"), SseCounter)
    assert isinstance(counter_for("application/x-ndjson"), LineCounter)
    assert counter_for("text/plain") is None


def _cut(wire: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, *(cut for cut in cuts if cut < len(wire)), len(wire)})
    return [wire[begin:end] for begin, end in itertools.pairwise(places)] + [b""]
