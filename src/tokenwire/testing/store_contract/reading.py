"""What was written is read: whole, page by page, listed and counted."""

from __future__ import annotations

from tokenwire.engine.stores.port import Head, Note, Piece
from tokenwire.testing.store_contract.bench import ME, Bench, piece

# ---------------------------------------------------------------------- what is written is there


async def what_was_written_is_read(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 3), piece(4), head=b"the head")
    assert await bench.stored("st_a") == [piece(1, 3), piece(4)]
    size = len(piece(1, 3).data) + len(piece(4).data)
    head = Head("st_a", ME, b"the head", 1, 4, size, True, bench.wall.now + 3600)
    assert await bench.store.head("st_a") == head
    await bench.write(bench.append("st_a", piece(5, 2), running=False, head=b"another", expires=bench.wall.now + 7))
    assert await bench.stored("st_a") == [piece(1, 3), piece(4), piece(5, 2)]
    size += len(piece(5, 2).data)
    assert await bench.store.head("st_a") == Head("st_a", ME, b"another", 1, 6, size, False, bench.wall.now + 7)


async def a_head_that_is_not_told_stays(bench: Bench) -> None:
    await bench.begin("st_a", piece(1), head=b"first")
    await bench.write(bench.append("st_a", piece(2)))
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.data, head.last) == (b"first", 2)


async def a_stream_may_begin_without_entries(bench: Bench) -> None:
    await bench.begin("st_a")
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.first, head.last, head.size) == (1, 0, 0)
    assert await bench.stored("st_a") == []
    await bench.write(bench.append("st_a", piece(1)))
    assert await bench.stored("st_a") == [piece(1)]


async def any_bytes_are_kept(bench: Bench) -> None:
    pieces = [Piece(1, 1, bytes(range(256))), Piece(2, 1, b"\0" * 300_000), Piece(3, 2, b"\r\n\xff")]
    await bench.begin("st_a", *pieces, head=bytes(range(256)))
    await bench.restart()
    assert await bench.stored("st_a") == pieces
    head = await bench.store.head("st_a")
    assert head is not None
    assert head.data == bytes(range(256))


async def what_is_unknown_is_nothing(bench: Bench) -> None:
    assert await bench.store.head("st_none") is None
    assert await bench.store.pieces("st_none") == []
    assert await bench.store.recall("kind", ME, "none") is None
    assert await bench.store.heads("nobody") == []
    assert await bench.store.orphans() == []
    await bench.store.forget(["st_none"])
    assert await bench.store.sweep(bench.wall.now) == 0
    figures = await bench.store.figures()
    assert figures[:5] == (0, 0, 0, 0, 0)


async def many_streams_are_one_write(bench: Bench) -> None:
    await bench.write(*(bench.append(f"st_{n}", piece(1, n + 1), head=b"h") for n in range(100)))
    await bench.write(*(bench.append(f"st_{n}", piece(n + 2)) for n in range(100)))
    for n in (0, 1, 50, 99):
        assert await bench.stored(f"st_{n}") == [piece(1, n + 1), piece(n + 2)]


async def a_stream_may_be_in_one_write_twice(bench: Bench) -> None:
    await bench.write(bench.append("st_a", piece(1), head=b"h"), bench.append("st_a", piece(2), piece(3), head=b"i"))
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.data, head.last) == (b"i", 3)
    await bench.conflict(bench.append("st_a", piece(4)), bench.append("st_a", piece(6)), last=4)
    assert await bench.stored("st_a") == [piece(1), piece(2), piece(3)]


# ---------------------------------------------------------------------- pages


async def pages_begin_with_the_piece_that_holds_the_entry(bench: Bench) -> None:
    pieces = [piece(1, 4), piece(5), piece(6, 10)]
    await bench.begin("st_a", *pieces)
    for ended in (False, True):
        if ended:
            await bench.write(bench.append("st_a", running=False))
        for after, index in ((0, 0), (3, 0), (4, 1), (5, 2), (14, 2), (15, 3), (16, 3), (10**15, 3), (-1, 0)):
            assert await bench.store.pieces("st_a", after) == pieces[index:], f"after {after}, ended: {ended}"


async def a_page_ends_when_its_limit_is_reached(bench: Bench) -> None:
    pieces = [Piece(n, 1, b"0123456789") for n in range(1, 21)]
    await bench.begin("st_a", *pieces)
    for ended in (False, True):
        if ended:
            await bench.write(bench.append("st_a", running=False))
        assert await bench.store.pieces("st_a", 0, 30) == pieces[:3]
        assert 3 <= len(await bench.store.pieces("st_a", 0, 31)) <= 4
        assert await bench.store.pieces("st_a", 5, 0) == pieces[5:6], "at least one"


# ---------------------------------------------------------------------- listing


async def an_owners_streams_are_listed_the_newest_last(bench: Bench) -> None:
    for n in range(6):
        await bench.begin(f"st_{n}", piece(1), owner="other" if n == 3 else ME)
    await bench.write(bench.append("st_0", piece(2)))
    assert [head.stream for head in await bench.store.heads(ME)] == ["st_0", "st_1", "st_2", "st_4", "st_5"]
    assert [head.stream for head in await bench.store.heads(ME, 2)] == ["st_4", "st_5"]
    assert await bench.store.heads(ME, 0) == []
    (first, *_) = await bench.store.heads(ME)
    assert first == await bench.store.head("st_0")


async def figures_count_what_is_kept(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 5))
    await bench.begin("st_b", piece(1), running=False)
    await bench.begin("st_c", expires=bench.wall.now - 1)
    await bench.write(bench.append("st_a", piece(6)), notes=[Note("k", ME, "n", b"v", bench.wall.now + 1)])
    size = sum(len(each.data) for each in (piece(1, 5), piece(1), piece(6)))
    figures = await bench.store.figures()
    assert figures[:5] == (2, 1, 7, size, 1)
    await bench.restart()
    assert (await bench.store.figures())[:5] == (2, 1, 7, size, 1)
