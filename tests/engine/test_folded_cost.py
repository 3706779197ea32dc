"""engine/view, FoldedView: what a fold costs, and that no reader loses the one it needs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from tokenwire import dialects
from tokenwire.dialects.base import Decoder, Dialect, Encoder, Frame
from tokenwire.dialects.deltas import Delta
from tokenwire.engine.folded import CHECKPOINT
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import parse_event_id
from tokenwire.engine.log import RUN
from tokenwire.engine.reader import Reader
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.sinks import ScriptedSink
from tokenwire.wire import sse

CHAT = dialects.get("openai.chat")
NATIVE = dialects.get("native")
Streaming = Callable[..., Stream]
Follow = Callable[..., ScriptedSink]


def ids_in(data: bytes) -> list[str]:
    return [event.id or "" for event in sse.Decoder().feed(data)]


def kinds_in(data: bytes) -> list[str]:
    return [event.event for event in sse.Decoder().feed(data)]


def texts_in(data: bytes) -> str:
    return "".join(json.loads(event.data)["t"] for event in sse.Decoder().feed(data) if event.event == "text")


def catch_up(reader: Reader, sink: ScriptedSink) -> None:
    for _ in range(10_000):
        if reader.live:
            return
        sink.drain()
        reader.resume()
    raise AssertionError("it never got there")


class Count:
    """How often the dialects that it hands out decode an event and encode a delta."""

    def __init__(self) -> None:
        self.decoded = 0
        self.encoded = 0

    def source(self) -> Dialect:
        return dataclasses.replace(CHAT, decoder=lambda: CountingDecoder(self, CHAT.decoder()))

    def target(self) -> Dialect:
        return dataclasses.replace(NATIVE, encoder=lambda *args: CountingEncoder(self, NATIVE.encoder(*args)))

    def take(self) -> tuple[int, int]:
        """Decoded and encoded since the last ``take``."""
        taken = (self.decoded, self.encoded)
        self.decoded = self.encoded = 0
        return taken


class CountingDecoder:
    def __init__(self, count: Count, inner: Decoder) -> None:
        self.count = count
        self.inner = inner

    def feed(self, event: sse.Event) -> list[Delta]:
        self.count.decoded += 1
        return self.inner.feed(event)

    def close(self) -> list[Delta]:
        return self.inner.close()

    def copy(self) -> CountingDecoder:
        return CountingDecoder(self.count, self.inner.copy())


class CountingEncoder:
    def __init__(self, count: Count, inner: Encoder) -> None:
        self.count = count
        self.inner = inner
        self.prefix = inner.prefix
        self.close = inner.close

    def feed(self, delta: Delta) -> list[Frame]:
        self.count.encoded += 1
        return self.inner.feed(delta)

    def copy(self) -> CountingEncoder:
        return CountingEncoder(self.count, self.inner.copy())


# -- what it costs


def test_frames_are_encoded_once_for_all_live_readers(streaming: Streaming, sink: Callable[..., ScriptedSink]) -> None:
    count = Count()
    stream, target = streaming(count.source()), count.target()
    sinks = [sink() for _ in range(50)]
    for one in sinks:
        stream.attach(one, target, ids=True).start()
    stream.append([chat.text("first")], 0)
    count.take()
    for number in range(10):
        stream.append([chat.text(str(number))], 0)
    assert count.take() == (10, 10)
    assert len({one.data for one in sinks}) == 1


def test_nothing_is_folded_while_nobody_reads(streaming: Streaming, sink: Callable[..., ScriptedSink]) -> None:
    count = Count()
    stream, target = streaming(count.source(), linger=60), count.target()
    one, other = sink(), sink()
    reader = stream.attach(one, target, ids=True)
    reader.start()
    stream.append([chat.text("a")], 0)
    reader.leave()
    count.take()
    stream.append([chat.text("b")], 0)
    stream.append([chat.text("c")], 0)
    assert count.take() == (0, 0)
    stream.attach(other, target, ids=True).start()
    stream.append([chat.text("d")], 0)
    assert kinds_in(other.data) == ["started", "text", "text", "text", "text"]


def test_a_reader_that_lags_and_comes_back_shares_the_fold_again(
    streaming: Streaming, sink: Callable[..., ScriptedSink]
) -> None:
    count = Count()
    stream, target = streaming(count.source()), count.target()
    quick, slow = sink(), sink(high_water=0)
    stream.attach(quick, target, ids=True).start()
    laggard = stream.attach(slow, target, ids=True)
    laggard.start()
    for number in range(5):
        stream.append([chat.text(str(number))], 0)
    assert not laggard.live
    catch_up(laggard, slow)
    assert slow.data == quick.data
    count.take()
    stream.append([chat.text("together again")], 0)
    assert count.take()[1] == 1
    assert slow.data == quick.data


def test_the_shared_fold_survives_that_all_its_readers_fall_behind(
    streaming: Streaming, sink: Callable[..., ScriptedSink], follow: Follow
) -> None:
    stream = streaming()
    slow = sink(high_water=0)
    reader = stream.attach(slow, NATIVE, ids=True)
    reader.start()
    for number in range(20):
        stream.append([chat.text(str(number))], 0)
        stream.append([chat.text("one")], 0)
        if number % 3 == 0:
            slow.drain()
            reader.resume()
    catch_up(reader, slow)
    assert slow.data == follow(stream, "native", ids=True).data


def test_no_resume_decodes_more_than_a_checkpoints_distance(
    streaming: Streaming, sink: Callable[..., ScriptedSink]
) -> None:
    count = Count()
    stream, target = streaming(count.source()), count.target()
    first = sink()
    stream.attach(first, target, ids=True).start()
    total = 4 * CHECKPOINT + 10
    stream.append([chat.text(f"{number} ") for number in range(total)], 0)
    stream.append([chat.text("end")], 0)
    events = ids_in(first.data)
    for seq in (1, CHECKPOINT - 1, CHECKPOINT, CHECKPOINT + 1, 3 * CHECKPOINT - 1, 3 * CHECKPOINT, total):
        count.take()
        resumed = sink()
        stream.attach(resumed, target, ids=True, after=parse_event_id(f"1-{seq}")).start()
        left = total + 1 - seq
        assert count.take()[0] < 5 + (seq % CHECKPOINT + left) // RUN  # what stands together is decoded together
        assert set(ids_in(resumed.data)) <= set(events[-left:])
        assert ids_in(resumed.data)[-1] == events[-1]


def test_checkpoints_grow_from_any_fold_that_passes_by(streaming: Streaming, sink: Callable[..., ScriptedSink]) -> None:
    """Nobody of the dialect was live when the entries came: the first reader pays, the others do not."""
    count = Count()
    stream, target = streaming(count.source()), count.target()
    for number in range(3 * CHECKPOINT):
        stream.append([chat.chunk({"content": f"{number} "}, n=number)], 0)  # in no envelope
    for expected in (3 * CHECKPOINT, CHECKPOINT):
        count.take()
        stream.attach(sink(), target, ids=True, after=parse_event_id(f"1-{3 * CHECKPOINT - 1}")).start()
        assert count.take()[0] == expected


# -- trimmed logs


def test_what_a_reader_needs_to_come_back_is_not_trimmed(
    hub: Hub, streaming: Streaming, sink: Callable[..., ScriptedSink], follow: Follow
) -> None:
    """A log is trimmed by runs, and a fold is had again from a checkpoint: that may be a run further back."""
    stream = streaming()
    slow = sink(high_water=1 << 20)
    reader = stream.attach(slow, NATIVE, ids=True)
    reader.start()
    before, after = CHECKPOINT * 2 + RUN + 72, CHECKPOINT * 2
    for number in range(before):
        stream.append([chat.text(f"{number} ")], 0)
    slow.drain()
    slow.high_water = 0  # one write at a time from here on
    for number in range(after):
        stream.append([chat.text(f"{number} ")], 0)
    assert reader.cursor.seq == before + 1
    hub.pack(stream)
    assert stream.trim(0) > 0
    assert stream.log.first == 2 * CHECKPOINT + 1
    catch_up(reader, slow)
    assert texts_in(slow.data) == "".join(f"{number} " for number in [*range(before), *range(after)])
    for cursor in (None, "1-0", f"1-{2 * CHECKPOINT - 1}"):
        with pytest.raises(NotResumable, match="no longer held"):
            follow(stream, "native", ids=True, after=cursor)
    resumed = follow(stream, "native", ids=True, after=f"1-{before}")
    assert texts_in(resumed.data) == "".join(f"{number} " for number in range(after))
    assert ids_in(resumed.data)[-1] == ids_in(slow.data)[-1]


def test_entries_without_the_state_to_fold_them_are_as_good_as_trimmed(
    hub: Hub, streaming: Streaming, follow: Follow
) -> None:
    stream = streaming()
    for number in range(4 * RUN + 20):
        stream.append([chat.text(f"{number} ")], 0)
    assert stream.trim(0) > 0
    held = f"1-{stream.log.first + 5}"
    assert ids_in(follow(stream, ids=True, after=held).data)
    with pytest.raises(NotResumable) as caught:  # nobody has ever read it in this dialect
        follow(stream, "native", ids=True, after=held)
    assert caught.value.status == 410


def test_a_reader_that_is_behind_keeps_what_it_has_not_had(
    hub: Hub, streaming: Streaming, sink: Callable[..., ScriptedSink]
) -> None:
    stream = streaming()
    held = sink()
    reader = stream.attach(held, NATIVE, ids=True)
    for number in range(4 * RUN):
        stream.append([chat.text(str(number))], 0)
    assert stream.trim(0) == 0
    reader.start()
    assert texts_in(held.data) == "".join(map(str, range(4 * RUN)))
    assert stream.trim(0) > 0
