"""The decoder against its oracle, on arbitrary bytes in arbitrary chunks; when it dispatches, what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.errors import EventTooLarge, LocalProtocolError
from tokenwire.testing.plain_sse import read
from tokenwire.wire import sse
from tokenwire.wire.sse import Decoder, Event

FIXTURES = sorted((Path(__file__).parents[1] / "fixtures").glob("*/*.sse"))

# The grammar's own pieces, and what looks like them: arbitrary bytes alone would rarely make an event.
pieces = st.one_of(
    st.sampled_from([
        b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"data: ", b"data:", b"data", b"event: ", b"id: ", b"id",
        b":", b" ", b"retry: ", b"7", b"15", b"\0", b"x", b"{}", b"[DONE]", b"\xef\xbb\xbf", b"\xe2\x80\xa8",
        b"\xf0\x9f\x98\x80", b"\xf0\x9f", b"\xff", b"data: a\n\n", b"event: t\ndata: b\n\n", b"data: d\n",
        b"data: c\r\n\r\n", b": hb\n\n", b"id: 1\ndata: e\n\n", b"retry: 9\n\n", b"event: \ndata: f\ndata: g\n\n",
        b"event: t\nid: 2\ndata: \n\n",
    ]),
    st.binary(max_size=4),
)  # fmt: skip
chunkings = st.lists(st.lists(pieces, max_size=6).map(b"".join), max_size=12)


@pytest.mark.untraced
@given(chunks=chunkings)
@settings(derandomize=True, max_examples=250)
def test_same_as_the_oracle_after_every_chunk(chunks: list[bytes]) -> None:
    decoder = Decoder()
    events: list[Event] = []
    for number, chunk in enumerate(chunks):
        events += decoder.feed(chunk)
        expected = read(b"".join(chunks[: number + 1]))
        assert events == expected.events
        assert decoder.last_event_id == expected.last_event_id


@pytest.mark.untraced
@given(chunks=chunkings, limit=st.integers(3, 40))
@settings(derandomize=True, max_examples=200)
def test_same_as_the_oracle_under_a_limit(chunks: list[bytes], limit: int) -> None:
    decoder = Decoder(limit)
    events: list[Event] = []
    failed = False
    try:
        for chunk in chunks:
            events += decoder.feed(chunk)
        decoder.close()
    except EventTooLarge:
        failed = True
    expected = read(b"".join(chunks), limit)
    assert (events, failed) == (expected.events, expected.too_large)


@pytest.mark.untraced
@given(chunks=chunkings)
@settings(derandomize=True, max_examples=200)
def test_same_as_the_oracle_at_a_lenient_end(chunks: list[bytes]) -> None:
    decoder = Decoder()
    for chunk in chunks:
        decoder.feed(chunk)
    expected = read(b"".join(chunks))
    assert decoder.close(lenient=True) == expected.at_end
    assert decoder.last_event_id == expected.last_event_id_at_end


@settings(derandomize=True)
@given(wire=st.binary(max_size=200), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=50))
def test_same_as_the_oracle_on_any_bytes(wire: bytes, sizes: list[int]) -> None:
    decoder = Decoder()
    events: list[Event] = []
    at = 0
    for size in sizes:
        events += decoder.feed(wire[at : at + size])
        at += size
    assert events + decoder.feed(wire[at:]) == read(wire).events


@pytest.mark.untraced
@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_recorded_streams_mean_the_same_in_any_chunks(fixture: Path) -> None:
    wire = fixture.read_bytes()
    expected = read(wire)
    assert expected.events
    for size in (1, 2, 3, 7, 64, 293, 1460, len(wire)):
        decoder = Decoder()
        events: list[Event] = []
        for start in range(0, len(wire), size):
            events += decoder.feed(wire[start : start + size])
        assert events == expected.events
        assert decoder.close(lenient=True) == expected.at_end


SHAPES = {
    "data": b'data: {"a": "b"}\n\n',
    "data without space": b"data:x\n\n",
    "data empty": b"data: \n\n",
    "data of several lines": b"data: a\ndata: b\n\n",
    "type and data": b"event: t\ndata: x\n\n",
    "type and several lines": b"event: t\ndata: a\ndata: b\n\n",
    "type alone": b"event: t\n\n",
    "type and no field": b"event: t\nx\n\n",
    "type and comment": b"event: t\n: hb\n\n",
    "empty type": b"event: \ndata: x\n\n",
    "type after data": b"data: x\nevent: t\n\n",
    "id": b"event: t\ndata: x\nid: 4\n\n",
    "id between": b"event: t\nid: 5\ndata: x\n\n",
    "retry": b"retry: 20\n\n",
    "comment": b": hb\n\n",
    "comment line": b": hb\n",
    "blank line": b"\n",
    "crlf": b"data: x\r\n\r\n",
    "crlf type": b"event: t\r\ndata: x\r\n\r\n",
    "cr": b"data: x\r\r",
    "cr in data": b"data: x\ry\n\n",
    "cr in type": b"event: t\ru\ndata: x\n\n",
    "beyond ascii": "event: é\ndata: 你好😀\n\n".encode(),
    "not utf-8": b"data: \xff\xe4\xbd\n\n",
    "type not utf-8": b"event: \xff\ndata: x\n\n",
    "lead in data": b"data: data: \n\n",
}


@pytest.mark.untraced
@pytest.mark.parametrize("first", SHAPES)
def test_any_shape_after_any_shape(first: str) -> None:
    """The fast paths open and close with what came before: each pair, block by block, in rows, and with a cut."""
    for second in SHAPES:
        one_after_the_other(first, second)


def one_after_the_other(first: str, second: str) -> None:
    wire = SHAPES[first] * 2 + SHAPES[second] * 2 + SHAPES[first]
    blocks = [SHAPES[first], SHAPES[first], SHAPES[second], SHAPES[second], SHAPES[first]]
    expected = read(wire).events
    for chunks in (
        blocks,
        [blocks[0], b"".join(blocks[1:])],
        [b"".join(blocks[:2]), b"".join(blocks[2:])],
        [wire[: len(wire) // 3], wire[len(wire) // 3 :]],
        [blocks[0], wire[len(blocks[0]) : -3], wire[-3:]],
    ):
        decoder = Decoder()
        assert [event for chunk in chunks for event in decoder.feed(chunk)] == expected


def test_an_event_is_dispatched_with_the_byte_that_ends_it() -> None:
    for line_end in (b"\n", b"\r"):
        decoder = Decoder()
        for _ in range(3):
            assert decoder.feed(b"data: x" + line_end) == []
            assert decoder.feed(line_end) == [Event("message", "x")]


def test_crlf_does_not_wait_for_its_line_feed() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: x\r\n\r") == [Event("message", "x")]
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"data: y\n\n") == [Event("message", "y")]


def test_a_cut_crlf_is_settled_by_the_next_chunk() -> None:
    """Were it still open after the row, the first of the two last line ends would be taken for its second half."""
    decoder = Decoder()
    chunks = [b"data: a\n\n", b"data: b\r\n\r", b"data: c\n\ndata: d", b"\n", b"\n"]
    assert [event.data for chunk in chunks for event in decoder.feed(chunk)] == ["a", "b", "c", "d"]


def test_an_id_counts_when_its_block_ends() -> None:
    decoder = Decoder()
    seen = [decoder.last_event_id]
    for chunk in (b"id: 1\n", b"\n", b"id: 2"):
        decoder.feed(chunk)
        seen.append(decoder.last_event_id)
    decoder.close()
    assert [*seen, decoder.last_event_id] == [None, None, "1", "1", "1"]


def test_strict_is_the_default_of_close() -> None:
    decoder = Decoder()
    decoder.feed(b"data: x\n")
    assert decoder.close() == []


def test_close_may_be_called_again_and_gives_nothing_more() -> None:
    decoder = Decoder()
    decoder.feed(b"data: x\n")
    assert decoder.close(lenient=True) == [Event("message", "x")]
    assert decoder.close(lenient=True) == []


@pytest.mark.parametrize("before", [b"", b"data: x\n\n", b"data: x", b"\xef", b"data: x\r"])
def test_nothing_is_read_after_close(before: bytes) -> None:
    decoder = Decoder()
    decoder.feed(before)
    decoder.close()
    for chunk in (b"", b"data: y\n\n", b"data: y\r\n\r\n"):
        with pytest.raises(LocalProtocolError, match="fed after close"):
            decoder.feed(chunk)


def test_events_are_values() -> None:
    assert Event() == Event("message", "", None, None)
    assert Event("t", "x", "1", 5) == Event(event="t", data="x", id="1", retry=5)
    with pytest.raises(AttributeError):
        Event().data = "y"  # type: ignore[misc]


def test_public_names() -> None:
    assert sse.__all__ == ["DEFAULT_LIMIT", "Decoder", "Event", "comment", "encode", "simple"]
    assert sse.DEFAULT_LIMIT == 16 * 1024 * 1024
