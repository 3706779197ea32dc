"""wire/chunked: whole HTTP/1.1 chunks without a parser; llhttp is the judge (tests/upstream/test_whole_chunk_route)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwire.wire.chunked import LAST_CHUNK, LIMIT, SIZE_LINES, SIZE_LINES_UPPER, chunk, contents


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 17, 255, 256, 4000, LIMIT - 8])
def test_the_size_of_a_whole_chunk_says_how_it_begins(size: int) -> None:
    whole = chunk(b"x" * size)
    assert whole.startswith(SIZE_LINES[len(whole)])
    assert SIZE_LINES[len(whole)] == b"%x\r\n" % size
    assert SIZE_LINES_UPPER[len(whole)] == b"%X\r\n" % size


def test_where_no_chunk_has_that_size_nothing_begins_so() -> None:
    sizes = {len(chunk(b"x" * size)) for size in range(1, LIMIT)}
    for size in set(range(LIMIT)) - sizes:
        assert SIZE_LINES[size] == b"\xff"


BODIES = st.lists(st.binary(min_size=1, max_size=300).filter(lambda body: b"\r\n" not in body), min_size=1, max_size=5)


@given(BODIES)
def test_whole_chunks_are_taken_apart(bodies: list[bytes]) -> None:
    assert contents(b"".join(map(chunk, bodies))) in (b"".join(bodies), None)
    if not any(body.endswith(b"\r") or body.startswith(b"\n") for body in bodies):
        assert contents(b"".join(map(chunk, bodies))) == b"".join(bodies)


def test_sizes_may_be_written_with_capitals() -> None:
    assert contents(b"A\r\n0123456789\r\n" + b"5\r\nabcde\r\n") == b"0123456789abcde"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r\n", LAST_CHUNK, chunk(b"a") + LAST_CHUNK, chunk(b"a")[:-1], chunk(b"a")[1:], b"1;x\r\na\r\n",
        b"Aa\r\n" + b"x" * 170 + b"\r\n", b"01\r\na\r\n", b"2\r\na\r\n", chunk(b"a\r\nb"), chunk(b"a") + b"x",
    ],
)  # fmt: skip
def test_what_is_not_surely_whole_is_left_to_the_parser(data: bytes) -> None:
    assert contents(data) is None
