"""Hostile streams: work stays linear, memory bounded, and nothing but the documented error comes out."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import repeat

import pytest

from tokenwire.errors import EventTooLarge, RemoteProtocolError
from tokenwire.wire.sse import Decoder, Event

KB = 1024
MB = 1024 * KB


def pieces(wire: bytes, size: int) -> list[bytes]:
    return [wire[start : start + size] for start in range(0, len(wire), size)]


def tails(count: int) -> list[bytes]:
    """Chunks made to waste the fast paths' work: each ends one event and begins one, which then comes in crumbs."""
    crumbs = [b"x"] * 20
    return [b"data: first\n\n", *((b"\n\ndata: " + b"x" * 400, *crumbs) * count)]


def feed_all(decoder: Decoder, chunks: Iterable[bytes]) -> list[Event]:
    return [event for chunk in chunks for event in decoder.feed(chunk)]


# Name -> the chunks of a stream of the given scale: twice the scale, twice the bytes.
HOSTILE: dict[str, Callable[[int], list[bytes]]] = {
    "one line, byte by byte": lambda n: pieces(b"data: " + b"x" * (n * KB), 1),
    "one line, in pairs of bytes": lambda n: pieces(b"data: " + b"xy" * (n * KB), 2),
    "one line, by the kilobyte": lambda n: pieces(b"data: " + b"x" * (n * 64 * KB), KB),
    "one line after an event, by the kilobyte": lambda n: [
        b"data: 1\n\n",
        *pieces(b"data: " + b"x" * (n * 64 * KB), KB),
    ],
    "many lines, one block": lambda n: pieces(b"data: x\n" * (n * KB), KB),
    "many lines, one block, at once": lambda n: [b"data: x\n" * (n * KB) + b"\n"],
    "many lines of no meaning": lambda n: [b"x\n" * (n * KB) + b"\n"],
    "comments without a blank line": lambda n: pieces(b": hb\n" * (n * KB), 7),
    "blank lines, byte by byte": lambda n: [b"\n"] * (n * KB),
    "blank lines, at once": lambda n: [b"\n" * (n * 8 * KB)],
    "carriage returns, byte by byte": lambda n: [b"\r"] * (n * KB),
    "carriage returns, at once": lambda n: [b"\r" * (n * 8 * KB)],
    "crlf, cut within": lambda n: [b"\r", b"\n"] * (n * KB),
    "events, at once": lambda n: [b"data: x\n\n" * (n * KB)],
    "events with types, at once": lambda n: [b"data: x\n\n", b"event: t\ndata: x\n\n" * (n * KB)],
    "events, crlf, byte by byte": lambda n: pieces(b"data: x\r\n\r\n" * (n * 128), 1),
    "events and comments": lambda n: pieces(b"data: x\n\n: hb\n\n" * (n * KB), KB),
    "tails in crumbs": lambda n: tails(n * 8),
    "leads without ends": lambda n: [b"data: x\n\n", *([b"data: x\n\nda", b"ta: "] * (n * 128))],
    "zeros of a retry": lambda n: [b"retry: " + b"0" * (n * 64 * KB) + b"\n\n"],
    "digits of a retry": lambda n: [b"retry: " + b"9" * (n * 64 * KB) + b"\n\n"],
    "invalid bytes": lambda n: pieces(b"data: " + b"\xff" * (n * KB), 3),
}


def work(chunks: Iterable[bytes]) -> float:
    """Seconds of this process's own time; the chunks were made before."""
    decoder = Decoder(limit=64 * MB)
    start = time.process_time()
    feed_all(decoder, chunks)
    decoder.close(lenient=True)
    return time.process_time() - start


@pytest.mark.untraced
@pytest.mark.parametrize("name", HOSTILE)
def test_work_is_linear(name: str) -> None:
    """Ten times the bytes: ten times the work, where quadratic work would be a hundred times as much.

    Judged at 40 times, with a floor for what the clock cannot see, and a busy machine would have to disturb the same
    measurement three times.
    """
    small, large = HOSTILE[name](8), HOSTILE[name](80)
    for _ in range(3):
        if work(large) < 40 * max(work(small), 0.002):
            return
    pytest.fail(f"{name}: not linear")


ENDLESS = {
    "a line": (b"data: ", b"x" * 1000),
    "a comment": (b": ", b"x" * 1000),
    "a type": (b"event: ", b"x" * 1000),
    "an id": (b"id: ", b"x" * 1000),
    "data lines": (b"", b"data: x\n" * 100),
    "empty data lines": (b"", b"data\n" * 100),
    "comment lines": (b"", b":\n" * 100),
    "carriage returns between": (b"", b"x\r" * 100),
    "pairs of bytes": (b"data: ", b"xy"),
    "a line after an event": (b"data: x\n\ndata: ", b"x" * 1000),
}


@pytest.mark.untraced
@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_block_is_refused_in_bounded_memory(name: str) -> None:
    limit = MB // 8
    start, more = ENDLESS[name]
    decoder = Decoder(limit)
    decoder.feed(start)
    tracemalloc.start()
    try:
        with pytest.raises(EventTooLarge):
            feed_all(decoder, repeat(more, limit))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * limit
    assert held < 16 * KB


@pytest.mark.untraced
@pytest.mark.parametrize("line", [b"data:ab\n", b"data\n", b"a\n", b"ab\n", b":\n", b"id: x\n"])
def test_a_block_of_many_lines_takes_a_fixed_multiple_of_its_size(line: bytes) -> None:
    limit = MB // 8
    decoder = Decoder(limit)
    wire = line * (limit // len(line)) + b"\n"
    tracemalloc.start()
    try:
        decoder.feed(wire)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 14 * limit  # a short string of data has 50 bytes beside its text
    assert held < 16 * KB


@pytest.mark.parametrize("chunk", [b"", b"data: x\n\n", b"\n\n", b"data: x\r\n\r\n", b"data: " + b"x" * 100])
@pytest.mark.parametrize(
    "before", [b"", b"data: x\n\n", b"event: t\ndata: x\n\n", b"data: x\r\n\r\n", b"data: x\n\ndata"]
)
def test_a_failed_decoder_stays_failed(before: bytes, chunk: bytes) -> None:
    decoder = Decoder(limit=24)
    decoder.feed(before)
    with pytest.raises(EventTooLarge):
        decoder.feed(b"data: " + b"x" * 30)
    for _ in range(2):
        with pytest.raises(EventTooLarge) as raised:
            decoder.feed(chunk)
        assert raised.value.limit == 24
        assert isinstance(raised.value, RemoteProtocolError)
        assert (
            str(raised.value) == "a server-sent event is larger than 24 bytes; raise the limit if the peer is trusted"
        )
    for lenient in (True, False):
        with pytest.raises(EventTooLarge):
            decoder.close(lenient=lenient)


def test_events_before_an_oversized_one_are_delivered_first() -> None:
    decoder = Decoder(limit=20)
    wire = b"id: 1\ndata: a\n\nid: 2\ndata: b\n\ndata: " + b"x" * 20 + b"\n\ndata: c\n\n"
    assert decoder.feed(wire) == [Event("message", "a", "1"), Event("message", "b", "2")]
    with pytest.raises(EventTooLarge):
        decoder.feed(b"")
    assert decoder.last_event_id == "2"


def test_events_before_an_oversized_one_are_delivered_though_the_end_comes_next() -> None:
    decoder = Decoder(limit=20)
    assert decoder.feed(b"data: a\n\ndata: " + b"x" * 20) == [Event("message", "a")]
    with pytest.raises(EventTooLarge):
        decoder.close()


@pytest.mark.parametrize("first", [b"", b"data: x\n\n", b"event: t\ndata: x\n\n", b"data: x\r\n\r\n"])
@pytest.mark.parametrize("size", range(1, 70))
def test_the_limit_is_exact_on_every_route(first: bytes, size: int) -> None:
    """A block of exactly the limit passes and one more byte does not, at once and in pieces, alone and in a row."""
    block = b"event: t\ndata: 12345\n"
    for limit, fits in ((len(block), True), (len(block) - 1, False)):
        decoder = Decoder(limit)
        decoder.feed(first)
        events: list[Event] = []
        failed = False
        try:
            for chunk in pieces((block + b"\n") * 3, size):
                events += decoder.feed(chunk)
            decoder.close()
        except EventTooLarge:
            failed = True
        assert (events, failed) == (([Event("t", "12345")] * 3, False) if fits else ([], True))


@pytest.mark.parametrize("limit", [-1, 0, 2])
def test_a_limit_without_room_for_anything_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"at least 3 bytes, not {limit}"):
        Decoder(limit)


def test_megabytes_in_one_event_are_normal() -> None:
    decoder = Decoder()
    wire = b'data: {"type":"response.completed","image":"' + b"A" * (4 * MB) + b'"}\n\n'
    events = feed_all(decoder, pieces(wire, 64 * KB))
    assert [event.data for event in events] == [wire[6:-2].decode()]


def test_deep_json_at_a_lenient_end_is_only_not_whole() -> None:
    decoder = Decoder()
    decoder.feed(b"data: " + b"[" * MB + b"]" * MB)
    assert decoder.close(lenient=True) == []
