"""What is in the store only must not tear what happens to a stream; and what was stored can be read for good.

All of it was found by tests/simulation.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.engine.store_node import Faulty, Node, frames, play

from tokenwire import dialects
from tokenwire.dialects.deltas import Failed
from tokenwire.engine.hub import Hub
from tokenwire.engine.keeping import Keep
from tokenwire.engine.learning import teaches
from tokenwire.engine.retention import Retention
from tokenwire.engine.states import Policy
from tokenwire.engine.stores.memory import MemoryStore
from tokenwire.engine.stores.port import Head
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable
from tokenwire.testing import chat_frames as chat
from tokenwire.testing import message_frames as message
from tokenwire.testing.clock import ManualClock
from tokenwire.testing.rig import run_in, settle, until
from tokenwire.testing.sinks import ScriptedSink

LATE = Failed(code="upstream_timeout", message="it is late")


def words(count: int) -> list[str]:
    return [f"word {number} " for number in range(count)]


async def cooled(node: Node, *opening: bytes, dialect: str = "openai.chat") -> Stream:
    """A running stream of which memory has nothing."""
    stream = node.stream(dialect=dialect)
    say = chat.text if dialect == "openai.chat" else message.text
    stream.append([*opening, *map(say, words(100))], node.hub.clock.now_ns())
    await away(node, stream)
    return stream


async def away(node: Node, stream: Stream) -> None:
    node.hub.pack(stream)
    await node.stored(stream)
    stream.log.cool(0, stream.log.last_frame)
    assert not stream.log.present


def test_a_stream_ends_though_its_entries_are_away() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = await cooled(node)
        stream.fail(LATE)
        assert stream.settled is not None, "its usage is an estimate, and nothing can be read for it"
        assert stream not in node.hub.running()
        node.kill()

    play(main)


def test_an_end_without_a_marker_is_judged_by_what_is_here() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = await cooled(node)
        stream.append([chat.finish(), chat.usage()], node.hub.clock.now_ns())
        stream.finish()
        assert stream.state.value == "completed"
        assert teaches(stream) is None, "a part of its text is not here"
        node.kill()

    play(main)


#: Memory keeps next to nothing of a log.
TIGHT = Retention(hot_bytes=64)


async def told(node: Node, dialect: str, *parts: list[bytes]) -> Stream:
    """A running stream to which *parts* came, and of which memory has nothing."""
    stream = node.stream(dialect=dialect)
    come = [frame for part in parts for frame in part]
    for start in range(0, len(come), 64):
        stream.append(come[start : start + 64], node.hub.clock.now_ns())
        node.hub.pack(stream)
        await node.stored(stream)
        node.hub._cool()
    assert stream.log.taken_by(0) == 0
    return stream


def spoken(*choices: int) -> list[bytes]:
    return [chat.text(word, choice) for word in words(100) for choice in choices]


def call(arguments: str, **more: object) -> bytes:
    entry = {"index": 0, "function": {"arguments": arguments, **more}}
    return chat.chunk({"tool_calls": [entry | ({"id": "call_1", "type": "function"} if more else {})]})


CALL = [chat.role(), chat.text("Well. "), call("", name="weather"), call('{"city":"'), *map(call, words(100))]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([[chat.role(), *spoken(0)], [chat.finish()]], "stop"),
        ([[chat.role(), *spoken(0)], spoken(1), [chat.finish()]], None),
        ([[chat.role(), *spoken(0, 1)], [chat.finish()]], None),
        ([[chat.role(), *spoken(0, 1)], [chat.finish(index=1)], spoken(0), [chat.finish()]], "stop"),
        ([[chat.role(), *spoken(0)], [chat.DONE]], "unknown"),
        ([CALL, [chat.DONE]], None),
        ([CALL, [call('"}')], [chat.DONE]], "tool_use"),
        ([CALL, [call('"}'), chat.DONE]], "tool_use"),
    ],
    ids=[
        "finished", "another choice is cut", "one of two is cut", "both finished",
        "nobody said why", "cut within a call", "ends in a call", "ends in a call at once",
    ],
)  # fmt: skip
def test_an_end_is_judged_by_what_was_let_go_of_too(parts: list[list[bytes]], reason: str | None) -> None:
    async def main(store: Faulty) -> None:
        ends: list[tuple[object, ...]] = []
        for retention in (Retention(), TIGHT):
            node = Node(store, retention=retention)
            stream = await told(node, "openai.chat", *parts[:-1]) if retention is TIGHT else node.stream()
            for part in parts[-1:] if retention is TIGHT else parts:
                stream.append(part, node.hub.clock.now_ns())
            stream.finish()
            terminal = stream.terminal
            assert terminal is not None
            ends.append((terminal.state, terminal.reason, terminal.error and terminal.error.code))
            node.kill()
        assert ends[0] == ends[1]
        assert ends[1][:2] == ("completed", reason) if reason else ends[1][2] == "truncated"

    play(main)


def test_what_cannot_be_read_in_time_is_let_go_of_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "COOL_STEPS", 0)

    async def main(store: Faulty) -> None:
        node = Node(store, retention=TIGHT)
        stream = node.stream()
        stream.append([chat.role(), *spoken(0), *spoken(1)], node.hub.clock.now_ns())
        node.hub.pack(stream)
        await node.stored(stream)
        node.hub._cool()
        assert not stream.log.present
        stream.append([chat.text("more"), chat.finish()], node.hub.clock.now_ns())
        node.hub.pack(stream)
        await node.stored(stream)
        monkeypatch.setattr(Hub, "COOL_STEPS", 128)
        node.hub._cool()
        assert stream.log.taken_by(0) == 0, "nothing is gained by keeping what follows"
        stream.finish()
        assert stream.state.value == "completed", "judged by what is here"
        node.kill()

    play(main)


def test_the_longest_log_is_read_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else those at the end of the row would never be."""
    monkeypatch.setattr(Hub, "COOL_STEPS", 4)

    async def main(store: Faulty) -> None:
        node = Node(store)
        streams = [node.stream(), node.stream()]
        for stream, count in zip(streams, (100, 120), strict=True):
            for start in range(0, count, 4):
                stream.append(spoken(0, 1)[start : start + 4], node.hub.clock.now_ns())
                node.hub.pack(stream)
            await node.stored(stream)
        node.hub.retention = Retention(hot_bytes=streams[0].log.size - 1)
        node.hub._cool()
        assert [stream.log.present for stream in streams] == [True, False]
        node.kill()

    play(main)


def test_a_stream_whose_newest_entry_is_away_spoke_when_that_came() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = await cooled(node, message.start(), message.block(), dialect="anthropic")
        assert stream.spoke_ns() == stream.last_ns
        node.kill()

    play(main)


def event(kind: str, number: int, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields, 'sequence_number': number})}\n\n".encode()


def test_live_readers_get_the_ending_that_follows_on_entries_that_are_away() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        dialect = dialects.get("openai.responses")
        body = [event("response.created", 0, response={"id": "resp_theirs", "model": "theirs"})]
        body += [
            event("response.output_text.delta", number, output_index=0, content_index=0, item_id="m", delta=word)
            for number, word in enumerate(words(100), 1)
        ]
        told: list[bytes] = []
        for cold in (False, True):
            stream = node.stream(dialect=dialect.name)
            stream.append(body, node.hub.clock.now_ns())
            sink = ScriptedSink()
            stream.attach(sink, dialect, ids=False).start()
            if cold:
                await away(node, stream)
            stream.fail(LATE)
            await until(lambda sink=sink: sink.closed)  # type: ignore[misc]
            assert sink.data.count(b"event: response.failed") == 1
            told.append(sink.data.partition(b"event: error")[2])
        assert told[0] == told[1]
        assert b'"id":"resp_theirs"' in told[1], "the ending names the answer as its beginning did"
        node.kill()

    play(main)


def test_entries_that_were_stored_at_once_come_back_though_only_some_of_them_were_sealed() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream()
        stream.append([chat.text(word) for word in words(40)], node.hub.clock.now_ns())
        node.hub.pack(stream)
        stream.append([chat.text(word) for word in words(20)], node.hub.clock.now_ns())
        await node.stored(stream)
        before = frames(stream)
        stream.log.cool(0, 60)
        assert not stream.log.present
        await node.hub.whole(stream)
        assert frames(stream) == before
        node.kill()

    play(main)


def test_an_orphan_can_be_read_by_the_process_after_the_next() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream(*words(80))
        await node.stored(stream)
        assert stream.log.templates, "some of it is in an envelope"
        node.kill()
        second = Node(store)
        await second.stored(await second.hub.find(stream.id, "me"))
        second.kill()
        await store.close()
        await store.open()
        third = Node(store)
        assert frames(await third.hub.find(stream.id, "me")) == frames(stream)
        third.kill()

    play(main)


def test_what_came_before_the_first_token_can_be_read_by_the_next_process() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.hub.open(owner="me", dialect=dialects.get("openai.chat"), model="up/m", policy=Policy())
        await node.stored(stream)
        stream.connecting(_Source())
        stream.begin()
        stream.append([chat.role()], node.hub.clock.now_ns())
        assert stream.generated_ns is None
        await until(lambda: stream.kept is not None and stream.kept.stored == 1)
        node.kill()
        after = Node(store)
        found = await after.hub.find(stream.id, "me")
        sink = ScriptedSink()
        found.attach(sink, dialects.get("native"), ids=True).start()
        assert b"orphaned" in sink.data
        after.kill()

    play(main)


class _Source:
    def abort(self) -> None:
        """There is nothing to stop."""

    pause = resume = abort


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_what_is_kept_for_an_hour_is_not_forgotten_because_somebody_sets_the_clock(jump: float) -> None:
    class Set(ManualClock):
        offset = 0.0

        def wall(self) -> float:
            return super().wall() + self.offset

    clock = Set()
    hub = Hub(clock)
    hub.keep_in(MemoryStore(wall=hub.wall), Keep(ended_seconds=3600.0), Policy())
    assert hub.recorder is not None

    def left() -> float:
        assert hub.recorder is not None
        stream = hub.open(owner="me", dialect=dialects.get("openai.chat"), model="up/m", policy=Policy(), stored=False)
        stream.cancel()
        return hub.recorder.expires(stream) - hub.wall()

    before = left()
    clock.offset = jump
    assert left() == pytest.approx(before) == pytest.approx(3600.0)
    hub.close()


def test_who_looks_for_a_stream_while_it_is_deleted_does_not_bring_it_back() -> None:
    class Slow(Faulty):
        """Its answer to who looks for a stream comes late."""

        async def head(self, stream: str) -> Head | None:
            found = await super().head(stream)
            await answer.wait()
            return found

    async def inside() -> None:
        store = Slow()
        await store.open()
        before = Node(store)
        stream = before.stream()  # of which nothing has to be read
        await before.stored(stream)
        before.kill()
        node = Node(store)
        answer.set()
        found = await node.hub.find(stream.id, "me")
        await node.stored(found)
        node.hub._drop(found)  # it has left memory, as what nobody uses does
        answer.clear()
        looking = asyncio.get_running_loop().create_task(node.hub.find(stream.id, "me"))
        await settle()
        await node.hub.delete(found)
        answer.set()
        with pytest.raises(NotResumable):
            await looking
        assert node.hub.resident(stream.id) is None
        node.kill()

    answer = asyncio.Event()
    run_in("uvloop", inside)
