"""engine/view, RawView: the provider's own bytes, and the named cases in which a reader gets others."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest

from tokenwire import dialects
from tokenwire.dialects.deltas import Failed
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import EventId, parse_event_id
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.log import RUN
from tokenwire.engine.states import State
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.sinks import ScriptedSink
from tokenwire.wire import sse

CHAT = dialects.get("openai.chat")
Streaming = Callable[..., Stream]
Follow = Callable[..., ScriptedSink]


def ids_in(data: bytes) -> list[str]:
    return [event.id or "" for event in sse.Decoder().feed(data)]


def error_in(data: bytes) -> dict[str, object]:
    """The error that the last event of *data* tells."""
    events = sse.Decoder().feed(data)
    error: dict[str, object] = msgspec.json.decode(events[-1].data)["error"]
    return error


# -- bytes and ids


def test_without_ids_a_reader_gets_the_frames_as_they_came(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    frames = chat.answer("a", "b", with_usage=True)
    live = follow(stream)
    for frame in frames:
        stream.append([frame], 0)
    assert live.writes == frames
    assert follow(stream).data == b"".join(frames)


def test_with_ids_the_id_line_stands_directly_before_the_blank_line(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    live = follow(stream, ids=True)
    lf, crlf, cr = (b"event: e\ndata: {}\n\n".replace(b"\n", end) for end in (b"\n", b"\r\n", b"\r"))
    stream.append([chat.role()], 0)
    plain = chat.text("a").replace(b"\n", b"\r\n")
    for frame in (chat.text("a"), lf, crlf, cr, plain):
        stream.append([frame], 0)
    stream.append([lf, crlf], 0)
    expected = [
        chat.role()[:-1] + b"id: 1-1\n\n",
        chat.text("a")[:-1] + b"id: 1-2\n\n",
        b"event: e\ndata: {}\nid: 1-3\n\n",
        b"event: e\r\ndata: {}\r\nid: 1-4\n\r\n",
        b"event: e\rdata: {}\rid: 1-5\n\r",
        plain[:-2] + b"id: 1-6\n\r\n",
        b"event: e\ndata: {}\nid: 1-7\n\nevent: e\r\ndata: {}\r\nid: 1-8\n\r\n",
    ]
    assert live.writes == expected
    assert ids_in(live.data) == [f"1-{seq}" for seq in range(1, 9)]
    assert follow(stream, ids=True).data == b"".join(expected)


def test_the_chunk_of_a_frame_is_handed_on_only_where_its_bytes_are_unchanged(
    streaming: Streaming, follow: Follow
) -> None:
    stream = streaming()
    plain, with_ids, native = follow(stream), follow(stream, ids=True), follow(stream, "native")
    stream.append([chat.text("first")], 0)
    for frame in (chat.text("a"), chat.finish()):
        stream.append([frame], 0, b"%x\r\n%b\r\n" % (len(frame), frame))
    # The finish is not plain text: it goes the careful way.
    assert [chunk is not None for chunk in plain.chunks] == [False, True, False]
    assert set(with_ids.chunks) == set(native.chunks) == {None}


def test_readers_of_one_kind_share_a_view(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    for dialect, ids in (("openai.chat", False), ("openai.chat", True), ("native", True)) * 2:
        follow(stream, dialect, ids=ids)
    assert len(stream.views) == 3
    assert stream.view(CHAT, ids=True) is stream.view(CHAT, ids=True)


# -- what is hidden


def test_a_usage_chunk_that_only_we_asked_for_is_hidden_and_moves_no_id(streaming: Streaming, follow: Follow) -> None:
    frames = chat.answer("a", with_usage=True)
    shown = [frame for frame in frames if frame != chat.usage()]
    stream = streaming(hide_usage=True)
    live, with_ids = follow(stream), follow(stream, ids=True)
    for frame in frames:
        stream.append([frame], 0)
    assert live.data == b"".join(shown)
    assert ids_in(with_ids.data) == ["1-1", "1-2", "1-3", "1-5"]
    assert follow(stream).data == live.data
    assert follow(stream, ids=True).data == with_ids.data
    stream.finish()
    assert stream.terminal is not None
    assert stream.terminal.usage is not None  # hidden, not unknown


def test_usage_beside_content_is_not_hidden(streaming: Streaming, follow: Follow) -> None:
    stream = streaming(hide_usage=True)
    counts = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    frames = [chat.role(), chat.text("a"), chat.chunk({}, "stop", usage=counts), chat.DONE]
    live = follow(stream)
    stream.append(frames, 0)
    assert live.data == b"".join(frames)


def test_a_client_that_asked_for_usage_gets_it(streaming: Streaming, follow: Follow) -> None:
    stream = streaming(hide_usage=False)
    stream.append(chat.answer("a", with_usage=True), 0)
    assert chat.usage() in follow(stream).data


# -- the end marker


def test_nothing_is_relayed_after_the_end_marker(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    frames = chat.answer("a")
    live = follow(stream)
    stream.append([*frames, chat.text("same read")], 0)
    assert live.closed  # the answer is whole: its reader need not wait for the end of the HTTP body
    stream.append([chat.text("later read")], 0)
    stream.append([chat.text("one")], 0)
    assert stream.state is State.STREAMING
    assert follow(stream).data == live.data == b"".join(frames)
    stream.finish()
    late = follow(stream)
    assert (late.data, late.closed) == (b"".join(frames), True)
    assert stream.log.last_frame == len(frames) + 3


def test_a_reader_that_is_full_at_the_end_marker_gets_no_more_than_the_others(
    streaming: Streaming, sink: Callable[..., ScriptedSink]
) -> None:
    stream = streaming()
    frames = chat.answer("a")
    slow = sink(high_water=0)
    reader = stream.attach(slow, CHAT, ids=False)
    reader.start()
    stream.append(frames, 0)
    stream.append([chat.text("late")], 0)
    assert not slow.closed
    stream.cancel()  # after the whole answer, and before this reader has it
    slow.drain()
    reader.resume()
    assert (slow.data, slow.closed) == (b"".join(frames), True)


def test_a_clean_end_without_an_end_marker_adds_nothing(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    frames = [chat.role(), chat.text("a"), chat.finish()]
    live = follow(stream)
    stream.append(frames, 0)
    stream.finish()
    assert (live.data, live.closed, live.terminal) == (b"".join(frames), True, stream.terminal)
    assert follow(stream).data == live.data


# -- failures


@pytest.mark.parametrize("one_read", [True, False])
def test_an_error_that_the_stock_sdk_would_swallow_is_replaced_by_the_dialects_own(
    streaming: Streaming, follow: Follow, one_read: bool
) -> None:
    stream = streaming()
    live = follow(stream)
    frames = [chat.role(), chat.text("a"), chat.swallowed_error("it burns"), chat.DONE]
    for read in [frames] if one_read else [[frame] for frame in frames]:
        stream.append(read, 0)
    begin = chat.role() + chat.text("a")
    assert live.data.startswith(begin + b'data: {"error":')
    assert error_in(live.data)["message"] == "it burns"
    assert b"[DONE]" not in live.data
    assert follow(stream).data == live.data
    assert live.closed


@pytest.mark.parametrize("one_read", [True, False])
@pytest.mark.parametrize("ids", [True, False])
def test_an_error_in_the_dialects_own_form_passes_and_is_not_told_twice(
    streaming: Streaming, follow: Follow, one_read: bool, ids: bool
) -> None:
    stream = streaming()
    live = follow(stream, ids=ids)
    frames = [chat.role(), chat.text("a"), chat.error("overheated"), chat.DONE]
    for read in [frames] if one_read else [[frame] for frame in frames]:
        stream.append(read, 0)
    assert re.sub(rb"id: .*\n", b"", live.data) == b"".join(frames[:-1])
    assert follow(stream, ids=ids).data == live.data
    assert live.closed


@pytest.mark.parametrize("ids", [True, False])
def test_a_cancelled_stream_ends_in_an_error_without_the_end_marker(
    streaming: Streaming, follow: Follow, ids: bool
) -> None:
    stream = streaming()
    live = follow(stream, ids=ids)
    stream.append([chat.role(), chat.text("a")], 0)
    stream.cancel()
    assert error_in(live.data)["code"] == "cancelled"
    assert b"[DONE]" not in live.data
    assert ids_in(live.data) == (["1-1", "1-2", "1-3"] if ids else ["", "", ""])
    assert follow(stream, ids=ids).data == live.data
    assert (live.closed, live.terminal) == (True, stream.terminal)


def test_a_stream_that_ends_before_it_began_ends_in_an_error_too(queued: Streaming, follow: Follow) -> None:
    stream = queued()
    live = follow(stream)
    stream.fail(Failed(code="connect_failed", message="nobody there"))
    assert error_in(live.data)["message"] == "nobody there"


# -- cursors


@pytest.mark.parametrize("end", ["whole", "cancelled", "running"])
def test_resuming_at_every_id_gives_exactly_the_rest(
    streaming: Streaming, follow: Follow, recorded: bytes, end: str
) -> None:
    stream = streaming()
    ingest = Ingest(stream)
    ingest.body(recorded if end == "whole" else recorded[: len(recorded) // 2])
    if end == "whole":
        ingest.end()
    elif end == "cancelled":
        stream.cancel()
    whole = follow(stream, ids=True).data
    assert re.sub(rb"id: \d+-\d+\n", b"", whole) == follow(stream).data
    found = list(re.finditer(rb"id: (\d+-\d+)\n(\r\n|\n|\r)", whole))
    assert [int(match[1].split(b"-")[1]) for match in found] == sorted(
        {int(match[1].split(b"-")[1]) for match in found}
    )
    for match in found:
        cursor = match[1].decode()
        rest = follow(stream, ids=True, after=cursor)
        assert rest.data == whole[match.end() :]
        assert stream.view(CHAT, ids=True).over_at(parse_event_id(cursor)) == (rest.closed and not rest.data)
    assert follow(stream, ids=True, after="1-0").data == whole


@pytest.mark.parametrize("cursor", ["2-1", "0-1", "1-4", "1-999", "1-1.1", "1-0.1"])
def test_a_cursor_that_is_not_of_this_log_and_dialect_is_refused(
    streaming: Streaming, sink: Callable[..., ScriptedSink], cursor: str
) -> None:
    stream = streaming()
    stream.append([chat.role(), chat.text("a"), chat.text("b")], 0)
    with pytest.raises(NotResumable) as caught:
        stream.attach(sink(), CHAT, ids=True, after=parse_event_id(cursor))
    assert (caught.value.status, caught.value.code) == (409, "discontinuous")
    assert stream.readers == []


def test_nothing_is_left_where_only_hidden_entries_are(streaming: Streaming, follow: Follow) -> None:
    stream = streaming(hide_usage=True)
    stream.append([chat.role(), chat.text("a"), chat.finish(), chat.usage()], 0)
    view = stream.view(CHAT, ids=True)
    assert not view.over_at(EventId(1, 3))  # more may come
    stream.finish()
    assert [view.over_at(EventId(1, seq)) for seq in range(6)] == [False, False, False, True, True, True]


def test_after_the_terminals_own_id_nothing_is_sent_again(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    stream.append([chat.role()], 0)
    stream.cancel()
    again = follow(stream, ids=True, after="1-2")
    assert (again.data, again.closed) == (b"", True)


def test_a_trimmed_beginning_is_gone_for_good_and_said_so(
    hub: Hub, streaming: Streaming, sink: Callable[..., ScriptedSink], follow: Follow
) -> None:
    stream = streaming()
    frames = [chat.text(f"{number} ") for number in range(4 * RUN + 20)]
    for frame in frames:
        stream.append([frame], 0)
    whole = follow(stream, ids=True).data
    assert stream.trim(0) > 0
    first = stream.log.first
    assert first > 1
    for after in (None, EventId(1, 0), EventId(1, first - 2)):
        with pytest.raises(NotResumable) as caught:
            stream.attach(sink(), CHAT, ids=True, after=after)
        assert (caught.value.status, caught.value.earliest) == (410, f"1-{first}")
    with pytest.raises(NotResumable, match="no longer held"):
        stream.transcript()
    rest = follow(stream, ids=True, after=f"1-{first - 1}").data
    assert whole.endswith(rest)
    assert ids_in(rest)[0] == f"1-{first}"
    stream.finish()  # what is known without the beginning: it was cut
    assert stream.state is State.FAILED
