"""Who reads from a store that is away, broken or has only a part gets all there is, or is told so."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.engine.store_node import Faulty, Node, odd, play

from tokenwire.engine.retention import Retention
from tokenwire.engine.stores.port import PAGE, Append, Piece
from tokenwire.errors import NotResumable, RequestRefused, StoreFailed
from tokenwire.testing.rig import run_in, until


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
