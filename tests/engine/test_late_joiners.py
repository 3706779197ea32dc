"""A late joiner, in every dialect, has in the end what those have who were there: a prefix, and its tail."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from tests.engine.late import MERGING, UPSTREAMS, Late, framed, ids_in, opened
from tests.translation.answers import STREAMS, TARGETS, Case

from tokenwire import dialects
from tokenwire.dialects.deltas import Delta, Started, TextDelta
from tokenwire.engine.hub import Hub
from tokenwire.engine.ingest import Ingest
from tokenwire.engine.log import Log
from tokenwire.engine.sealed import Away
from tokenwire.engine.states import Policy
from tokenwire.errors import NotResumable
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.sinks import ScriptedSource
from tokenwire.wire.envelope import Group


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
