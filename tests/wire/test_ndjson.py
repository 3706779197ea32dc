from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.errors import EventTooLarge, LocalProtocolError, RemoteProtocolError
from tokenwire.wire import ndjson
from tokenwire.wire.ndjson import Decoder, encode

FIXTURES = sorted((Path(__file__).parents[1] / "fixtures").glob("*/*.ndjson"))

CASES = [
    (b"", []),
    (b'{"a":1}\n', ['{"a":1}']),
    (b'{"a":1}\n{"b":2}\n', ['{"a":1}', '{"b":2}']),
    (b'{"a":1}\r\n{"b":2}\r\n', ['{"a":1}', '{"b":2}']),
    (b"1\n2\r\n3\n", ["1", "2", "3"]),
    (b"\n\n1\n\n\r\n  \n\t\r\n2\n\n", ["1", "2"]),
    (b"  1 \t\n", ["1"]),
    (b"1\r2\n", ["1\r2"]),
    (b"1\r\r\n", ["1"]),
    (b"\xef\xbb\xbf1\n2\n", ["1", "2"]),
    (b"\xef\xbb\xbf\xef\xbb\xbf1\n", ["\ufeff1"]),
    (b"\xef\xbb\xbf\n1\n", ["1"]),
    (b"1\n\xef\xbb\xbf2\n", ["1", "\ufeff2"]),
    (b"\xef\xbb1\n", ["�1"]),
    (b"\xef", []),
    ('"\u2028\u2029\u0085\x0b\x0c\x1c"\n'.encode(), ['"\u2028\u2029\u0085\x0b\x0c\x1c"']),
    ('"é€😀"\n"你好"\n'.encode(), ['"é€😀"', '"你好"']),
    (b'"\xff \xe4\xbd"\n"\xf0\x9f\x98\n', ['"� �"', '"�']),
    (b"1\n2", ["1"]),
]


def pieces(wire: bytes, size: int) -> list[bytes]:
    return [wire[start : start + size] for start in range(0, len(wire), size)]


def feed_all(decoder: Decoder, chunks: Iterable[bytes]) -> list[str]:
    return [line for chunk in chunks for line in decoder.feed(chunk)]


@pytest.mark.parametrize(("wire", "lines"), CASES)
def test_lines_wherever_chunks_are_cut(wire: bytes, lines: list[str]) -> None:
    assert feed_all(Decoder(), [wire]) == lines
    assert feed_all(Decoder(), pieces(wire, 1)) == lines
    for first in range(len(wire) + 1):
        for second in range(first, len(wire) + 1):
            decoder = Decoder()
            assert feed_all(decoder, [wire[:first], wire[first:second], wire[second:]]) == lines
            assert decoder.close() == []


@pytest.mark.parametrize(("wire", "lines"), [case for case in CASES if case[0].endswith(b"\n")])
def test_lines_with_something_following(wire: bytes, lines: list[str]) -> None:
    decoder = Decoder()
    assert feed_all(decoder, [wire + b"3\n", b"4\n"]) == [*lines, "3", "4"]


@settings(derandomize=True)
@given(
    chunks=st.lists(
        st.lists(st.sampled_from([b"\n", b"\r", b"{}", b" ", b"\xef\xbb\xbf", b"\xe4\xbd", b"x"])).map(b"".join)
    )
)
def test_same_as_splitting_the_whole(chunks: list[bytes]) -> None:
    finished = b"".join(chunks).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").split("\n")[:-1]
    assert feed_all(Decoder(), chunks) == [line.strip(" \t\r") for line in finished if line.strip(" \t\r")]


@settings(derandomize=True)
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n")).filter(lambda text: text.strip(" \t"))
    )
)
def test_what_is_written_is_read_back(texts: list[str]) -> None:
    wire = b"".join(encode(text) for text in texts)
    expected = [text.strip(" \t") for text in texts]
    if expected:
        expected[0] = expected[0] if texts[0][0] != "\ufeff" else texts[0][1:].strip(" \t")
    assert feed_all(Decoder(), pieces(wire, 3)) == [line for line in expected if line]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_recorded_streams(fixture: Path) -> None:
    wire = fixture.read_bytes()
    lines = [line for line in wire.decode().split("\n") if line]
    assert lines
    for size in (1, 7, 100, len(wire)):
        assert feed_all(Decoder(), pieces(wire, size)) == lines


@pytest.mark.parametrize(
    ("wire", "at_end"),
    [
        (b'{"a":1}', ['{"a":1}']),
        (b'{"a":1}\r', ['{"a":1}']),
        (b'{"a":1', []),
        (b"", []),
        (b"  ", []),
        (b"12", []),
        (b"true", ["true"]),
        (b'{}\n{"done":true}', ['{"done":true}']),
        (b'"\xe4\xbd', []),
    ],
)
def test_the_last_line_without_its_end(wire: bytes, at_end: list[str]) -> None:
    decoder = Decoder()
    decoder.feed(wire)
    assert decoder.close(lenient=True) == at_end
    assert decoder.close(lenient=True) == []
    strict = Decoder()
    strict.feed(wire)
    assert strict.close() == []


def test_nothing_is_read_after_close() -> None:
    decoder = Decoder()
    decoder.close()
    with pytest.raises(LocalProtocolError, match="fed after close"):
        decoder.feed(b"")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 100])
def test_the_limit_is_exact_and_comes_after_the_lines_before(size: int) -> None:
    decoder = Decoder(limit=5)
    assert feed_all(decoder, pieces(b"\xef\xbb\xbf12345\n1\n", size)) == ["12345", "1"]
    lines: list[str] = []
    raised = None
    for chunk in [*pieces(b"2\n123456\n3\n", size), b""]:
        try:
            lines += decoder.feed(chunk)
        except EventTooLarge as error:
            raised = error
    assert lines == ["2"]
    assert str(raised) == "an NDJSON line is larger than 5 bytes; raise the limit if the peer is trusted"
    assert isinstance(raised, RemoteProtocolError)
    for again in (b"", b"1\n"):
        with pytest.raises(EventTooLarge):
            decoder.feed(again)
    with pytest.raises(EventTooLarge):
        decoder.close(lenient=True)


def test_lines_before_an_oversized_one_are_delivered_first() -> None:
    decoder = Decoder(limit=5)
    assert decoder.feed(b"1\n\n2\n123456\n3\n") == ["1", "2"]
    with pytest.raises(EventTooLarge):
        decoder.feed(b"")
    unfinished = Decoder(limit=5)
    assert unfinished.feed(b"1\n123456") == ["1"]
    with pytest.raises(EventTooLarge):
        unfinished.close()


def test_an_endless_line_is_refused_in_bounded_memory() -> None:
    limit = 128 * 1024
    decoder = Decoder(limit)
    tracemalloc.start()
    try:
        with pytest.raises(EventTooLarge):
            feed_all(decoder, repeat(b"ab", limit))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * limit
    assert held < 16 * 1024


def test_a_limit_without_room_for_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 bytes, not 2"):
        Decoder(limit=2)


@pytest.mark.parametrize("text", ["a\nb", "\n", "a\rb", "{}\r\n", "", "  \t", '"\ud800"'])
def test_what_would_not_be_one_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.compile("line|surrogates")):
        encode(text)


def test_bytes_written() -> None:
    assert encode('{"a":"é\u2028"}') == '{"a":"é\u2028"}\n'.encode()


def test_public_names() -> None:
    assert ndjson.__all__ == ["DEFAULT_LIMIT", "Decoder", "encode"]
