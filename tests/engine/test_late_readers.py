"""Late joiners and readers who are behind, in every dialect: in the end they have what those have who were there.

What a client has is a fold of what it was sent. So what each reader got is decoded and folded, and compared with the
fold of one that was live from the first entry on.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.translation.answers import STREAMS, TARGETS, Case, decode, fold
from tests.translation.test_joining import state

from tokenwire import dialects
from tokenwire.client import Answer
from tokenwire.dialects.base import Dialect
from tokenwire.dialects.deltas import (
    Delta,
    Finished,
    ReasoningDelta,
    Started,
    Terminal,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    Usage,
)
from tokenwire.engine.framing import encode, encode_prefix
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import EventId, parse_event_id
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.log import Log
from tokenwire.engine.merging import BEHIND, MOST
from tokenwire.engine.reader import PAGE, Reader
from tokenwire.engine.sealed import Away
from tokenwire.engine.states import Policy
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource
from tokenwire.wire import sse
from tokenwire.wire.envelope import Group

UPSTREAMS = ("openai.chat", "anthropic", "openai.responses", "gemini", "ollama")
MERGING = ("native", "ui-messages", "agui")
Streaming = Callable[..., Stream]


def opened(hub: Hub, dialect: str) -> Stream:
    policy = Policy(linger=float("inf"), reader_timeout=1e6)
    stream = hub.open(owner="me", dialect=dialects.get(dialect), model="m", policy=policy)
    stream.connecting(ScriptedSource())
    stream.begin()
    return stream


class Late:
    """One reader and what it was sent. *snapshot*: a prefix first, as ``gateway.following`` sends it."""

    def __init__(self, stream: Stream, dialect: str, *, snapshot: bool, high_water: int | None = None) -> None:
        self.stream = stream
        self.dialect = dialects.get(dialect)
        self.sink = ScriptedSink(high_water)
        self.reader: Reader = stream.attach(self.sink, self.dialect, ids=True)
        self.prefix = b""
        self.frames = 0
        if snapshot:
            held = stream.log
            seq = held.last_frame if held.done_seq is None else held.done_seq - 1
            self.reader.cursor = EventId(held.epoch, seq)
            told = stream.prefix(self.dialect, seq)
            self.frames = len(told)
            self.place = self.reader.cursor
            last = self.place if self.reader.view.ids else None
            self.prefix = encode_prefix(told, self.dialect, last)
        self.reader.start(self.prefix)

    def catch_up(self) -> None:
        for _ in range(100_000):
            if self.reader.live or self.sink.closed:
                return
            self.sink.drain()
            self.reader.resume()
        raise AssertionError("it never got there")

    @property
    def state(self) -> Any:
        return held_by(self.dialect, self.sink.data)

    @property
    def ids(self) -> list[str]:
        return ids_in(self.sink.data)


def held_by(dialect: Dialect, data: bytes) -> Any:
    """What a client holds that was sent *data*."""
    found = fold(decode(dialect, [data]))
    for choice in found.choices.values():
        for call in choice.tool_calls.values():
            if re.fullmatch("call_[0-9a-f]{24}", call.id):  # made up by whoever reads
                call.id = ""
    told = state(found)
    if dialect.name == "native":  # a snapshot tells all thoughts and all texts, not how they took turns
        for choice, whole in zip(told[0], found.choices.values(), strict=True):
            choice[0][:] = [whole.reasoning, whole.text, whole.refusal]
    return told


def ids_in(data: bytes) -> list[str]:
    return re.findall(r"^id: (.*)$", data.decode(), re.MULTILINE)


def framed(dialect: Dialect, deltas: Sequence[Delta], *, ends: bool = True) -> list[bytes]:
    """An answer as a provider of *dialect* would send it."""
    encoder = dialect.encoder("st_up", 1_763_600_000.0, "m")
    frames = [frame for delta in deltas for frame in encoder.feed(delta)]
    frames += encoder.close(Terminal("completed", "stop")) if ends else []
    return [encode([frame], dialect, None) for frame in frames]


@pytest.fixture(scope="module")
def long_answer() -> list[Delta]:
    """Some of everything, in runs that are long enough to be packed, and texts that are hard to cut."""
    words = random.Random(6).choices(
        [" the", "\n", ' "quoted" \\', " é", " 😀", "\u2028", "\x01", " <b>", " data: x"], k=900
    )
    call = [json.dumps({"text": "".join(words[:200])}, ensure_ascii=False)]
    pieces = [piece for whole in call for piece in re.findall(r".{1,5}", whole, re.DOTALL)]
    return [
        Started("x", "m", 1.0),
        *(ReasoningDelta(word, 0, 0) for word in words[:150]),
        *(TextDelta(word, 0, 1) for word in words),
        ToolCallStarted("call_1", "f", 0, 2),
        *(ToolCallDelta(piece, 0, 2) for piece in pieces),
        ToolCallEnded(0, 2),
        Usage(input=3, output=1200),
        Finished("tool_use", "tool_calls"),
    ]


# -- late joiners


@pytest.mark.untraced
@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.path)
def test_a_prefix_and_its_tail_are_the_whole_of_every_recorded_answer(hub: Hub, case: Case) -> None:
    """In every dialect, wherever it is joined; by one joiner after the other, who share what was read."""
    stream = opened(hub, case.dialect)
    ingest = Ingest(stream)
    readers = {target: [Late(stream, target, snapshot=False)] for target in TARGETS}
    step = max(1, len(case.body) // 7)
    for start in range(0, len(case.body), step):
        ingest.body(case.body[start : start + step])
        if stream.terminal is None:
            for target, each in readers.items():
                each.append(Late(stream, target, snapshot=True))
    ingest.end()
    for target, (whole, *joined) in readers.items():
        for late in joined:
            assert late.state == whole.state, target
            if late.reader.view.ids and late.frames:
                assert ids_in(late.prefix) == [str(late.place)], "one exact place, on the last frame of the prefix"


@pytest.mark.untraced
@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_long_answer_is_joined_at_many_places(hub: Hub, upstream: str, packs: bool, long_answer: list[Delta]) -> None:
    stream = opened(hub, upstream)
    readers = {target: [Late(stream, target, snapshot=False)] for target in TARGETS}
    frames = framed(stream.dialect, long_answer)
    for number, frame in enumerate(frames):
        stream.append([frame], 1)
        if number % 211 == 5 and stream.terminal is None:
            if packs:
                hub.pack(stream)
            for target, each in readers.items():
                each.append(Late(stream, target, snapshot=True))
    stream.finish()
    for target, (whole, *joined) in readers.items():
        for late in joined:
            assert late.state == whole.state, target
            if whole.reader.view.ids:
                assert ids_in(late.prefix) == [str(late.place)]
                assert set(late.ids[1:]) < set(whole.ids), target


@pytest.mark.untraced
@pytest.mark.parametrize("target", UPSTREAMS + MERGING)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_long_text_is_told_in_few_frames_and_little_more_than_its_bytes(hub: Hub, upstream: str, target: str) -> None:
    words = random.Random(6).choices([" the", " stream", ", so", " é", " 😀", " it"], k=5000)
    stream = opened(hub, upstream)
    for frame in framed(stream.dialect, [Started("x", "m", 1.0), *(TextDelta(word) for word in words)], ends=False):
        stream.append([frame], 1)
    text = stream.transcript().choice().text
    assert len(text) > 0.99 * len("".join(words))
    late = Late(stream, target, snapshot=True)
    assert late.frames <= 10
    assert len(late.prefix) <= 1.3 * len(text.encode())
    again = Late(stream, target, snapshot=True)
    assert again.prefix == late.prefix


@pytest.mark.parametrize("target", ["native", "anthropic", "openai.chat"])
def test_what_was_read_for_one_joiner_is_not_read_again(hub: Hub, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = opened(hub, "anthropic")
    told = framed(
        stream.dialect, [Started("x", "m", 1.0), *(TextDelta(f"{number} ") for number in range(300))], ends=False
    )
    stream.append(told, 1)
    Late(stream, target, snapshot=True)
    stream.append([told[-1]], 1)
    read: list[int] = []
    groups = Log.groups

    def watched(log: Log, seq: int, limit: int = 1024) -> Iterator[Group]:
        read.append(seq)
        return groups(log, seq, limit)

    monkeypatch.setattr(Log, "groups", watched)
    stream.prefix(dialects.get(target), stream.log.last)
    assert read == [len(told)]
    stream.cancel()
    assert stream.prefixes is None
    stream.prefix(dialects.get(target), stream.log.last_frame)
    assert stream.prefixes is None, "nothing is kept of what is over"


def test_a_late_joiner_is_served_from_what_was_read_though_the_beginning_is_gone(hub: Hub) -> None:
    stream = opened(hub, "anthropic")
    frames = framed(
        stream.dialect, [Started("x", "m", 1.0), *(TextDelta(f"{number} ") for number in range(400))], ends=False
    )
    for frame in frames:
        stream.append([frame], 1)
    native, own = dialects.get("native"), stream.dialect
    before = [stream.prefix(native, stream.log.last), stream.prefix(own, stream.log.last)]
    assert stream.trim(0)
    assert [stream.prefix(native, stream.log.last), stream.prefix(own, stream.log.last)] == before
    with pytest.raises(NotResumable) as caught:  # an earlier place cannot be told any more
        stream.prefix(native, stream.log.first)
    assert caught.value.status == 410


def test_a_snapshot_before_the_first_entry_keeps_nothing(hub: Hub) -> None:
    """Another provider may be asked, in another dialect, until something came."""
    policy = Policy(linger=float("inf"))
    stream = hub.open(owner="me", dialect=dialects.get("anthropic"), model="m", policy=policy)
    late = Late(stream, "native", snapshot=True)
    stream.speaks(dialects.get("openai.chat"))
    stream.connecting(ScriptedSource())
    stream.begin()
    stream.append(chat.answer("a", "b"), 1)
    stream.finish()
    assert late.state == Late(stream, "native", snapshot=False).state
    assert [frame.event for frame in stream.prefix(dialects.get("native"), 2)] == ["started", "snapshot"]


# -- readers who are behind


def proven(sink: ScriptedSink) -> bool:
    """Whether our client says that nothing was lost, doubled or changed."""
    answer = Answer()
    for event in sse.Decoder().feed(sink.data):
        answer.feed(event)
    assert answer.done is not None
    assert answer.done.mismatch is None
    return answer.done.verified is True


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


# -- whatever happens

KINDS = ("text", "thought", "call", "args", "usage")


@pytest.mark.untraced
@settings(max_examples=60, deadline=None)
@given(
    upstream=st.sampled_from(UPSTREAMS),
    parts=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 200)), min_size=1, max_size=6),
    seed=st.integers(0, 1 << 30),
)
def test_any_reader_has_in_the_end_what_was_said(upstream: str, parts: list[tuple[str, int]], seed: int) -> None:
    """Slow and quick, from the start and joining late, on logs that are packed at any time."""
    chance = random.Random(seed)
    hub = Hub(ManualClock())
    stream = opened(hub, upstream)
    frames = framed(stream.dialect, _answer(parts, chance))
    quick = {target: Late(stream, target, snapshot=False) for target in TARGETS}
    others: list[Late] = []
    at = 0
    while at < len(frames) and stream.terminal is None:
        size = chance.choice((1, 1, 3, 90))
        stream.append(frames[at : at + size], 1)
        at += size
        if chance.random() < 0.1 and len(others) < 12:
            high_water = chance.choice((None, 0, 500))
            others.append(Late(stream, chance.choice(TARGETS), snapshot=chance.random() < 0.7, high_water=high_water))
        if others and chance.random() < 0.1:
            slow = chance.choice(others)
            if slow.sink.drain():
                slow.reader.resume()
        if chance.random() < 0.05:
            hub.pack(stream)
    stream.finish()
    for late in others:
        late.catch_up()
        assert late.sink.breaches == []
        assert late.state == quick[late.dialect.name].state
        if late.dialect.name == "native":
            assert proven(late.sink)
    hub.close()


def _answer(parts: list[tuple[str, int]], chance: random.Random) -> list[Delta]:
    deltas: list[Delta] = [Started("x", "m", 1.0)]
    block, kind = -1, ""
    for now, count in parts:
        words = chance.choices(["a ", "😀", "\n", '"', "\\", "é", "<x>"], k=count)
        if now == "usage":
            deltas.append(Usage(input=1, output=count))
            continue
        if now != kind or now == "call":
            block += 1
        if now == "text":
            deltas += [TextDelta(word, 0, block) for word in words]
        elif now == "thought":
            deltas += [ReasoningDelta(word, 0, block) for word in words]
        else:
            whole = json.dumps({"x": "".join(words)}, ensure_ascii=False)
            pieces = re.findall(r".{1,3}", whole, re.DOTALL) if now == "args" else [whole]
            block += now == kind
            deltas += [ToolCallStarted(f"call_{block}", "f", 0, block)]
            deltas += [ToolCallDelta(piece, 0, block) for piece in pieces]
            deltas += [ToolCallEnded(0, block)]
        kind = now
    called = any(kind in ("call", "args") for kind, _ in parts)
    return [*deltas, Finished("tool_use" if called else "stop", None)]  # what the provider would say, not only we


@pytest.mark.parametrize("target", ["native", "anthropic"])
def test_what_is_away_stops_a_reading_where_it_is_and_nothing_is_read_twice(
    hub: Hub, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries may be in the store only: who can wait has them brought back, and asks again."""
    stream = opened(hub, "anthropic")
    frames = framed(
        stream.dialect, [Started("x", "m", 1.0), *(TextDelta(f"{number} ") for number in range(400))], ends=False
    )
    for frame in frames:
        stream.append([frame], 1)
    dialect = dialects.get(target)
    last = stream.log.last
    groups = Log.groups
    here = 200
    asked: list[int] = []

    def half(log: Log, seq: int, limit: int = 1024) -> Iterator[Group]:
        if seq >= here:
            raise Away(seq + 1, last)
        asked.append(seq)
        return groups(log, seq, min(limit, here - seq))

    with monkeypatch.context() as patch:
        patch.setattr(Log, "groups", half)
        with pytest.raises(Away):
            stream.prefix(dialect, last)
        told = [*asked]
        with pytest.raises(Away):
            stream.prefix(dialect, last)
        assert asked == told, "what was there was read the first time"
    again = stream.prefix(dialect, last)
    stream.prefixes = None
    assert again == stream.prefix(dialect, last)
