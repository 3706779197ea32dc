"""engine/view, FoldedView: a log in another dialect, encoded once for all readers, resumable at every id."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest

from tokenwire import dialects
from tokenwire.dialects.base import encode_frames
from tokenwire.dialects.deltas import Failed
from tokenwire.engine.ids import parse_event_id
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource
from tokenwire.wire import sse

CHAT = dialects.get("openai.chat")
NATIVE = dialects.get("native")
Streaming = Callable[..., Stream]
Follow = Callable[..., ScriptedSink]


def oracle(stream: Stream) -> bytes:
    """The whole stream in the native dialect by the plain way, without ids."""
    decoder, encoder = CHAT.decoder(), NATIVE.encoder(stream.id, stream.created, stream.model)
    parser = sse.Decoder()
    last = stream.log.last_frame if stream.log.done_seq is None else stream.log.done_seq
    events = [event for frame in stream.log.after(0, last) for event in parser.feed(frame)]
    deltas = [delta for event in events for delta in decoder.feed(event)]
    terminal = stream.terminal
    if terminal is not None and terminal.state == "completed":
        deltas += decoder.close()
    frames = [frame for delta in deltas for frame in encoder.feed(delta)]
    return encode_frames(frames + (encoder.close(terminal) if terminal is not None else []))


def without_ids(data: bytes) -> bytes:
    return re.sub(rb"id: [\d.-]+\n", b"", data)


def ids_in(data: bytes) -> list[str]:
    return [event.id or "" for event in sse.Decoder().feed(data)]


def kinds_in(data: bytes) -> list[str]:
    return [event.event for event in sse.Decoder().feed(data)]


# -- what a reader of another dialect gets


def test_every_recorded_stream_is_folded_live_and_late_alike(
    streaming: Streaming, follow: Follow, recorded: bytes
) -> None:
    stream = streaming()
    live, plain = follow(stream, "native", ids=True), follow(stream, "native", ids=False)
    ingest = Ingest(stream)
    for start in range(0, len(recorded), 100):
        ingest.body(recorded[start : start + 100])
    ingest.end()
    late = follow(stream, "native", ids=True)
    assert plain.data == oracle(stream)
    assert without_ids(live.data) == plain.data
    assert late.data == live.data
    assert (late.closed, late.terminal) == (True, stream.terminal)
    events = sse.Decoder().feed(live.data)
    done = msgspec.json.decode(events[-1].data)
    assert (events[-1].event, done["events"]) == ("done", len(events) - 1)


def test_the_last_frame_of_an_entry_carries_its_id_and_the_ones_before_count_on_from_the_entry_before(
    streaming: Streaming, follow: Follow
) -> None:
    stream = streaming()
    live = follow(stream, "native", ids=True)
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    stream.append([chat.chunk({"role": "assistant", "content": "a", "tool_calls": [call]})], 0)
    stream.append([chat.text("b")], 0)
    stream.append([chat.chunk({})], 0)  # says nothing
    stream.append([chat.finish("tool_calls")], 0)
    stream.cancel()
    assert kinds_in(live.data) == ["started", "text", "tool_call", "tool_args", "text", "tool_end", "error", "done"]
    # Entry 3 gives no frame, and moves nothing.
    assert ids_in(live.data) == ["1-0.1", "1-0.2", "1-0.3", "1-1", "1-2", "1-4", "1-4.1", "1-5"]
    assert follow(stream, "native", ids=True).data == live.data


@pytest.mark.untraced
@pytest.mark.parametrize("end", ["whole", "cancelled", "running"])
def test_resuming_at_every_id_also_within_an_entry_gives_exactly_the_rest(
    streaming: Streaming, follow: Follow, recorded: bytes, end: str
) -> None:
    stream = streaming()
    ingest = Ingest(stream)
    ingest.body(recorded if end == "whole" else recorded[: 2 * len(recorded) // 3])
    if end == "whole":
        ingest.end()
    elif end == "cancelled":
        stream.cancel()
    whole = follow(stream, "native", ids=True).data
    position = 0
    view = stream.view(NATIVE, ids=True)
    for event in sse.Decoder().feed(whole):
        assert event.id is not None
        position = whole.index(f"id: {event.id}\n\n".encode(), position) + len(event.id) + 6
        rest = follow(stream, "native", ids=True, after=event.id)
        assert rest.data == whole[position:]
        assert rest.closed == (end != "running" or stream.terminal is not None)
        assert view.over_at(parse_event_id(event.id)) == (rest.closed and not rest.data)
    assert position == len(whole)


def test_a_reader_that_resumes_within_the_newest_entry_goes_on_live(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    stream.append([chat.text("a")], 0)  # started, text
    reader = follow(stream, "native", ids=True, after="1-0.1")
    stream.append([chat.text("b")], 0)
    stream.cancel()
    assert kinds_in(reader.data) == ["text", "text", "error", "done"]


@pytest.mark.parametrize("cursor", ["2-1", "1-3", "1-2.1"])
def test_a_cursor_beyond_the_log_is_refused(
    streaming: Streaming, sink: Callable[..., ScriptedSink], cursor: str
) -> None:
    stream = streaming()
    stream.append([chat.role(), chat.text("a")], 0)
    with pytest.raises(NotResumable) as caught:
        stream.attach(sink(), NATIVE, ids=True, after=parse_event_id(cursor))
    assert caught.value.status == 409


@pytest.mark.parametrize(("cursor", "good"), [("1-0.1", True), ("1-0.2", False), ("1-1.1", False), ("1-1.3", False)])
def test_a_cursor_within_an_entry_counts_frames_that_there_are(
    streaming: Streaming, sink: Callable[..., ScriptedSink], cursor: str, good: bool
) -> None:
    stream = streaming()
    stream.append([chat.text("a"), chat.text("b")], 0)  # started and text; text
    if good:
        stream.attach(sink(), NATIVE, ids=True, after=parse_event_id(cursor))
        return
    with pytest.raises(NotResumable) as caught:
        stream.attach(sink(), NATIVE, ids=True, after=parse_event_id(cursor))
    assert (caught.value.status, caught.value.code) == (409, "discontinuous")


def test_the_same_sequence_means_the_same_upstream_event_in_every_dialect(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    stream.append(chat.answer("a", "b", "c"), 0)
    stream.finish()
    raw = follow(stream, ids=True)
    switched = follow(stream, "native", ids=True, after=ids_in(raw.data)[2])
    assert kinds_in(switched.data) == ["text", "done"]


def test_events_after_the_end_marker_are_not_told(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    live = follow(stream, "native")
    stream.append([*chat.answer("a"), chat.text("same read")], 0)
    stream.append([chat.text("later")], 0)
    stream.finish()
    assert live.data == follow(stream, "native").data == oracle(stream)
    assert b"same read" not in live.data


def test_a_failure_is_told_in_the_readers_dialect(queued: Streaming, follow: Follow) -> None:
    stream = queued()
    live = follow(stream, "native")
    stream.fail(Failed(code="connect_failed", message="nobody there", retryable=True))
    assert kinds_in(live.data) == ["started", "error", "done"]
    assert b'"connect_failed"' in live.data
    assert follow(stream, "native").data == live.data


# -- answers that come whole


def whole_answer() -> bytes:
    message = {"role": "assistant", "content": "Hello"}
    body = {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return msgspec.json.encode(body)


@pytest.mark.parametrize("dialect", ["native", "openai.chat"])
def test_an_answer_that_came_whole_is_folded_for_every_reader(queued: Streaming, follow: Follow, dialect: str) -> None:
    stream = queued()
    early = follow(stream, dialect)
    stream.connecting(ScriptedSource())
    stream.begin(unary=True)
    live = follow(stream, dialect)
    stream.append_unary(whole_answer(), 0)
    stream.finish()
    late = follow(stream, dialect)
    assert early.data == live.data == late.data
    assert early.closed
    assert b"Hello" in late.data
    assert late.data.endswith(b"data: [DONE]\n\n") == (dialect == "openai.chat")


def test_readers_that_have_not_started_follow_a_whole_answer_too(
    queued: Streaming, sink: Callable[..., ScriptedSink]
) -> None:
    """A held response: its reader is attached before anybody knows that the answer will come whole."""
    stream = queued()
    held = sink()
    reader = stream.attach(held, CHAT, ids=False)
    stream.connecting(ScriptedSource())
    stream.begin(unary=True)
    stream.append_unary(whole_answer(), 0)
    assert held.data == b""
    reader.start()
    stream.finish()
    assert held.data.endswith(b"data: [DONE]\n\n")
