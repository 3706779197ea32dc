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
