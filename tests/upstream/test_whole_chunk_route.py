"""Whole chunks are taken apart by hand; here that route is compared with the parser, which alone is always right.

Two oracles: llhttp fed with all bytes in one piece, and the bodies of which the answer was built.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenwire.testing.exchange import RecordedExchange, play
from tokenwire.testing.http_bytes import http_chunk

if TYPE_CHECKING:
    from tokenwire.engine.lane import Offer

HEADS = {
    "keep-alive": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    # To llhttp the blanks are a part of the coding's name, so that this body is not chunked; a connection that made
    # more of the field than llhttp does would be out of step with it.
    "not quite chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t \r\n\r\n",
    "by length": b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n",
}


class _Parser:
    """llhttp over bytes in one piece: what they mean, without any route of ours."""

    def __init__(self, wire: bytes) -> None:
        self.body = b""
        self.ended = False
        self.kept = False
        self.in_order = True
        parser = httptools.HttpResponseParser(self)
        self._keeps = parser.should_keep_alive
        try:
            parser.feed_data(wire)
        except httptools.HttpParserError:
            self.in_order = False
            self.kept = False

    def on_message_begin(self) -> None:
        assert not self.ended, "bytes after the end"

    def on_headers_complete(self) -> None:
        self.kept = self._keeps()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.ended = True


class Answer(NamedTuple):
    """A chunked answer: its bytes, the offsets between its chunks, its body."""

    wire: bytes
    between: list[int]
    body: bytes


# What chunks hold is often what could be taken for framing.
contents = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"\n", b"data: x\n\n", b"f\r\n" + b"x" * 15 + b"\r\n"]),
    st.sampled_from([1, 9, 10, 15, 16, 17, 255, 256, 4090, 4091, 4095, 4096, 5000]).map(lambda size: b"z" * size),
)
size_lines = st.builds(
    lambda zeros, upper, extension: (
        lambda size: b"0" * zeros + (b"%X" if upper else b"%x") % size + extension + b"\r\n"
    ),
    st.sampled_from([0, 0, 0, 1, 3]),
    st.booleans(),
    st.sampled_from([b"", b"", b"", b";a", b";a=b", b';q="5;6";r=7']),
)
chunks = st.lists(st.tuples(contents, size_lines), max_size=8)
endings = st.sampled_from([b"0\r\n\r\n", b"000\r\n\r\n", b"0;last\r\n\r\n", b"0\r\nX-Sum: 9\r\nX-T: \r\n\r\n", b""])


@st.composite
def answers(draw: st.DrawFn, heads: tuple[str, ...], damaged: bool) -> Answer:
    wire = HEADS[draw(st.sampled_from(heads))]
    between, body = [len(wire)], b""
    for content, size_line in draw(chunks):
        wire += size_line(len(content)) + content + b"\r\n"
        body += content
        between.append(len(wire))
    wire += draw(endings)
    if damaged and draw(st.integers(0, 5)) == 5:  # one byte is another
        at = draw(st.integers(0, len(wire) - 1))
        wire = wire[:at] + draw(st.binary(min_size=1, max_size=1)) + wire[at + 1 :]
    return Answer(wire, between, body)


@st.composite
def reads_of(draw: st.DrawFn, answer: Answer) -> list[bytes]:
    """The network's choice: cut mostly between chunks, where the hand-made route is taken, and somewhere else."""
    cuts = set(draw(st.lists(st.sampled_from(answer.between), max_size=9)))
    cuts |= set(draw(st.lists(st.integers(0, len(answer.wire)), max_size=3)))
    places = [0, *sorted(cuts), len(answer.wire)]
    return [answer.wire[a:b] for a, b in pairwise(places)]


Arrival: TypeAlias = tuple[Answer, list[bytes]]


@st.composite
def arrivals(
    draw: st.DrawFn, heads: tuple[str, ...] = (*HEADS, "keep-alive", "keep-alive"), damaged: bool = True
) -> Arrival:
    answer = draw(answers(heads, damaged))
    return answer, draw(reads_of(answer))


def check(wire: bytes, reads: list[bytes]) -> _Parser:
    played = play(reads)
    exchange = played.exchange
    oracle = _Parser(wire)
    assert exchange.body == oracle.body
    assert exchange.ended is oracle.ended
    assert (exchange.error is None) is (oracle.in_order or oracle.ended)
    assert played.connection.usable is (oracle.ended and oracle.kept)
    assert exchange.breaches == []
    return oracle


@pytest.mark.untraced
@settings(max_examples=400, deadline=None)
@given(arrivals())
def test_both_routes_read_the_same(arrival: Arrival) -> None:
    answer, reads = arrival
    check(answer.wire, reads)


@settings(max_examples=80, deadline=None)
@given(chunks, st.data())
def test_both_routes_read_what_was_sent(pieces: list[tuple[bytes, object]], data: st.DataObject) -> None:
    """Plain chunks, whole reads of them: nothing but the hand-made route, once the first chunk is past."""
    wire = HEADS["keep-alive"] + b"".join(http_chunk(content) for content, _ in pieces)
    between = [len(HEADS["keep-alive"])]
    for content, _ in pieces:
        between.append(between[-1] + len(http_chunk(content)))
    body = b"".join(content for content, _ in pieces)
    reads = data.draw(reads_of(Answer(wire, between, body)))
    assert play([*reads, b"0\r\n\r\n"]).exchange.body == body
    assert check(wire + b"0\r\n\r\n", [*reads, b"0\r\n\r\n"]).kept


@settings(max_examples=60, deadline=None)
@given(arrivals(heads=("keep-alive", "close", "HTTP/1.0"), damaged=False), st.booleans())
def test_an_end_of_the_connection_completes_no_chunked_answer(arrival: Arrival, reset: bool) -> None:
    reads = arrival[1]
    open_end = play(reads).exchange
    exchange = play(reads, then="reset" if reset else "eof").exchange
    assert exchange.body == open_end.body
    assert exchange.ended is open_end.ended
    assert (exchange.error is None) is exchange.ended


def test_what_is_left_of_a_chunk_is_not_taken_for_chunks() -> None:
    """Its size is cut in two, and with the rest of that its content reads like two whole chunks."""
    content = b"hello\r\n" + b"b\r\n" + b"y" * 11
    wire = http_chunk(content)
    assert wire.startswith(b"15\r\n")
    for cut in range(1, len(wire)):
        for more in (b"", http_chunk(b"z")):
            reads = [HEADS["keep-alive"] + http_chunk(b"first") + wire[:cut], wire[cut:] + more, b"0\r\n\r\n"]
            check(b"".join(reads), reads)
            assert play(reads).exchange.body == b"first" + content + (b"z" if more else b"")


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 255, 256, 4000, 4089, 4090, 4091, 4096, 65_535, 65_536])
def test_lone_chunks_of_every_size_class_come_with_their_bytes(size: int) -> None:
    """Up to what a frame usually has, the chunk is handed on for readers to share; larger ones need not be."""
    content = b"\n" * size
    for wire in (http_chunk(content), http_chunk(content).replace(b"%x" % size, b"%X" % size, 1)):
        exchange = play([HEADS["keep-alive"] + http_chunk(b"first"), wire, wire]).exchange
        assert exchange.body == b"first" + 2 * content
        assert all(chunk is None or chunk == wire for chunk in exchange.chunks)
        assert exchange.reads == 3


# ---------------------------------------------------------------------- the express lane


class ScriptedOffer:
    """``tokenwire.engine.lane.Offer``: what its lane received, and passed on if it *takes* nothing."""

    def __init__(self, *, takes: bool) -> None:
        self.takes = takes
        self.open = True
        self.upper = False
        self.received: list[bytes] = []

    def ready(self) -> bool:
        return self.open

    def make(
        self, general: Callable[[bytes], None], check: Callable[[], None], *, upper: bool = False
    ) -> Callable[[bytes], None]:
        self.upper = upper

        def lane(data: bytes) -> None:
            self.received.append(data)
            if not self.takes:
                general(data)

        return lane


def express(exchange: RecordedExchange, offer: ScriptedOffer | None) -> None:
    exchange.connection.express(cast("Offer | None", offer))


@pytest.mark.parametrize("takes", [True, False])
def test_between_two_chunks_an_express_lane_receives(takes: bool) -> None:
    offer = ScriptedOffer(takes=takes)
    exchange = RecordedExchange({"head": lambda: express(exchange, offer)})
    lone = [http_chunk(b"x" * size) for size in (1, 15, 16, 300)]
    play([HEADS["keep-alive"], http_chunk(b"first"), *lone, b"0\r\n\r\n"], exchange=exchange)
    assert offer.received == [*lone, b"0\r\n\r\n"]
    if not takes:
        assert exchange.body == b"first" + b"x" * 332
        assert exchange.ended


def test_a_lane_is_told_when_sizes_are_written_with_capitals() -> None:
    offer = ScriptedOffer(takes=False)
    exchange = RecordedExchange({"head": lambda: express(exchange, offer)})
    usual, capital = http_chunk(b"x" * 15), b"F\r\n" + b"y" * 15 + b"\r\n"
    played = play([HEADS["keep-alive"], usual, usual], exchange=exchange)
    told = [offer.upper]
    for read in (capital, usual):
        played.connection.data_received(read)
        told.append(offer.upper)
    assert told == [False, True, True]
    assert exchange.body == b"x" * 30 + b"y" * 15 + b"x" * 15


def test_a_lane_that_is_not_ready_or_stands_within_a_chunk_receives_nothing() -> None:
    offer = ScriptedOffer(takes=False)
    exchange = RecordedExchange({"head": lambda: express(exchange, offer)})
    reads = [HEADS["keep-alive"], http_chunk(b"first"), b"3\r\na", b"bc\r\n", http_chunk(b"d"), b"0\r\n\r\n"]
    play(reads, exchange=exchange)
    assert offer.received == [reads[2], *reads[4:]]  # the fourth read ends a chunk that the third began
    assert exchange.body == b"firstabcd"
    closed = ScriptedOffer(takes=False)
    closed.open = False
    exchange = RecordedExchange({"head": lambda: express(exchange, closed)})
    play(reads, exchange=exchange)
    assert closed.received == []
    assert exchange.body == b"firstabcd"


def test_a_lane_serves_one_answer_only() -> None:
    offer = ScriptedOffer(takes=False)
    exchange = RecordedExchange({"head": lambda: express(exchange, offer)})
    answer = [HEADS["keep-alive"], http_chunk(b"first"), http_chunk(b"second"), b"0\r\n\r\n"]
    played = play(answer, exchange=exchange)
    assert played.kept
    assert offer.received == answer[2:]
    second = RecordedExchange()
    played.connection.send(second, b"GET / HTTP/1.1\r\n\r\n")
    for read in answer:
        played.connection.data_received(read)
    assert second.body == b"firstsecond"
    assert offer.received == answer[2:]


def test_a_lane_can_be_taken_back_while_it_receives() -> None:
    offer = ScriptedOffer(takes=False)
    exchange = RecordedExchange({"head": lambda: express(exchange, offer), "body": lambda: express(exchange, None)})
    answer = [HEADS["keep-alive"], http_chunk(b"first"), http_chunk(b"second"), b"0\r\n\r\n"]
    play(answer, exchange=exchange)
    assert offer.received == []  # the head ends within no chunk: the first went the general way, and took it back
    assert exchange.body == b"firstsecond"
