"""wire/frames: whole events cut out of a provider's bytes, compared with what `wire.sse` says they mean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.wire import sse
from tokenwire.wire.frames import Cutter

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures").glob("*/*.sse"))

#: What a line may begin with, and what makes trouble in the midst of one.
PIECES = (
    b"data: ", b"data:", b"data", b"event: x", b"id: 7", b"retry: 5", b": note", b":", b" ", b"a", b'"', b"0",
    b"unknown: 1", b"\xef\xbb\xbf", b"\xc3\xa9", b"\xff", b"\0", b"data: [DONE]", b"id", b"iddata: a", b" data: a",
)  # fmt: skip
ENDS = (b"\n", b"\r\n", b"\r")


def cut(body: bytes, *cuts: int) -> list[bytes]:
    """The frames of a body that arrives in pieces."""
    cutter = Cutter()
    frames: list[bytes] = []
    for start, end in zip((0, *sorted(cuts)), (*sorted(cuts), len(body)), strict=True):
        frames += cutter.feed(body[start:end])
    frames += cutter.close()
    assert cutter.pending == 0
    return frames


def meaning(body: bytes) -> list[tuple[str, str]]:
    """The events of a whole body."""
    decoder = sse.Decoder()
    return [(event.event, event.data) for event in decoder.feed(body) + decoder.close(lenient=True)]


def events_of(frames: list[bytes]) -> list[tuple[str, str]]:
    """What each frame means by itself. A blank line before it: byte-order marks are such only where a stream begins."""
    events: list[tuple[str, str]] = []
    for frame in frames:
        found = sse.Decoder().feed(b"\n" + frame)
        assert len(found) == 1, f"{frame!r} is not one event"
        assert (found[0].id, found[0].retry) == (None, None)
        events.append((found[0].event, found[0].data))
    return events


def plain_bytes(body: bytes) -> bytes:
    """What is left of a body by the rules: no comments, ids and retry times, no blocks that dispatch nothing."""
    kept: list[bytes] = []
    block: list[bytes] = []
    for line in re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)", body.removeprefix(b"\xef\xbb\xbf")):
        if line.rstrip(b"\r\n"):
            block.append(line)
            continue
        if any(re.match(rb"data[:\r\n]", one) for one in block):
            kept += [one for one in block if not re.match(rb":|(id|retry)[:\r\n]", one)] + [line]
        block = []
    return b"".join(kept)


def lines_of(pieces: tuple[bytes, ...]) -> st.SearchStrategy[list[bytes]]:
    line = st.lists(st.sampled_from(pieces), max_size=3).map(b"".join)
    return st.lists(line | st.just(b"") | st.just(b"data: a"), max_size=14)


# -- what a frame is


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (b"", []),
        (b"data: a\n\n", [b"data: a\n\n"]),
        (b"data: a\n\ndata: b\n\n", [b"data: a\n\n", b"data: b\n\n"]),
        (b"data:a\n\ndata\n\n", [b"data:a\n\n", b"data\n\n"]),
        (b"event: e\ndata: a\ndata: b\n\n", [b"event: e\ndata: a\ndata: b\n\n"]),
        (b"id: 1\ndata: a\nretry: 9\nid: 2\n\n", [b"data: a\n\n"]),
        (b": hello\n\ndata: a\n\n: hello\n\n", [b"data: a\n\n"]),
        (b": hello\ndata: a\n: more\n\n", [b"data: a\n\n"]),
        (b"event: nothing\n\nid: 3\n\ndata: a\n\n", [b"data: a\n\n"]),
        (b"data: a\nfoo: kept\nidle: kept\n\n", [b"data: a\nfoo: kept\nidle: kept\n\n"]),
        (b"\n\n\r\n\rdata: a\n\n\n\n", [b"data: a\n\n"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"data: a\r\n\r\n", b"data: b\r\n\r\n"]),
        (b"data: a\r\rdata: b\r\r", [b"data: a\r\r", b"data: b\r\r"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"data: a\r\n\n", b"data: b\n\r\n"]),
        (b"data: a\rid: 1\n\ndata: b\r: note\n\r\n", [b"data: a\r\n\n", b"data: b\r\r\n"]),
        (b'data: a\n{"kept":1}\n\n', [b'data: a\n{"kept":1}\n\n']),
    ],
)
def test_a_frame_is_one_dispatched_event_through_its_blank_line(body: bytes, frames: list[bytes]) -> None:
    assert cut(body) == frames


@pytest.mark.untraced
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recorded_bodies_keep_every_byte_of_their_events_wherever_they_are_cut(path: Path, end: bytes) -> None:
    body = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", end)
    frames = cut(body)
    if meaning(body):  # else it is all one unprefixed error
        assert b"".join(frames) == plain_bytes(body + end + end)
    assert frames
    for position in range(0, len(body), 97):
        assert cut(body, position) == frames
    assert cut(body, *range(len(body))) == frames


@settings(deadline=None)
@given(lines_of(PIECES), st.sampled_from(ENDS), st.lists(st.integers(0, 200)))
def test_any_lines_give_the_bytes_of_their_events_wherever_they_are_cut(
    lines: list[bytes], end: bytes, cuts: list[int]
) -> None:
    body = b"".join(line + end for line in lines) + end
    frames = cut(body, *(position for position in cuts if position <= len(body)))
    assert b"".join(frames) == plain_bytes(body)
    assert events_of(frames) == meaning(body)


@settings(deadline=None)
@given(lines_of(PIECES), st.lists(st.sampled_from(ENDS), min_size=14, max_size=14), st.lists(st.integers(0, 200)))
def test_any_mix_of_line_ends_and_any_end_of_the_bytes_mean_the_same(
    lines: list[bytes], ends: list[bytes], cuts: list[int]
) -> None:
    body = b"".join(line + end for line, end in zip(lines, ends, strict=False))
    for whole in (body, body[:-1], body[: 2 * len(body) // 3]):
        frames = cut(whole, *(position for position in cuts if position <= len(whole)))
        assert events_of(frames) == meaning(whole)


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=12) | st.sampled_from((b"data: x\n\n", b"\r\n", b"\n\n", b"\r\r", b"data:")), max_size=12
    )
)
def test_any_bytes_mean_the_same(chunks: list[bytes]) -> None:
    body = b"".join(chunks)
    cutter = Cutter()
    frames = [frame for chunk in chunks for frame in cutter.feed(chunk)]
    frames += cutter.close()
    adopted = [frame for frame in frames if re.match(rb"(event:.*\n)?data: ([{\[]|[ \t\v\f]+[{\[])", frame)]
    if not adopted:  # unprefixed JSON by chance
        assert events_of(frames) == meaning(body)


ROWS = (
    b"data: a\n\n", b"data:b\n\n", b"data: c\nid: 1\n\n", b": note\n\n", b"\n", b"event: e\ndata: d\n\n", b"data: e\n",
    b"data: f\r\n\r\n", b"data\n\n", b"x\n\n", b"data: g", b"event: e\n", b"event:h\ndata:h\n\n", b"event: e\n\n",
    b"event: i\ndata: 1\ndata: 2\n\n", b"event: j\nid: 2\n\n", b"event: k\ndata: k\r\r",
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.sampled_from(ROWS) | st.just(b"event: e\ndata: d\n\n"), max_size=6))
def test_a_read_of_whole_events_gives_what_the_general_route_gives(rows: list[bytes]) -> None:
    """Between two events a shorter route is tried; a cutter that has just begun does not take it."""
    data = b"".join(rows)
    begun = Cutter()
    begun.feed(b"data: first\n\n")
    assert begun.clean
    assert begun.feed(data) == Cutter().feed(b"data: first\n\n" + data)[1:]


def test_one_byte_order_mark_may_come_first_and_may_be_cut() -> None:
    body = b"\xef\xbb\xbfdata: a\n\ndata: b\n\n"
    for position in range(len(body)):
        assert cut(body, position) == [b"data: a\n\n", b"data: b\n\n"]
    assert cut(body, *range(len(body))) == [b"data: a\n\n", b"data: b\n\n"]
    assert cut(b"\xef\xbb\xbf" + body) == [b"data: b\n\n"]  # a second one is text, and spoils the field's name
    assert [cut(b"\xef\xbb\xbf"[:size]) for size in range(4)] == [[], [], [], []]


def test_an_event_does_not_wait_for_the_byte_after_it() -> None:
    for body in (b"data: a\n\n", b"data: a\r\r", b"data: a\r\n\r"):
        cutter = Cutter()
        assert len(cutter.feed(b"data: first\n\n")) == 1
        assert [len(cutter.feed(body[:-1])), len(cutter.feed(body[-1:]))] == [0, 1]
    cutter = Cutter()  # the line feed of a CRLF that comes late belongs to the frame before it
    assert cutter.feed(b"data: a\r\n\r") == [b"data: a\r\n\r\n"]
    assert not cutter.clean
    assert cutter.feed(b"\ndata: b\r\n\r\n") == [b"data: b\r\n\r\n"]
    assert cutter.clean


def test_clean_says_that_the_next_byte_begins_an_event() -> None:
    cutter = Cutter()
    assert not cutter.clean  # a byte-order mark may come
    seen = []
    for chunk in (b"data: a", b"\n", b"\n", b": note\n", b"\n", b"data: b\n\n", b"data: c\n\nda", b"ta: d\r\r", b"\n"):
        cutter.feed(chunk)
        seen.append(cutter.clean)
    assert seen == [False, False, True, False, True, True, False, False, True]


# -- the end of the bytes


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (b"data: [DONE]", [b"data: [DONE]\n\n"]),
        (b"data: [DONE]\n", [b"data: [DONE]\n\n"]),
        (b"data: a\r\n\r\ndata: [DONE]\r\n", [b"data: a\r\n\r\n", b"data: [DONE]\r\n\r\n"]),
        (b"data: a\r\rdata: [DONE]", [b"data: a\r\r", b"data: [DONE]\n\n"]),
        (b'data: {"a":1}', [b'data: {"a":1}\n\n']),
        (b'event: e\nid: 4\ndata: {"a":1}', [b'event: e\ndata: {"a":1}\n\n']),
        (b'data: {"a":1}\neven', [b'data: {"a":1}\n\n']),
        (b'data: {"a":1}\nid: 12', [b'data: {"a":1}\n\n']),
        (b"data: text\n", [b"data: text\n\n"]),
        (b"data: text", []),
        (b'data: {"a":"half', []),
        (b"data: 12", []),
        (b'data: {"a":1,\ndata: "b":2}', [b'data: {"a":1,\ndata: "b":2}\n\n']),
        (b"data: text\neven", []),
        (b"event: e\n", []),
        (b": note", []),
        (b"dat", []),
        (b"data", []),
        (b'{"error":{"code":503}}', [b'data: {"error":{"code":503}}\n\n']),
        (b'{\n "error":1\n}', [b'data: {\ndata:  "error":1\ndata: }\n\n']),
        (b'{"error":{"code":5', []),
        (b'{\n "error":1\n', []),
        (b'error: {"code":500}', [b'data: {"error":{"code":500}}\n\n']),
        (b'error: {"code":', []),
        (b'data: {"a":1}\n{"half":', [b'data: {"a":1}\n\n']),
    ],
)
def test_an_event_without_its_blank_line_counts_if_it_is_whole(body: bytes, frames: list[bytes]) -> None:
    for position in range(len(body)):
        assert cut(body, position) == frames


# -- what is no event, and becomes one


@pytest.mark.parametrize(
    ("block", "frame"),
    [
        (b'{"error":{"code":503}}', b'data: {"error":{"code":503}}\n\n'),
        (b'  [{"error":1}]', b'data:   [{"error":1}]\n\n'),
        (
            b'{\n  "error": {\n    "id": 1\n  }\n}',
            b'data: {\ndata:   "error": {\ndata:     "id": 1\ndata:   }\ndata: }\n\n',
        ),
        (b'error: {"code":500,"message":"no"}', b'data: {"error":{"code":500,"message":"no"}}\n\n'),
        (b'error: {"code":500,\n"message":"no"}', b'data: {"error":{"code":500,\ndata: "message":"no"}}\n\n'),
        (b': note\nid: 3\n{"error":1}', b'data: {"error":1}\n\n'),
        (b'{"error":1}\n: note\nid: 3\nretry: 5', b'data: {"error":1}\n\n'),
        (b'error: {"code":1}\nid: 3', b'data: {"error":{"code":1}}\n\n'),
        (b'event: error\n{"error":1}', b'event: error\ndata: {"error":1}\n\n'),
        (b'odd: field\n{"error":1}', b'data: {"error":1}\n\n'),
    ],
)
@pytest.mark.parametrize("end", ENDS)
def test_unprefixed_json_becomes_an_event_of_its_own(block: bytes, frame: bytes, end: bytes) -> None:
    body = (b"data: a\n\n" + block + b"\n\ndata: b\n\n").replace(b"\n", end)
    first, last = (one.replace(b"\n", end) for one in (b"data: a\n\n", b"data: b\n\n"))
    for position in range(len(body)):
        assert cut(body, position) == [first, frame, last]


@pytest.mark.parametrize(
    "block", [b"Internal Server Error", b"error: it broke", b"<html>", b"errors: {", b"x: {", b"}"]
)
def test_other_lines_without_data_are_no_event(block: bytes) -> None:
    assert cut(block + b"\n\ndata: a\n\n") == [b"data: a\n\n"]
    assert cut(block) == []
