"""What ran when its process was gone is ended by the next one, with all that was stored, and once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from tests.engine.store_node import Faulty, Node, frames, play

from tokenwire.engine import archive, recorder
from tokenwire.engine.heads import HeadData, head_of, stream_of
from tokenwire.engine.hub import Hub
from tokenwire.engine.ids import EventId
from tokenwire.engine.states import Policy
from tokenwire.engine.stores.port import Head
from tokenwire.engine.stream import Stream
from tokenwire.errors import NotResumable
from tokenwire.testing import chat_frames as chat
from tokenwire.testing.sinks import ScriptedSink


async def killed(node: Node, *streams: Stream) -> None:
    """The process of *node* is gone while these run and are stored; the next one opens the store."""
    for stream in streams:
        await node.stored(stream)
    node.kill()
    await node.store.close()
    await node.store.open()


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
        await killed(node, *streams)
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
        await killed(node, stream)
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


def not_made(patch: pytest.MonkeyPatch, bad: str) -> None:
    def made(hub: Hub, stored: Head, data: HeadData, policy: Policy) -> Stream:
        if stored.stream == bad:
            raise ValueError("a bug")
        return stream_of(hub, stored, data, policy)

    patch.setattr(archive, "stream_of", made)


def not_written(patch: pytest.MonkeyPatch, bad: str) -> None:
    def told(stream: Stream) -> bytes:
        if stream.id == bad:
            raise ValueError("a bug")
        return head_of(stream)

    patch.setattr(recorder, "head_of", told)


@pytest.mark.parametrize("bug", [not_made, not_written])
def test_an_orphan_that_cannot_be_ended_keeps_no_other_from_its_end_and_is_not_tried_for_ever(
    bug: Callable[[pytest.MonkeyPatch, str], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(archive, "AGAIN_SECONDS", 0.0)

    async def main(store: Faulty) -> None:
        node = Node(store)
        bad, good = node.stream("a"), node.stream("b")
        await killed(node, bad, good)
        bug(monkeypatch, bad.id)
        after = Node(store)
        assert after.hub.archive is not None
        async with asyncio.timeout(5.0):
            await after.hub.archive.end_orphans()
        assert [head.stream for head in await store.orphans()] == [bad.id]
        heads = [await store.head(stream.id) for stream in (bad, good)]
        assert [head is not None and head.running for head in heads] == [True, False]
        after.kill()

    play(main)
