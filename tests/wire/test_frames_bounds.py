"""wire/frames: what the cutter holds at most, and that its time is linear in the bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tokenwire.errors import EventTooLarge
from tokenwire.wire.frames import Cutter

ENDS = (b"\n", b"\r\n", b"\r")


@pytest.mark.parametrize("end", ENDS)
def test_an_event_above_the_limit_is_an_error_after_the_frames_before_it(end: bytes) -> None:
    cutter = Cutter(limit=100)
    first = b"data: a" + end + end
    assert cutter.feed(first + b"data: " + b"x" * 95) == [first]
    assert cutter.pending == 0  # it holds nothing any more
    for _ in range(2):
        with pytest.raises(EventTooLarge, match="100 bytes"):
            cutter.feed(b"y")
    with pytest.raises(EventTooLarge):
        cutter.feed(b"data: whole\n\n")
    with pytest.raises(EventTooLarge):
        cutter.close()


def test_an_event_of_the_limit_passes_in_any_pieces() -> None:
    event = b"data: " + b"x" * 92 + b"\n\n"
    for size in (1, 7, 99, 100):
        cutter = Cutter(limit=100)
        frames = [frame for start in range(0, 300, size) for frame in cutter.feed((event * 3)[start : start + size])]
        assert frames == [event] * 3


def test_an_event_that_grows_past_the_limit_fails_as_soon_as_it_has() -> None:
    cutter = Cutter(limit=100)
    for _ in range(10):
        cutter.feed(b": a piece.")
    assert cutter.pending == 100
    with pytest.raises(EventTooLarge):
        cutter.feed(b"x")


def slices(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def many_events() -> Iterator[bytes]:
    yield b"".join(b"id: %d\ndata: %s\n\n" % (number, b"x" * 200) for number in range(10_000))


def many_plain_events() -> Iterator[bytes]:
    yield b": begun\n\n"
    yield b"data: %s\n\n" % (b"x" * 200) * 10_000


def many_crlf_events() -> Iterator[bytes]:
    yield b"".join(b"data: %d %s\r\n\r\n" % (number, b"x" * 200) for number in range(10_000))


def a_long_line_in_pieces() -> Iterator[bytes]:
    return slices(b"data: " + b"x" * 8_000_000 + b"\n\n", 1024)


def a_long_line_in_pieces_after_a_cr() -> Iterator[bytes]:
    return slices(b"data: a\r\n\r\ndata: " + b"x" * 1_000_000 + b"\r\n\r\n", 1024)


def one_byte_at_a_time() -> Iterator[bytes]:
    return slices(b"data: a\r\n\r\ndata: " + b"x" * 100_000 + b"\r\n\r\n", 1)


def a_flood_of_blank_lines() -> Iterator[bytes]:
    return slices(b"\r\n" * 250_000 + b"data: a\n\n", 4096)


def a_flood_of_short_lines() -> Iterator[bytes]:
    return slices(b"data\n" * 200_000 + b"\n", 64)


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        (many_events, 10_000),
        (many_plain_events, 10_000),
        (many_crlf_events, 10_000),
        (a_long_line_in_pieces, 1),
        (a_long_line_in_pieces_after_a_cr, 2),
        (one_byte_at_a_time, 2),
        (a_flood_of_blank_lines, 1),
        (a_flood_of_short_lines, 1),
    ],
)
def test_the_time_is_linear_in_the_bytes(chunks: Callable[[], Iterator[bytes]], events: int) -> None:
    """Each takes up to 0.2 s on a slow machine; whatever searched or copied its buffer once per call would take several
    seconds."""
    pieces = list(chunks())
    cutter = Cutter()
    begun = time.process_time()
    frames = [frame for piece in pieces for frame in cutter.feed(piece)]
    spent = time.process_time() - begun
    assert len(frames) == events
    assert spent < 1.5
