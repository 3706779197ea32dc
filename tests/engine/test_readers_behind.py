"""Readers who are behind are told runs of text at once, and have in the end what those have who were not."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.engine.late import MERGING, UPSTREAMS, Late, framed, held_by, opened, proven
from tests.translation.answers import decode, fold

from tokenwire import dialects
from tokenwire.dialects.deltas import Delta
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import parse_event_id
from tokenwire.engine.merging import BEHIND, MOST
from tokenwire.engine.reader import PAGE
from tokenwire.engine.stream import Stream
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.sinks import ScriptedSink
from tokenwire.wire import sse

Streaming = Callable[..., Stream]


@pytest.mark.untraced
@pytest.mark.parametrize("target", MERGING)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_who_is_behind_is_told_runs_of_text_at_once(
    hub: Hub, upstream: str, target: str, long_answer: list[Delta]
) -> None:
    stream = opened(hub, upstream)
    live = Late(stream, target, snapshot=False)
    slow = Late(stream, target, snapshot=False, high_water=0)
    for frame in framed(stream.dialect, long_answer):
        stream.append([frame], 1)
    stream.finish()
    slow.catch_up()
    assert slow.state == live.state
    assert set(slow.ids) <= set(live.ids)
    assert slow.ids[-1] == live.ids[-1]
    assert len(slow.ids) < len(live.ids) / 20
    if target == "native":
        assert proven(live.sink)
        assert proven(slow.sink)
    for cursor in live.ids[5::37]:  # most of them are in the midst of a run that others were told at once
        rest = ScriptedSink()
        stream.attach(rest, live.dialect, ids=True, after=parse_event_id(cursor)).start()
        before = live.sink.data.index(f"id: {cursor}\n\n".encode()) + len(cursor) + 6
        assert held_by(live.dialect, live.sink.data[:before] + rest.data) == live.state


@pytest.mark.parametrize("target", ["openai.chat", "anthropic", "openai.responses"])
def test_vendors_readers_get_every_frame(hub: Hub, target: str, long_answer: list[Delta]) -> None:
    stream = opened(hub, "anthropic" if target == "openai.chat" else "openai.chat")
    live = Late(stream, target, snapshot=False)
    slow = Late(stream, target, snapshot=False, high_water=0)
    for frame in framed(stream.dialect, long_answer):
        stream.append([frame], 1)
    stream.finish()
    slow.catch_up()
    assert slow.sink.data == live.sink.data


def test_who_is_nearly_there_gets_every_frame(streaming: Streaming, sink: Callable[..., ScriptedSink]) -> None:
    stream = streaming()
    quick, slow = sink(), sink(high_water=0)
    stream.attach(quick, dialects.get("native"), ids=True).start()
    reader = stream.attach(slow, dialects.get("native"), ids=True)
    reader.start()
    for number in range(BEHIND):
        stream.append([chat.text(f"{number} ")], 0)
    slow.drain()
    reader.resume()
    assert slow.data == quick.data
    for number in range(BEHIND):
        stream.append([chat.text(f"{number} ")], 0)
    slow.drain()
    reader.resume()
    text = "".join(f"{number} " for number in range(BEHIND))
    assert slow.writes[-1] == (
        b'event: text\ndata: {"t":"%b","events":%d}\nid: 1-%d\n\n' % (text.encode(), BEHIND, 2 * BEHIND)
    )


def test_the_frames_before_a_run_have_the_ids_that_they_had(
    streaming: Streaming, sink: Callable[..., ScriptedSink]
) -> None:
    """``started``, or the head of a part, is a frame of the run's first entry."""
    stream = streaming()
    stream.append([chat.role(), *[chat.text("a")] * BEHIND], 0)
    whole = f"1-{BEHIND + 1}"
    for dialect, expected in (("native", ["1-1", whole]), ("ui-messages", ["1-0.1", "1-1", "1-1.1", whole])):
        made = sink()
        stream.attach(made, dialects.get(dialect), ids=True).start()
        ids = [event.id for event in sse.Decoder().feed(made.data)]
        assert ids == expected
        for cursor in ids[:-1]:
            assert cursor is not None
            rest = sink()
            stream.attach(rest, dialects.get(dialect), ids=True, after=parse_event_id(cursor)).start()
            assert rest.data.count(b'"a') + rest.data.count(b"aa") > 0
            assert ids[-1] == [event.id for event in sse.Decoder().feed(rest.data)][-1]


def test_runs_end_where_something_else_is_said(streaming: Streaming, sink: Callable[..., ScriptedSink]) -> None:
    stream = streaming()
    frames = [
        chat.role(),
        *[chat.text("a")] * 40,
        *[chat.text("b", 1)] * 40,
        chat.usage(1, 2),
        *[chat.text("c")] * 40,
        chat.chunk({}),
    ]
    frames += [*[chat.text("d")] * 10, chat.text(""), *[chat.text("e")] * 10]
    stream.append(frames, 0)
    made = sink()
    stream.attach(made, dialects.get("native"), ids=True).start()
    said = [(event.event, json.loads(event.data).get("t")) for event in sse.Decoder().feed(made.data)]
    assert said == [
        ("started", None), ("text", "a" * 40), ("text", "b"), ("text", "b" * 39), ("usage", None),
        ("text", "c" * 40 + "d" * 10 + "e" * 10),
    ]  # fmt: skip


def test_no_frame_is_larger_than_a_page(streaming: Streaming, sink: Callable[..., ScriptedSink]) -> None:
    stream = streaming()
    stream.append([chat.text("é" * 1000)] * 200 + [chat.text("z" * (2 * MOST))] + [chat.text("y" * 9)] * 200, 0)
    made = sink(high_water=0)
    reader = stream.attach(made, dialects.get("native"), ids=True)
    reader.start()
    while not reader.live:
        made.drain()
        reader.resume()
    assert all(len(frame) <= PAGE for frame in made.data.split(b"\n\n"))
    assert all(len(page) <= PAGE + 2 * MOST for page in made.writes)


def test_half_characters_are_joined_across_runs(streaming: Streaming, sink: Callable[..., ScriptedSink]) -> None:
    """Providers cut a text inside a character: one half in a frame, the other in the next."""
    stream = streaming()
    smile = [chat.text("@").replace(b"@", b"\\ud83d"), chat.text("@").replace(b"@", b"\\ude00")]
    stream.append([*[chat.text("a")] * 70, *smile, *[chat.text("b")] * 70, smile[0], *[chat.text("c")] * 70], 0)
    expected = "a" * 70 + "😀" + "b" * 70 + "\ufffd" + "c" * 70
    hub_made = [Late(stream, "native", snapshot=snapshot) for snapshot in (False, True)]
    assert [fold(decode(each.dialect, [each.sink.data])).choice().text for each in hub_made] == [expected] * 2
    assert stream.transcript().choice().text == expected
