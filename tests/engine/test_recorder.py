"""What streams do, written to a store in time, and read back as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from tokenwire import dialects
from tokenwire.engine.clock import LoopClock
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import EventId
from tokenwire.engine.keeping import Keep
from tokenwire.engine.retention import Retention
from tokenwire.engine.states import Policy
from tokenwire.engine.stores.memory import MemoryStore
from tokenwire.engine.stores.port import Append, Note
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable, Overloaded, RequestRefused, StoreFailed
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.rig import run_in, until
from tokenwire.testing.sinks import ScriptedSink, ScriptedSource

KEEP = Keep(flush=0.02)


class Faulty(MemoryStore):
    """A store that can be told to fail, to be silent, or to write and lose its answer.

    Attributes:
        failing: what every write says, if anything.
        gate: writes wait for it.
        lost: so many answers are still to be lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failing: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.lost = 0
        self.writes: list[Sequence[Append]] = []

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        await self.gate.wait()
        if self.failing is not None:
            raise StoreFailed(self.failing)
        await super().write(appends, notes)
        self.writes.append(list(appends))
        if self.lost:
            self.lost -= 1
            raise StoreFailed("the answer was lost")


class Node:
    """One process: a hub on a store that outlives it."""

    def __init__(self, store: MemoryStore, *, keep: Keep = KEEP, retention: Retention | None = None) -> None:
        self.store = store
        self.hub = Hub(LoopClock(), retention)
        self.hub.keep_in(store, keep, Policy())

    def stream(self, *texts: str, end: bool = False, dialect: str = "openai.chat") -> Stream:
        stream = self.hub.open(owner="me", dialect=dialects.get(dialect), model="up/m", policy=Policy())
        stream.connecting(ScriptedSource())
        stream.begin()
        self.say(stream, *texts)
        if end:
            self.end(stream)
        return stream

    def say(self, stream: Stream, *texts: str) -> None:
        for text in texts:
            stream.append([chat.text(text)], self.hub.clock.now_ns())

    def end(self, stream: Stream) -> None:
        stream.append([chat.finish(), chat.DONE], self.hub.clock.now_ns())
        stream.finish()

    async def stored(self, stream: Stream) -> None:
        """Until the store has everything of it."""
        kept = stream.kept
        assert kept is not None
        await until(lambda: kept.stored == stream.log.last_frame and kept.acknowledged and not kept.queued)

    def kill(self) -> None:
        """The process is gone: nothing more is written."""
        assert self.hub.recorder is not None
        self.hub.recorder.close()
        self.hub.close()


def play(main: Callable[[Faulty], Awaitable[None]]) -> None:
    async def inside() -> None:
        store = Faulty()
        await store.open()
        await main(store)

    run_in("uvloop", inside)


def frames(stream: Stream) -> list[bytes]:
    return [stream.log.frame(seq) for seq in range(1, stream.log.last_frame + 1)]


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


def test_what_was_running_is_orphaned_with_all_that_was_stored() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("stored", " too")
        await node.stored(stream)
        store.gate.clear()
        node.say(stream, " never stored")
        node.kill()
        store.gate.set()
        after = Node(store)
        found = await after.hub.find(stream.id, "me")
        assert found.terminal is not None
        assert (found.terminal.state, found.log.last) == ("orphaned", 3)
        assert frames(found) == frames(stream)[:2]
        assert found.log.epochs == ((1, 1), (2, 3))
        sink = ScriptedSink()
        reader = found.attach(sink, found.dialect, ids=True, after=EventId(1, 1))
        reader.start()
        assert b"id: 2-2\n" in sink.data
        assert b"orphaned" in sink.data
        for ahead in (EventId(1, 3), EventId(1, 2, 1), EventId(3, 1)):
            with pytest.raises(NotResumable) as refusal:
                found.attach(ScriptedSink(), found.dialect, ids=True, after=ahead)
            assert refusal.value.status == 409
        await after.stored(found)
        after.kill()
        again = Node(store)
        third = await again.hub.find(stream.id, "me")
        assert (third.terminal, third.log.epochs) == (found.terminal, found.log.epochs)
        again.kill()

    play(main)


def test_an_answer_that_was_whole_but_for_its_end_is_complete() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("all of it")
        stream.append([chat.finish(), chat.usage(), chat.DONE], node.hub.clock.now_ns())
        await node.stored(stream)
        node.kill()
        after = Node(store)
        found = await after.hub.find(stream.id, "me")
        assert found.terminal is not None
        assert (found.terminal.state, found.terminal.reason) == ("completed", "stop")
        assert found.terminal.usage is not None
        assert found.terminal.usage.output == 5
        after.kill()

    play(main)


def test_the_orphans_of_a_process_are_ended_by_the_next() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        streams = [node.stream(f"number {number}") for number in range(40)]
        for stream in streams:
            await node.stored(stream)
        node.kill()
        await store.close()
        await store.open()
        after = Node(store)
        assert after.hub.archive is not None
        await after.hub.archive.end_orphans()
        assert await store.orphans() == []
        heads = [await store.head(stream.id) for stream in streams]
        assert not any(head is None or head.running for head in heads)
        assert after.hub.archive.statistics().orphaned == 40
        after.kill()

    play(main)


@pytest.mark.parametrize("turns", range(4))
def test_who_asks_for_an_orphan_that_is_being_ended_gets_that_one(turns: int) -> None:
    """After a restart the readers come back while the orphans are looked through."""

    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("one", "two")
        await node.stored(stream)
        node.kill()
        await store.close()
        await store.open()
        after = Node(store)
        archive = after.hub.archive
        assert archive is not None
        ending = asyncio.create_task(archive.end_orphans())
        for _ in range(turns):
            await asyncio.sleep(0)
        found = await after.hub.find(stream.id, "me")
        await ending
        assert found is await after.hub.find(stream.id, "me")
        assert (found.terminal is not None, found.log.last, found.log.whole) == (True, 3, True)
        assert archive.statistics().orphaned == 1
        after.kill()

    play(main)


def test_a_store_that_fails_costs_nobody_a_token_and_is_caught_up_with() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("first")
        await node.stored(stream)
        recorder = node.hub.recorder
        assert recorder is not None
        sink = ScriptedSink()
        stream.attach(sink, dialects.get("native"), ids=True).start()
        store.failing = "the disk is full"
        node.say(stream, "second")
        await until(lambda: recorder.degraded)
        assert b"second" in sink.data
        await until(lambda: b"event: notice" in sink.data)
        assert b'"degraded"' in sink.data
        node.end(stream)
        assert b"event: done" in sink.data
        other = node.stream("while it fails", end=True)
        assert not recorder.safe(other)
        store.failing = None
        await node.stored(stream)
        await node.stored(other)
        await until(lambda: recorder.degraded is None and recorder.safe(other))
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
        recorder = node.hub.recorder
        assert recorder is not None
        store.failing = "gone"
        node.say(stream, *(f"number {number}" for number in range(500)))
        await until(lambda: recorder.full)
        with pytest.raises(Overloaded, match="store"):
            node.stream("no")
        node.say(stream, "still here")
        store.failing = None
        await node.stored(stream)
        await until(lambda: not recorder.full)
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
        recorder = node.hub.recorder
        assert recorder is not None
        await until(lambda: recorder.safe(stream))
        node.kill()

    play(main)


def test_what_is_deleted_is_gone_from_the_store_though_a_write_is_under_way() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("secret")
        await node.stored(stream)
        store.gate.clear()
        node.say(stream, "more of it")
        recorder = node.hub.recorder
        assert recorder is not None
        await until(lambda: recorder.statistics().lag > 0)
        deleting = asyncio.ensure_future(node.hub.delete(stream))
        await asyncio.sleep(0)
        store.gate.set()
        await deleting
        assert await store.head(stream.id) is None
        with pytest.raises(NotResumable):
            await node.hub.find(stream.id, "me")
        node.kill()

    play(main)


def test_what_is_deleted_while_its_first_write_fails_is_not_written_later() -> None:
    """The store forgets what it has never heard of, and the batch is repeated behind that."""

    async def main(store: Faulty) -> None:
        node = Node(store)
        store.failing = "the disk is full"
        stream, other = node.stream("secret"), node.stream("no secret")
        recorder = node.hub.recorder
        assert recorder is not None
        await until(lambda: recorder.degraded)
        await node.hub.delete(stream)
        assert recorder.gone == {stream.id}, "it is looked after until nothing of it is under way"
        store.failing = None
        await node.stored(other)
        await until(lambda: not recorder.gone)
        assert await store.head(stream.id) is None
        node.kill()

    play(main)


def test_who_looks_for_a_stream_while_the_store_is_away_is_told_so() -> None:
    class Away(Faulty):
        async def head(self, stream: str) -> None:
            raise StoreFailed("no answer")

    async def inside() -> None:
        node = Node(await Away().open())
        with pytest.raises(RequestRefused) as refusal:
            await node.hub.find("st_" + "a" * 22, "me")
        assert (refusal.value.status, refusal.value.code) == (503, "store_away")
        with pytest.raises(NotResumable):
            await node.hub.find("no id of ours", "me")
        node.kill()

    run_in("uvloop", inside)


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
