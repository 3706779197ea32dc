"""Answers of every framing, cut at every byte, through a connection without a socket."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterable

import pytest

from tokenwire.errors import EventTooLarge
from tokenwire.testing.exchange import Call, RecordedExchange, RecordedTransport, play
from tokenwire.testing.http_bytes import LAST_CHUNK, answer, head, http_chunk
from tokenwire.upstream.connection import MAX_HEAD, Connection

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

# name -> bytes of the answer, its body, whether the connection can be used again
FRAMED: dict[str, tuple[bytes, bytes, bool]] = {
    "length": (answer(b"hello"), b"hello", True),
    "length of nothing": (answer(b""), b"", True),
    "chunked": (answer([b"he", b"l", b"lo"], framing="chunked"), b"hello", True),
    "chunked, nothing": (answer([], framing="chunked"), b"", True),
    "upper-case hex": (CHUNKED + b"A\r\n0123456789\r\n" + LAST_CHUNK, b"0123456789", True),
    "leading zeros": (CHUNKED + b"0002\r\nhe\r\n00\r\n\r\n", b"he", True),
    "extensions": (CHUNKED + b'2;a=b;c="d e"\r\nhe\r\n0;z\r\n\r\n', b"he", True),
    "trailers": (CHUNKED + b"2\r\nhe\r\n0\r\nX-Sum: 1\r\nX-Also: 9\r\n\r\n", b"he", True),
    "a coding before chunked": (OK + b"Transfer-Encoding: gzip, Chunked\r\n\r\n2\r\nhe\r\n" + LAST_CHUNK, b"he", True),
    "close is announced": (answer(b"hello", fields=[("Connection", "close")]), b"hello", False),
    "chunked, close is announced": (answer([b"x"], framing="chunked", fields=[("Connection", "close")]), b"x", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhe", b"he", False),
    "HTTP/1.0 that keeps": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhe", b"he", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "304, with the length of what it leaves out": (b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", b"", True),
    "100 first": (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"hello"), b"hello", True),
    "100 and 103 first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(b"hello"),
        b"hello",
        True,
    ),
}
CLOSED: dict[str, tuple[bytes, bytes]] = {
    "neither length nor chunks": (answer(b"hello", framing="close"), b"hello"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
    "a coding that is not chunked": (OK + b"Transfer-Encoding: gzip\r\n\r\nhello", b"hello"),
}


def cuts(wire: bytes) -> Iterable[list[bytes]]:
    """Whole, in every two pieces, and byte by byte."""
    yield from ([wire[:cut], wire[cut:]] for cut in range(len(wire)))
    yield [wire[i : i + 1] for i in range(len(wire))]


@pytest.mark.parametrize(("wire", "body", "kept"), FRAMED.values(), ids=FRAMED)
def test_a_framed_answer_is_the_same_wherever_it_is_cut(wire: bytes, body: bytes, kept: bool) -> None:
    for reads in cuts(wire):
        played = play(reads)
        exchange = played.exchange
        assert (exchange.ended, exchange.body, exchange.error) == (True, body, None), reads
        assert (played.kept, played.connection.usable) == (kept, kept), reads
        assert played.transport.aborted is not kept
        assert exchange.breaches == []


@pytest.mark.parametrize(("wire", "body", "kept"), FRAMED.values(), ids=FRAMED)
@pytest.mark.parametrize("how", ["eof", "reset"])
def test_a_framed_answer_that_stops_early_is_lost(wire: bytes, body: bytes, kept: bool, how: str) -> None:
    head_end = wire.rindex(b"HTTP/1.")
    head_end = wire.index(b"\r\n\r\n", head_end) + 4
    for cut in range(len(wire)):
        exchange = play([wire[:cut]], then="eof" if how == "eof" else "reset").exchange
        assert not exchange.ended
        assert exchange.answered is (cut > 0)
        assert body.startswith(exchange.body)
        where = "before it answered" if cut == 0 else "in its answer's head" if cut < head_end else "in mid-answer"
        assert where in str(exchange.error), cut
        assert ("reset" in str(exchange.error)) is (how == "reset")


@pytest.mark.parametrize(("wire", "body"), CLOSED.values(), ids=CLOSED)
def test_a_body_without_a_length_ends_with_the_connection(wire: bytes, body: bytes) -> None:
    head_size = wire.index(b"\r\n\r\n") + 4
    for reads in cuts(wire):
        assert not play(reads).exchange.is_over
        played = play(reads, then="eof")
        assert (played.exchange.ended, played.exchange.body, played.kept) == (True, body, False)
        assert not played.connection.usable
    for cut in range(len(wire)):
        exchange = play([wire[:cut]], then="eof").exchange
        assert exchange.ended is (cut >= head_size), cut


@pytest.mark.parametrize(("wire", "body"), CLOSED.values(), ids=CLOSED)
def test_a_reset_is_no_end_even_of_a_body_without_a_length(wire: bytes, body: bytes) -> None:
    exchange = play([wire], then="reset").exchange
    assert not exchange.ended
    assert exchange.body == body
    assert "in mid-answer: [Errno 104] Connection reset by peer" in str(exchange.error)


def test_names_of_header_fields_are_lower_case_and_their_order_and_repeats_stay() -> None:
    wire = b"HTTP/1.1 429 Slow\r\nX-B: 1\r\nSet-Cookie: a\r\nset-COOKIE: b\r\nContent-Length: 0\r\n\r\n"
    exchange = play([wire]).exchange
    assert exchange.status == 429
    assert exchange.headers == [(b"x-b", b"1"), (b"set-cookie", b"a"), (b"set-cookie", b"b"), (b"content-length", b"0")]


def test_informational_fields_and_trailers_are_not_the_answers() -> None:
    wire = b"HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n" + CHUNKED + b"1\r\nx\r\n0\r\nX-Trailer: 1\r\n\r\n"
    assert play([wire]).exchange.headers == [(b"transfer-encoding", b"chunked")]


def test_a_lone_chunk_is_handed_on_as_it_came_and_several_are_one_call() -> None:
    one, two = http_chunk(b"hello"), http_chunk(b"x" * 5000)
    exchange = play([CHUNKED, http_chunk(b"first"), one, one + two, two]).exchange
    # The first chunk goes through the parser, which then says that it stands between two of them.
    assert exchange.chunks == [None, one, None, None]
    assert exchange.body == b"firsthello" + b"hello" + b"x" * 10_000


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02F",  # a TLS alert: https spoken to http
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200\nContent-Length: 0\n\n",
        OK + b"no colon here\r\n\r\n",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab",
        OK + b"Content-Length: -2\r\n\r\nab",
    ],
)
def test_what_is_not_http_is_lost_at_once(wire: bytes) -> None:
    for reads in cuts(wire):
        played = play(reads)
        assert "does not speak HTTP/1.1 here" in str(played.exchange.error), reads
        assert played.exchange.answered
        assert (played.transport.aborted, played.connection.usable) == (True, False)
        assert played.exchange.breaches == []


@pytest.mark.parametrize(
    "nonsense", [b"zz\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloXX", b"\r\n", b"5\nhello\n", b"8" * 20]
)
def test_nonsense_between_chunks_is_lost_and_what_came_before_it_delivered(nonsense: bytes) -> None:
    wire = CHUNKED + http_chunk(b"good")
    for reads in ([wire + nonsense], [wire, nonsense], [CHUNKED, http_chunk(b"good"), nonsense]):
        played = play(reads)
        assert played.exchange.body[:4] == b"good"
        assert "does not speak HTTP/1.1 here" in str(played.exchange.error)
        assert played.transport.aborted


@pytest.mark.parametrize("fields", [b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"])
def test_switching_protocols_is_refused(fields: bytes) -> None:
    for reads in cuts(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n"):
        played = play(reads)
        assert "switched protocols (101)" in str(played.exchange.error)
        assert (played.exchange.status, played.transport.aborted) == (0, True)


# ---------------------------------------------------------------------- bytes that nobody asked for

EXCESS = {
    "a second answer": answer(b"other", status=500),
    "an informational one": b"HTTP/1.1 100 Continue\r\n\r\n",
    "nonsense": b"\x00\xff",
    "half a line": b"HT",
}


@pytest.mark.parametrize("excess", EXCESS.values(), ids=EXCESS)
@pytest.mark.parametrize(("wire", "body", "kept"), FRAMED.values(), ids=FRAMED)
def test_bytes_after_the_end_cost_the_connection_and_not_the_answer(
    wire: bytes, body: bytes, kept: bool, excess: bytes
) -> None:
    for cut in range(1, len(wire + excess)):
        played = play([(wire + excess)[:cut], (wire + excess)[cut:]])
        exchange = played.exchange
        assert (exchange.ended, exchange.body, exchange.error) == (True, body, None), cut
        assert exchange.status != 500
        assert (played.connection.usable, played.transport.aborted) == (False, True), cut
        assert exchange.breaches == []


# ---------------------------------------------------------------------- bounds

ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "header line": (OK + b"X-Endless: ", b"x" * 1000),
    "header section": (OK, b"X-Field: value\r\n" * 60),
    "informational answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
    "status line": (b"HTTP/1.1 200 ", b"O" * 1000),
    "trailer line": (CHUNKED + b"1\r\nx\r\n0\r\nX-Endless: ", b"x" * 1000),
    "trailer section": (CHUNKED + b"1\r\nx\r\n0\r\n", b"X-Field: value\r\n" * 60),
    "chunk extension": (CHUNKED + b"5;a=", b"x" * 1000),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS)
def test_a_head_or_trailer_without_an_end_is_bounded(begin: bytes, more: bytes) -> None:
    read: list[bytes] = []

    def reads() -> Iterable[bytes]:
        for data in (begin, *itertools.repeat(more, 200)):
            read.append(data)
            yield data
            if exchange.is_over:
                return

    exchange = RecordedExchange()
    played = play(reads(), exchange=exchange)
    assert isinstance(exchange.error, EventTooLarge)
    assert exchange.error.limit == MAX_HEAD
    assert MAX_HEAD < sum(map(len, read)) <= MAX_HEAD + len(begin) + len(more)
    assert played.transport.aborted


def test_the_framing_of_a_long_body_is_no_head() -> None:
    chunks = MAX_HEAD // 3 + 1
    reads = [CHUNKED] + [b"5\r\n", b"hello\r\n"] * chunks + [LAST_CHUNK]
    played = play(reads)
    assert played.exchange.ended
    assert played.exchange.body == b"hello" * chunks
    assert played.kept


def test_a_head_just_within_the_bound_is_taken() -> None:
    wire = head(200, ("X-Long", "x" * (MAX_HEAD - 300)), ("Content-Length", "2")) + b"ab"
    assert len(wire) < MAX_HEAD
    for reads in ([wire], [wire[i : i + 1000] for i in range(0, len(wire), 1000)]):
        assert play(reads).exchange.ended


# ---------------------------------------------------------------------- aborted, or broken, in mid-callback


@pytest.mark.parametrize("call", ["head", "body", "end"])
def test_nothing_is_delivered_after_an_abort_in_mid_callback(call: Call) -> None:
    exchange = RecordedExchange({call: lambda: exchange.connection.abort()})
    wire = CHUNKED + http_chunk(b"one") + http_chunk(b"two") + LAST_CHUNK + answer(b"excess")
    played = play([wire], exchange=exchange)
    assert exchange.breaches == []
    assert exchange.error is None
    assert exchange.ended is (call == "end")
    assert exchange.body == (b"" if call == "head" else b"onetwo")
    assert (played.connection.usable, played.transport.aborted) == (False, True)


@pytest.mark.parametrize("call", ["head", "body", "end"])
def test_a_bug_of_the_exchange_is_not_called_a_bad_upstream(call: Call) -> None:
    def broken() -> None:
        raise KeyError("a bug")

    exchange = RecordedExchange({call: broken})
    with pytest.raises(KeyError, match="a bug"):
        play([CHUNKED + http_chunk(b"one") + LAST_CHUNK], exchange=exchange)
    assert exchange.error is None


def test_abort_pause_and_resume_may_be_repeated_in_any_state() -> None:
    states: list[Callable[[Connection], None]] = [Connection.pause, Connection.resume, Connection.abort]
    for calls in itertools.product(states, repeat=3):
        unmade = Connection(lambda: 0)
        played = play([CHUNKED])
        for call in calls:
            call(unmade)
            call(played.connection)
        aborted = Connection.abort in calls
        assert played.transport.aborted is aborted
        assert played.exchange.error is None
        assert aborted or played.transport.reading is (calls[-1] is Connection.resume)


def test_an_answer_that_ends_while_paused_leaves_the_connection_reading() -> None:
    exchange = RecordedExchange({"body": lambda: exchange.connection.pause()})
    played = play([CHUNKED, http_chunk(b"x") + LAST_CHUNK], exchange=exchange)
    assert exchange.ended
    assert (played.connection.usable, played.transport.reading) == (True, True)


def test_a_connection_of_no_pool_stays_with_its_maker() -> None:
    connection, transport = Connection(lambda: 0), RecordedTransport()
    connection.connection_made(transport)
    for _ in range(2):
        exchange = RecordedExchange()
        connection.send(exchange, b"GET / HTTP/1.1\r\n\r\n")
        connection.data_received(answer(b"hello"))
        assert exchange.body == b"hello"
        assert connection.usable
    connection.connection_lost(None)
    connection.abort()
    assert not connection.usable
    assert not transport.aborted, "it is gone: asyncio's transport would report its end a second time"


def test_a_socket_that_is_no_tcp_socket_is_read_all_the_same() -> None:
    """Delayed acknowledgements are asked for in vain, once, and nothing else comes of it."""
    asked: list[int] = []

    class Pipe:
        def setsockopt(self, level: int, option: int, value: int) -> None:
            asked.append(option)
            raise OSError(95, "Operation not supported")

    class PipeTransport(RecordedTransport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return Pipe() if name == "socket" else default

    connection, exchange = Connection(lambda: 0), RecordedExchange()
    connection.connection_made(PipeTransport())
    connection.send(exchange, b"GET / HTTP/1.1\r\n\r\n")
    connection.data_received(CHUNKED)
    for _ in range(100):
        connection.data_received(http_chunk(b"x"))
    assert len(asked) == (1 if hasattr(socket, "TCP_QUICKACK") else 0)
    assert exchange.body == b"x" * 100
