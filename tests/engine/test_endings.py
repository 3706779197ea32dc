"""The end that a provider did not tell, in the words of its own dialect: it follows on what was sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Frame
from tokenwire.dialects.deltas import Failed
from tokenwire.dialects.openai_responses.ending import follow as follows
from tokenwire.engine.ids import EventId, parse_event_id
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.sinks import ScriptedSink
from tokenwire.wire import sse

RESPONSES = dialects.get("openai.responses")
Streaming = Callable[..., Stream]
Follow = Callable[..., ScriptedSink]


def event(kind: str, number: int | None, **fields: Any) -> bytes:
    numbered = {} if number is None else {"sequence_number": number}
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields, **numbered})}\n\n".encode()


def text(delta: str, number: int | None) -> bytes:
    return event("response.output_text.delta", number, output_index=0, content_index=0, item_id="m", delta=delta)


BEGUN = event("response.created", 0, response={"id": "resp_theirs", "model": "theirs", "status": "in_progress"})
ALIVE = b'event: keepalive\ndata: {"type":"keepalive"}\n\n'
#: An error that stock clients do not notice: it is not shown, but told in ours.
FLAT = event("error", 3, code="burnt", message="it burns", param=None)


def numbers(data: bytes) -> list[int]:
    return [json.loads(each.data)["sequence_number"] for each in sse.Decoder().feed(data)]


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize(
    ("frames", "kinds"),
    [
        ([BEGUN, text("a", 1), text("b", 2)], ["error", "response.failed"]),
        ([BEGUN, text("a", 1), text("b", 2), FLAT], ["error", "response.failed"]),
        ([BEGUN, text("a", 1), text("b", 2), ALIVE], ["keepalive", "error", "response.failed"]),
    ],
    ids=["cut", "a hidden error", "a keepalive"],
)
def test_the_numbers_go_on(
    streaming: Streaming, follow: Follow, frames: list[bytes], kinds: list[str], ids: bool
) -> None:
    stream = streaming(RESPONSES)
    live = follow(stream, RESPONSES.name, ids=ids)
    for frame in frames:
        stream.append([frame], 0)
    stream.fail(Failed(code="cut", message="it was cut"))  # nothing is left to do where the error was theirs
    events = sse.Decoder().feed(live.data)
    assert [each.event for each in events][3:] == kinds
    assert [value for each in events if (value := json.loads(each.data).get("sequence_number")) is not None] == [
        0, 1, 2, 3, 4,
    ]  # fmt: skip
    failed = json.loads(events[-1].data)["response"]
    assert (failed["id"], failed["model"], failed["status"]) == ("resp_theirs", "theirs", "failed")
    assert failed["error"]["message"] in ("it burns", "it was cut")
    assert follow(stream, RESPONSES.name, ids=ids).data == live.data


def test_from_every_id_of_the_end_comes_the_rest(streaming: Streaming, follow: Follow) -> None:
    stream = streaming(RESPONSES)
    stream.append([BEGUN, text("a", 1)], 0)
    stream.cancel()
    whole = follow(stream, RESPONSES.name, ids=True).data
    view = stream.view(RESPONSES, ids=True)
    found = [each.id or "" for each in sse.Decoder().feed(whole)]
    assert found == ["1-1", "1-2", "1-2.1", "1-3"]
    for cursor in found:
        rest = follow(stream, RESPONSES.name, ids=True, after=cursor)
        assert rest.data == whole[whole.index(f"id: {cursor}\n\n".encode()) + len(cursor) + 6 :]
        assert view.over_at(parse_event_id(cursor)) == (not rest.data)
    for cursor in ("1-1.1", "1-2.2", "1-3.1"):
        with pytest.raises(NotResumable):
            view.position(parse_event_id(cursor))


def test_where_the_beginning_is_in_the_store_only_the_numbers_go_on(streaming: Streaming, follow: Follow) -> None:
    stream = streaming(RESPONSES)
    live = follow(stream, RESPONSES.name)
    stream.append([BEGUN, *(text("a", number) for number in range(1, 200))], 0)
    stream.hub.pack(stream)
    stream.append([text("b", 200)], 0)
    assert stream.log.cool(0, 200) > 0
    stream.cancel()
    assert numbers(live.data) == list(range(203))
    view = stream.view(RESPONSES, ids=False)
    assert not view.over_at(EventId(1, 201))  # asked before anything is fetched


def test_an_end_before_the_beginning_counts_from_nought(queued: Streaming, follow: Follow) -> None:
    stream = queued(RESPONSES)
    live = follow(stream, RESPONSES.name)
    stream.fail(Failed(code="connect_failed", message="nobody there"))
    assert numbers(live.data) == [0, 1]


def test_a_beginning_that_is_no_response_changes_only_the_numbers() -> None:
    ending = [Frame("response.failed", '{"type":"response.failed","response":{"id":"ours"},"sequence_number":0}')]
    firsts = (b"data: no JSON\n\n", b"data: []\n\n", ALIVE)
    for first in firsts:
        (frame,) = follows(ending, first, iter([text("a", None), text("a", 6)]))
        assert msgspec.json.decode(frame.data) == {
            "type": "response.failed", "response": {"id": "ours"}, "sequence_number": 7,
        }  # fmt: skip
    (frame,) = follows(ending, BEGUN, iter([text("a", None)] * 1000))
    assert json.loads(frame.data)["sequence_number"] == 0  # a provider that numbers nothing


def test_where_nothing_is_numbered_the_end_is_the_same_after_anything(streaming: Streaming, follow: Follow) -> None:
    stream = streaming()
    stream.append([chat.role(), chat.text("a")], 0)
    stream.cancel()
    assert follow(stream).data.endswith(b"".join(sse.encode(frame.data) for frame in _ending(stream)))


def _ending(stream: Stream) -> list[Frame]:
    assert stream.terminal is not None
    return stream.encoder(stream.dialect).close(stream.terminal)
