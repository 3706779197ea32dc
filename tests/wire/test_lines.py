"""wire/lines: NDJSON bytes cut into frames, and what is held of an unfinished one at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.errors import EventTooLarge
from tokenwire.wire import ndjson
from tokenwire.wire.lines import LineCutter

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures" / "ollama").glob("*.ndjson"))


def cut(body: bytes, *cuts: int) -> list[bytes]:
    """The frames of a body that arrives in pieces."""
    cutter = LineCutter()
    frames: list[bytes] = []
    for start, end in zip((0, *sorted(cuts)), (*sorted(cuts), len(body)), strict=True):
        frames += cutter.feed(body[start:end])
    frames += cutter.close()
    assert cutter.pending == 0
    return frames


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (b"", []),
        (b'{"a":1}\n', [b'{"a":1}\n']),
        (b'{"a":1}\n{"b":2}\n', [b'{"a":1}\n', b'{"b":2}\n']),
        (b'{"a":1}\r\n{"b":2}\r\n', [b'{"a":1}\r\n', b'{"b":2}\r\n']),
        (b'\n\r\n \t\n{"a":1}\n\n\n', [b'{"a":1}\n']),
        (b' {"a":1} \n', [b' {"a":1} \n']),
        (b'{"a":\r1}\n', [b'{"a":\r1}\n']),
        ('{"a":"\u2028\u0085"}\n'.encode(), ['{"a":"\u2028\u0085"}\n'.encode()]),
        (b"Internal Server Error\n", [b"Internal Server Error\n"]),
        (b'{"a":1}', [b'{"a":1}\n']),
        (b'{"a":1}\r', [b'{"a":1}\r\n']),
        (b'{"a":1', []),
        (b"12", []),
        (b"Internal Server Error", []),
        (b"   ", []),
    ],
)
def test_a_frame_is_one_line_through_its_end(body: bytes, frames: list[bytes]) -> None:
    assert cut(body) == frames
    for position in range(len(body)):
        assert cut(body, position) == frames


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_recorded_bodies_keep_every_byte_wherever_they_are_cut(path: Path, end: bytes) -> None:
    body = path.read_bytes().replace(b"\n", end)
    frames = cut(body)
    assert b"".join(frames) == body
    for position in range(len(body)):
        assert cut(body, position) == frames
    assert cut(body, *range(len(body))) == frames


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from((b"{", b"}", b'{"a":1}', b"\n", b"\r", b" ", b"\xef\xbb\xbf", b"\xff", b'"x"', b"\xe2\x80"))
    ),
    st.lists(st.integers(0, 60)),
)
def test_any_bytes_read_the_same_as_by_the_decoder(pieces: list[bytes], cuts: list[int]) -> None:
    body = b"".join(pieces)
    frames = cut(body, *(position for position in cuts if position <= len(body)))
    decoder = ndjson.Decoder()
    lines = decoder.feed(body) + decoder.close(lenient=True)
    assert [frame.decode("utf-8", "replace").strip(" \t\r\n") for frame in frames] == lines
    assert all(frame.endswith(b"\n") for frame in frames)


@settings(deadline=None)
@given(st.lists(st.sampled_from((b'{"a":1}\n', b"\n", b"{", b'{"b":2}\r\n', b' {"c":3}\n', b"x\n")), max_size=6))
def test_a_read_of_one_line_gives_what_the_general_route_gives(rows: list[bytes]) -> None:
    data = b"".join(rows)
    begun = LineCutter()
    begun.feed(b'{"first":1}\n')
    assert begun.clean
    assert begun.feed(data) == LineCutter().feed(b' {"first":1}\n' + data)[1:]


def test_one_byte_order_mark_may_come_first_and_may_be_cut() -> None:
    body = b'\xef\xbb\xbf{"a":1}\n'
    for position in range(len(body)):
        assert cut(body, position) == [b'{"a":1}\n']
    assert cut(b"\xef\xbb\xbf" + body) == [body]
    assert [cut(b"\xef\xbb\xbf"[:size]) for size in range(4)] == [[], [], [], []]


def test_clean_says_that_the_next_byte_begins_a_line() -> None:
    cutter = LineCutter()
    assert not cutter.clean  # a byte-order mark may come
    seen = []
    for chunk in (b'{"a"', b":1}", b"\n", b"\n", b'{"b":2}\n', b'{"c":3}\n{', b"}\n"):
        cutter.feed(chunk)
        seen.append(cutter.clean)
    assert seen == [False, False, True, True, True, False, True]


# -- bounds


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_above_the_limit_is_an_error_after_the_frames_before_it(end: bytes) -> None:
    cutter = LineCutter(limit=100)
    first = b"{}" + end
    assert cutter.feed(first + b"{" + b"x" * 100) == [first]
    assert cutter.pending == 0  # it holds nothing any more
    for _ in range(2):
        with pytest.raises(EventTooLarge, match="100 bytes"):
            cutter.feed(b"y")
    with pytest.raises(EventTooLarge):
        cutter.feed(b"{}\n")
    with pytest.raises(EventTooLarge):
        cutter.close()


def test_a_line_of_the_limit_passes_in_any_pieces() -> None:
    line = b"{" + b"x" * 98 + b"}\n"
    for size in (1, 7, 99, 100):
        cutter = LineCutter(limit=100)
        frames = [frame for start in range(0, 303, size) for frame in cutter.feed((line * 3)[start : start + size])]
        assert frames == [line] * 3


def test_a_line_that_grows_past_the_limit_fails_as_soon_as_it_has() -> None:
    cutter = LineCutter(limit=100)
    for _ in range(10):
        cutter.feed(b"{ a piece.")
    assert cutter.pending == 100
    with pytest.raises(EventTooLarge):
        cutter.feed(b"x")


def slices(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def many_lines() -> Iterator[bytes]:
    yield b"".join(b'{"number":%d,"data":"%s"}\n' % (number, b"x" * 200) for number in range(10_000))


def a_long_line_in_pieces() -> Iterator[bytes]:
    return slices(b"{" + b"x" * 8_000_000 + b"}\n", 1024)


def one_byte_at_a_time() -> Iterator[bytes]:
    return slices(b"{" + b"x" * 100_000 + b"}\n", 1)


def a_flood_of_blank_lines() -> Iterator[bytes]:
    return slices(b"\r\n" * 500_000 + b"{}\n", 4096)


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [(many_lines, 10_000), (a_long_line_in_pieces, 1), (one_byte_at_a_time, 1), (a_flood_of_blank_lines, 1)],
)
def test_the_time_is_linear_in_the_bytes(chunks: Callable[[], Iterator[bytes]], lines: int) -> None:
    """Whatever searched or copied its buffer once per call would take several seconds."""
    pieces = list(chunks())
    cutter = LineCutter()
    begun = time.process_time()
    frames = [frame for piece in pieces for frame in cutter.feed(piece)]
    spent = time.process_time() - begun
    assert len(frames) == lines
    assert spent < 1.5
