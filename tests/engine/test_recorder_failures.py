"""Writing to a store that fails, loses its answer or has a bug costs nobody a token, and nothing is doubled."""

from __future__ import annotations

import logging

import pytest
from tests.engine.store_node import Faulty, Node, frames, odd, play, recorder_of

from tokenwire import dialects
from tokenwire.engine import recorder
from tokenwire.engine.keeping import Keep
from tokenwire.errors import Overloaded, StoreConflict
from tokenwire.measure.prices import Seller
from tokenwire.measure.usage import Meter
from tokenwire.testing.rig import until
from tokenwire.testing.sinks import ScriptedSink


def test_a_store_that_fails_costs_nobody_a_token_and_is_caught_up_with() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("first")
        await node.stored(stream)
        sink = ScriptedSink()
        stream.attach(sink, dialects.get("native"), ids=True).start()
        store.failing = "the disk is full"
        node.say(stream, "second")
        await until(lambda: recorder_of(node).degraded)
        assert b"second" in sink.data
        await until(lambda: b"event: notice" in sink.data)
        assert b'"degraded"' in sink.data
        node.end(stream)
        assert b"event: done" in sink.data
        other = node.stream("while it fails", end=True)
        assert not recorder_of(node).safe(other)
        store.failing = None
        await node.stored(stream)
        await node.stored(other)
        await until(lambda: recorder_of(node).degraded is None and recorder_of(node).safe(other))
        node.kill()
        after = Node(store)
        assert frames(await after.hub.find(stream.id, "me")) == frames(stream)
        after.kill()

    play(main)


def test_a_write_whose_answer_was_lost_is_repeated_and_nothing_is_doubled() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        store.lost = 3
        stream = node.stream("a", "b")
        node.say(stream, *"cdef")
        node.end(stream)
        await node.stored(stream)
        node.kill()
        after = Node(store)
        assert frames(await after.hub.find(stream.id, "me")) == frames(stream)
        after.kill()

    play(main)


def test_when_too_much_waits_new_streams_are_refused_and_running_ones_go_on() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store, keep=Keep(flush=0.02, unstored_bytes=5000))
        stream = node.stream("first")
        await node.stored(stream)
        store.failing = "gone"
        node.say(stream, *(f"number {number}" for number in range(500)))
        await until(lambda: recorder_of(node).full)
        with pytest.raises(Overloaded, match="store"):
            node.stream("no")
        node.say(stream, "still here")
        store.failing = None
        await node.stored(stream)
        await until(lambda: not recorder_of(node).full)
        node.stream("yes", end=True)
        node.end(stream)
        node.kill()

    play(main)


def test_a_stream_that_the_store_does_not_take_is_let_go_and_the_others_are_written() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream, other = node.stream("a"), node.stream("b")
        await node.stored(stream)
        await store.forget([stream.id])
        node.say(stream, "c")
        node.say(other, "d")
        await node.stored(other)
        await until(lambda: recorder_of(node).safe(stream))
        node.kill()

    play(main)


@pytest.mark.parametrize("bug", [TypeError("a bug"), StoreConflict("st_nobody", 0)])
def test_a_bug_of_the_store_keeps_nothing_in_memory_and_nobody_from_it(
    bug: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    async def main(_: Faulty) -> None:
        store = await odd()
        node = Node(store)
        store.bug = bug
        ended, running = node.stream("one", end=True), node.stream("two")
        await until(lambda: running.kept is not None and running.kept.over)
        store.bug = None
        node.say(running, "three")
        later = node.stream("other", end=True)
        await node.stored(later)
        assert recorder_of(node).safe(ended)
        assert recorder_of(node).degraded is None
        assert [await store.head(stream.id) is None for stream in (ended, running, later)] == [True, True, False]
        node.kill()

    play(main)


def test_an_estimate_is_stored_whoever_asked_for_it_first() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("Hello", " there")
        stream.meter = Meter(b'{"messages":[]}', Seller(None, None), "m")
        stream.cancel()
        kept = stream.kept
        assert kept is not None
        await until(lambda: kept.ended and kept.acknowledged)
        assert stream.estimates
        said = stream.settled
        assert said is not None
        assert said.usage is not None
        assert not recorder_of(node).safe(stream), "the store does not know it yet"
        await until(lambda: recorder_of(node).safe(stream))
        node.kill()
        after = Node(store)
        assert (await after.hub.find(stream.id, "me")).settled == said
        after.kill()

    play(main)


def test_nothing_is_waited_for_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        node.stream("a")
        recorder_of(node).close()
        turns: list[None] = []
        monkeypatch.setattr(recorder_of(node), "_go_on", lambda: turns.append(None))
        assert not await recorder_of(node).flush(0.02)
        assert not turns, "round and round, in one turn of the loop"
        node.kill()

    play(main)


def test_what_waits_is_known_though_most_of_a_log_is_away() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream()
        for start in range(20):
            node.say(stream, *[f" {start} {number}" for number in range(100)])
            await node.stored(stream)
        node.hub.pack(stream)
        stream.log.cool(0, stream.log.last)
        before = stream.log.size
        store.failing = "the disk is full"
        node.say(stream, *["x" * 1000] * 50)
        assert recorder._waiting(stream) == pytest.approx(stream.log.size - before, rel=0.01)
        node.kill()

    play(main)
