"""engine/ingest: a provider's body on its way into the log, cut anywhere, ended in any way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Mark
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.states import State
from tokenwire.engine.stream import Stream
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource
from tokenwire.wire import sse

CHAT = dialects.get("openai.chat")
Streaming = Callable[..., Stream]
Follow = Callable[..., ScriptedSink]


def events(body: bytes) -> list[bytes]:
    """The upstream's bytes of every event, by the plain way: blocks with data, less comments, ids and retry times."""
    kept: list[bytes] = []
    for block in re.findall(rb"(?:[^\n]+\n)+(?:\n|\Z)", body):
        lines = [line for line in block.splitlines(keepends=True) if not re.match(rb":|(id|retry)[:\n]", line)]
        if any(line.startswith(b"data") for line in lines):
            kept.append(b"".join(lines).rstrip(b"\n") + b"\n\n")
    return kept


def told(body: bytes) -> list[bytes]:
    """Of these, what a reader is told in the upstream's own bytes: all up to the end, or to the provider's error."""
    found: list[bytes] = []
    for frame in events(body):
        mark = CHAT.scan(frame)
        if mark & Mark.SWALLOWED:  # an error that the stock SDK would swallow: the dialect's own takes its place
            return found
        found.append(frame)
        if mark & (Mark.ERROR | Mark.DONE):
            return found
    return found


def error_of(stream: Stream) -> str:
    assert stream.terminal is not None
    assert stream.terminal.error is not None
    return stream.terminal.error.code


# -- fidelity


@pytest.mark.untraced
def test_a_reader_gets_the_upstreams_bytes_of_every_event_however_they_are_cut(
    streaming: Streaming, follow: Follow, recorded: bytes
) -> None:
    expected = b"".join(told(recorded))
    assert expected
    sizes = [1, 2, 3, 7, 64, 1000, len(recorded)]
    seen = set()
    for size in sizes:
        stream = streaming()
        live, with_ids = follow(stream), follow(stream, ids=True)
        ingest = Ingest(stream)
        for start in range(0, len(recorded), size):
            ingest.body(recorded[start : start + size])
        ingest.end()
        late = follow(stream)
        assert live.data.startswith(expected)
        assert live.data == late.data
        assert re.sub(rb"id: 1-\d+\n", b"", with_ids.data) == live.data
        seen.add((stream.state, live.data, stream.log.last))
    assert len(seen) == 1


def test_every_cut_of_a_body_in_two_gives_the_same(streaming: Streaming, follow: Follow) -> None:
    body = b": hello\n\n" + b"".join(chat.answer("a", "b", with_usage=True)).replace(b"\n", b"\r\n") + b": bye\r\n\r\n"
    for cut in range(len(body)):
        stream = streaming()
        live = follow(stream)
        ingest = Ingest(stream)
        ingest.body(body[:cut])
        ingest.body(body[cut:])
        ingest.end()
        assert live.data == b"".join(chat.answer("a", "b", with_usage=True)).replace(b"\n", b"\r\n")
        assert stream.state is State.COMPLETED


def test_the_state_and_the_text_of_a_recorded_stream_are_as_expected(
    streaming: Streaming, recorded: bytes, request: pytest.FixtureRequest
) -> None:
    path = request.node.callspec.params["recorded"]
    assert isinstance(path, Path)
    expected = json.loads(path.with_name(path.stem + ".expected.json").read_text(encoding="utf-8"))["expected"]
    stream = streaming()
    ingest = Ingest(stream)
    ingest.body(recorded)
    ingest.end()
    assert (stream.state is State.COMPLETED) == expected["complete"]
    assert stream.transcript().choice().text == (expected["text"] or "")
    assert stream.terminal is not None
    if expected["usage"] is not None:
        assert stream.terminal.usage is not None
        assert stream.terminal.usage.raw == expected["usage"]


def test_each_frame_has_the_arrival_of_its_read(clock: ManualClock, streaming: Streaming) -> None:
    stream = streaming()
    ingest = Ingest(stream)
    begun = clock.now_ns()
    ingest.body(chat.role() + chat.text("a")[:10])
    clock.advance(1)
    ingest.body(chat.text("a")[10:])
    clock.advance(1)
    ingest.body(chat.text("b") + chat.text("c"))
    assert [now - begun for now in stream.timeline] == [0, 1_000_000_000, 2_000_000_000, 2_000_000_000]


def test_the_chunk_of_a_read_is_passed_on_only_if_the_frame_is_the_read(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    live = follow(stream)
    ingest = Ingest(stream)
    whole, commented = chat.text("a"), b": note\n" + chat.text("b")
    ingest.body(chat.role() + chat.text("begin"))
    for data in (whole, commented):
        ingest.body(data, b"%x\r\n%b\r\n" % (len(data), data))
    assert [chunk is not None for chunk in live.chunks] == [False, True, False]


# -- ends


def test_an_end_without_the_blank_line_is_an_end(streaming: Streaming, follow: Follow) -> None:
    body = b"".join(chat.answer("a"))
    for missing in (1, 2):
        stream = streaming()
        live = follow(stream)
        ingest = Ingest(stream)
        ingest.body(body[:-missing])
        assert stream.log.done_seq is None
        ingest.end()
        assert (stream.state, live.data) == (State.COMPLETED, body)


def test_a_body_that_ends_in_the_midst_is_truncated_and_half_an_event_is_not_passed_on(
    streaming: Streaming, follow: Follow
) -> None:
    for cut in range(3, len(chat.text("b")) - 4):
        stream = streaming()
        live = follow(stream)
        ingest = Ingest(stream)
        ingest.body(chat.role() + chat.text("a"))
        ingest.body(chat.text("b")[:cut])
        ingest.end()
        assert (stream.state, error_of(stream)) == (State.FAILED, "truncated")
        assert live.data.startswith(chat.role() + chat.text("a") + b'data: {"error":')
        assert len(sse.Decoder().feed(live.data)) == 3


def test_a_body_without_any_event_is_truncated(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    live = follow(stream)
    Ingest(stream).end()
    assert (stream.state, error_of(stream)) == (State.FAILED, "truncated")
    assert live.data.startswith(b'data: {"error":')


def test_a_lost_connection_fails_with_its_own_words_and_keeps_what_came_whole(
    streaming: Streaming, follow: Follow
) -> None:
    stream = streaming()
    live = follow(stream)
    ingest = Ingest(stream)
    ingest.body(chat.role() + chat.text("a") + chat.text("never whole")[:20])
    ingest.lost("the upstream closed the connection in mid-answer")
    assert stream.terminal is not None
    assert stream.terminal.error is not None
    assert stream.terminal.error.retryable
    assert (stream.state, error_of(stream)) == (State.FAILED, "upstream_closed")
    assert live.data.startswith(chat.role() + chat.text("a") + b'data: {"error":')
    assert b"mid-answer" in live.data
    assert b"never" not in live.data


def test_a_connection_that_is_lost_after_the_end_marker_is_a_clean_end(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    live = follow(stream)
    ingest = Ingest(stream)
    ingest.body(b"".join(chat.answer("a")))
    ingest.lost("reset by peer")
    assert (stream.state, live.data) == (State.COMPLETED, b"".join(chat.answer("a")))


@pytest.mark.parametrize("late", ["body", "end", "lost"])
def test_what_comes_after_the_terminal_is_ignored(streaming: Streaming, follow: Follow, late: str) -> None:
    stream = streaming()
    live = follow(stream)
    ingest = Ingest(stream)
    ingest.body(chat.role() + chat.text("a"))
    stream.cancel()
    before, last = live.data, stream.log.last
    if late == "body":
        ingest.body(chat.text("b"))
        ingest.body(chat.text("c") + chat.DONE)
    elif late == "end":
        ingest.end()
    else:
        ingest.lost("reset by peer")
    assert (stream.state, live.data, stream.log.last) == (State.CANCELLED, before, last)


@pytest.mark.parametrize("next_call", ["body", "end"])
def test_an_event_above_the_limit_fails_after_the_events_before_it(
    streaming: Streaming, source: ScriptedSource, follow: Follow, next_call: str
) -> None:
    stream = streaming()
    live = follow(stream)
    ingest = Ingest(stream, limit=1000)
    ingest.body(chat.role() + chat.text("a") + b"data: " + b"x" * 1000)
    if next_call == "body":
        ingest.body(b"more")
    else:
        ingest.end()
    assert (stream.state, error_of(stream)) == (State.FAILED, "event_too_large")
    assert source.aborted
    assert live.data.startswith(chat.role() + chat.text("a") + b'data: {"error":')


def test_a_large_event_of_many_lines_is_understood(streaming: Streaming) -> None:
    """The cutter's bound is the only one: what passed it must not meet another in the parser."""
    stream = streaming()
    ingest = Ingest(stream, limit=64 * 1024 * 1024)
    lines = b"data: " + b" " * 1000 + b"\n"
    ingest.body(chat.role() + b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],\n' + lines * 17_000)
    ingest.body(b'data: "usage":null}\n\n')
    assert stream.transcript().choice().text == "a"
