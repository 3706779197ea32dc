"""A write goes on where the stream ends, or is refused whole; only a restart begins elsewhere."""

from __future__ import annotations

from tokenwire.engine.stores.port import Note
from tokenwire.errors import BadArgument
from tokenwire.testing.store_contract.bench import ME, Bench, piece

# ---------------------------------------------------------------------- fences


async def a_gap_is_a_conflict(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 5))
    await bench.conflict(bench.append("st_a", piece(7)), last=5)
    await bench.conflict(bench.append("st_a", piece(6), piece(8)), last=6)
    assert await bench.stored("st_a") == [piece(1, 5)]


async def a_piece_that_is_known_in_part_is_a_conflict(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 5))
    await bench.conflict(bench.append("st_a", piece(4, 3)), last=5)
    await bench.conflict(bench.append("st_a", piece(1, 6)), last=5)


async def a_stream_begins_with_a_head_and_entry_1(bench: Bench) -> None:
    await bench.conflict(bench.append("st_a", piece(1)))
    await bench.conflict(bench.append("st_a", piece(2), head=b"h"))
    await bench.conflict(bench.append("st_a"))
    assert await bench.store.head("st_a") is None


async def a_repeat_is_accepted_and_changes_nothing(bench: Bench) -> None:
    first = bench.append("st_a", piece(1, 5), piece(6), head=b"h")
    second = bench.append("st_a", piece(7), piece(8))
    for append in (first, first, second, second, second._replace(pieces=(*second.pieces, piece(9)))):
        await bench.write(append)
    assert await bench.stored("st_a") == [piece(1, 5), piece(6), piece(7), piece(8), piece(9)]
    last = bench.append("st_a", piece(10), running=False)
    for _ in range(3):
        await bench.write(last)
    assert await bench.stored("st_a") == [piece(1, 5), piece(6), piece(7), piece(8), piece(9), piece(10)]
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.last, head.running) == (10, False)


async def a_write_is_all_or_nothing(bench: Bench) -> None:
    await bench.begin("st_a", piece(1))
    await bench.begin("st_b", piece(1))
    note = Note("kind", ME, "key", b"value", bench.wall.now + 10)
    await bench.conflict(
        bench.append("st_a", piece(2), head=b"new"),
        bench.append("st_c", piece(1), head=b"h"),
        bench.append("st_b", piece(3)),
        last=1,
        notes=[note],
    )
    assert await bench.stored("st_a") == [piece(1)]
    head = await bench.store.head("st_a")
    assert head is not None
    assert head.data == b"head"
    assert await bench.store.head("st_c") is None
    assert await bench.store.recall("kind", ME, "key") is None
    await bench.write(bench.append("st_a", piece(2)), bench.append("st_c", piece(1), head=b"h"))
    assert await bench.stored("st_a") == [piece(1), piece(2)]


async def an_owner_never_changes(bench: Bench) -> None:
    await bench.begin("st_a", piece(1))
    await bench.conflict(bench.append("st_a", piece(2), owner="another"), last=1)
    assert await bench.stored("st_a") == [piece(1)]


async def an_ended_stream_may_be_added_to(bench: Bench) -> None:
    await bench.begin("st_a", piece(1), running=False)
    await bench.write(bench.append("st_a", piece(2), running=False, head=b"late"))
    await bench.restart()
    await bench.write(bench.append("st_a", piece(3), running=True))
    await bench.write(bench.append("st_a", piece(4), running=False))
    assert await bench.stored("st_a") == [piece(n) for n in (1, 2, 3, 4)]


# ---------------------------------------------------------------------- a new beginning


async def a_restart_forgets_what_was_before(bench: Bench) -> None:
    await bench.begin("st_a", piece(1, 5), piece(6))
    again = bench.append("st_a", piece(50, 2, "new"), piece(52), restart=True)
    for _ in range(2):  # the answer of the first was lost
        await bench.write(again)
        assert await bench.stored("st_a") == [piece(50, 2, "new"), piece(52)]
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.first, head.last, head.data) == (50, 52, b"head")
    assert head.size == sum(len(each.data) for each in again.pieces)
    await bench.write(bench.append("st_a", piece(53), running=False))
    await bench.restart()
    assert await bench.stored("st_a") == [piece(50, 2, "new"), piece(52), piece(53)]
    assert await bench.store.pieces("st_a", 10) == await bench.stored("st_a")


async def a_restart_may_go_back(bench: Bench) -> None:
    await bench.begin("st_a", piece(1), piece(2), piece(3), piece(4))
    await bench.write(bench.append("st_a", piece(3, 2, "new"), restart=True))
    assert await bench.stored("st_a") == [piece(3, 2, "new")]
    await bench.write(bench.append("st_a", piece(5)))
    await bench.restart()
    assert await bench.stored("st_a") == [piece(3, 2, "new"), piece(5)]


async def a_restart_may_be_the_beginning(bench: Bench) -> None:
    await bench.begin("st_a", piece(9), restart=True)
    assert await bench.stored("st_a") == [piece(9)]
    head = await bench.store.head("st_a")
    assert head is not None
    assert (head.first, head.last) == (9, 9)


async def a_restart_says_where(bench: Bench) -> None:
    await bench.begin("st_a", piece(1))
    for pieces in ((), (piece(0),)):
        try:
            await bench.write(bench.append("st_a", *pieces, restart=True))
        except BadArgument:
            continue
        raise AssertionError("a restart without a first entry was accepted")
    assert await bench.stored("st_a") == [piece(1)]
