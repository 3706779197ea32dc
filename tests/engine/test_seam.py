"""No event lost, doubled or reordered: any interleaving of appends, full and writable sinks, joins, resumes and leaves.

A state machine does what may be done to a stream in any order. What each reader was written is compared, all the time,
with the plain oracle: the entries of the log one after the other, each rendered by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.engine.told_at_once import apart

from tokenwire import dialects
from tokenwire.dialects.base import Frame
from tokenwire.dialects.deltas import Failed
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import EventId
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.lane import Lane, Offer
from tokenwire.engine.reader import Reader
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable
from tokenwire.testing import chat_frames as chat
from tokenwire.testing import message_frames as m
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource
from tokenwire.wire import sse
from tokenwire.wire.chunked import chunk

HEARTBEATS = (b": hb\n\n", b": hb\n", m.PING)
#: The dialects of readers, beside the provider's own.
OTHERS = {"openai.chat": "anthropic", "anthropic": "openai.chat"}


def call(number: int) -> dict[str, object]:
    return {"index": number, "id": f"c{number}", "function": {"name": "f", "arguments": "{}"}}


#: A read's frames, by name: plain text, and what is more than that, hidden, or nothing in another dialect.
CHAT: dict[str, Callable[[int], bytes]] = {
    "text": lambda number: chat.text(f"word{number} "),
    "long": lambda number: chat.text(f"word{number} " * 200),
    "opening": lambda number: chat.role(),
    "another": lambda number: chat.text(f"other{number} ", 1),
    "usage": lambda number: chat.usage(number, number),
    "nothing": lambda number: chat.chunk({}),
    "crlf": lambda number: chat.text(f"crlf{number} ").replace(b"\n", b"\r\n"),
    "tool": lambda number: chat.chunk({"content": "x", "tool_calls": [call(number)]}),
    "finish": lambda number: chat.finish(),
    "done": lambda number: chat.DONE,
}
MESSAGES: dict[str, Callable[[int], bytes]] = {
    "text": lambda number: m.text(f"word{number} ", padding=number % 7),
    "long": lambda number: m.text(f"word{number} " * 200),
    "opening": lambda number: m.start(),
    "another": lambda number: m.thinking(f"thought{number} ", 1, padding=number % 3),
    "usage": lambda number: m.finish(None, number),
    "nothing": lambda number: m.end(number),
    "crlf": lambda number: m.text(f"crlf{number} ").replace(b"\n", b"\r\n"),
    "tool": lambda number: m.block(number + 5, "tool_use", input={"n": number}),
    "finish": lambda number: m.finish(),
    "done": lambda number: m.STOP,
}


@dataclass
class Following:
    """One reader, as the test sees it."""

    sink: ScriptedSink
    reader: Reader
    dialect: str
    ids: bool
    after: EventId
    left: bool = False
    seen: int = 0  # writes looked at
    data: bytearray = field(default_factory=bytearray)

    def read(self, expected: bytes) -> bytes:
        """What it was written, without heartbeats: these are writes of their own. What it was told at once, because it
        was behind, is held against what is *expected*, and is as if it had been told that."""
        for data in self.sink.writes[self.seen :]:
            if data not in HEARTBEATS:
                self.data += apart(data, expected[len(self.data) :]) if self.dialect == "native" else data
        self.seen = len(self.sink.writes)
        return bytes(self.data)


class Oracle:
    """What a stream looks like in one projection: for each entry its frames, each with its id and its bytes."""

    def __init__(self, stream: Stream, dialect: str, ids: bool) -> None:
        self.stream = stream
        self.dialect = dialects.get(dialect)
        self.ids = ids
        self.entries: list[list[tuple[EventId, bytes]]] = []
        self.decoder = stream.dialect.decoder()
        self.encoder = self.dialect.encoder(stream.id, stream.created, stream.model)
        self.over = False

    def add(self, frame: bytes) -> None:
        seq = len(self.entries) + 1
        if self.dialect is self.stream.dialect:
            hidden = frame.startswith(b"data: ") and b'"choices":[],' in frame
            shown = not (self.over or hidden)
            end = b"\r\n" if frame.endswith(b"\r\n") else b"\n"
            data = frame[: -len(end)] + b"id: 1-%d\n" % seq + end if self.ids else frame
            self.entries.append([(EventId(1, seq), data)] if shown else [])
        else:
            events = [] if self.over else sse.Decoder().feed(frame)
            deltas = [delta for event in events for delta in self.decoder.feed(event)]
            self._add([out for delta in deltas for out in self.encoder.feed(delta)], seq)
        self.over = self.over or frame in (chat.DONE, m.STOP)

    def end(self) -> None:
        terminal = self.stream.terminal
        assert terminal is not None
        seq = len(self.entries) + 1
        if self.dialect is self.stream.dialect:
            self._add([] if self.over or terminal.state == "completed" else self.encoder.close(terminal), seq)
            return
        deltas = self.decoder.close() if terminal.state == "completed" else []
        self._add([out for delta in deltas for out in self.encoder.feed(delta)] + self.encoder.close(terminal), seq)

    def _add(self, frames: list[Frame], seq: int) -> None:
        entry = []
        for index, frame in enumerate(frames, 1):
            where = EventId(1, seq) if index == len(frames) else EventId(1, seq - 1, index)
            entry.append((where, sse.encode(frame.data, frame.event, str(where) if self.ids else None)))
        self.entries.append(entry)

    def after(self, cursor: EventId) -> bytes:
        parts = (
            [data for _, data in self.entries[cursor.seq][cursor.frames :]] if cursor.seq < len(self.entries) else []
        )
        return b"".join(parts) + b"".join(data for entry in self.entries[cursor.seq + 1 :] for _, data in entry)

    def cursors(self) -> list[EventId]:
        return [where for entry in self.entries for where, _ in entry]


class Seam(RuleBasedStateMachine):
    own = "openai.chat"
    frames = CHAT

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.hub = Hub(self.clock)
        policy = Policy(linger=float("inf"), reader_timeout=1e6)
        self.stream = self.hub.open(
            owner="me", dialect=dialects.get(self.own), model="m", policy=policy, hide_usage=True
        )
        self.lane: Lane | None = None
        self.offer: Offer | None = None
        self.ingest = Ingest(self.stream, express=self._express)
        self.oracles = {
            (dialect, ids): Oracle(self.stream, dialect, ids)
            for dialect in ("native", *OTHERS)
            for ids in (True, False)
        }
        self.followings: list[Following] = []
        self.number = 0

    @initialize(begun=st.booleans())
    def begin(self, begun: bool) -> None:
        self.stream.connecting(ScriptedSource())
        self.stream.begin()
        if begun:
            self._append([self.frames["opening"](0), self.frames["text"](0)])

    def _express(self, offer: Offer | None) -> None:
        self.offer = offer
        self.lane = None if offer is None else offer.make(self._general, lambda: None)

    def _general(self, data: bytes) -> None:
        self.ingest.body(data.partition(b"\r\n")[2][:-2], data)

    def _append(self, frames: list[bytes]) -> None:
        for oracle in self.oracles.values():
            for frame in frames:
                oracle.add(frame)
        data = b"".join(frames)
        if self.lane is not None and self.offer is not None and self.offer.ready():
            self.lane(chunk(data))
        else:
            self._general(chunk(data))

    @precondition(lambda self: self.stream.terminal is None)
    @rule(kinds=st.lists(st.sampled_from(sorted(CHAT.keys() - {"finish", "done"})), min_size=1, max_size=4))
    def append(self, kinds: list[str]) -> None:
        frames = []
        for kind in kinds:
            self.number += 1
            frames.append(self.frames[kind](self.number))
        self._append(frames)

    @precondition(lambda self: self.stream.terminal is None and self.stream.log.last < 1500)
    @rule(count=st.sampled_from((130, 260)), at_once=st.booleans())
    def append_many(self, count: int, at_once: bool) -> None:
        frames = [self.frames["text"](number) for number in range(count)]
        for frame in [frames] if at_once else [[frame] for frame in frames]:
            self._append(frame)

    @precondition(lambda self: self.stream.terminal is None)
    @rule(late=st.booleans())
    def end_marker(self, late: bool) -> None:
        self._append([self.frames[kind](0) for kind in ("finish", "done", *(["text"] if late else []))])

    @precondition(lambda self: self.stream.terminal is None)
    @rule(how=st.sampled_from(("finish", "cancel", "fail")))
    def end(self, how: str) -> None:
        if how == "finish":
            self.stream.finish()
        elif how == "cancel":
            self.stream.cancel()
        else:
            self.stream.fail(Failed(code="broken", message="it broke"))
        self._ended()

    def _ended(self) -> None:
        for oracle in self.oracles.values():
            oracle.end()

    @rule(
        reads=st.sampled_from(("own", "native", "other")),
        ids=st.booleans(),
        high_water=st.sampled_from((None, 0, 300, 3000)),
        start=st.booleans(),
        where=st.floats(0, 1),
        preface=st.booleans(),
        express=st.booleans(),
    )
    def join(
        self,
        reads: str,
        ids: bool,
        high_water: int | None,
        start: bool,
        where: float,
        preface: bool,
        express: bool,
    ) -> None:
        dialect = {"own": self.own, "native": "native", "other": OTHERS[self.own]}[reads]
        cursors = [EventId(1, 0), *self.oracles[dialect, True].cursors()]
        after = EventId(1, 0) if start else cursors[min(int(where * len(cursors)), len(cursors) - 1)]
        sink = ScriptedSink(high_water, express=express)
        try:
            reader = self.stream.attach(sink, dialects.get(dialect), ids=ids, after=None if start else after)
        except NotResumable:
            if self.stream.log.first == 1:
                raise
            return
        following = Following(sink, reader, dialect, ids, after)
        self.followings.append(following)
        reader.start(HEARTBEATS[0] if preface else b"")

    def _pick(self, index: int) -> Following | None:
        return self.followings[index % len(self.followings)] if self.followings else None

    @rule(index=st.integers(0, 30), size=st.sampled_from((None, 100, 1000)))
    def drain(self, index: int, size: int | None) -> None:
        following = self._pick(index)
        if following is not None and following.sink.full and following.sink.drain(size):
            following.reader.resume()

    @rule(index=st.integers(0, 30))
    def leave(self, index: int) -> None:
        following = self._pick(index)
        if following is not None:
            following.left = following.left or not following.sink.closed
            following.reader.leave()

    @rule(seconds=st.sampled_from((0.1, 1.0, 12.0)))
    def wait(self, seconds: float) -> None:
        running = self.stream.terminal is None
        self.clock.advance(seconds)
        if running and self.stream.terminal is not None:  # the drain after the end marker
            self._ended()

    @rule(trim=st.booleans())
    def pack(self, trim: bool) -> None:
        self.hub.pack(self.stream)
        if trim and self.stream.terminal is None:
            self.stream.trim(0)

    @invariant()
    def every_reader_has_a_beginning_of_what_it_should_get(self) -> None:
        for following in self.followings:
            expected = self.oracles[following.dialect, following.ids].after(following.after)
            data = following.read(expected)
            assert expected.startswith(data)
            if following.reader.live:
                assert data == expected  # who stands at the end of the log has everything
            if following.sink.closed:
                assert data == expected
            assert following.sink.breaches == []

    def teardown(self) -> None:
        if not self.oracles["native", True].entries and self.stream.terminal is None:
            return
        if self.stream.terminal is None:
            self.end("cancel")
        for following in self.followings:
            for _ in range(100_000):
                if following.sink.closed or following.left:
                    break
                following.sink.drain()
                following.reader.resume()
            assert following.left or following.sink.closed
        self.every_reader_has_a_beginning_of_what_it_should_get()
        assert self.stream.readers == []
        self.hub.close()


class MessagesSeam(Seam):
    own = "anthropic"
    frames = MESSAGES


TestSeam = pytest.mark.untraced(Seam.TestCase)
TestSeam.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestMessagesSeam = pytest.mark.untraced(MessagesSeam.TestCase)
TestMessagesSeam.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.untraced
@pytest.mark.parametrize("express", [True, False])
@pytest.mark.parametrize("reads", ["own", "native", "other"])
@pytest.mark.parametrize("machine", [Seam, MessagesSeam])
def test_every_order_of_a_few_acts(machine: type[Seam], reads: str, express: bool) -> None:
    """The smallest scripts, all of them: where a reader falls out of the live set and comes back."""
    acts = ["append", "append", "drain", "drain", "end", "join"]
    for order in sorted(set(permutations(acts))):
        seam = machine()
        seam.begin(begun=True)
        seam.join(reads, True, 0, True, 0.0, False, express)
        for act in order:
            if act == "append" and seam.stream.terminal is None:
                seam.append(["text"])
            elif act == "drain":
                seam.drain(0, None)
            elif act == "end":
                seam.end("cancel")
            elif act == "join":
                seam.join(reads, True, None, False, 0.5, False, express)
            seam.every_reader_has_a_beginning_of_what_it_should_get()
        seam.teardown()
