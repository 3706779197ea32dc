"""What is deleted is gone for good, whatever the store does meanwhile, and whatever it cannot do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest
from tests.engine.store_node import Faulty, Node, odd, play, recorder_of

from tokenwire.errors import NotResumable, RequestRefused, StoreAway
from tokenwire.testing.rig import settle, until


def test_what_is_deleted_is_gone_from_the_store_though_a_write_is_under_way() -> None:
    async def main(store: Faulty) -> None:
        node = Node(store)
        stream = node.stream("secret")
        await node.stored(stream)
        store.gate.clear()
        node.say(stream, "more of it")
        await until(lambda: recorder_of(node).statistics().lag > 0)
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
        await until(lambda: recorder_of(node).degraded)
        await node.hub.delete(stream)
        assert [*recorder_of(node).gone] == [stream.id], "it is looked after until nothing of it is under way"
        store.failing = None
        await node.stored(other)
        await until(lambda: not recorder_of(node).gone)
        assert await store.head(stream.id) is None
        node.kill()

    play(main)


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


def test_who_asks_again_is_told_when_it_is_gone() -> None:
    async def main(_: Faulty) -> None:
        store = await odd()
        node = Node(store)
        stream = node.stream("secret", end=True)
        await node.stored(stream)
        store.undeletable = True
        for ask in (node.hub.delete(stream), node.hub.delete_again(stream.id, "me")):
            with pytest.raises(StoreAway, match="ask again until it is gone"):
                await ask
        assert not await node.hub.delete_again(stream.id, "you"), "another's stream is none"
        store.undeletable = False
        assert await node.hub.delete_again(stream.id, "me")
        assert await store.head(stream.id) is None
        assert not await node.hub.delete_again(stream.id, "me"), "then it is no stream any more"
        node.kill()

    play(main)


def test_a_relay_that_ends_deletes_what_it_could_not_before() -> None:
    async def main(_: Faulty) -> None:
        store = await odd()
        node = Node(store)
        stream = node.stream("secret", end=True)
        await node.stored(stream)
        store.undeletable = True
        with pytest.raises(StoreAway):
            await node.hub.delete(stream)
        store.undeletable = False
        assert await recorder_of(node).flush(5.0)
        assert await store.head(stream.id) is None
        node.kill()

    play(main)
