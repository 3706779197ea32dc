"""What must not go wrong beside a store that fails, is slow, or has a bug: deletions, other streams, memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from tests.engine.test_recorder import Faulty, Node, play

from tokenwire.engine import archive, recorder
from tokenwire.engine.heads import head_of, stream_of
from tokenwire.engine.recorder import Recorder
from tokenwire.engine.retention import Retention
from tokenwire.engine.stores.port import PAGE, Append, Note, Piece
from tokenwire.errors import NotResumable, RequestRefused, StoreConflict, StoreFailed
from tokenwire.measure.prices import Seller
from tokenwire.measure.usage import Meter
from tokenwire.testing.rig import settle, until

if TYPE_CHECKING:
    from tokenwire.engine.heads import HeadData
    from tokenwire.engine.hub import Hub
    from tokenwire.engine.states import Policy
    from tokenwire.engine.stores.port import Head
    from tokenwire.engine.stream import Stream


class Odd(Faulty):
    """One with a bug, too, or slow.

    Attributes:
        bug: what a write raises, if anything.
        busy: of whom there is more to write after each write.
        undeletable: whether nothing can be forgotten.
        small: pages are of one piece, and the hub looks around after each of them.
    """

    bug: Exception | None = None
    busy: tuple[Recorder, Stream] | None = None
    undeletable = False
    small: Hub | None = None

    async def write(self, appends: Sequence[Append], notes: Sequence[Note] = ()) -> None:
        if self.bug is not None:
            raise self.bug
        await super().write(appends, notes)
        if self.busy is not None:
            await asyncio.sleep(0)
            self.busy[0].changed(self.busy[1])

    async def forget(self, streams: Sequence[str]) -> None:
        if self.undeletable:
            raise StoreFailed("the disk is full")
        await super().forget(streams)

    async def pieces(self, stream: str, after: int = 0, limit: int = PAGE) -> list[Piece]:
        if self.small is None:
            return await super().pieces(stream, after, limit)
        found = await super().pieces(stream, after, 1)
        self.small._cool()
        return found


async def odd() -> Odd:
    store = Odd()
    await store.open()
    return store


def recorder_of(node: Node) -> Recorder:
    assert node.hub.recorder is not None
    return node.hub.recorder


async def killed(node: Node, *streams: Stream) -> None:
    """The process of *node* is gone while these run and are stored; the next one opens the store."""
    for stream in streams:
        await node.stored(stream)
    node.kill()
    await node.store.close()
    await node.store.open()


def test_what_is_deleted_before_it_was_ever_stored_is_not_stored_when_the_store_is_back() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        store.failing = "the disk is full"
        stream, other = node.stream("secret", end=True), node.stream("open", end=True)
        await until(lambda: recorder_of(node).degraded)
        await node.hub.delete(stream)
        store.failing = None
        await node.stored(other)
        with pytest.raises(NotResumable):
            await node.hub.find(stream.id, "me")
        assert await store.head(stream.id) is None
        node.kill()

    play(main)


def test_a_deletion_does_not_wait_for_writes_that_began_after_it() -> None:
    async def main(_: Faulty) -> None:
        store = await odd()
        node = Node(store)
        stream, running = node.stream("one", end=True), node.stream("two")
        await node.stored(stream)
        store.busy = recorder_of(node), running
        recorder_of(node).changed(running)
        await settle(3)
        async with asyncio.timeout(2.0):
            await node.hub.delete(stream)
        store.busy = None
        assert await store.head(stream.id) is None
        node.kill()

    play(main)


def test_what_is_deleted_and_still_stored_is_not_listed() -> None:
    async def main(_: Faulty) -> None:
        store = await odd()
        node = Node(store)
        stream, other = node.stream("secret", end=True), node.stream("open", end=True)
        await node.stored(stream)
        await node.stored(other)
        store.undeletable = True
        with pytest.raises(RequestRefused):
            await node.hub.delete(stream)
        assert [each.id for each in await node.hub.listed("me")] == [other.id]
        node.kill()

    play(main)


def test_what_cannot_be_read_is_left_out_of_the_list() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        bad, good = node.stream("a", end=True), node.stream("b", end=True)
        await node.stored(bad)
        await node.stored(good)
        node.kill()
        after = Node(store)
        await store.write([Append(bad.id, "me", head=b"\xc1", running=False)])
        assert [each.id for each in await after.hub.listed("me")] == [good.id]
        after.kill()

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


def test_all_of_a_long_answer_is_there_though_memory_lets_go_of_it_meanwhile() -> None:
    async def main(_: Faulty) -> None:
        store = await odd()
        retention = Retention(hot_bytes=1024)
        node = Node(store, retention=retention)
        stream = node.stream()
        for start in range(30):
            node.say(stream, *[f" {start} {number}" for number in range(100)])
            await node.stored(stream)
        node.end(stream)
        await node.stored(stream)
        node.kill()
        after = Node(store, retention=retention)
        found = await after.hub.find(stream.id, "me")
        after.hub.resized(found, -found.log.cool(0, found.log.last))
        store.small = after.hub
        await after.hub.whole(found)
        assert found.log.present
        assert len(found.transcript().choice(0).text) == sum(len(f" {a} {b}") for a in range(30) for b in range(100))
        await until(lambda: not after.hub.archive or not after.hub.archive.brings(found))
        after.hub._cool()
        assert found.log.size < retention.hot_bytes + 8 * found.log.last, "then it goes again"
        after.kill()

    play(main)


def test_what_a_store_has_only_in_part_is_not_asked_for_without_end() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("a", end=True)
        await node.stored(stream)
        node.hub.pack(stream)
        stream.log.cool(0, stream.log.last)

        async def pieces(stream: str, after: int = 0, limit: int = PAGE) -> list[Piece]:
            return []

        store.pieces = pieces  # type: ignore[method-assign]
        with pytest.raises(NotResumable):
            await node.hub.whole(stream)
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


def test_an_orphan_that_cannot_be_made_keeps_no_other_from_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(archive, "AGAIN_SECONDS", 0.0)

    async def main(store: Faulty) -> None:
        node = Node(store)
        bad, good = node.stream("a"), node.stream("b")
        await killed(node, bad, good)

        def made(hub: Hub, stored: Head, data: HeadData, policy: Policy) -> Stream:
            if stored.stream == bad.id:
                raise ValueError("a bug")
            return stream_of(hub, stored, data, policy)

        monkeypatch.setattr(archive, "stream_of", made)
        after = Node(store)
        assert after.hub.archive is not None
        async with asyncio.timeout(5.0):
            await after.hub.archive.end_orphans()
        heads = [await store.head(stream.id) for stream in (bad, good)]
        assert [head is not None and head.running for head in heads] == [True, False]
        after.kill()

    play(main)


def test_an_orphan_whose_end_cannot_be_written_is_not_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(archive, "AGAIN_SECONDS", 0.0)

    async def main(store: Faulty) -> None:
        node = Node(store)
        bad, good = node.stream("a"), node.stream("b")
        await killed(node, bad, good)

        def told(stream: Stream) -> bytes:
            if stream.id == bad.id:
                raise ValueError("a bug")
            return head_of(stream)

        monkeypatch.setattr(recorder, "head_of", told)
        after = Node(store)
        assert after.hub.archive is not None
        async with asyncio.timeout(5.0):
            await after.hub.archive.end_orphans()
        assert [head.stream for head in await store.orphans()] == [bad.id]
        after.kill()

    play(main)


def test_a_reader_whose_entries_cannot_be_brought_back_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("a", end=True)
        await node.stored(stream)

        async def pieces(stream: str, after: int = 0, limit: int = PAGE) -> list[Piece]:
            raise LookupError("a bug")

        store.pieces = pieces  # type: ignore[method-assign]
        said: list[Exception | None] = []
        assert node.hub.archive is not None
        node.hub.archive.fetch(stream, 1, said.append)
        await until(lambda: said)
        assert isinstance(said[0], LookupError)
        node.kill()

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


def test_what_cannot_be_deleted_is_not_tried_at_every_tick(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def main(_: Faulty) -> None:
        store = await odd()
        node = Node(store)
        stream = node.stream("secret", end=True)
        await node.stored(stream)
        store.undeletable = True
        with pytest.raises(RequestRefused):
            await node.hub.delete(stream)
        tries: list[None] = []
        forget = store.forget

        async def forgetting(streams: Sequence[str]) -> None:
            tries.append(None)
            await forget(streams)

        store.forget = forgetting  # type: ignore[method-assign]
        for _tick in range(5):
            recorder_of(node).look()
            await settle(5)
        assert len(tries) == 1
        recorder_of(node)._deletions._from_ns = 0  # ten seconds later
        store.undeletable = False
        recorder_of(node).look()
        await until(lambda: not recorder_of(node).gone)
        assert await store.head(stream.id) is None
        node.kill()

    play(main)


def test_who_looks_for_a_stream_as_the_process_ends_is_told_so() -> None:
    async def main(store: Faulty) -> None:
        waits = asyncio.Event()

        async def head(stream: str) -> None:
            waits.set()
            await asyncio.Event().wait()

        store.head = head  # type: ignore[method-assign]
        node = Node(store)
        finding = asyncio.ensure_future(node.hub.find("st_" + "a" * 22, "me"))
        left = asyncio.ensure_future(node.hub.find("st_" + "a" * 22, "me"))
        await waits.wait()
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert node.hub.archive is not None
        node.hub.archive.close()
        with pytest.raises(RequestRefused) as refusal:
            await finding
        assert refusal.value.code == "store_away"
        node.kill()

    play(main)
