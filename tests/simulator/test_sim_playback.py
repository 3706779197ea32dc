"""Replies on a clock of their own: when what is written, and what a client that leaves has not got."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from tokenwire.simulator.exchange import Frame, Mark, Reply
from tokenwire.simulator.latency import PROFILES, delays, schedule
from tokenwire.simulator.playback import BATCH, Playback
from tokenwire.simulator.stats import Stats
from tokenwire.simulator.ticker import Ticker


class Clock:
    """A loop with one timer, moved by hand; keeps what was written when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.when: float | None = None
        self.callback: Callable[[], None]
        self.written: list[tuple[float, bytes]] = []
        self.unsent = 0
        self.state = "open"
        self.ended: list[bool] = []

    # the loop

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Clock:
        self.when, self.callback = when, callback
        return self

    def cancel(self) -> None:
        self.when = None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise context["exception"]

    def run(self, until: float = 1e9) -> None:
        while self.when is not None and self.when <= until:
            self.now, self.when = max(self.now, self.when), None
            self.callback()

    # the transport

    def write(self, data: bytes) -> None:
        self.written.append((self.now, data))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str) -> socket.socket | None:
        if name == "ssl_object":
            return None
        closed = socket.socket()
        closed.close()
        return closed

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    # both

    def play(self, frames: Iterator[Frame], **more: Any) -> tuple[Playback, Stats]:
        stats = Stats()
        reply = Reply(frames, generation=True, **more)
        playback = Playback(reply, cast(Any, self), Ticker(self), stats, self.ended.append)
        playback.start()
        return playback, stats


def tokens(n: int, delay: float = 0.0) -> Iterator[Frame]:
    return (Frame(Mark.TOKEN, b"0123456789", 1, delay) for _ in range(n))


@pytest.mark.parametrize("model", ["claude-sonnet-4-6", "gpt-4o", "llama-4-scout"])
def test_tokens_are_written_at_their_times(model: str) -> None:
    clock = Clock()
    pace = delays(PROFILES[model], random.Random(5))
    clock.play(Frame(Mark.TOKEN, b"x", 1, next(pace)) for _ in range(300))
    clock.run()
    times = [at for at, data in clock.written for _ in data]
    due = 0.0
    for at, delay in zip(times, schedule(PROFILES[model], 300, 5), strict=True):
        due += delay
        assert due - 1e-6 <= at < due + 0.0011  # never early, and late by the grid of a millisecond at most


def test_a_late_turn_does_not_slow_the_stream_down() -> None:
    clock = Clock()
    clock.play(tokens(10, 0.010))
    clock.run(until=0.020)
    clock.now = 0.055  # the machine was busy
    clock.run(until=0.055)
    assert len(b"".join(data for _, data in clock.written)) == 50
    clock.run()
    assert clock.now == pytest.approx(0.1)


def test_chunks_are_framed_each_by_itself() -> None:
    clock = Clock()
    clock.play(
        iter(
            [
                Frame(Mark.HEAD, b"HEAD\r\n\r\n"),
                Frame(Mark.DATA, b""),
                Frame(Mark.TOKEN, b"a" * 16, 1),
                Frame(Mark.RAW, b"raw"),
                Frame(Mark.DONE, b"b"),
            ]
        ),
        chunked=True,
    )
    assert clock.written == [(0.0, b"HEAD\r\n\r\n10\r\n" + b"a" * 16 + b"\r\nraw1\r\nb\r\n0\r\n\r\n")]
    assert clock.ended == [True]


def test_an_instant_answer_is_sent_in_portions() -> None:
    clock = Clock()
    _, stats = clock.play(tokens(BATCH * 2 + 5), keep_alive=False)
    assert stats.tokens == BATCH
    clock.run()
    assert (stats.tokens, stats.done, clock.now) == (BATCH * 2 + 5, 1, 0.0)
    assert clock.ended == [False]


def test_a_reply_without_frames_is_over_at_once() -> None:
    clock = Clock()
    _, stats = clock.play(iter(()))
    assert (clock.written, clock.ended, stats.done) == ([], [True], 1)


@pytest.mark.parametrize(("mark", "state"), [(Mark.CUT, "closed"), (Mark.STALL, "open")])
def test_a_fault_ends_the_reply_at_its_time(mark: Mark, state: str) -> None:
    clock = Clock()
    playback, stats = clock.play(iter([*tokens(2, 0.1), Frame(mark, delay=0.1)]))
    clock.run(until=0.25)
    assert (clock.state, stats.active) == ("open", 1)
    clock.run()
    assert (clock.state, stats.active, clock.ended) == (state, int(mark is Mark.STALL), [])
    playback.resume()
    clock.run()
    playback.leave(lost=True)
    assert (stats.active, stats.aborted, stats.tokens) == (0, int(mark is Mark.STALL), 2)


def test_a_held_back_reply_goes_on_where_it_was() -> None:
    clock = Clock()
    playback, stats = clock.play(tokens(10, 0.010))
    clock.run(until=0.020)
    playback.pause()
    clock.run(until=1.0)
    assert stats.tokens == 2
    clock.now = 1.0
    playback.resume()
    clock.run()
    assert (stats.tokens, clock.now) == (10, 1.0)


def test_nothing_is_written_after_the_client_has_left() -> None:
    clock = Clock()
    playback, stats = clock.play(tokens(10, 0.010))
    clock.run(until=0.035)
    playback.leave(lost=False)
    playback.leave(lost=True)
    clock.run()
    assert (stats.tokens, stats.aborted, stats.done, stats.active) == (3, 1, 0, 0)
    assert stats.last_abort_ns > 0


def test_a_deaf_reply_goes_on_until_the_connection_is_lost() -> None:
    clock = Clock()
    playback, stats = clock.play(tokens(10, 0.010), deaf=True)
    clock.run(until=0.035)
    playback.leave(lost=False)
    clock.run(until=0.055)
    assert (stats.tokens, stats.tokens_after_leave, stats.aborted, stats.active) == (5, 2, 1, 1)
    playback.leave(lost=True)
    clock.run()
    assert (stats.tokens, stats.tokens_after_leave, stats.aborted, stats.active) == (5, 2, 1, 0)


@pytest.mark.parametrize(
    ("sent", "unsent", "unseen"),
    [
        (0, 0, 0),
        (5, 0, 0),
        (5, 1, 1),  # a token that is cut counts as not seen
        (5, 10, 1),
        (5, 11, 2),
        (5, 50, 5),
        (5, 500, 5),
        (100, 15, 2),
        (100, 320, 32),  # as far back as writes are remembered
        (100, 700, 70),  # beyond that by the mean length of a token
        (100, 1000, 100),
    ],
)
def test_what_a_client_did_not_get_is_counted_in_tokens(sent: int, unsent: int, unseen: int) -> None:
    clock = Clock()
    playback, stats = clock.play(tokens(200, 0.001))
    clock.run(until=sent / 1000 + 0.0005)
    assert stats.tokens == sent
    clock.unsent = unsent
    playback.leave(lost=True)
    assert stats.tokens_after_leave == unseen
