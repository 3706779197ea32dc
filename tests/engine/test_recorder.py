"""What streams do, written to a store in time, and read back as it was."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.store_node import Faulty, Node, frames, play

from tokenwire import dialects
from tokenwire.engine.ids import EventId
from tokenwire.engine.retention import Retention
from tokenwire.engine.states import Policy
from tokenwire.errors import NotResumable
from tokenwire.testing.rig import until
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource


def test_an_ended_stream_is_found_by_the_next_process() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("Hello", " wörld", ' "quoted" \n', end=True)
        await node.stored(stream)
        node.kill()
        after = Node(store)
        with pytest.raises(NotResumable):
            await after.hub.find(stream.id, "you")
        found = await after.hub.find(stream.id, "me")
        assert found is not stream
        assert frames(found) == frames(stream)
        assert (found.model, found.state, found.log.done_seq) == (stream.model, stream.state, stream.log.done_seq)
        assert found.settled == stream.settled
        assert found.log.notable == stream.log.notable
        assert found.transcript().choice(0).text == stream.transcript().choice(0).text
        gaps = [round((b - a) / 1e6) for a, b in zip(stream.timeline, found.timeline, strict=True)]
        assert max(gaps) - min(gaps) <= 2, "the same times, on another clock"
        after.kill()

    play(main)


def test_what_runs_is_written_while_it_runs() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("a", "b")
        await node.stored(stream)
        assert (await store.pieces(stream.id))[-1].first == 1, "the first entries are written at once"
        node.say(stream, *"cdefgh")
        await node.stored(stream)
        head = await store.head(stream.id)
        assert head is not None
        assert (head.last, head.running) == (8, True)
        node.kill()

    play(main)


def test_a_stream_of_thousands_of_entries_comes_back_page_by_page() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        words = [f" w{number}" * 3 for number in range(6000)]
        stream = node.stream()
        for start in range(0, len(words), 100):
            node.say(stream, *words[start : start + 100])
            if start % 1000 == 0:
                await node.stored(stream)
        node.end(stream)
        await node.stored(stream)
        node.kill()
        after = Node(store, retention=Retention(hot_bytes=4096))
        found = await after.hub.find(stream.id, "me")
        assert not found.log.present, "its entries come when they are read"
        sink = ScriptedSink()
        reader = found.attach(sink, found.dialect, ids=True)
        reader.start()
        await until(lambda: reader.over)
        expected = [frame[:-1] + f"id: 1-{seq}\n\n".encode() for seq, frame in enumerate(frames(stream), 1)]
        assert sink.data == b"".join(expected)
        await until(lambda: found.log.size < 8 * found.log.last + 2 * 4096)
        native = ScriptedSink()
        reader = found.attach(native, dialects.get("native"), ids=True, after=EventId(1, 5990))
        reader.start()
        await until(lambda: reader.over)
        assert b"w5990" in native.data
        assert b"w5989" not in native.data
        await after.hub.whole(found)
        assert found.transcript().choice(0).text == "".join(words)
        after.kill()

    play(main)


def test_what_is_long_leaves_memory_while_it_runs_and_a_late_reader_gets_all_of_it() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store, retention=Retention(hot_bytes=4096))
        stream = node.stream()
        slow = ScriptedSink(high_water=1)
        behind = stream.attach(slow, stream.dialect, ids=False)
        behind.start()
        for _ in range(40):
            node.say(stream, *(f"token {number} " for number in range(64)))
        await until(lambda: not stream.log.present)
        late = ScriptedSink()
        reader = stream.attach(late, stream.dialect, ids=False)
        reader.start()
        await until(lambda: reader.live)
        node.say(stream, "the last one")
        while not behind.live:
            slow.drain()
            behind.resume()
            await asyncio.sleep(0)
        node.end(stream)
        slow.drain()
        await until(lambda: reader.over)
        await node.hub.whole(stream)
        assert late.data == b"".join(frames(stream))
        await node.stored(stream)
        node.kill()

    play(main)


def test_many_who_look_for_the_same_stream_cost_one_look() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("one", end=True)
        await node.stored(stream)
        node.kill()
        after = Node(store)
        found = await asyncio.gather(*(after.hub.find(stream.id, "me") for _ in range(50)))
        assert len({id(each) for each in found}) == 1
        assert after.hub.archive is not None
        assert after.hub.archive.statistics().found == 1
        after.kill()

    play(main)


def test_what_is_over_leaves_memory_once_it_is_stored_and_is_listed_all_the_same() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store, retention=Retention(rest_seconds=0.0))
        stream = node.stream("gone from here", end=True)
        await until(lambda: node.hub.resident(stream.id) is None)
        assert [each.id for each in await node.hub.listed("me")] == [stream.id]
        assert await node.hub.listed("you") == []
        assert frames(await node.hub.find(stream.id, "me")) == frames(stream)
        node.kill()

    play(main)


def test_a_stream_that_is_not_to_be_stored_is_not() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.hub.open(
            owner="me", dialect=dialects.get("openai.chat"), model="m", policy=Policy(), stored=False
        )
        stream.connecting(ScriptedSource())
        stream.begin()
        node.say(stream, "off the record")
        node.end(stream)
        other = node.stream("on it", end=True)
        await node.stored(other)
        assert {append.stream for batch in store.writes for append in batch} == {other.id}
        node.kill()

    play(main)


def test_a_running_stream_that_brings_nothing_expires() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store, retention=Retention(idle_seconds=0.05))
        node.hub.AGE_TICKS = 1
        stream = node.stream("then silence")
        await until(lambda: stream.terminal)
        assert stream.terminal is not None
        assert stream.terminal.state == "expired"
        await node.stored(stream)
        node.kill()

    play(main)
